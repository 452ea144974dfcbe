#include "lib/delivery/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/hooks.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/environment.h"
#include "lib/delivery/schedule.h"
#include "lib/delivery/slots.h"
#include "lib/delivery/webhook.h"

/* How long a receiver may put us off. */
#define RETRY_AFTER_MAX_MS (INT64_C(24) * 3600 * 1000)

/* So long, at most, is the end of a run not recorded. */
#define SETTLE_AFTER_MS 5

/* --- what an attempt came to -------------------------------------------------------------- */

/* How long after an attempt the next one follows; -1: there is none. */
static int64_t retry_delay(struct dispatcher *d, const char *target, int attempt)
{
	uint32_t random;

	bytes_random(&random, sizeof random);
	return schedule_delay_ms(&conf_handler(d->conf, target)->retry_schedule, attempt, random);
}

/* Where a run leaves its deliveries. A batch that failed goes on in halves, soon and outside the
 * schedule, until what is wrong with one event is that event's own trouble. */
static void decide(struct dispatcher *d, struct run *r, int64_t *due_ms)
{
	int attempt = r->n > 1 ? 1 : r->claims[0].attempt - r->claims[0].grouped;
	int64_t put_off_ms = r->retry_after_ms < RETRY_AFTER_MAX_MS ? r->retry_after_ms : RETRY_AFTER_MAX_MS;
	int64_t delay_ms = -1;

	if (r->outcome.kind == OUTCOME_RETRY && !r->test)
		delay_ms = retry_delay(d, r->target->name, attempt);
	if (r->outcome.kind == OUTCOME_RETRY && r->n > 1 && delay_ms < 0)
		delay_ms = 0; /* also where a single event would have no second attempt */
	if (delay_ms >= 0 && delay_ms < put_off_ms)
		delay_ms = put_off_ms;
	*due_ms = delay_ms < 0 ? 0 : clock_wall_ms() + delay_ms;
	r->next_state = r->outcome.kind == OUTCOME_SUCCESS ? "success" : delay_ms < 0 ? "failed" : "pending";
}

/* Of N that failed together, member I goes on with those of its half. */
struct half {
	size_t first, n;
};

static struct half half_of(size_t i, size_t n)
{
	size_t middle = (n + 1) / 2;

	return i < middle ? (struct half){ 0, middle } : (struct half){ middle, n - middle };
}

static void log_attempt(const struct run *r)
{
	const struct store_claim *c = &r->claims[0];
	long long ms = (long long)r->exit.duration_ms;

	const char *kind = r->target->webhook ? "webhook" : "handler";

	if (r->test)
		log_info("test ended %s=%s event=%s delivery=%s duration_ms=%lld outcome=%s error=\"%s\"", kind,
		         r->target->name, c->event, c->delivery_id, ms, outcome_name(r->outcome.kind),
		         buf_str(&r->outcome.message));
	else if (r->outcome.kind == OUTCOME_SUCCESS)
		log_debug("attempt succeeded %s=%s event=%s delivery=%s attempt=%d events=%zu duration_ms=%lld",
		          kind, r->target->name, c->event, c->delivery_id, c->attempt, r->n, ms);
	else
		log_warn("attempt failed %s=%s event=%s delivery=%s attempt=%d events=%zu duration_ms=%lld next=%s"
		         " error=\"%s\"", kind, r->target->name, c->event, c->delivery_id, c->attempt, r->n, ms,
		         r->next_state, buf_str(&r->outcome.message));
}

static enum store_status record_one(struct dispatcher *d, const struct run *r, struct store_attempt *a, size_t i,
                                    int64_t *output_in)
{
	struct half half = half_of(i, r->n);
	enum store_status status;

	a->delivery_seq = r->claims[i].seq;
	a->attempt = r->claims[i].attempt;
	/* Any number of its own names a group. */
	a->group = a->due_ms && half.n > 1 ? r->claims[half.first].seq : 0;
	status = store_finish(d->store, a, output_in);
	if (status != STORE_NOT_FOUND)
		return status;
	/* Only if somebody wrote to the database by hand. */
	log_error("delivery=%s is not running any more, its attempt %d is not recorded", r->claims[i].delivery_id,
	          a->attempt);
	return STORE_OK;
}

static enum store_status record(struct dispatcher *d, struct run *r)
{
	struct store_attempt a = {
		.grouped = r->n > 1,
		.started_ms = r->started_ms,
		.duration_ms = r->exit.duration_ms,
		.outcome = outcome_name(r->outcome.kind),
		.error_code = r->outcome.error_code,
		.error_message = buf_str(&r->outcome.message),
		.exit_code = r->exit.code,
		.status_code = r->status_code,
		.signal = r->exit.signal,
		.output = buf_str(&r->exit.output),
		.output_len = r->exit.output.len,
		.output_cut = r->exit.output_cut,
	};
	enum store_status status = STORE_OK;
	int64_t output_in = 0;
	size_t i;

	decide(d, r, &a.due_ms);
	a.next_state = r->next_state;
	for (i = 0; status == STORE_OK && i < r->n; i++)
		status = record_one(d, r, &a, i, &output_in);
	/* A test says nothing of the deliveries: it neither switches a webhook off nor clears its record. */
	if (status == STORE_OK && r->target->webhook && !r->test)
		status = webhook_note(d, r);
	if (status == STORE_OK && a.due_ms && a.due_ms < r->target->next_retry_ms)
		r->target->next_retry_ms = a.due_ms;
	return status;
}

static void run_free(struct run *r)
{
	size_t i;

	child_free(r->child);
	for (i = 0; i < r->n; i++)
		store_claim_free(&r->claims[i]);
	free(r->claims);
	store_webhook_free(&r->webhook);
	buf_free(&r->exit.output);
	buf_free(&r->outcome.message);
	free(r);
}

/* The holder of the lock finds a delivery running at its start: its dispatcher has died. A batch runs
 * again as it was; where that was interrupted too, it goes on in halves, so that an event that kills the
 * dispatcher is alone in the end, and its attempts count. A group gets the same time for all of it, so no
 * jitter here. */
static enum store_status record_interrupted(void *ctx, struct store *store, const struct store_running *r)
{
	struct dispatcher *d = ctx;
	const struct conf_schedule *schedule = &conf_handler(d->conf, r->target)->retry_schedule;
	struct half group = r->again ? half_of(r->index, r->n) : (struct half){ 0, r->n };
	int64_t delay_ms = schedule_delay_ms(schedule, r->n > 1 ? 1 : r->attempt - r->grouped, 0), output_in = 0;
	bool over = r->test || (delay_ms < 0 && r->n == 1);
	struct outcome outcome;
	struct store_attempt a = {
		.delivery_seq = r->delivery_seq, .attempt = r->attempt, .started_ms = r->claimed_ms, .exit_code = -1,
		.output = "", .next_state = over ? "failed" : "pending", .grouped = r->n > 1,
		.group = group.n > 1 ? r->members[group.first].delivery_seq : 0,
		.due_ms = over ? 0 : d->started_ms + (delay_ms < 0 ? 0 : delay_ms),
	};
	enum store_status status;

	outcome_of_interruption(&outcome);
	a.outcome = outcome_name(outcome.kind);
	a.error_code = outcome.error_code;
	a.error_message = buf_str(&outcome.message);
	log_warn("attempt was interrupted %s=%s attempt=%d next=%s", id_valid(ID_WEBHOOK, r->target) ? "webhook" : "handler",
	         r->target, r->attempt, a.next_state);
	status = store_finish(store, &a, &output_in);
	buf_free(&outcome.message);
	return status;
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
		status = record(d, r);
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
		log_attempt(r);
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

/* JSON Lines: each body on a line of its own. A line break in valid JSON can only be blank space
 * between its parts, so that a blank in its place changes nothing. */
static void add_line(struct buf *out, const struct store_claim *c)
{
	size_t from = out->len, i;

	buf_add(out, c->body, c->body_len);
	for (i = from; i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->data[i] = ' ';
	buf_addc(out, '\n');
}

static void drop_body(struct store_claim *c)
{
	free(c->body);
	c->body = NULL;
}

/* A batch is in memory once: each body goes as its line comes. */
static void add_lines(struct buf *out, struct run *r)
{
	size_t bytes = 0, i;

	for (i = 0; i < r->n; i++)
		bytes += r->claims[i].body_len + 1;
	buf_reserve(out, bytes);
	for (i = 0; i < r->n; i++) {
		add_line(out, &r->claims[i]);
		drop_body(&r->claims[i]);
	}
}

/* False where it can't be started: R->outcome says why. */
static bool start_child(struct dispatcher *d, struct run *r)
{
	const struct conf_handler *settings = conf_handler(d->conf, r->target->name);
	char *path = fdio_resolve(d->conf->handlers_dir, r->target->name), *cwd = fdio_dirname(path);
	/* A group that the configuration would not make any more still has to run. */
	bool batch = settings->batch > 1 || r->n > 1;
	char **envp = environment_make(d->conf, r->target->name, &r->claims[0], batch ? r->n : 0);
	struct buf input = BUF_INIT;
	struct child_spec spec = {
		.path = path, .cwd = cwd, .envp = envp,
		.timeout_ms = settings->timeout_ms,
		.kill_grace_ms = settings->kill_grace_ms,
		.output_limit = settings->output_limit,
		.input = r->claims[0].body,
		.input_len = r->claims[0].body_len,
	};

	if (batch) {
		add_lines(&input, r);
		spec.input = buf_str(&input);
		spec.input_len = input.len;
	}
	r->child = child_spawn(&spec);
	if (!r->child) {
		outcome_of_spawn_error(errno, path, &r->outcome);
		r->exit.code = -1;
	}
	if (!batch)
		drop_body(&r->claims[0]); /* the child has it */
	buf_free(&input);
	environment_free(envp);
	free(cwd);
	free(path);
	return r->child != NULL;
}

static void start_run(struct dispatcher *d, struct run *r)
{
	r->started_ms = clock_wall_ms();
	r->begun_ms = clock_mono_ms();
	if (!(r->target->webhook ? webhook_start(d, r) : start_child(d, r))) {
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

enum store_status work_record_interrupted(struct dispatcher *d)
{
	return store_each_running(d->store, record_interrupted, d);
}
