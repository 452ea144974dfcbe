#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* <syslog.h> has LOG_INFO and the like, which do not clash with log_level's names. */
#include <syslog.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARN] = { "warn", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

static _Atomic int threshold = LOG_LEVEL_INFO;

/* Where lines go: standard error, syslog or a file. */
struct sink {
	bool to_syslog;
	char *path; /* NULL: no file */
	int fd;
};

/* Guards the rest; a line is one write(), so that processes may share a file. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char program[32] = "ntrvsta";
static struct sink program_sink = { .fd = -1 }, security_sink = { .fd = -1 };

/* An attacker must not fill the disk with refusals: so many lines a second, then a count. */
#define SECURITY_LINES_PER_S 20
static int64_t security_second;
static unsigned long security_lines;

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

/* With the lock held. */
static int open_sink(struct sink *sink, const char *target)
{
	bool to_syslog = strcmp(target, "syslog") == 0;
	bool to_file = !to_syslog && strcmp(target, "stderr") != 0;
	int fd = -1;

	if (to_file && (fd = open_file(target)) < 0)
		return -1;
	if (sink->fd >= 0)
		close(sink->fd);
	free(sink->path);
	*sink = (struct sink){ to_syslog, to_file ? xstrdup(target) : NULL, fd };
	if (to_syslog)
		openlog(program, LOG_PID, LOG_DAEMON);
	return 0;
}

int log_open(const char *name, enum log_level level, const char *target)
{
	int result;

	pthread_mutex_lock(&lock);
	snprintf(program, sizeof program, "%s", name);
	threshold = (int)level;
	result = open_sink(&program_sink, target);
	pthread_mutex_unlock(&lock);
	return result;
}

int log_open_security(const char *target)
{
	int result;

	pthread_mutex_lock(&lock);
	result = open_sink(&security_sink, target);
	pthread_mutex_unlock(&lock);
	return result;
}

int log_level_parse(const char *name, enum log_level *out)
{
	size_t i;

	for (i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

/* logrotate renames the file: go on in a new one under the old name. */
static void follow_rename(struct sink *sink)
{
	struct stat ours, named;
	int fd;

	if (fstat(sink->fd, &ours) == 0 && stat(sink->path, &named) == 0 &&
	    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
		return;
	fd = open_file(sink->path);
	if (fd < 0)
		return;
	close(sink->fd);
	sink->fd = fd;
}

/* With the lock held. */
static void write_line(struct sink *sink, int priority, const char *label, const char *message)
{
	char time[CLOCK_RFC3339_SIZE];
	struct buf line = BUF_INIT;

	if (sink->to_syslog) {
		syslog(priority, "%s: %s", label, message);
		return;
	}
	buf_addf(&line, "%s %s %s[%d]: %s\n", clock_format(clock_wall_ms(), time), label, program,
	         (int)getpid(), message);
	if (sink->path)
		follow_rename(sink);
	/* Where the log itself can't be written there is nobody left to tell. */
	(void)!fdio_write_all(sink->path ? sink->fd : STDERR_FILENO, line.data, line.len);
	buf_free(&line);
}

static struct buf __attribute__((format(printf, 1, 0))) format_message(const char *fmt, va_list ap)
{
	struct buf raw = BUF_INIT, clean = BUF_INIT;

	buf_vaddf(&raw, fmt, ap);
	buf_add_printable(&clean, buf_str(&raw), raw.len, 0);
	buf_free(&raw);
	return clean;
}

static void __attribute__((format(printf, 2, 0))) log_message(enum log_level level, const char *fmt, va_list ap)
{
	struct buf message;
	int saved = errno;

	if ((int)level > threshold)
		return;
	message = format_message(fmt, ap);
	pthread_mutex_lock(&lock);
	write_line(&program_sink, levels[level].priority, levels[level].name, buf_str(&message));
	pthread_mutex_unlock(&lock);
	buf_free(&message);
	errno = saved;
}

/* With the lock held: may another line be written? Says first how many were not. */
static bool security_may_write(void)
{
	int64_t second = clock_mono_ms() / 1000;

	if (second != security_second) {
		if (security_lines > SECURITY_LINES_PER_S) {
			char text[64];

			snprintf(text, sizeof text, "more of these suppressed=%lu", security_lines - SECURITY_LINES_PER_S);
			write_line(&security_sink, LOG_NOTICE, "security", text);
		}
		security_second = second;
		security_lines = 0;
	}
	return ++security_lines <= SECURITY_LINES_PER_S;
}

void log_security(const char *fmt, ...)
{
	struct buf message;
	va_list ap;

	pthread_mutex_lock(&lock);
	if (security_may_write()) {
		va_start(ap, fmt);
		message = format_message(fmt, ap);
		va_end(ap);
		write_line(&security_sink, LOG_NOTICE, "security", buf_str(&message));
		buf_free(&message);
	}
	pthread_mutex_unlock(&lock);
}

#define LOG_FUNCTION(function, level)                \
	void function(const char *fmt, ...)          \
	{                                            \
		va_list ap;                          \
                                                     \
		va_start(ap, fmt);                   \
		log_message(level, fmt, ap);         \
		va_end(ap);                          \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
