#include "lib/delivery/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "tests/unit/tap.h"

static void test_exits(void)
{
	static const struct {
		struct child_exit end;
		enum outcome_kind kind;
		const char *error_code, *message;
	} rows[] = {
		{ { .code = 0 }, OUTCOME_SUCCESS, "", "" },
		{ { .code = 1 }, OUTCOME_RETRY, "exit", "exit status 1" },
		{ { .code = 75 }, OUTCOME_RETRY, "exit", "exit status 75 (temporary failure)" },
		{ { .code = 99 }, OUTCOME_RETRY, "exit", "exit status 99" },
		{ { .code = 100 }, OUTCOME_PERMANENT, "permanent", "exit status 100 (permanent failure)" },
		{ { .code = 101 }, OUTCOME_RETRY, "exit", "exit status 101" },
		{ { .code = 126 }, OUTCOME_RETRY, "exit",
		  "exit status 126 (from a shell: command not executable)" },
		{ { .code = 127 }, OUTCOME_RETRY, "exit",
		  "exit status 127 (from a shell: command not found)" },
		{ { .code = 152 }, OUTCOME_RETRY, "exit",
		  "exit status 152 (from a shell: a command used more than cpu_time)" },
		{ { .code = 153 }, OUTCOME_RETRY, "exit",
		  "exit status 153 (from a shell: a command wrote a file beyond file_size)" },
		{ { .code = 255 }, OUTCOME_RETRY, "exit", "exit status 255" },
		{ { .code = -1, .signal = SIGTERM }, OUTCOME_RETRY, "signal", "killed by SIGTERM" },
		{ { .code = -1, .signal = SIGSEGV }, OUTCOME_RETRY, "signal", "killed by SIGSEGV" },
		{ { .code = -1, .signal = SIGKILL }, OUTCOME_RETRY, "signal", "killed by SIGKILL" },
		{ { .code = -1, .signal = SIGXCPU }, OUTCOME_RETRY, "signal",
		  "killed by SIGXCPU (used more than cpu_time)" },
		{ { .code = -1, .signal = SIGXFSZ }, OUTCOME_RETRY, "signal",
		  "killed by SIGXFSZ (wrote a file beyond file_size)" },
		{ { .code = -1, .signal = 40 }, OUTCOME_RETRY, "signal", "killed by signal 40" },
		{ { .code = -1 }, OUTCOME_RETRY, "exit", "exit status unknown" },
		{ { .timed_out = true, .code = -1, .signal = SIGKILL, .duration_ms = 35000 },
		  OUTCOME_RETRY, "timeout", "timed out, ended after 35s: killed by SIGKILL" },
		{ { .timed_out = true, .code = 0, .duration_ms = 30100 }, OUTCOME_RETRY, "timeout",
		  "timed out, ended after 30.1s: exit status 0" },
		{ { .timed_out = true, .code = 100, .duration_ms = 500 }, OUTCOME_RETRY, "timeout",
		  "timed out, ended after 500ms: exit status 100" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outcome got;

		outcome_of_exit(&rows[i].end, &got);
		CHECK_STR(buf_str(&got.message), rows[i].message, "code %d, signal %d%s: the message",
		          rows[i].end.code, rows[i].end.signal, rows[i].end.timed_out ? ", timed out" : "");
		CHECK_STR(outcome_name(got.kind), outcome_name(rows[i].kind), "... the outcome");
		CHECK_STR(got.error_code, rows[i].error_code, "... the error code");
		buf_free(&got.message);
	}
}

static void test_every_code(void)
{
	int success = 0, permanent = 0;

	for (int code = 0; code <= 255; code++) {
		struct child_exit end = { .code = code };
		struct outcome got;

		outcome_of_exit(&end, &got);
		success += got.kind == OUTCOME_SUCCESS;
		permanent += got.kind == OUTCOME_PERMANENT;
		buf_free(&got.message);
	}
	CHECK_INT(success, 1, "of all exit statuses one is a success");
	CHECK_INT(permanent, 1, "and one is permanent; all others are tried again");
}

static void check_spawn_error(int error, const char *path, const char *message)
{
	struct outcome got;

	outcome_of_spawn_error(error, path, "", &got);
	CHECK_STR(buf_str(&got.message), message, "the message names path, reason and errno");
	CHECK(got.kind == OUTCOME_RETRY, "... and it is tried again");
	CHECK_STR(got.error_code, "spawn_failed", "... the error code");
	buf_free(&got.message);
}

static void test_spawn_reason(void)
{
	struct outcome got;

	outcome_of_spawn_error(EPERM, "/etc/passwd", "user = x: there is no such user", &got);
	CHECK_STR(buf_str(&got.message), "cannot start /etc/passwd: user = x: there is no such user",
	          "where it is not the script, the reason stands alone");
	CHECK(got.kind == OUTCOME_RETRY, "... and it is tried again");
	buf_free(&got.message);
}

static void test_spawn_errors(void)
{
	static const struct {
		int error;
		mode_t mode;
		const char *content; /* NULL: no file; "/": a directory */
		const char *reason;
	} rows[] = {
		{ ENOENT, 0, NULL, "No such file or directory (ENOENT)" },
		{ ENOENT, 0755, "#!/opt/missing\n",
		  "No such file or directory (ENOENT); its interpreter is /opt/missing" },
		{ ENOENT, 0755, "#! /bin/sh\r\n", "No such file or directory (ENOENT); its interpreter is "
		  "/bin/sh and a carriage return (the file has DOS line ends)" },
		{ ENOENT, 0755, "#!", "No such file or directory (ENOENT)" },
		{ EACCES, 0644, "#!/bin/sh\n",
		  "Permission denied (EACCES); it is not executable (chmod +x)" },
		{ EACCES, 0755, "#!/etc/passwd -x\n",
		  "Permission denied (EACCES); its interpreter is /etc/passwd" },
		{ EACCES, 0755, "/", "Permission denied (EACCES); it is a directory" },
		{ ENOEXEC, 0755, "echo\n", "Exec format error (ENOEXEC); its first line must name an "
		  "interpreter, such as #!/bin/sh" },
		{ E2BIG, 0755, "#!/bin/sh\n", "Argument list too long (E2BIG)" },
		{ EMFILE, 0755, "#!/bin/sh\n", "Too many open files (EMFILE)" },
		{ 4095, 0755, "#!/bin/sh\n", "Unknown error 4095 (unknown)" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[300], message[600];

		snprintf(path, sizeof(path), "%s/a script %zu", tap_tmpdir(), i);
		if (rows[i].content && rows[i].content[0] == '/')
			mkdir(path, rows[i].mode);
		else if (rows[i].content)
			fdio_create_file(path, rows[i].mode, rows[i].content, strlen(rows[i].content));
		snprintf(message, sizeof(message), "cannot start %s: %s", path, rows[i].reason);
		check_spawn_error(rows[i].error, path, message);
	}
}

static void test_fifo_as_script(void)
{
	char path[300], message[600];

	snprintf(path, sizeof(path), "%s/fifo", tap_tmpdir());
	mkfifo(path, 0755);
	snprintf(message, sizeof(message), "cannot start %s: Permission denied (EACCES)", path);
	check_spawn_error(EACCES, path, message); /* returns at all: it is not opened */
}

static void test_interruption(void)
{
	struct outcome got;

	outcome_of_interruption(&got);
	CHECK(got.kind == OUTCOME_RETRY, "an attempt during which the dispatcher died is tried again");
	CHECK_STR(got.error_code, "interrupted", "... the error code");
	CHECK(got.message.len > 0, "... and there is a message");
	buf_free(&got.message);
}

static void test_answers(void)
{
	static const struct {
		int status;
		enum outcome_kind kind;
		const char *error_code, *part; /* of the message */
	} rows[] = {
		{ 200, OUTCOME_SUCCESS, "", "" },
		{ 204, OUTCOME_SUCCESS, "", "" },
		{ 299, OUTCOME_SUCCESS, "", "" },
		{ 199, OUTCOME_RETRY, "http_status", "HTTP status 199" },
		{ 300, OUTCOME_RETRY, "http_status", "not followed" },
		{ 301, OUTCOME_RETRY, "http_status", "not followed" },
		{ 399, OUTCOME_RETRY, "http_status", "not followed" },
		{ 400, OUTCOME_RETRY, "http_status", "HTTP status 400" },
		{ 401, OUTCOME_RETRY, "http_status", "secret" },
		{ 409, OUTCOME_RETRY, "http_status", "HTTP status 409" },
		{ 410, OUTCOME_PERMANENT, "gone", "switched off" },
		{ 411, OUTCOME_RETRY, "http_status", "HTTP status 411" },
		{ 429, OUTCOME_RETRY, "http_status", "HTTP status 429" },
		{ 500, OUTCOME_RETRY, "http_status", "HTTP status 500" },
		{ 999, OUTCOME_RETRY, "http_status", "HTTP status 999" },
	};
	int success = 0, permanent = 0, status;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct call_end end = { .status = rows[i].status, .error_code = "" };
		struct outcome got;

		outcome_of_call(&end, &got);
		CHECK_STR(outcome_name(got.kind), outcome_name(rows[i].kind), "HTTP status %d: the outcome", rows[i].status);
		CHECK_STR(got.error_code, rows[i].error_code, "... the error code");
		CHECK(strstr(buf_str(&got.message), rows[i].part) && (got.message.len == 0) == (*rows[i].part == '\0'),
		      "... the message: %s", buf_str(&got.message));
		buf_free(&got.message);
	}
	for (status = 0; status < 1000; status++) {
		struct call_end end = { .status = status, .error_code = "" };
		struct outcome got;

		outcome_of_call(&end, &got);
		success += got.kind == OUTCOME_SUCCESS;
		permanent += got.kind == OUTCOME_PERMANENT;
		buf_free(&got.message);
	}
	CHECK_INT(success, 100, "of all statuses 2xx is a success");
	CHECK_INT(permanent, 1, "and 410 the end");
}

static void test_call_errors(void)
{
	static const int statuses[] = { 0, 200, 410 };

	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		struct call_end end = { .status = statuses[i], .error_code = "timeout" };
		struct outcome got;

		buf_adds(&end.message, "it took too long");
		outcome_of_call(&end, &got);
		CHECK(got.kind == OUTCOME_RETRY, "a call that broke off after status %d is tried again", statuses[i]);
		CHECK_STR(got.error_code, "timeout", "... the error code");
		CHECK_STR(buf_str(&got.message), "it took too long", "... the message");
		buf_free(&got.message);
		buf_free(&end.message);
	}
}

static void test_names(void)
{
	CHECK_STR(outcome_name(OUTCOME_SUCCESS), "success", "the stored name of success");
	CHECK_STR(outcome_name(OUTCOME_RETRY), "retry", "the stored name of retry");
	CHECK_STR(outcome_name(OUTCOME_PERMANENT), "permanent", "the stored name of permanent");
}

int main(void)
{
	test_exits();
	test_every_code();
	test_spawn_errors();
	test_spawn_reason();
	test_fifo_as_script();
	test_interruption();
	test_answers();
	test_call_errors();
	test_names();
	return tap_done();
}
