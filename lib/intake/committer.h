/* Group commit: one thread that stores whatever came while the last commit went to disk. */
#ifndef NTRVSTA_INTAKE_COMMITTER_H
#define NTRVSTA_INTAKE_COMMITTER_H

#include "lib/intake/intake.h"

struct commit_item {
	struct commit_item *next;
	struct intake *intake;
	/* Called on the committer's thread after the commit, or after its failure. */
	void (*done)(struct commit_item *item, const struct intake_verdict *verdict);
};

struct committer;

/* Opens the store on its own thread, again after each failure. STORED, which may be NULL, is
 * called on that thread after each commit that stored a new event. */
struct committer *committer_start(const char *store_path, void (*stored)(void *ctx), void *ctx);

/* Hand over N items linked from FIRST to LAST. Any thread; never blocks on the store. */
void committer_submit(struct committer *c, struct commit_item *first, struct commit_item *last, size_t n);

size_t committer_waiting(struct committer *c); /* items not yet answered */

/* Store what was handed over, answer it, end the thread. */
void committer_stop(struct committer *c);

/* The same for one item on the caller's thread, with a store opened for it: a CGI call. */
void commit_one(const char *store_path, struct intake *in, struct intake_verdict *out);

#endif
