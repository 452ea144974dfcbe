#include "lib/delivery/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/sandbox.h"
#include "lib/delivery/spawn.h"

#define READ_BYTES 65536
#define READS_PER_ADVANCE 8 /* so that a child that writes for ever does not hold the loop */

/* The last LIMIT of all bytes that were added. */
struct tail {
	char *data;
	size_t cap;   /* grows up to LIMIT */
	size_t limit;
	size_t len;   /* bytes held, at most CAP */
	size_t start; /* of the oldest byte; 0 until LIMIT bytes are held */
	uint64_t total;
};

enum stage { STAGE_RUNNING, STAGE_TERMINATED, STAGE_KILLED };

struct child {
	pid_t pid; /* leader of its group and session; not reused before it is reaped */
	int pidfd;
	int output_fd;
	enum stage stage;
	bool timed_out;
	bool reaped; /* then the numbers may be somebody else's */
	int64_t started_us, deadline_us, kill_grace_ms;
	struct tail tail;
};

/* --- the output that is kept -------------------------------------------------------------- */

static void tail_reserve(struct tail *t, size_t more)
{
	size_t want = t->len + more < t->limit ? t->len + more : t->limit;

	if (want <= t->cap)
		return;
	want = want < t->cap * 2 ? t->cap * 2 : want;
	t->cap = want < t->limit ? want : t->limit;
	t->data = xrealloc(t->data, t->cap);
}

static void tail_add(struct tail *t, const char *data, size_t len)
{
	t->total += len;
	if (len > t->limit) {
		data += len - t->limit;
		len = t->limit;
	}
	tail_reserve(t, len);
	while (len > 0) {
		size_t at = t->len < t->cap ? t->len : t->start;
		size_t n = len < t->cap - at ? len : t->cap - at;

		memcpy(t->data + at, data, n);
		if (t->len < t->cap)
			t->len += n;
		else
			t->start = (t->start + n) % t->cap;
		data += n;
		len -= n;
	}
}

/* Move what is kept to OUT, behind a mark where something is missing. Was it cut? */
static bool tail_take(struct tail *t, struct buf *out)
{
	uint64_t cut = t->total - t->len;

	*out = (struct buf)BUF_INIT;
	if (cut > 0)
		buf_addf(out, "[... %llu bytes cut ...]\n", (unsigned long long)cut);
	if (t->len > 0) {
		buf_add(out, t->data + t->start, t->len - t->start);
		buf_add(out, t->data, t->start);
	}
	free(t->data);
	t->data = NULL;
	t->cap = t->len = 0;
	return cut > 0;
}

/* --- starting ----------------------------------------------------------------------------- */

/* What a child inherits. For the life of this process:
 * it does not dump core either, as its memory holds events and secrets. And where the program
 * that started us ignores SIGCHLD, the kernel would reap children before we can ask them. */
static void prepare_once(void)
{
	static bool done;
	const struct rlimit none = { 0, 0 };
	struct sigaction sa;

	if (done)
		return;
	done = true;
	setrlimit(RLIMIT_CORE, &none);
	if (sigaction(SIGCHLD, NULL, &sa) == 0 &&
	    (sa.sa_handler == SIG_IGN || (sa.sa_flags & SA_NOCLDWAIT) != 0))
		signal(SIGCHLD, SIG_DFL);
}

static void close_fd(int *fd)
{
	int error = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = error;
}

/* A temporary file without a name, for kernels and sandboxes without memfd_create(). READER is
 * opened apart, so that nothing can be written through it. */
static int open_unlinked(int *reader)
{
	const char *dir = getenv("TMPDIR");
	char *path = xasprintf("%s/ntrvsta-input.XXXXXX", dir && *dir == '/' ? dir : "/tmp");
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd >= 0) {
		*reader = open(path, O_RDONLY | O_CLOEXEC);
		if (unlink(path) < 0 || *reader < 0)
			close_fd(&fd);
	}
	free(path);
	return fd;
}

/* DATA as a file to read from its start. It belongs to this run alone; and nothing that the child
 * leaves behind can change it, as a memfd is sealed and an unlinked file is open for reading. */
static int open_input(const void *data, size_t len)
{
	int reader = -1;
	int fd = memfd_create("event", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		fd = open_unlinked(&reader);
	if (fd < 0 || fdio_write_all(fd, data, len) < 0)
		goto fail;
	if (reader >= 0) {
		close_fd(&fd);
		return reader;
	}
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		goto fail;
	return fd;
fail:
	close_fd(&fd);
	close_fd(&reader);
	return -1;
}

/* The scripts of another user open /dev/stdin and /dev/stderr, too. */
static int give_to_user(const struct sandbox *sandbox, int input, int output)
{
	if (!sandbox->change_user)
		return 0;
	return fchown(input, sandbox->uid, sandbox->gid) < 0 ? -1 : fchown(output, sandbox->uid, sandbox->gid);
}

/* Into C. -1 with errno. */
static int spawn(struct child *c, const struct child_spec *spec, int input, int output)
{
	struct sandbox sandbox = { .landlock_fd = -1 };
	struct spawn s = {
		.path = spec->path, .cwd = spec->cwd, .envp = spec->envp, .input = input, .output = output,
		.sandbox = spec->sandbox ? &sandbox : NULL,
	};
	struct buf why = BUF_INIT;
	int error = EPERM;

	if (!spec->sandbox || sandbox_prepare(spec->sandbox, &sandbox, &why) == 0) {
		if (give_to_user(&sandbox, input, output) == 0)
			c->pid = spawn_child(&s, &c->pidfd, &why);
		error = errno;
	}
	if (c->pid < 0 && spec->why)
		buf_add(spec->why, buf_str(&why), why.len);
	buf_free(&why);
	sandbox_release(&sandbox);
	errno = error;
	return c->pid < 0 ? -1 : 0;
}

static struct child *child_new(const struct child_spec *spec)
{
	struct child *c = xcalloc(1, sizeof(*c));

	c->pid = -1;
	c->pidfd = c->output_fd = -1;
	c->kill_grace_ms = spec->kill_grace_ms;
	c->tail.limit = spec->output_limit;
	return c;
}

struct child *child_spawn(const struct child_spec *spec)
{
	struct child *c = child_new(spec);
	int output[2] = { -1, -1 };
	int input, error;

	prepare_once();
	input = open_input(spec->input, spec->input_len);
	if (input < 0 || pipe2(output, O_CLOEXEC) < 0)
		goto fail;
	c->output_fd = output[0];
	if (fdio_set_nonblock(output[0]) < 0)
		goto fail;
	c->started_us = clock_mono_us();
	c->deadline_us = c->started_us + spec->timeout_ms * 1000;
	if (spawn(c, spec, input, output[1]) < 0)
		goto fail;
	close_fd(&input);
	close_fd(&output[1]);
	return c;
fail:
	error = errno;
	close_fd(&input);
	close_fd(&output[1]);
	child_free(c);
	errno = error;
	return NULL;
}

/* --- running ------------------------------------------------------------------------------ */

int child_pid(const struct child *c)
{
	return c->pid;
}

int child_pidfd(const struct child *c)
{
	return c->pidfd;
}

int child_output_fd(const struct child *c)
{
	return c->output_fd;
}

int64_t child_deadline_us(const struct child *c)
{
	return c->stage == STAGE_KILLED ? INT64_MAX : c->deadline_us;
}

static void signal_group(const struct child *c, int sig)
{
	if (!c->reaped)
		kill(-c->pid, sig);
}

/* Read at most MAX bytes of what is in the pipe, in one go. False where there is no more for now. */
static bool read_output(struct child *c, size_t max)
{
	char chunk[READ_BYTES];
	ssize_t n;

	do {
		n = read(c->output_fd, chunk, max < sizeof(chunk) ? max : sizeof(chunk));
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		tail_add(&c->tail, chunk, (size_t)n);
		return true;
	}
	if (n == 0 || errno != EAGAIN)
		close_fd(&c->output_fd);
	return false;
}

/* What is in the pipe now, and no more: a process that left the group may go on writing. */
static void read_rest(struct child *c)
{
	int waiting = 0;
	uint64_t until;

	if (c->output_fd < 0 || ioctl(c->output_fd, FIONREAD, &waiting) < 0)
		return;
	until = c->tail.total + (uint64_t)waiting;
	while (c->tail.total < until && c->output_fd >= 0) {
		if (!read_output(c, (size_t)(until - c->tail.total)))
			break;
	}
}

/* Has the leader ended? It stays a zombie for now, which keeps its group's number taken. */
static bool has_ended(struct child *c)
{
	siginfo_t info;

	info.si_pid = 0;
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		c->reaped = errno == ECHILD; /* by somebody else, in spite of the contract */
	return c->reaped || info.si_pid != 0;
}

static void reap(struct child *c, struct child_exit *out)
{
	siginfo_t info;

	out->code = -1;
	out->signal = 0;
	while (!c->reaped && waitid(P_PID, (id_t)c->pid, &info, WEXITED) < 0) {
		if (errno != EINTR)
			c->reaped = true;
	}
	if (c->reaped)
		return;
	c->reaped = true;
	if (info.si_code == CLD_EXITED)
		out->code = info.si_status;
	else
		out->signal = info.si_status;
}

static void finish(struct child *c, struct child_exit *out)
{
	signal_group(c, SIGKILL);
	read_rest(c);
	close_fd(&c->output_fd);
	out->timed_out = c->timed_out;
	out->duration_ms = (clock_mono_us() - c->started_us) / 1000;
	out->output_cut = tail_take(&c->tail, &out->output);
	reap(c, out);
	close_fd(&c->pidfd);
}

static void step_up(struct child *c, int64_t now_us)
{
	if (c->stage == STAGE_RUNNING) {
		c->stage = STAGE_TERMINATED;
		c->deadline_us = now_us + c->kill_grace_ms * 1000;
		signal_group(c, SIGTERM);
	} else if (c->stage == STAGE_TERMINATED) {
		c->stage = STAGE_KILLED;
		signal_group(c, SIGKILL);
	}
}

bool child_advance(struct child *c, struct child_exit *out)
{
	int64_t now_us;

	for (int i = 0; i < READS_PER_ADVANCE && c->output_fd >= 0; i++) {
		if (!read_output(c, READ_BYTES))
			break;
	}
	/* Before the clock is asked: who ended in time has not timed out, however late we look. */
	if (has_ended(c)) {
		finish(c, out);
		return true;
	}
	now_us = clock_mono_us();
	if (now_us >= child_deadline_us(c)) {
		c->timed_out = c->timed_out || c->stage == STAGE_RUNNING;
		step_up(c, now_us);
	}
	return false;
}

void child_terminate(struct child *c)
{
	if (c->stage == STAGE_RUNNING)
		step_up(c, clock_mono_us());
}

void child_free(struct child *c)
{
	struct child_exit unused;

	if (!c)
		return;
	if (c->pid > 0) {
		signal_group(c, SIGKILL);
		reap(c, &unused);
	}
	close_fd(&c->pidfd);
	close_fd(&c->output_fd);
	free(c->tail.data);
	free(c);
}
