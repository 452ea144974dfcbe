#include "lib/delivery/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

#define HANG_MS 60000 /* longer than any machine needs, shorter than a test run that hangs */
#define PROMPT_MS 5000 /* "at once", on a machine that is busy */
#define MIB (1024 * 1024)

static char path_env[] = "PATH=/usr/local/bin:/usr/bin:/bin";
static char *const plain_env[] = { path_env, NULL };

/* Stands in front of the C library's, to see what happens without it. */
static bool no_memfd;

int memfd_create(const char *name, unsigned int flags)
{
	if (!no_memfd)
		return (int)syscall(SYS_memfd_create, name, flags);
	errno = ENOSYS;
	return -1;
}

/* --- one run ------------------------------------------------------------------------------ */

static char *make_script(const char *name, mode_t mode, const char *content)
{
	char *path = xasprintf("%s/%s", tap_tmpdir(), name);

	unlink(path);
	if (fdio_create_file(path, mode, content, strlen(content)) < 0)
		CHECK(false, "can make %s", path);
	return path;
}

static struct child_spec spec_for(const char *path)
{
	struct child_spec spec = {
		.path = path, .cwd = tap_tmpdir(), .envp = plain_env, .input = "{}\n", .input_len = 3,
		.timeout_ms = HANG_MS, .kill_grace_ms = HANG_MS, .output_limit = 65536,
	};

	return spec;
}

static int poll_timeout(const struct child *c)
{
	int64_t deadline = child_deadline_us(c), now = clock_mono_us();

	if (deadline == INT64_MAX)
		return HANG_MS;
	return deadline <= now ? 0 : (int)((deadline - now) / 1000 + 1);
}

/* Until it has ended, as an owner does it. Then only child_free() is left. */
static void wait_for(struct child *c, struct child_exit *e)
{
	while (!child_advance(c, e)) {
		struct pollfd fds[] = {
			{ .fd = child_pidfd(c), .events = POLLIN },
			{ .fd = child_output_fd(c), .events = POLLIN },
		};

		if (poll(fds, 2, poll_timeout(c)) == 0 && child_deadline_us(c) == INT64_MAX) {
			printf("Bail out! a killed child did not end\n");
			exit(99);
		}
	}
	child_free(c);
}

static void run(const struct child_spec *spec, struct child_exit *e)
{
	struct child *c = child_spawn(spec);

	if (!c) {
		printf("Bail out! can't start %s: %s\n", spec->path, strerror(errno));
		exit(99);
	}
	wait_for(c, e);
}

static void run_script(const char *content, struct child_exit *e)
{
	char *path = make_script("script", 0755, content);
	struct child_spec spec = spec_for(path);

	run(&spec, e);
	free(path);
}

static void check_output(const char *script, const char *want, const char *promise)
{
	struct child_exit e;

	run_script(script, &e);
	CHECK_STR(buf_str(&e.output), want, "%s", promise);
	buf_free(&e.output);
}

/* Wait until process PID is gone: its end can't be awaited by those who are not its parent. */
static bool is_gone(pid_t pid)
{
	for (int64_t end = clock_mono_ms() + PROMPT_MS; clock_mono_ms() < end; usleep(2000)) {
		char path[64], state = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		f = fopen(path, "re");
		if (!f)
			return true;
		if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		fclose(f);
		if (state == 'Z') /* dead; its new parent has not looked yet */
			return true;
	}
	return false;
}

static pid_t first_number(const struct buf *output)
{
	return (pid_t)strtol(buf_str(output), NULL, 10);
}

/* --- how it ends -------------------------------------------------------------------------- */

static void test_ends(void)
{
	static const struct {
		const char *script;
		int code, signal;
	} rows[] = {
		{ "exit 0", 0, 0 }, { "exit 1", 1, 0 }, { "exit 75", 75, 0 }, { "exit 99", 99, 0 },
		{ "exit 100", 100, 0 }, { "exit 126", 126, 0 }, { "exit 127", 127, 0 },
		{ "exit 255", 255, 0 }, { "kill -TERM $$", -1, SIGTERM },
		{ "kill -SEGV $$", -1, SIGSEGV }, { "kill -KILL $$", -1, SIGKILL },
		{ "no-such-command", 127, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = xasprintf("#!/bin/sh\n%s\n", rows[i].script);
		struct child_exit e;

		run_script(text, &e);
		CHECK_INT(e.code, rows[i].code, "%s: the exit status", rows[i].script);
		CHECK_INT(e.signal, rows[i].signal, "%s: the signal", rows[i].script);
		CHECK(!e.timed_out, "%s: is no time-out", rows[i].script);
		buf_free(&e.output);
		free(text);
	}
}

static void test_duration(void)
{
	struct child_exit e;

	run_script("#!/bin/sh\nsleep 0.2\n", &e);
	CHECK(e.duration_ms >= 200 && e.duration_ms < HANG_MS, "the duration is measured");
	buf_free(&e.output);
}

static void check_spawn_error(const struct child_spec *spec, int want, const char *promise)
{
	struct child *c = child_spawn(spec);
	int error = errno;

	CHECK(!c, "%s: is not started", promise);
	CHECK_INT(error, want, "%s: has its errno", promise);
	child_free(c);
}

static void test_bad_scripts(void)
{
	static const struct {
		const char *name, *content;
		mode_t mode;
		int error;
	} rows[] = {
		{ "bad interpreter", "#!/no/such/interpreter\n", 0755, ENOENT },
		{ "interpreter that can't run", "#!/etc/passwd\n", 0755, EACCES },
		{ "no #! line", "exit 0\n", 0755, ENOEXEC },
		{ "empty file", "", 0755, ENOEXEC },
		{ "not executable", "#!/bin/sh\n", 0644, EACCES },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *path = make_script(rows[i].name, rows[i].mode, rows[i].content);
		struct child_spec spec = spec_for(path);

		check_spawn_error(&spec, rows[i].error, rows[i].name);
		free(path);
	}
}

static void test_spawn_errors(void)
{
	char *path = xasprintf("%s/missing", tap_tmpdir()), *long_env[2] = { NULL, NULL };
	struct child_spec spec = spec_for(path);

	check_spawn_error(&spec, ENOENT, "a missing script");
	spec.path = tap_tmpdir();
	check_spawn_error(&spec, EACCES, "a directory");
	spec.path = "/bin/true";
	spec.cwd = path;
	check_spawn_error(&spec, ENOENT, "a missing working directory");
	spec.cwd = "/";
	long_env[0] = xmalloc(4 * MIB);
	memset(long_env[0], 'x', 4 * MIB);
	long_env[0][4 * MIB - 1] = '\0';
	spec.envp = long_env;
	check_spawn_error(&spec, E2BIG, "too large an environment");
	free(long_env[0]);
	free(path);
}

/* --- what it finds ------------------------------------------------------------------------ */

static void test_surroundings(void)
{
	char *path = make_script("a script's \"path\"; $(id)", 0755,
	                         "#!/bin/sh\nprintf '%s|' \"$0\" \"$#\" \"$(pwd -P)\"\n");
	char *real = realpath(tap_tmpdir(), NULL), *want = xasprintf("%s|0|%s|", path, real);
	struct child_spec spec = spec_for(path);
	struct child_exit e;

	run(&spec, &e);
	CHECK_STR(buf_str(&e.output), want, "the path as it is, no argument, the working directory");
	buf_free(&e.output);
	free(want);
	free(real);
	free(path);
}

static void test_environment(void)
{
	char b[] = "B=2 with  spaces", a[] = "A=new\nline", empty[] = "EMPTY=";
	char *const env[] = { b, a, empty, NULL };
	struct child_spec spec = spec_for("/usr/bin/env");
	struct child_exit e;

	setenv("NTRVSTA_TEST_LEAK", "1", 1);
	spec.envp = env;
	run(&spec, &e);
	CHECK_STR(buf_str(&e.output), "B=2 with  spaces\nA=new\nline\nEMPTY=\n",
	          "the environment is the given one, whole and in order, and nothing else");
	buf_free(&e.output);
}

static void test_descriptors(void)
{
	int low[8];

	for (int i = 0; i < 8; i++)
		low[i] = open("/etc/passwd", O_RDONLY); /* not close-on-exec, on purpose */
	/* ls has one of its own: the folder that it lists. */
	check_output("#!/bin/sh\nexec ls /proc/self/fd\n", "0\n1\n2\n3\n", "descriptors 0, 1 and 2 only");
	check_output("#!/bin/sh\nfor i in 1 2; do readlink /proc/self/fd/$i | cut -d: -f1; done\n",
	             "pipe\npipe\n", "1 and 2 are a pipe");
	check_output("#!/bin/sh\n[ \"$(readlink /proc/$$/fd/1)\" = \"$(readlink /proc/$$/fd/2)\" ] "
	             "&& printf same\n", "same", "the same pipe");
	for (int i = 0; i < 8; i++)
		close(low[i]);
}

static void set_handlers(void (*handler)(int))
{
	static const int signals[] = { SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT };
	struct sigaction sa = { .sa_handler = handler };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

static void test_signals(void)
{
	sigset_t all, old;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	set_handlers(SIG_IGN);
	check_output("#!/bin/sh\nexec grep -E '^Sig(Blk|Ign)' /proc/self/status\n",
	             "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
	             "no signal is blocked or ignored, though its parent has it so");
	set_handlers(SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void test_session(void)
{
	check_output("#!/bin/sh\nread -r pid comm state parent group session tty rest < /proc/$$/stat\n"
	             "[ $pid = $group ] && printf 'group '\n[ $pid = $session ] && printf 'session '\n"
	             "printf \"tty $tty\"\n",
	             "group session tty 0", "a group and a session of its own, without a terminal");
}

static void test_core_limit(void)
{
	check_output("#!/bin/sh\nulimit -Sc\nulimit -Hc\n", "0\n0\n", "no core dumps");
}

/* --- input -------------------------------------------------------------------------------- */

static void check_input(const char *script, const void *input, size_t len, const char *want,
                        const char *promise)
{
	char *path = make_script("reader", 0755, script);
	struct child_spec spec = spec_for(path);
	struct child_exit e;

	spec.input = input;
	spec.input_len = len;
	run(&spec, &e);
	CHECK_STR(buf_str(&e.output), want, "%s%s", promise, no_memfd ? " (without memfd)" : "");
	buf_free(&e.output);
	free(path);
}

static void test_input(void)
{
	uint8_t *body = xmalloc(MIB), hash[SHA256_BYTES];
	char want[2 * SHA256_BYTES + 6];

	bytes_random(body, MIB);
	bytes_sha256(body, MIB, hash);
	bytes_to_hex(hash, sizeof(hash), want);
	strcat(want, "  -\n");
	check_input("#!/bin/sh\nexec sha256sum\n", body, MIB, want, "1 MiB of input arrives identical");
	check_input("#!/bin/sh\necho done\n", body, MIB, "done\n", "nor need it be read");
	check_input("#!/bin/sh\nexec <&-\necho done\n", body, MIB, "done\n", "or be kept open");
	check_input("#!/bin/sh\nhead -c 3 | wc -c\n", body, MIB, "3\n", "or be read whole");
	check_input("#!/bin/sh\nwc -c\n", body, 0, "0\n", "it may be empty");
	free(body);
}

static void test_input_is_file(void)
{
	check_input("#!/bin/sh\n[ -f /dev/stdin ] && cat /dev/stdin - /dev/stdin\n", "{}", 2, "{}{}{}",
	            "it is a file: seekable, and can be opened again");
	check_input("#!/bin/sh\n(printf X >&0) 2>/dev/null && echo written\n"
	            "(printf X 1<>/dev/stdin) 2>/dev/null && echo written\n"
	            "(: >/dev/stdin) 2>/dev/null && echo emptied\ncat\n",
	            "{}", 2, "{}", "it can't be changed, nor opened anew for writing with any effect");
}

static void test_without_memfd(void)
{
	no_memfd = true;
	test_input();
	check_input("#!/bin/sh\n[ -f /dev/stdin ] && cat\n", "{}", 2, "{}", "it is a file");
	check_input("#!/bin/sh\n(printf X >&0) 2>/dev/null && echo written\ncat\n", "{}", 2, "{}",
	            "it can't be changed through the descriptor");
	setenv("TMPDIR", "/nonexistent", 1);
	{
		struct child_spec spec = spec_for("/bin/true");

		check_spawn_error(&spec, ENOENT, "no room for the input");
	}
	unsetenv("TMPDIR");
	no_memfd = false;
}

static void run_without(unsigned closed, const struct child_spec *spec, struct child_exit *e)
{
	int saved[3];

	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		if (closed & (1u << i))
			close(i);
	}
	run(spec, e);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
}

static void test_without_std_descriptors(void)
{
	char *path = make_script("script", 0755, "#!/bin/sh\ncat\necho err >&2\nls /proc/self/fd\n");
	struct child_spec spec = spec_for(path);

	for (unsigned closed = 0; closed < 16; closed++) {
		struct child_exit e;

		no_memfd = closed >= 8;
		run_without(closed % 8, &spec, &e);
		CHECK_STR(buf_str(&e.output), "{}\nerr\n0\n1\n2\n3\n", "works where of 0, 1, 2 these are closed:%s%s%s%s",
		          closed & 1 ? " 0" : "", closed & 2 ? " 1" : "", closed & 4 ? " 2" : "",
		          no_memfd ? " (without memfd)" : "");
		buf_free(&e.output);
	}
	no_memfd = false;
	free(path);
}

/* --- output ------------------------------------------------------------------------------- */

static void run_limited(const char *content, size_t limit, struct child_exit *e)
{
	char *path = make_script("script", 0755, content);
	struct child_spec spec = spec_for(path);

	spec.output_limit = limit;
	run(&spec, e);
	free(path);
}

static void test_output_forms(void)
{
	struct child_exit e;

	check_output("#!/bin/sh\nprintf abc\n", "abc", "no newline at the end is no harm");
	check_output("#!/bin/sh\n", "", "nor is no output");
	run_limited("#!/bin/sh\nprintf 'a\\000\\377\\033[2J'\n", 100, &e);
	CHECK(e.output.len == 7 && memcmp(e.output.data, "a\0\377\033[2J", 7) == 0,
	      "binary output is kept as it is");
	buf_free(&e.output);
	run_limited("#!/bin/sh\nhead -c 1048576 /dev/zero | tr '\\0' x\n", 2 * MIB, &e);
	CHECK(e.output.len == MIB && !e.output_cut && memchr(e.output.data, '\n', MIB) == NULL,
	      "one line of 1 MiB is kept whole where the limit allows it");
	buf_free(&e.output);
	run_limited("#!/bin/sh\nhead -c 1048576 /dev/zero | tr '\\0' e >&2\necho done\n", 65536, &e);
	CHECK(e.output_cut, "1 MiB to standard error before standard output is cut, and no hang");
	CHECK(strncmp(buf_str(&e.output), "[... 983045 bytes cut ...]\neeee", 31) == 0,
	      "with a mark that says how much is missing");
	CHECK_STR(buf_str(&e.output) + e.output.len - 6, "edone\n", "and the end is kept");
	CHECK_INT((int64_t)e.output.len, 65536 + 27, "as many bytes as allowed, and the mark");
	buf_free(&e.output);
}

/* The last bytes of what seq wrote, whatever the limit: against the whole, kept in OUTPUT. */
static void test_output_limits(void)
{
	static const size_t limits[] = { 0, 1, 2, 4095, 4096, 65535, 65536, 65537, 100000, 108893,
	                                 108894, 108895, 1000000 };
	static const char script[] = "#!/bin/sh\nseq 1 20000\n";
	struct child_exit whole, e;

	run_limited(script, MIB, &whole);
	CHECK_INT((int64_t)whole.output.len, 108894, "the whole output");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		size_t kept = limits[i] < whole.output.len ? limits[i] : whole.output.len;
		struct buf want = BUF_INIT;

		if (kept < whole.output.len)
			buf_addf(&want, "[... %zu bytes cut ...]\n", whole.output.len - kept);
		buf_add(&want, whole.output.data + whole.output.len - kept, kept);
		run_limited(script, limits[i], &e);
		CHECK(strcmp(buf_str(&e.output), buf_str(&want)) == 0 &&
		      e.output_cut == (kept < whole.output.len),
		      "of 108894 bytes the last %zu are kept", limits[i]);
		buf_free(&e.output);
		buf_free(&want);
	}
	buf_free(&whole.output);
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void test_huge_output(void)
{
	struct child_exit e;
	long before = peak_kib();

	run_limited("#!/bin/sh\nhead -c 104857600 /dev/zero\necho end\n", 65536, &e);
	CHECK(strncmp(buf_str(&e.output), "[... 104792068 bytes cut ...]\n", 30) == 0,
	      "of 100 MiB the missing part is counted");
	CHECK(memcmp(e.output.data + e.output.len - 5, "\0end\n", 5) == 0, "the end is kept");
	CHECK(peak_kib() - before < 16 * 1024, "memory does not grow with the output (%ld KiB)",
	      peak_kib() - before);
	buf_free(&e.output);
}

static void test_early_close(void)
{
	struct child_exit e;
	char *path = make_script("script", 0755,
	                         "#!/bin/sh\necho first\nexec >&- 2>&-\nsleep 0.3\nexit 5\n");
	struct child_spec spec = spec_for(path);
	struct child *c = child_spawn(&spec);
	int advances = 0;

	while (!child_advance(c, &e)) {
		struct pollfd fds[] = {
			{ .fd = child_pidfd(c), .events = POLLIN },
			{ .fd = child_output_fd(c), .events = POLLIN },
		};

		advances++;
		poll(fds, 2, HANG_MS);
	}
	child_free(c);
	CHECK_STR(buf_str(&e.output), "first\n", "what was written before output was closed is kept");
	CHECK_INT(e.code, 5, "and the end is waited for");
	CHECK(advances < 10, "without spinning on the closed pipe (%d rounds)", advances);
	buf_free(&e.output);
	free(path);
}

/* --- time-outs ---------------------------------------------------------------------------- */

static void run_timed(const char *content, int64_t timeout_ms, int64_t grace_ms, struct child_exit *e)
{
	char *path = make_script("script", 0755, content);
	struct child_spec spec = spec_for(path);

	spec.timeout_ms = timeout_ms;
	spec.kill_grace_ms = grace_ms;
	run(&spec, e);
	free(path);
}

static void test_timeout(void)
{
	static const struct {
		const char *promise, *script;
		int64_t grace_ms;
		int code, signal;
		const char *output;
	} rows[] = {
		{ "SIGTERM ends it", "echo started; exec sleep 1000", HANG_MS, -1, SIGTERM, "started\n" },
		{ "it may tidy up", "trap 'echo tidy; exit 3' TERM; echo started; sleep 1000 & wait", HANG_MS, 3,
		  0, "started\ntidy\n" },
		{ "its children get SIGTERM too",
		  "trap : TERM; sh -c 'trap \"echo child; exit\" TERM; sleep 1000 & wait'; echo parent; exit 4",
		  HANG_MS, 4, 0, "child\nparent\n" },
		{ "SIGKILL follows", "trap '' TERM; echo started; while :; do sleep 1000; done", 50, -1,
		  SIGKILL, "started\n" },
		{ "a stopped one ends too", "printf partial; kill -STOP $$", 50, -1, SIGKILL, "partial" },
		{ "so does one that writes for ever", "exec cat /dev/zero", HANG_MS, -1, SIGTERM, NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = xasprintf("#!/bin/sh\n%s\n", rows[i].script);
		struct child_exit e;

		run_timed(text, 1000, rows[i].grace_ms, &e);
		CHECK(e.timed_out, "%s: noted as timed out", rows[i].promise);
		CHECK_INT(e.code, rows[i].code, "%s: the exit status", rows[i].promise);
		CHECK_INT(e.signal, rows[i].signal, "%s: the signal", rows[i].promise);
		CHECK(e.duration_ms >= 1000 && e.duration_ms < 1000 + PROMPT_MS, "%s: in time (%lld ms)",
		      rows[i].promise, (long long)e.duration_ms);
		if (rows[i].output)
			CHECK_STR(buf_str(&e.output), rows[i].output, "%s: the output is kept",
			          rows[i].promise);
		buf_free(&e.output);
		free(text);
	}
}

static void test_group_is_killed(void)
{
	struct child_exit e;

	run_timed("#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $!\nwait\n", 1000, 50, &e);
	CHECK_INT(e.signal, SIGKILL, "a group that ignores SIGTERM is killed");
	CHECK(is_gone(first_number(&e.output)), "all of it");
	buf_free(&e.output);
}

static void test_deadlines(void)
{
	char *path = make_script("script", 0755,
	                         "#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 1000; done\n");
	struct child_spec spec = spec_for(path);
	struct child_exit e;
	struct child *c;
	int64_t before = clock_mono_us(), first;
	bool ended;

	spec.timeout_ms = 600000;
	spec.kill_grace_ms = 100;
	c = child_spawn(&spec);
	first = child_deadline_us(c);
	CHECK(first >= before + 600000000 && first <= clock_mono_us() + 600000000,
	      "the first deadline is the time-out");
	{
		struct pollfd up = { .fd = child_output_fd(c), .events = POLLIN };

		poll(&up, 1, HANG_MS);
	}
	ended = child_advance(c, &e);
	CHECK(!ended && child_deadline_us(c) == first, "output does not move it");
	before = clock_mono_us();
	child_terminate(c);
	first = child_deadline_us(c);
	CHECK(first >= before + 100000 && first <= clock_mono_us() + 100000,
	      "the next one, on request, is the end of the grace period");
	child_terminate(c);
	CHECK_INT(child_deadline_us(c), first, "a second request does not prolong it");
	while (clock_mono_us() < first)
		poll(NULL, 0, 10);
	ended = child_advance(c, &e);
	if (!ended) {
		CHECK(child_deadline_us(c) == INT64_MAX, "after SIGKILL there is none");
		wait_for(c, &e);
	} else {
		child_free(c);
	}
	CHECK_INT(e.signal, SIGKILL, "it ends by SIGKILL");
	CHECK(!e.timed_out, "which is no time-out where it was asked for");
	buf_free(&e.output);
	free(path);
}

static void test_late_look(void)
{
	struct child_exit e;
	struct child_spec spec = spec_for("/bin/true");
	struct child *c;
	struct pollfd end = { .events = POLLIN };
	int64_t deadline;

	spec.timeout_ms = 1000;
	c = child_spawn(&spec);
	deadline = child_deadline_us(c);
	end.fd = child_pidfd(c);
	CHECK_INT(poll(&end, 1, HANG_MS), 1, "its descriptor tells the end");
	while (clock_mono_us() <= deadline)
		poll(NULL, 0, 10);
	CHECK(child_advance(c, &e), "looked at after its deadline");
	CHECK(!e.timed_out && e.code == 0, "it has not timed out where it ended before");
	child_free(c);
	buf_free(&e.output);
}

/* A pipe of 1 MiB, so that more can be in it than one child_advance() reads. */
static struct child *spawn_with_large_pipe(const struct child_spec *spec)
{
	struct child *c = child_spawn(spec);

	if (!c || fcntl(child_output_fd(c), F_SETPIPE_SZ, MIB) < 0) {
		printf("Bail out! no large pipe: %s\n", strerror(errno));
		exit(99);
	}
	return c;
}

static int bytes_waiting(const struct child *c)
{
	int n = -1;

	ioctl(child_output_fd(c), FIONREAD, &n);
	return n;
}

static void test_bounded_advance(void)
{
	char *path = make_script("script", 0755,
	                         "#!/bin/sh\nhead -c 1048576 /dev/zero\nkill -STOP $$\nsleep 1000\n");
	struct child_spec spec = spec_for(path);
	struct child *c = spawn_with_large_pipe(&spec);
	struct child_exit e;
	siginfo_t info;

	waitid(P_PID, (id_t)child_pid(c), &info, WSTOPPED | WNOWAIT);
	CHECK_INT(bytes_waiting(c), MIB, "much output waits");
	CHECK(!child_advance(c, &e), "the end is not there yet");
	CHECK(bytes_waiting(c) > 0 && bytes_waiting(c) < MIB,
	      "one round reads a part: one that writes for ever lets the loop go on");
	kill(child_pid(c), SIGCONT);
	child_terminate(c);
	wait_for(c, &e);
	CHECK_INT(e.signal, SIGTERM, "and can be ended");
	buf_free(&e.output);
	free(path);
}

static void test_rest_of_output(void)
{
	char *path = make_script("script", 0755, "#!/bin/sh\nexec head -c 1048576 /dev/zero\n");
	struct child_spec spec = spec_for(path);
	struct child *c;
	struct child_exit e;
	struct pollfd end = { .events = POLLIN };

	spec.output_limit = 2 * MIB;
	c = spawn_with_large_pipe(&spec);
	end.fd = child_pidfd(c);
	CHECK_INT(poll(&end, 1, HANG_MS), 1, "its descriptor tells the end");
	CHECK(child_advance(c, &e), "it is seen in one round");
	CHECK_INT((int64_t)e.output.len, MIB, "with all output that was in the pipe");
	child_free(c);
	buf_free(&e.output);
	free(path);
}

/* --- what it leaves behind ---------------------------------------------------------------- */

static void test_background(void)
{
	struct child_exit e;
	int64_t start = clock_mono_ms();

	run_script("#!/bin/sh\nsleep 1000 &\necho $!\nexit 7\n", &e);
	CHECK(clock_mono_ms() - start < PROMPT_MS, "a child in the background is not waited for");
	CHECK_INT(e.code, 7, "the status is the leader's");
	CHECK(is_gone(first_number(&e.output)), "the rest of the group is dead");
	buf_free(&e.output);
}

/* SCRIPT runs in a session of its own; the leader ends once it is there. Returns its pid. */
static pid_t run_with_stray(const char *script, struct child_exit *e)
{
	char *text = xasprintf("#!/bin/sh\nrm -f \"$0.pid\"\n"
	                       "setsid sh -c 'echo before; echo $$ >\"$0.new\"; mv \"$0.new\" \"$0.pid\"; "
	                       "%s' \"$0\" &\nwhile ! [ -e \"$0.pid\" ]; do sleep 0.01; done\n", script);
	char *path = xasprintf("%s/script.pid", tap_tmpdir());
	struct buf pid = BUF_INIT;
	pid_t stray;

	run_script(text, e);
	if (fdio_read_file(path, 64, &pid) < 0 || first_number(&pid) <= 1) {
		printf("Bail out! no stray process\n");
		exit(99);
	}
	unlink(path);
	free(path);
	free(text);
	stray = first_number(&pid);
	buf_free(&pid);
	return stray;
}

static void test_stray(void)
{
	struct child_exit e;
	int64_t start = clock_mono_ms();
	pid_t stray = run_with_stray("exec sleep 1000", &e);

	CHECK(clock_mono_ms() - start < PROMPT_MS, "one that left the group with the pipe is not waited for");
	CHECK_INT(e.code, 0, "it changes nothing of the outcome");
	CHECK_STR(buf_str(&e.output), "before\n", "what it wrote before is kept");
	CHECK(kill(stray, SIGKILL) == 0, "it is out of reach");
	buf_free(&e.output);
	start = clock_mono_ms();
	stray = run_with_stray("exec cat /dev/zero", &e);
	CHECK(clock_mono_ms() - start < PROMPT_MS, "nor is one that goes on writing");
	CHECK_INT(e.code, 0, "it changes nothing of the outcome either");
	CHECK(is_gone(stray), "it finds its pipe closed");
	buf_free(&e.output);
}

static void test_free_while_running(void)
{
	char *path = make_script("script", 0755, "#!/bin/sh\nsleep 1000 &\necho $!\nwait\n");
	struct child_spec spec = spec_for(path);
	struct child *c = child_spawn(&spec);
	struct pollfd output = { .fd = child_output_fd(c), .events = POLLIN };
	char text[32] = "";
	pid_t leader = child_pid(c);

	poll(&output, 1, HANG_MS);
	if (read(output.fd, text, sizeof(text) - 1) < 0)
		CHECK(false, "can read its pid");
	child_free(c);
	CHECK(kill(leader, 0) < 0 && errno == ESRCH, "a child that is given up is dead and reaped");
	CHECK(is_gone((pid_t)atoi(text)), "and so is its group");
	child_free(NULL);
	free(path);
}

static void test_lost_child(void)
{
	struct child_spec spec = spec_for("/bin/true");
	struct child *c = child_spawn(&spec);
	struct child_exit e;

	waitpid(child_pid(c), NULL, 0);
	CHECK(child_advance(c, &e), "a child that somebody else reaped has ended");
	CHECK(e.code == -1 && e.signal == 0, "nobody knows how");
	child_free(c);
	buf_free(&e.output);
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static void test_many_at_once(void)
{
	enum { N = 20 };
	struct child *c[N];
	char *path = make_script("script", 0755, "#!/bin/sh\nsleep 0.1\ncat\n");
	int right = 0;

	for (int i = 0; i < N; i++) {
		char input[16];
		struct child_spec spec = spec_for(path);

		spec.input_len = (size_t)snprintf(input, sizeof(input), "%d", i);
		spec.input = input;
		c[i] = child_spawn(&spec);
	}
	for (int i = N - 1; i >= 0; i--) {
		struct child_exit e;

		wait_for(c[i], &e);
		right += e.code == 0 && atoi(buf_str(&e.output)) == i;
		buf_free(&e.output);
	}
	CHECK_INT(right, N, "%d at once have their own input and output", N);
	free(path);
}

static void test_many_runs(void)
{
	struct child_spec spec = spec_for("/bin/true"), bad = spec_for("/nonexistent");
	int fds = count_fds(), right = 0;

	for (int i = 0; i < 1000; i++) {
		struct child_exit e;

		if (i % 10 == 0)
			child_free(child_spawn(&bad));
		run(&spec, &e);
		right += e.code == 0 && e.output.len == 0;
		buf_free(&e.output);
	}
	CHECK_INT(right, 1000, "1000 runs, one after the other");
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "leave no zombie");
	CHECK_INT(count_fds(), fds, "and no descriptor");
}

int main(void)
{
	struct rlimit core;

	/* What a web server may have left us with. */
	signal(SIGCHLD, SIG_IGN);
	getrlimit(RLIMIT_CORE, &core);
	core.rlim_cur = core.rlim_max;
	setrlimit(RLIMIT_CORE, &core);

	test_ends();
	test_duration();
	test_bad_scripts();
	test_spawn_errors();
	test_surroundings();
	test_environment();
	test_descriptors();
	test_signals();
	test_session();
	test_core_limit();
	test_input();
	test_input_is_file();
	test_without_memfd();
	test_without_std_descriptors();
	test_output_forms();
	test_output_limits();
	test_huge_output();
	test_early_close();
	test_timeout();
	test_group_is_killed();
	test_deadlines();
	test_late_look();
	test_bounded_advance();
	test_rest_of_output();
	test_background();
	test_stray();
	test_free_while_running();
	test_lost_child();
	test_many_at_once();
	test_many_runs();
	return tap_done();
}
