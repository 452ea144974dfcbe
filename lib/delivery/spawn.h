/* posix_spawn() for handlers: also as fast, from a big process too, but able to set limits.
 *
 * The child shares the dispatcher's memory until execve(), while the dispatcher's thread waits: it makes
 * system calls and nothing else. It gets a session of its own, default signals, an empty mask, INPUT as
 * 0, OUTPUT as 1 and 2, no other descriptor, CWD, and what SANDBOX says. */
#ifndef NTRVSTA_DELIVERY_SPAWN_H
#define NTRVSTA_DELIVERY_SPAWN_H

#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/delivery/sandbox.h"

struct spawn {
	const char *path; /* argv is this alone; NULL: do all before execve(), then exit with 0 */
	const char *cwd;
	char *const *envp;
	int input, output;             /* OUTPUT is not 0 */
	const struct sandbox *sandbox; /* NULL: none */
};

/* The pid, with a descriptor for it (close-on-exec) in *PIDFD. -1 with errno; in WHY the reason for people
 * unless it was execve() that failed. */
pid_t spawn_child(const struct spawn *s, int *pidfd, struct buf *why);

#endif
