#include "lib/delivery/work.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hooks.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/handler.h"
#include "lib/delivery/record.h"
#include "lib/delivery/slots.h"
#include "lib/delivery/webhook.h"

/* So long, at most, is the end of a run not recorded. */
#define SETTLE_AFTER_MS 5

static void run_free(struct run *r)
{
	size_t i;

	child_free(r->child);
	for (i = 0; i < r->n; i++)
		store_claim_free(&r->claims[i]);
	free(r->claims);
	store_webhook_free(&r->webhook);
	buf_free(&r->exit.output);
	buf_free(&r->request_head);
	buf_free(&r->answer_head);
	buf_free(&r->outcome.message);
	free(r);
}

/* --- claiming ----------------------------------------------------------------------------- */

static void push(struct run **list, struct run *r)
{
	while (*list)
		list = &(*list)->next;
	r->next = NULL;
	*list = r;
}

static void add_ready(struct dispatcher *d, struct run *r)
{
	if (r->test) {
		r->target->testing = true;
		d->ntests++;
		return;
	}
	r->target->ready++;
	d->nready++;
	d->nahead += r->ahead;
}

static void end_test(struct dispatcher *d, struct run *r)
{
	r->target->testing = false;
	d->ntests--;
}

static void remove_ready(struct dispatcher *d, struct run *r)
{
	r->target->ready--;
	d->nready--;
	d->nahead -= r->ahead;
}

/* What is to be called. STORE_NOT_FOUND where it was switched off meanwhile: nothing is claimed then. */
static enum store_status load_webhook(struct dispatcher *d, struct target *t, struct run *r, int64_t now_ms)
{
	enum store_status status = store_get_webhook(d->store, NULL, t->name, now_ms, &r->webhook);

	if (status == STORE_NOT_FOUND)
		return STORE_OK; /* deleted, which the attempt will say */
	if (status != STORE_OK || r->webhook.active || r->test)
		return status;
	t->off = true;
	d->next_scan_ms = 0; /* which notes it */
	return STORE_NOT_FOUND;
}

/* Claim what R, which is new, is to run. Where that is nothing, R is gone. */
static enum store_status claim_for(struct dispatcher *d, struct run *r, enum store_claim_kind kind, int64_t now_ms,
                                   size_t max)
{
	enum store_status status = STORE_OK;

	r->claims = xcalloc(max, sizeof *r->claims);
	if (r->target->webhook)
		status = load_webhook(d, r->target, r, now_ms);
	if (status == STORE_OK)
		status = store_claim(d->store, r->target->name, kind, now_ms, max, r->claims, &r->n);
	if (status == STORE_OK) {
		push(&d->claimed, r);
		add_ready(d, r);
	} else {
		run_free(r);
	}
	return status;
}

/* Claim T's next delivery, or as many as make a batch, if any is due. */
static enum store_status claim_one(struct dispatcher *d, struct target *t)
{
	int64_t now_ms = clock_wall_ms();
	bool retry_due = t->next_retry_ms <= now_ms;
	bool retry = retry_due && !t->missing && (!t->first || !t->retry_was_last);
	struct run *r = xcalloc(1, sizeof *r);
	enum store_status status;

	r->target = t;
	r->ahead = !slots_may_claim(d, t);
	t->retry_was_last = retry;
	status = claim_for(d, r, retry ? STORE_CLAIM_RETRY : STORE_CLAIM_FIRST, now_ms, conf_handler(d->conf, t->name)->batch);
	if (retry || status == STORE_NOT_FOUND)
		backlog_refresh_target(d, t);
	return status;
}

/* Claim T's next test. */
static enum store_status claim_test(struct dispatcher *d, struct target *t)
{
	struct run *r = xcalloc(1, sizeof *r);
	enum store_status status;

	r->target = t;
	r->test = true;
	status = claim_for(d, r, STORE_CLAIM_TEST, clock_wall_ms(), 1);
	backlog_refresh_target(d, t);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static bool may_claim_test(const struct dispatcher *d, const struct target *t)
{
	return t->test && slots_may_claim_test(d, t);
}

static bool may_claim(const struct dispatcher *d, const struct target *t)
{
	return backlog_has_due(t, clock_wall_ms()) && (slots_may_claim(d, t) || slots_may_claim_ahead(d, t));
}

static struct target *next_to_claim(const struct dispatcher *d)
{
	struct target *best = NULL;
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if ((!best || d->targets[i]->place < best->place) && may_claim(d, d->targets[i]))
			best = d->targets[i];
	return best;
}

/* Fill the free slots, one delivery for each target in turn. */
static enum store_status claim_all(struct dispatcher *d)
{
	enum store_status status = STORE_OK;
	struct target *t;
	size_t i;

	for (i = 0; status == STORE_OK && i < d->ntargets; i++)
		if (may_claim_test(d, d->targets[i]))
			status = claim_test(d, d->targets[i]);
	while (status == STORE_OK && (t = next_to_claim(d))) {
		status = claim_one(d, t);
		t->place = ++d->last_place;
		if (status == STORE_NOT_FOUND)
			status = STORE_OK;
	}
	return status;
}

static void forget_claimed(struct dispatcher *d, struct run *r)
{
	if (r->test)
		end_test(d, r);
	else
		remove_ready(d, r);
	run_free(r);
}

/* Claims that were not committed never were: the deliveries are still pending. */
static void drop_claims(struct dispatcher *d)
{
	struct run *r;

	while ((r = d->claimed)) {
		d->claimed = r->next;
		if (r->test) /* both are looked at again */
			r->target->test = true;
		else
			r->target->first = true;
		forget_claimed(d, r);
	}
}

/* The dispatcher is to end: what was not started yet goes back, as if it had never been claimed. */
static enum store_status give_back(struct dispatcher *d)
{
	enum store_status status = STORE_OK;
	const struct run *r;
	size_t i;

	for (r = d->ready; r; r = r->next)
		for (i = 0; status == STORE_OK && i < r->n; i++)
			status = store_unclaim(d->store, &r->claims[i]);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static void drop_ready(struct dispatcher *d)
{
	struct run *r;

	while ((r = d->ready)) {
		d->ready = r->next;
		forget_claimed(d, r);
	}
}

/* Is there a free slot, and something to claim for it? */
static bool slot_is_wanted(const struct dispatcher *d)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (may_claim_test(d, d->targets[i]) ||
		    (backlog_has_due(d->targets[i], clock_wall_ms()) && slots_may_claim(d, d->targets[i])))
			return true;
	return false;
}

/* Ends of runs may wait for a few others, for one commit, as long as runs that were claimed ahead go on. */
static bool ends_are_urgent(const struct dispatcher *d)
{
	const struct run *r;
	unsigned n = 0;

	for (r = d->ended; r; r = r->next)
		if (++n >= SLOTS_AHEAD || r->target->ready == 0)
			return true;
	return d->ended && (!d->running || work_settle_in_ms(d) == 0);
}

int64_t work_settle_in_ms(const struct dispatcher *d)
{
	int64_t waited_ms;

	if (!d->ended)
		return INT64_MAX;
	waited_ms = clock_mono_ms() - d->ended->ended_ms;
	return waited_ms < SETTLE_AFTER_MS ? SETTLE_AFTER_MS - waited_ms : 0;
}

bool work_to_settle(const struct dispatcher *d)
{
	if (d->stopping)
		return d->ended || d->ready;
	return ends_are_urgent(d) || slot_is_wanted(d);
}

/* A handler may have gone since the last scan. */
static void look_before_retries(struct dispatcher *d)
{
	int64_t now_ms = clock_wall_ms();
	size_t i;

	for (i = 0; d->store && i < d->ntargets; i++)
		if (d->targets[i]->next_retry_ms <= now_ms && may_claim(d, d->targets[i]))
			backlog_look_for_missing(d, d->targets[i]);
}

/* One commit for all that ended and all that begins. What is not committed stays on its list
 * and is tried again. */
void work_settle(struct dispatcher *d)
{
	enum store_status status;
	struct run *r;

	look_before_retries(d);
	if (!d->store || !work_to_settle(d))
		return;
	status = store_begin(d->store);
	for (r = d->ended; r && status == STORE_OK; r = r->next)
		status = record_run(d, r);
	if (status == STORE_OK)
		status = d->stopping ? give_back(d) : claim_all(d);
	FAULT_POINT("settling");
	if (status == STORE_OK)
		status = store_commit(d->store);
	if (status != STORE_OK) {
		backlog_store_failed(d, "record attempts and claim deliveries");
		drop_claims(d);
		return;
	}
	FAULT_POINT(d->ended ? "recorded" : "claimed");
	while ((r = d->ended)) {
		d->ended = r->next;
		record_log(d, r);
		run_free(r);
	}
	if (d->stopping)
		drop_ready(d);
	while ((r = d->claimed)) {
		d->claimed = r->next;
		push(&d->ready, r);
	}
}

/* --- running ------------------------------------------------------------------------------ */

static void start_run(struct dispatcher *d, struct run *r)
{
	r->started_ms = clock_wall_ms();
	r->begun_ms = clock_mono_ms();
	if (!(r->target->webhook ? webhook_start(d, r) : handler_start(d, r))) {
		r->ended_ms = clock_mono_ms();
		if (r->test)
			end_test(d, r);
		push(&d->ended, r);
		return;
	}
	if (!r->test) {
		r->target->running++;
		d->nrunning++;
	}
	push(&d->running, r);
	FAULT_POINT("running");
}

void work_start(struct dispatcher *d)
{
	struct run **link = &d->ready, *r;

	while ((r = *link) && !d->stopping) {
		if (!r->test && !slots_may_start(d, r->target)) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		if (!r->test)
			remove_ready(d, r);
		start_run(d, r);
		d->last_activity_ms = clock_mono_ms();
	}
}

/* Its slot is free, its outcome is known. */
static void note_end(struct dispatcher *d, struct run *r)
{
	r->ended_ms = clock_mono_ms();
	if (r->test) {
		end_test(d, r);
	} else {
		r->target->running--;
		r->target->took_ms = r->exit.duration_ms;
		d->nrunning--;
	}
	FAULT_POINT("ended");
	push(&d->ended, r);
	d->last_activity_ms = clock_mono_ms();
}

static void unlink_run(struct run **list, const struct run *r)
{
	while (*list != r)
		list = &(*list)->next;
	*list = r->next;
}

void work_advance(struct dispatcher *d)
{
	struct run **link = &d->running, *r;

	while ((r = *link)) {
		if (!r->child || !child_advance(r->child, &r->exit)) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		outcome_of_exit(&r->exit, &r->outcome);
		note_end(d, r);
	}
	while ((r = webhook_next_ended(d))) {
		unlink_run(&d->running, r);
		note_end(d, r);
	}
}
