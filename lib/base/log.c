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

/* Guards the rest; a line is one write(), so that processes may share a file. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char program[32] = "ntrvsta";

static bool to_syslog;
static char *file_path; /* NULL: standard error */
static int file_fd = -1;

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

int log_open(const char *name, enum log_level level, const char *target)
{
	bool syslog_wanted = strcmp(target, "syslog") == 0;
	bool file_wanted = !syslog_wanted && strcmp(target, "stderr") != 0;
	int fd = -1;

	if (file_wanted && (fd = open_file(target)) < 0)
		return -1;
	pthread_mutex_lock(&lock);
	snprintf(program, sizeof program, "%s", name);
	threshold = (int)level;
	if (file_fd >= 0)
		close(file_fd);
	file_fd = fd;
	free(file_path);
	file_path = file_wanted ? xstrdup(target) : NULL;
	to_syslog = syslog_wanted;
	if (to_syslog)
		openlog(program, LOG_PID, LOG_DAEMON);
	pthread_mutex_unlock(&lock);
	return 0;
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
static void follow_rename(void)
{
	struct stat ours, named;
	int fd;

	if (fstat(file_fd, &ours) == 0 && stat(file_path, &named) == 0 &&
	    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
		return;
	fd = open_file(file_path);
	if (fd < 0)
		return;
	close(file_fd);
	file_fd = fd;
}

static void write_line(enum log_level level, const struct buf *message)
{
	char time[CLOCK_RFC3339_SIZE];
	struct buf line = BUF_INIT;

	buf_addf(&line, "%s %s %s[%d]: ", clock_format(clock_wall_ms(), time), levels[level].name,
	         program, (int)getpid());
	buf_add(&line, message->data, message->len);
	buf_addc(&line, '\n');
	if (file_path)
		follow_rename();
	/* Where the log itself can't be written there is nobody left to tell. */
	(void)!fdio_write_all(file_path ? file_fd : STDERR_FILENO, line.data, line.len);
	buf_free(&line);
}

static void log_message(enum log_level level, const char *fmt, va_list ap)
{
	struct buf raw = BUF_INIT, clean = BUF_INIT;
	int saved = errno;

	if ((int)level > threshold)
		return;
	buf_vaddf(&raw, fmt, ap);
	buf_add_printable(&clean, buf_str(&raw), raw.len, 0);
	pthread_mutex_lock(&lock);
	if (to_syslog)
		syslog(levels[level].priority, "%s", buf_str(&clean));
	else
		write_line(level, &clean);
	pthread_mutex_unlock(&lock);
	buf_free(&raw);
	buf_free(&clean);
	errno = saved;
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
