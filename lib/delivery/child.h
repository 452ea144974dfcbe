/* One run of a handler: a child process in a session of its own.
 *
 * The child gets the input as an unlinked file on 0, one pipe for 1 and 2, no other descriptor,
 * default signals, an empty mask and no core dumps; argv is the path alone, no shell between. What it may
 * do is bounded by SANDBOX.
 * The owner polls child_pidfd() and child_output_fd() for input and calls child_advance() on
 * any event and at child_deadline_us(). Single-threaded; the owner must not wait() itself.
 *
 * The first call of child_spawn() changes this process for good: no core dumps of its own
 * either, and SIGCHLD is ignored no longer, so that children can be waited for. */
#ifndef NTRVSTA_DELIVERY_CHILD_H
#define NTRVSTA_DELIVERY_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/conf/sandbox.h"

struct child_spec {
	const char *path; /* absolute */
	const char *cwd;
	char *const *envp;
	const void *input;
	size_t input_len;
	int64_t timeout_ms;    /* then SIGTERM to the group */
	int64_t kill_grace_ms; /* after that SIGKILL to the group */
	size_t output_limit;   /* the last so many bytes are kept */
	const struct conf_sandbox *sandbox; /* NULL: none */
	struct buf *why; /* gets the reason where it can't be started; stays empty where the script itself is it */
};

struct child_exit {
	bool timed_out;
	int code;   /* exit status; -1 where a signal ended it, or where it is unknown */
	int signal; /* 0 where none ended it */
	int64_t duration_ms;
	struct buf output; /* release with buf_free() */
	bool output_cut;   /* OUTPUT starts with a mark that says how much is missing */
};

/* NULL with errno where it can't be started. SPEC need not outlive the call. */
struct child *child_spawn(const struct child_spec *spec);

int child_pid(const struct child *c);
int child_pidfd(const struct child *c);         /* readable once the leader has ended */
int child_output_fd(const struct child *c);     /* -1 once the writers have closed it */
int64_t child_deadline_us(const struct child *c); /* clock_mono_us(); INT64_MAX: none left */

/* Read what output there is, step up the time-out ladder, notice the end. True when the leader
 * has ended: OUT is filled, the rest of its group is killed, the leader is reaped and only
 * child_free() may follow. Never blocks, never waits for a grandchild that holds the pipe. */
bool child_advance(struct child *c, struct child_exit *out);

/* SIGTERM to the group now, and the grace period from now. */
void child_terminate(struct child *c);

void child_free(struct child *c); /* kills the group where it still runs */

#endif
