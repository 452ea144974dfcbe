/* How many attempts took how many milliseconds: exact, quick to add up, small when packed. */
#ifndef NTRVSTA_STORE_DURATIONS_H
#define NTRVSTA_STORE_DURATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct durations {
	int64_t *common; /* attempts by milliseconds, below a minute or so; NULL where there are none */
	struct duration { int64_t ms, attempts; } *rare; /* longer ones, in no order */
	size_t nrare;
	int64_t attempts; /* all of them */
};

#define DURATIONS_INIT { NULL, NULL, 0, 0 }

void durations_free(struct durations *d);

void durations_add(struct durations *d, int64_t ms, int64_t attempts);

/* Append D to OUT in a form of its own. */
void durations_pack(struct durations *d, struct buf *out);

/* Add what was packed. -1 where the bytes are none of ours (what was read until there counts). */
int durations_unpack(struct durations *d, const void *data, size_t len);

/* Nearest rank: the shortest duration that PERCENT of the attempts did not exceed; -1 where there
 * is none. */
int64_t durations_percentile(struct durations *d, int percent);

#endif
