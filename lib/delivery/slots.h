/* A part of the dispatcher: who gets a free slot. Private to work.c.
 *
 * `[dispatch] concurrency` slots in all, `concurrency` of a handler for it. The last free one is kept for a
 * target that has nothing running and is not known to be slow, or that is quick: so slow ones, however
 * many they are, do not keep the others' events waiting for as long as they run.
 *
 * Tests begin at once, whatever else runs: one for each target, besides what its `concurrency` counts, and
 * one in all besides the slots. Further ones take free slots.
 *
 * A quick target may have deliveries claimed ahead, while its runs still use the slots: the slot that the
 * end of a run leaves is then filled at once, without a commit in between. */
#ifndef NTRVSTA_DELIVERY_SLOTS_H
#define NTRVSTA_DELIVERY_SLOTS_H

#include "lib/delivery/backlog.h"

/* May what was claimed of T begin to run now? */
bool slots_may_start(const struct dispatcher *d, const struct target *t);

/* So many ends of runs, at most, are recorded in one commit while what is claimed ahead goes on. */
#define SLOTS_AHEAD 4

/* Would a delivery of T that is claimed now begin at once? */
bool slots_may_claim(const struct dispatcher *d, const struct target *t);

/* Where it would not: is it worth claiming all the same? */
bool slots_may_claim_ahead(const struct dispatcher *d, const struct target *t);

/* Would a test of T that is claimed now begin at once? Claimed is begun then. */
bool slots_may_claim_test(const struct dispatcher *d, const struct target *t);

#endif
