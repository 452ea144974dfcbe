/* Group commit: one thread that stores whatever came while the last commit went to disk. */
#ifndef NTRVSTA_INTAKE_COMMITTER_H
#define NTRVSTA_INTAKE_COMMITTER_H

#include "lib/intake/intake.h"

struct commit_item {
	struct commit_item *next;
	struct intake *intake;
	const char *store_path; /* lives until done() */
	/* Called on the committer's thread after the commit, or after its failure. */
	void (*done)(struct commit_item *item, const struct intake_verdict *verdict);
};

struct committer;

/* Called on the committer's thread after each commit that stored a new event. */
typedef void committer_stored_fn(void *ctx, const char *store_path);

/* The store is opened when the first event comes, and anew after each failure; the one at
 * STORE_PATH (may be NULL) ahead of that. STORED may be NULL. */
struct committer *committer_start(const char *store_path, committer_stored_fn *stored, void *ctx);

/* Hand over the items linked from FIRST to LAST. Any thread; never blocks on the store. */
void committer_submit(struct committer *c, struct commit_item *first, struct commit_item *last);

/* Store what was handed over, answer it, end the thread. */
void committer_stop(struct committer *c);

/* The same for one item on the caller's thread, with a store opened for it: a CGI call. The caller
 * closes what is returned (may be NULL) once it has answered: closing the last connection to a store
 * tidies it up, which the sender need not wait for. */
struct store *commit_one(const char *store_path, struct intake *in, struct intake_verdict *out);

#endif
