#include "lib/delivery/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/child.h"
#include "lib/delivery/landlock.h"
#include "tests/unit/tap.h"

#define HANG_MS 60000
#define NOBODY 65534
#define MIB ((uint64_t)1 << 20)

static char path_env[] = "PATH=/usr/local/bin:/usr/bin:/bin";
static char *const plain_env[] = { path_env, NULL };
static char root_name[] = "root", no_name[] = "", nobody_name[] = "nobody";

/* As much as any handler may have. Whoever runs the tests, they are who runs the scripts. */
static struct conf_sandbox open_sandbox(void)
{
	return (struct conf_sandbox){ .user = geteuid() == 0 ? root_name : no_name, .umask = 022, .network = true };
}

/* --- one run ------------------------------------------------------------------------------ */

/* What SCRIPT prints under SANDBOX, or why it could not be started. The caller frees it. */
static char *run(const struct conf_sandbox *sandbox, const char *script)
{
	static int number;
	char *path = xasprintf("%s/script-%d", tap_tmpdir(), number++);
	struct buf why = BUF_INIT;
	struct child_exit e = { .output = BUF_INIT };
	struct child_spec spec = {
		.path = path, .cwd = "/", .envp = plain_env, .input = "{}\n", .input_len = 3, .timeout_ms = HANG_MS,
		.kill_grace_ms = HANG_MS, .output_limit = 65536, .sandbox = sandbox, .why = &why,
	};
	struct child *c;

	unlink(path);
	if (fdio_create_file(path, 0755, script, strlen(script)) < 0)
		CHECK(false, "can make %s", path);
	c = child_spawn(&spec);
	while (c && !child_advance(c, &e)) {
		struct pollfd fd = { .fd = child_pidfd(c), .events = POLLIN };

		poll(&fd, 1, 100);
	}
	child_free(c);
	free(path);
	if (!c)
		return buf_detach(&why);
	buf_free(&why);
	return buf_detach(&e.output);
}

static void check_run(const struct conf_sandbox *sandbox, const char *script, const char *want, const char *promise)
{
	char *got = run(sandbox, script);

	CHECK_STR(got, want, "%s", promise);
	free(got);
}

/* --- limits ------------------------------------------------------------------------------- */

/* Soft and hard, as /proc has them. */
static void check_limit(const struct conf_sandbox *sandbox, const char *name, const char *want)
{
	char *script = xasprintf("#!/bin/sh\nsed -n 's/^%s  *\\([^ ]*\\)  *\\([^ ]*\\) .*/\\1 \\2/p' /proc/self/limits\n", name);

	check_run(sandbox, script, want, name);
	free(script);
}

static void test_limits(void)
{
	static const struct {
		enum conf_limit which;
		uint64_t value;
		const char *name, *seen;
	} rows[] = {
		{ CONF_CPU_TIME, 7, "Max cpu time", "7 12\n" },
		{ CONF_MEMORY, 64 * MIB, "Max data size", "67108864 67108864\n" },
		{ CONF_ADDRESS_SPACE, 512 * MIB, "Max address space", "536870912 536870912\n" },
		{ CONF_FILE_SIZE, 3 * MIB, "Max file size", "3145728 3145728\n" },
		{ CONF_OPEN_FILES, 32, "Max open files", "32 32\n" },
	};
	struct conf_sandbox all = open_sandbox();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct conf_sandbox one = open_sandbox();

		one.limits[rows[i].which] = all.limits[rows[i].which] = rows[i].value;
		check_limit(&one, rows[i].name, rows[i].seen);
	}
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_limit(&all, rows[i].name, rows[i].seen);
}

/* The kernel counts all that the user runs: a limit of 5 alone might keep a script from its first command. */
static void test_processes(void)
{
	struct conf_sandbox s = open_sandbox();
	char *got;
	long limit;

	s.limits[CONF_PROCESSES] = 5;
	got = run(&s, "#!/bin/sh\nsed -n 's/^Max processes  *\\([0-9]*\\).*/\\1/p' /proc/self/limits\n");
	limit = strtol(got, NULL, 10);
	CHECK(limit > 5 && limit < 1000000, "processes: on top of those that run already: %s", got);
	free(got);
}

static void test_own_limits(void)
{
	struct rlimit old, low = { 100, 100 };
	struct conf_sandbox s = open_sandbox();
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) { /* as it can't be raised again */
		s.limits[CONF_OPEN_FILES] = 1000;
		_exit(setrlimit(RLIMIT_NOFILE, &low) == 0 &&
		      strcmp(run(&s, "#!/bin/sh\nulimit -Sn; ulimit -Hn\n"), "100\n100\n") == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0, "a lower limit of the dispatcher's is not lifted, also by root");
	getrlimit(RLIMIT_NOFILE, &old);
	s.limits[CONF_OPEN_FILES] = 20;
	free(run(&s, "#!/bin/sh\n"));
	getrlimit(RLIMIT_NOFILE, &low);
	CHECK(low.rlim_cur == old.rlim_cur && low.rlim_max == old.rlim_max, "the dispatcher keeps its own limits");
}

/* --- rights ------------------------------------------------------------------------------- */

static void test_small_things(void)
{
	static const char umask_script[] = "#!/bin/sh\numask\n";
	static const char privs_script[] = "#!/bin/sh\ngrep NoNewPrivs /proc/self/status\n";
	struct conf_sandbox s = open_sandbox();
	mode_t own = umask(022);

	check_run(&s, privs_script, "NoNewPrivs:\t0\n", "no_new_privs off");
	s.no_new_privs = true;
	check_run(&s, privs_script, "NoNewPrivs:\t1\n", "no_new_privs on");
	s.umask = 077;
	check_run(&s, umask_script, "0077\n", "umask 077");
	s.umask = 0;
	check_run(&s, umask_script, "0000\n", "umask 000");
	CHECK_INT(umask(own), 022, "the dispatcher's umask is not changed");
	check_run(&s, "#!/bin/sh\ncat /proc/self/oom_score_adj\n", "500\n", "ends first where memory runs out");
	CHECK_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0, "the dispatcher may still start what has more rights");
}

static void test_errno_of_the_script(void)
{
	struct conf_sandbox s = open_sandbox();
	struct buf why = BUF_INIT;
	struct child_spec spec = { .path = "/nonexistent", .cwd = "/", .envp = plain_env, .input = "", .sandbox = &s,
	                           .why = &why };

	CHECK(!child_spawn(&spec) && errno == ENOENT && why.len == 0, "execve()'s errno is the script's own");
	spec.path = "/bin/true";
	spec.cwd = "/nonexistent";
	CHECK(!child_spawn(&spec) && errno == ENOENT, "a missing folder has its errno");
	CHECK_STR(buf_str(&why), "its folder: No such file or directory", "and is named");
	buf_free(&why);
}

/* --- the user ----------------------------------------------------------------------------- */

static void check_refused(const struct conf_sandbox *s, const char *cwd, const char *want)
{
	struct buf why = BUF_INIT;

	CHECK(sandbox_try(s, cwd, &why) < 0, "refused:");
	CHECK_STR(buf_str(&why), want, "with the reason");
	buf_free(&why);
}

static void test_user(void)
{
	struct conf_sandbox s = open_sandbox();
	struct stat st;

	if (geteuid() != 0 || stat(tap_tmpdir(), &st) < 0) {
		CHECK(true, "another user # SKIP not root");
		return;
	}
	chmod(tap_tmpdir(), 0711);
	s.user = nobody_name;
	check_run(&s, "#!/bin/sh\nid -u; id -ru; id -g; id -G; grep CapEff /proc/self/status\n",
	          "65534\n65534\n65534\n65534\nCapEff:\t0000000000000000\n", "user: real, effective, groups, no capability");
	check_run(&s, "#!/bin/sh\ncat /dev/stdin >/dev/stdout; echo err >/dev/stderr\n", "{}\nerr\n",
	          "who can open the standard descriptors anew");
	CHECK_INT(geteuid(), 0, "the dispatcher stays root");
	s.network = false;
	check_run(&s, "#!/bin/sh\nid -u; grep -c : /proc/self/net/dev\n", "65534\n1\n", "user, and no network");
	chmod(tap_tmpdir(), 0700);
	s.network = true;
	check_refused(&s, tap_tmpdir(), "its folder: Permission denied");
	chmod(tap_tmpdir(), st.st_mode & 07777);
}

static void test_refused_users(void)
{
	struct conf_sandbox s = open_sandbox();
	char missing[] = "no-such-user";

	s.user = missing;
	check_refused(&s, "/", "user = no-such-user: there is no such user");
	s.user = no_name;
	if (geteuid() == 0) {
		check_refused(&s, "/", "the dispatcher runs as root, and root runs no handler by itself: set user in [handlers]");
		if (seteuid(NOBODY) < 0)
			return;
	}
	s.user = root_name;
	check_refused(&s, "/", "user = root: only root can run handlers as another user");
	if (getuid() == 0 && seteuid(0) < 0)
		exit(99);
}

/* --- files -------------------------------------------------------------------------------- */

static void test_writable(void)
{
	char *in = xasprintf("%s/in", tap_tmpdir()), *out = xasprintf("%s/out", tap_tmpdir()), *script;
	char *file = xasprintf("%s/out/single", tap_tmpdir());
	char *paths[] = { in, file, NULL }, *none[] = { NULL };
	struct conf_sandbox s = open_sandbox();

	if (landlock_abi() < LANDLOCK_ABI_TRUNCATE) {
		CHECK(true, "Landlock # SKIP the kernel has none, or an old one");
		goto done;
	}
	mkdir(in, 0755);
	mkdir(out, 0755);
	CHECK(fdio_create_file(file, 0644, "x", 1) == 0, "can make a file");
	s.no_new_privs = true;
	s.writable = paths;
	/* Each line prints its number where the shell can do it. */
	script = xasprintf("#!/bin/sh\nexec 2>/dev/null\n"
	                   "(echo x >%1$s/a) && echo 1\n(mkdir %1$s/d && mv %1$s/a %1$s/d/b && rm -r %1$s/d) && echo 2\n"
	                   "(echo y >>%2$s/single && truncate -s 1 %2$s/single) && echo 3\n(echo x >/dev/null) && echo 4\n"
	                   "echo 5 >/dev/stdout\ncat %2$s/single /etc/hostname >/dev/null && echo 6\n"
	                   "(echo x >%2$s/a) && echo 7\nmkdir %2$s/d && echo 8\nrm %2$s/single && echo 9\n"
	                   "mv %2$s/single %1$s/ && echo 10\nln -s x %2$s/l && echo 11\ntruncate -s 0 \"$0\" && echo 12\n"
	                   "(echo x >>/dev/shm/ntrvsta-test-$$) && echo 13\nmkfifo %2$s/f && echo 14\n", in, out);
	check_run(&s, script, "1\n2\n3\n4\n5\n6\n", "what is listed, and /dev/null, can be changed, all else only read");
	s.writable = none;
	check_run(&s, script, "4\n5\n6\n", "none: nothing can be changed");
	s.writable = NULL;
	check_run(&s, script, "1\n2\n3\n4\n5\n6\n7\n8\n9\n11\n12\n13\n14\n", "all: that is no bound");
	free(run(&s, "#!/bin/sh\nrm -f /dev/shm/ntrvsta-test-*\n"));
	free(script);
	paths[0] = xasprintf("%s/missing", tap_tmpdir());
	script = xasprintf("writable: %s: No such file or directory", paths[0]);
	s.writable = paths;
	check_refused(&s, "/", script);
	free(script);
	free(paths[0]);
done:
	free(in);
	free(out);
	free(file);
}

/* --- the network, and what the kernel does not give ---------------------------------------- */

/* Errors of these system calls from now on, in this process and its children. */
static void refuse_call(long number, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof code[0], code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(99);
}

/* Run BODY in a process of its own, as what it does can't be undone, and return what it wrote. */
static char *apart(void (*body)(int fd))
{
	struct buf got = BUF_INIT;
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		exit(99);
	if (pid == 0) {
		body(pipe_fd[1]);
		_exit(0);
	}
	close(pipe_fd[1]);
	if (fdio_read_all(pipe_fd[0], 65536, &got) < 0)
		exit(99);
	close(pipe_fd[0]);
	waitpid(pid, NULL, 0);
	buf_str(&got);
	return buf_detach(&got);
}

static void try_to(int fd, const struct conf_sandbox *s)
{
	struct buf why = BUF_INIT;

	if (sandbox_try(s, "/", &why) == 0)
		buf_adds(&why, "fine");
	fdio_write_all(fd, why.data, why.len);
}

static void without_namespaces(int fd)
{
	struct conf_sandbox s = open_sandbox();

	s.network = false;
	refuse_call(SYS_unshare, EPERM);
	try_to(fd, &s);
}

static void without_landlock(int fd)
{
	char *none[] = { NULL };
	struct conf_sandbox s = open_sandbox();

	s.no_new_privs = true;
	s.writable = none;
	refuse_call(SYS_landlock_create_ruleset, ENOSYS);
	try_to(fd, &s);
}

static void without_limits(int fd)
{
	struct conf_sandbox s = open_sandbox();

	s.limits[CONF_MEMORY] = 64 * MIB;
	refuse_call(SYS_prctl, EINVAL);
	s.no_new_privs = true;
	try_to(fd, &s);
}

static void without_close_range(int fd)
{
	struct conf_sandbox s = open_sandbox();
	char *got;

	for (int i = 0; i < 8; i++)
		if (open("/etc/passwd", O_RDONLY) < 0) /* not close-on-exec, on purpose */
			_exit(99);
	refuse_call(SYS_close_range, ENOSYS);
	got = run(&s, "#!/bin/sh\nexec ls /proc/self/fd\n");
	fdio_write_all(fd, got, strlen(got));
}

static void test_refusing_kernel(void)
{
	static const struct {
		void (*body)(int fd);
		const char *want;
	} rows[] = {
		{ without_namespaces, "network = off: no network namespace to be had from this kernel: Operation not permitted" },
		{ without_landlock, "writable: the kernel has no Landlock (Linux 5.13), or it was switched off at boot" },
		{ without_limits, "no_new_privs: Invalid argument" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *got = apart(rows[i].body);

		CHECK_STR(got, rows[i].want, "what the kernel refuses is named, and no handler is started");
		free(got);
	}
	{
		char *got = apart(without_close_range);

		CHECK_STR(got, "0\n1\n2\n3\n", "without close_range() descriptors are closed one by one"); /* 3 is ls's own */
		free(got);
	}
}

static const char network_script[] = "#!/bin/sh\ngrep -c : /proc/self/net/dev; id -u; id -g\n";

static void offline(int fd, bool dumpable)
{
	struct conf_sandbox s = open_sandbox();
	char *got;

	if (geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
		_exit(99);
	s.user = no_name;
	s.network = false;
	prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
	got = run(&s, network_script);
	fdio_write_all(fd, got, strlen(got));
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != dumpable)
		fdio_write_all(fd, "whether it is dumpable was changed", 34);
}

static void offline_plain(int fd)
{
	offline(fd, true);
}

static void offline_private(int fd)
{
	offline(fd, false);
}

static void test_network(void)
{
	unsigned uid = geteuid() ? geteuid() : NOBODY, gid = geteuid() ? getegid() : NOBODY;
	char *want = xasprintf("1\n%u\n%u\n", uid, gid), *got;
	struct conf_sandbox s = open_sandbox();

	if (chmod(tap_tmpdir(), 0777) < 0)
		exit(99);
	got = apart(offline_plain);
	if (strstr(got, "no network namespace")) {
		CHECK(true, "user namespaces # SKIP not to be had");
	} else {
		CHECK_STR(got, want, "no network for who is not root: one device, the same ids");
		free(got);
		got = apart(offline_private);
		CHECK_STR(got, want, "also from a dispatcher whose memory is closed to others");
	}
	free(got);
	free(want);
	if (geteuid() == 0) {
		s.network = false;
		check_run(&s, network_script, "1\n0\n0\n", "no network for root");
	}
	s.network = true;
	got = run(&s, "#!/bin/sh\nreadlink /proc/self/ns/net\n");
	want = xcalloc(1, 64);
	CHECK(readlink("/proc/self/ns/net", want, 63) > 0 && strncmp(want, got, strlen(want)) == 0, "the network as it is");
	free(want);
	free(got);
}

int main(void)
{
	test_limits();
	test_processes();
	test_own_limits();
	test_small_things();
	test_errno_of_the_script();
	test_refused_users();
	test_user();
	test_writable();
	test_refusing_kernel();
	test_network();
	return tap_done();
}
