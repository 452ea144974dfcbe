/* The program's own log: one line an event, "TIME LEVEL PROGRAM[PID]: message key=value ...".
 *
 * Usable from any thread and before log_open() (then: info and up, to standard error). Every
 * message is made printable, so that nothing in an event can forge a line. Messages never hold
 * a secret, an expected signature or a part of either. */
#ifndef NTRVSTA_BASE_LOG_H
#define NTRVSTA_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* PROGRAM is the name in each line. TARGET is "stderr", "syslog" or a file's path, which is
 * opened again when it was moved away. Both are copied. A file that can't be opened: -1 with
 * errno, and the log stays where it was. */
int log_open(const char *program, enum log_level level, const char *target);

/* The same for what log_security() writes: refusals of calls, a few lines a second at most. */
int log_open_security(const char *target);

int log_level_parse(const char *name, enum log_level *out); /* "error" "warn" "info" "debug" */

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_security(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
