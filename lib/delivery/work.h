/* A part of the dispatcher: deliveries are claimed, run, and what came of them is recorded.
 * Private to dispatcher.c. */
#ifndef NTRVSTA_DELIVERY_WORK_H
#define NTRVSTA_DELIVERY_WORK_H

#include "lib/delivery/backlog.h"
#include "lib/delivery/call.h"
#include "lib/delivery/child.h"
#include "lib/delivery/outcome.h"
#include "lib/store/webhooks.h"

/* Claimed deliveries that run together (one, but for a batch), from their claim until the attempt
 * is recorded. */
struct run {
	struct run *next;
	struct target *target;
	struct store_claim *claims;
	size_t n;
	struct child *child; /* NULL where it could not be started, has ended, or is a call */
	struct store_webhook webhook; /* as it was when it was claimed; empty for a handler, or where it is gone */
	int status_code;              /* of HTTP; 0: none */
	int64_t retry_after_ms;       /* not before, says who was called */
	struct buf request_head, answer_head; /* what is kept of them, see head.h; empty: nothing */
	bool answer_head_cut;
	bool ahead;          /* claimed before there was a slot for it */
	bool test;
	int64_t started_ms;  /* wall clock */
	int64_t begun_ms, ended_ms; /* clock_mono_ms() */
	struct child_exit exit;
	struct outcome outcome;
	const char *next_state; /* of the deliveries, once that is decided */
};

/* Is there something to record, to claim, or to give back? */
bool work_to_settle(const struct dispatcher *d);

/* When the ends of runs have to be recorded at the latest; INT64_MAX: there are none. */
int64_t work_settle_in_ms(const struct dispatcher *d);

/* One commit for all that ended and all that is claimed. What is not committed stays on its list
 * and is tried again. */
void work_settle(struct dispatcher *d);

/* Start what was claimed, as far as there are slots. */
void work_start(struct dispatcher *d);

/* See to the children: output, time-outs, ends. */
void work_advance(struct dispatcher *d);

#endif
