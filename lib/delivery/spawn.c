#include "lib/delivery/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sanitizers keep books in the memory that the child shares, of calls from which it never returns. */
#if defined(__has_attribute) && __has_attribute(disable_sanitizer_instrumentation)
#define IN_CHILD __attribute__((disable_sanitizer_instrumentation))
#else
#define IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

#define STACK_BYTES 65536
#define SIGNAL_SET_BYTES (_NSIG / 8) /* of the kernel; the C library's sigset_t is larger */
#define INHERITED_MAX 1024
#define OOM_SCORE "500"              /* of -1000 to 1000: half of the machine's memory counts on top */

/* Zeroed, the kernel's struct sigaction for the default; at least as long as any architecture's. */
static const char default_action[64];
static const char no_signals[SIGNAL_SET_BYTES];

struct child_start {
	const struct spawn *spawn;
	/* What the child leaves behind where it fails. */
	size_t step;
	int error;
};

/* --- the child: system calls only, errno is the parent's ------------------------------------ */

/* Not sigaction(), which leaves the C library's own signals alone. A handler of the dispatcher's must not
 * run in its memory, and an ignored signal would stay ignored. KILL and STOP can't be set. */
IN_CHILD static long reset_signals(const struct spawn *s)
{
	(void)s;
	for (int sig = 1; sig < _NSIG; sig++)
		syscall(SYS_rt_sigaction, sig, default_action, NULL, SIGNAL_SET_BYTES);
	return 0;
}

IN_CHILD static long own_session(const struct spawn *s)
{
	(void)s;
	return syscall(SYS_setsid);
}

/* A descriptor that is in its place already just has to stay open. */
IN_CHILD static long put_descriptor(int from, int to)
{
	if (from == to)
		return syscall(SYS_fcntl, to, F_SETFD, 0);
	return syscall(SYS_dup3, from, to, 0);
}

/* Right also where INPUT or OUTPUT, the pipe's write end, are among 0, 1 and 2: OUTPUT is never 0,
 * as the read end was there first. */
IN_CHILD static long set_descriptors(const struct spawn *s)
{
	if (put_descriptor(s->input, STDIN_FILENO) < 0 || put_descriptor(s->output, STDOUT_FILENO) < 0)
		return -1;
	return put_descriptor(STDOUT_FILENO, STDERR_FILENO);
}

IN_CHILD static long write_file(const char *path, const char *text)
{
	size_t len = 0;
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return -1;
	while (text[len])
		len++;
	n = syscall(SYS_write, fd, text, len);
	syscall(SYS_close, fd);
	return n < 0 ? -1 : 0;
}

/* Where memory runs out, the kernel ends handlers first. It has a place for this between vfork() and
 * execve(). Not a promise: one that was raised higher by who started us stays, and that is an error here. */
IN_CHILD static long raise_oom_score(const struct spawn *s)
{
	if (s->sandbox)
		write_file("/proc/self/oom_score_adj", OOM_SCORE);
	return 0;
}

/* A process that is not dumpable can't write its own maps; and that is a property of the shared memory. */
IN_CHILD static long map_user(const struct sandbox *b)
{
	long dumpable = syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0), result;

	if (dumpable != 1)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	result = write_file("/proc/self/uid_map", b->uid_map);
	if (result == 0)
		result = write_file("/proc/self/setgroups", "deny");
	if (result == 0)
		result = write_file("/proc/self/gid_map", b->gid_map);
	if (dumpable == 0)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	return result;
}

IN_CHILD static long leave_network(const struct spawn *s)
{
	if (!s->sandbox || s->sandbox->network == SANDBOX_NETWORK_SHARED)
		return 0;
	if (s->sandbox->network == SANDBOX_NETWORK_OWN)
		return syscall(SYS_unshare, CLONE_NEWNET);
	if (syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -1;
	return map_user(s->sandbox);
}

/* Not setresuid() and the like, which the C library does in every thread. The kernel makes the memory, which
 * is shared, not dumpable by it: that is root's dispatcher, which can do without. */
IN_CHILD static long change_user(const struct spawn *s)
{
	const struct sandbox *b = s->sandbox;

	if (!b || !b->change_user)
		return 0;
	if (syscall(SYS_setgroups, b->ngroups, b->groups) < 0 || syscall(SYS_setresgid, b->gid, b->gid, b->gid) < 0)
		return -1;
	return syscall(SYS_setresuid, b->uid, b->uid, b->uid);
}

IN_CHILD static long enter_folder(const struct spawn *s)
{
	return syscall(SYS_chdir, s->cwd);
}

IN_CHILD static long set_umask(const struct spawn *s)
{
	if (s->sandbox)
		syscall(SYS_umask, s->sandbox->conf->umask);
	return 0;
}

IN_CHILD static long give_up_privileges(const struct spawn *s)
{
	if (!s->sandbox || !s->sandbox->conf->no_new_privs)
		return 0;
	return syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

IN_CHILD static long restrict_files(const struct spawn *s)
{
	if (!s->sandbox || s->sandbox->landlock_fd < 0)
		return 0;
	return syscall(SYS_landlock_restrict_self, s->sandbox->landlock_fd, 0);
}

/* Ours are close-on-exec: this is for what was inherited by accident. Old kernels, and containers that know
 * the system call no better, want it one by one. */
IN_CHILD static long close_others(const struct spawn *s)
{
	(void)s;
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) < 0) {
		for (int fd = STDERR_FILENO + 1; fd < INHERITED_MAX; fd++)
			syscall(SYS_close, fd);
	}
	return 0;
}

IN_CHILD static long set_limits(const struct spawn *s)
{
	for (size_t i = 0; s->sandbox && i < s->sandbox->nlimits; i++) {
		const struct sandbox_limit *limit = &s->sandbox->limits[i];

		if (syscall(SYS_prlimit64, 0, limit->resource, &limit->value, NULL) < 0)
			return -1;
	}
	return 0;
}

IN_CHILD static long execute(const struct spawn *s)
{
	char *const argv[] = { (char *)s->path, NULL };

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, no_signals, NULL, SIGNAL_SET_BYTES);
	if (!s->path)
		syscall(SYS_exit_group, 0);
	return syscall(SYS_execve, s->path, argv, s->envp);
}

/* In this order: what opens files comes before that is forbidden, what only root may before root is left, and
 * limits last, where nothing but execve() is bound by them. */
static const struct {
	long (*take)(const struct spawn *s);
	const char *name; /* for people, where it fails */
} steps[] = {
	{ reset_signals, "signals" },
	{ own_session, "a session of its own" },
	{ set_descriptors, "standard input and output" },
	{ raise_oom_score, "oom_score_adj" },
	{ leave_network, "network = off: no network namespace to be had from this kernel" },
	{ change_user, "user" },
	{ enter_folder, "its folder" },
	{ set_umask, "umask" },
	{ give_up_privileges, "no_new_privs" },
	{ restrict_files, "writable: Landlock" },
	{ close_others, "closing descriptors" },
	{ set_limits, "limits" },
	{ execute, NULL },
};

IN_CHILD static int run_child(void *arg)
{
	struct child_start *start = arg;

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		if (steps[i].take(start->spawn) >= 0)
			continue;
		start->error = errno;
		start->step = i;
		break;
	}
	return 127;
}

/* --- the parent ----------------------------------------------------------------------------- */

/* One for all: who starts a child waits until it has left the stack. */
static _Alignas(16) char stack[STACK_BYTES];

/* Without a signal in between, whose handler would run in the child, on the child's stack. */
static pid_t clone_blocked(struct child_start *start, int *pidfd)
{
	char all[SIGNAL_SET_BYTES], old[SIGNAL_SET_BYTES];
	pid_t pid;
	int error;

	memset(all, 0xff, sizeof all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, all, old, SIGNAL_SET_BYTES);
	pid = clone(run_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, start, pidfd);
	error = errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, SIGNAL_SET_BYTES);
	errno = error;
	return pid;
}

pid_t spawn_child(const struct spawn *s, int *pidfd, struct buf *why)
{
	struct child_start start = { .spawn = s };
	pid_t pid = clone_blocked(&start, pidfd);

	if (pid < 0) {
		int error = errno;

		*pidfd = -1;
		buf_addf(why, "no process to be had: %s", strerror(error));
		errno = error;
		return -1;
	}
	if (start.error == 0)
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(*pidfd);
	*pidfd = -1;
	if (steps[start.step].name)
		buf_addf(why, "%s: %s", steps[start.step].name, strerror(start.error));
	errno = start.error;
	return -1;
}
