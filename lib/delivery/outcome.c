#include "lib/delivery/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/units.h"

#define SHEBANG_MAX 256 /* the kernel reads no more of the first line */

/* Exit statuses that mean more than "failed". A handler is mostly a shell script, so what the
 * shell means by 126 and 127 helps whoever reads the log. */
static const struct {
	int code;
	enum outcome_kind kind;
	const char *error_code;
	const char *note;
} exits[] = {
	{ 0, OUTCOME_SUCCESS, "", NULL },
	{ 75, OUTCOME_RETRY, "exit", "temporary failure" },
	{ 100, OUTCOME_PERMANENT, "permanent", "permanent failure" },
	{ 126, OUTCOME_RETRY, "exit", "from a shell: command not executable" },
	{ 127, OUTCOME_RETRY, "exit", "from a shell: command not found" },
	{ 128 + SIGXCPU, OUTCOME_RETRY, "exit", "from a shell: a command used more than cpu_time" },
	{ 128 + SIGXFSZ, OUTCOME_RETRY, "exit", "from a shell: a command wrote a file beyond file_size" },
};

static const char *limit_note(int sig)
{
	if (sig == SIGXCPU)
		return " (used more than cpu_time)";
	return sig == SIGXFSZ ? " (wrote a file beyond file_size)" : "";
}

static void describe_end(const struct child_exit *e, struct buf *out)
{
	const char *abbrev;

	if (e->signal == 0 && e->code >= 0) {
		buf_addf(out, "exit status %d", e->code);
		return;
	}
	abbrev = sigabbrev_np(e->signal);
	if (abbrev)
		buf_addf(out, "killed by SIG%s%s", abbrev, limit_note(e->signal));
	else if (e->signal)
		buf_addf(out, "killed by signal %d", e->signal);
	else
		buf_adds(out, "exit status unknown");
}

static void outcome_set(struct outcome *out, enum outcome_kind kind, const char *error_code)
{
	out->kind = kind;
	out->error_code = error_code;
	out->message = (struct buf)BUF_INIT;
}

static void outcome_of_code(const struct child_exit *e, struct outcome *out)
{
	outcome_set(out, OUTCOME_RETRY, "exit");
	describe_end(e, &out->message);
	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
		if (exits[i].code != e->code)
			continue;
		out->kind = exits[i].kind;
		out->error_code = exits[i].error_code;
		if (exits[i].note)
			buf_addf(&out->message, " (%s)", exits[i].note);
	}
	if (out->kind == OUTCOME_SUCCESS)
		buf_reset(&out->message);
}

void outcome_of_exit(const struct child_exit *e, struct outcome *out)
{
	char duration[UNITS_SIZE];

	if (e->timed_out) {
		/* Whatever it says at the end: it did not finish in time by itself. */
		outcome_set(out, OUTCOME_RETRY, "timeout");
		buf_addf(&out->message, "timed out, ended after %s: ",
		         units_format_duration(e->duration_ms, duration));
		describe_end(e, &out->message);
	} else if (e->signal != 0) {
		outcome_set(out, OUTCOME_RETRY, "signal");
		describe_end(e, &out->message);
	} else {
		outcome_of_code(e, out);
	}
}

/* The interpreter that PATH's first line names. False where there is no such line. */
static bool read_interpreter(const char *path, char *out, size_t size)
{
	char line[SHEBANG_MAX];
	ssize_t n = -1;
	size_t start, len;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0) {
		n = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	if (n < 3 || memcmp(line, "#!", 2) != 0)
		return false;
	line[n] = '\0';
	start = 2 + strspn(line + 2, " \t");
	len = strcspn(line + start, " \t\n");
	if (len == 0 || len >= size)
		return false;
	memcpy(out, line + start, len);
	out[len] = '\0';
	return true;
}

static void explain_interpreter(const char *path, struct buf *out)
{
	char interpreter[SHEBANG_MAX];
	size_t len;

	if (!read_interpreter(path, interpreter, sizeof(interpreter)))
		return;
	len = strcspn(interpreter, "\r");
	buf_addf(out, "; its interpreter is %.*s", (int)len, interpreter);
	if (interpreter[len])
		buf_adds(out, " and a carriage return (the file has DOS line ends)");
}

/* The kernel's errno speaks of the script, though what it misses may be the interpreter, or a
 * first line that names one. */
static void explain_spawn_error(int error, const char *path, struct buf *out)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		buf_adds(out, "; it is a directory");
	else if (error == EACCES && (st.st_mode & 0111) == 0)
		buf_adds(out, "; it is not executable (chmod +x)");
	else if (error == ENOEXEC)
		buf_adds(out, "; its first line must name an interpreter, such as #!/bin/sh");
	else if (S_ISREG(st.st_mode) && (error == ENOENT || error == EACCES))
		explain_interpreter(path, out);
}

void outcome_of_spawn_error(int error, const char *path, const char *why, struct outcome *out)
{
	const char *name = strerrorname_np(error);

	outcome_set(out, OUTCOME_RETRY, "spawn_failed");
	if (*why) {
		buf_addf(&out->message, "cannot start %s: %s", path, why);
		return;
	}
	buf_addf(&out->message, "cannot start %s: %s (%s)", path, strerror(error),
	         name ? name : "unknown");
	explain_spawn_error(error, path, &out->message);
}

/* Answers that mean more than "failed". */
static const struct {
	int first, last; /* status */
	enum outcome_kind kind;
	const char *error_code;
	const char *note;
} answers[] = {
	{ 200, 299, OUTCOME_SUCCESS, "", NULL },
	{ 300, 399, OUTCOME_RETRY, "http_status", "redirects are not followed: register the URL that it leads to" },
	{ 401, 401, OUTCOME_RETRY, "http_status", "the receiver does not accept the signature: has it the secret?" },
	{ 410, 410, OUTCOME_PERMANENT, "gone", "gone: the webhook is switched off" },
};

void outcome_of_call(const struct call_end *e, struct outcome *out)
{
	size_t i;

	outcome_set(out, OUTCOME_RETRY, *e->error_code ? e->error_code : "http_status");
	if (*e->error_code) {
		buf_adds(&out->message, buf_str(&e->message));
		return;
	}
	buf_addf(&out->message, "HTTP status %d", e->status);
	for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		if (e->status < answers[i].first || e->status > answers[i].last)
			continue;
		out->kind = answers[i].kind;
		out->error_code = answers[i].error_code;
		if (answers[i].note)
			buf_addf(&out->message, " (%s)", answers[i].note);
	}
	if (out->kind == OUTCOME_SUCCESS)
		buf_reset(&out->message);
}

void outcome_of_interruption(struct outcome *out)
{
	outcome_set(out, OUTCOME_RETRY, "interrupted");
	buf_adds(&out->message, "the dispatcher ended while this attempt ran");
}

const char *outcome_name(enum outcome_kind kind)
{
	static const char *const names[] = {
		[OUTCOME_SUCCESS] = "success",
		[OUTCOME_RETRY] = "retry",
		[OUTCOME_PERMANENT] = "permanent",
	};

	return names[kind];
}
