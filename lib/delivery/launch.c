#include "lib/delivery/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/wake.h"

extern char **environ;

/* The log of a dispatcher that we started has no web server's log to go to, and nobody who
 * rotates it: at its start one that is larger than this makes room. */
#define LOG_LIMIT (1024 * 1024)

/* How long the lock may take to come free once its holder reads no wake-ups any more. */
#define LEAVING_MS 2000

static pid_t read_holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

/* A child that was forked and not executed yet keeps the lock of a dispatcher that was killed. */
static bool holder_is_alive(int fd)
{
	pid_t pid = read_holder(fd);

	return pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH;
}

/* A holder that reads no wake-ups is about to leave (or has just begun), one that was killed is
 * gone: wait for that, since an event that it does not see any more may be why we were started. */
static int lock_or_wait(const char *state_dir, int fd)
{
	int wake_fd = -1, tries = LEAVING_MS / 10;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return -1;
		if ((holder_is_alive(fd) && wake_is_read(state_dir, &wake_fd)) || tries-- == 0) {
			if (wake_fd >= 0)
				close(wake_fd);
			errno = EWOULDBLOCK;
			return -1;
		}
		usleep(10000);
	}
	return 0;
}

int launch_lock(const char *state_dir, pid_t *holder)
{
	char *path = xasprintf("%s/dispatch.lock", state_dir), text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), saved, len;

	free(path);
	*holder = 0;
	if (fd < 0)
		return -1;
	if (lock_or_wait(state_dir, fd)) {
		saved = errno;
		*holder = read_holder(fd);
		close(fd);
		errno = saved;
		return -1;
	}
	/* For people and for error messages; the lock itself is what counts. */
	len = snprintf(text, sizeof text, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len)
		log_warn("can't write the pid into %s/dispatch.lock: %s", state_dir, strerror(errno));
	return fd;
}

static int open_log(const char *state_dir)
{
	char *path = xasprintf("%s/dispatch.log", state_dir), *old = xasprintf("%s.1", path);
	struct stat st;
	int fd;

	if (stat(path, &st) == 0 && st.st_size > LOG_LIMIT)
		(void)rename(path, old);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	free(old);
	return fd;
}

static int spawn_detached(char *const argv[], int log_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int error;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (log_fd >= 0)
		posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawn_file_actions_addchdir_np(&actions, "/");
	error = posix_spawn(pid, argv[0], &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return error;
}

pid_t launch_dispatcher(const struct conf *conf)
{
	char *program = fdio_find_program("ntrvsta");
	char *argv[] = { program, (char *)"dispatch", (char *)"--config", conf->path,
	                 (char *)"--idle", (char *)LAUNCH_IDLE, NULL };
	int log_fd, error;
	pid_t pid = -1;

	if (!program) {
		log_error("can't start a dispatcher: no program `ntrvsta` beside this one or in %s", NTRVSTA_BINDIR);
		errno = ENOENT;
		return -1;
	}
	log_fd = open_log(conf->state_dir);
	error = spawn_detached(argv, log_fd, &pid);
	if (log_fd >= 0)
		close(log_fd);
	if (error)
		log_error("can't start a dispatcher: %s: %s", program, strerror(error));
	else
		log_info("dispatcher started pid=%d", (int)pid);
	free(program);
	errno = error;
	return error ? -1 : pid;
}

void launch_or_wake(const struct conf *conf)
{
	int fd = -1;

	if (!wake_send(conf->state_dir, &fd) && conf->dispatch_auto)
		launch_dispatcher(conf);
	if (fd >= 0)
		close(fd);
}
