#include "lib/delivery/record.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/delivery/schedule.h"
#include "lib/delivery/webhook.h"
#include "lib/store/exchanges.h"

/* How long a receiver may put us off. */
#define RETRY_AFTER_MAX_MS DAY_MS

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

static void count_attempts(struct meters *m, const char *target, enum outcome_kind outcome, size_t n)
{
	meters_add(m, n, "ntrvsta_attempts_total{target=\"%s\",outcome=\"%s\"}", target, outcome_name(outcome));
}

/* Tests say nothing of how deliveries fare. */
static void count_run(struct meters *m, const struct run *r)
{
	if (r->test)
		return;
	count_attempts(m, r->target->name, r->outcome.kind, r->n);
	if (strcmp(r->outcome.error_code, "spawn_failed") == 0)
		meters_add(m, 1, "ntrvsta_spawn_failures_total{target=\"%s\"}", r->target->name);
	else
		meters_observe(m, "ntrvsta_attempt_duration_seconds", r->target->webhook ? "kind=\"webhook\"" : "kind=\"handler\"",
		               r->exit.duration_ms * 1000);
}

void record_log(struct dispatcher *d, const struct run *r)
{
	const struct store_claim *c = &r->claims[0];
	long long ms = (long long)r->exit.duration_ms;

	const char *kind = r->target->webhook ? "webhook" : "handler";

	count_run(d->meters, r);
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

/* With the attempt ATTEMPT_SEQ, where something is kept. */
static enum store_status record_exchange(struct dispatcher *d, const struct run *r, int64_t attempt_seq)
{
	const struct store_exchange e = {
		.request_head = buf_str(&r->request_head), .answer_head = buf_str(&r->answer_head),
		.answer_head_cut = r->answer_head_cut,
	};

	if (attempt_seq == 0 || (r->request_head.len == 0 && r->answer_head.len == 0))
		return STORE_OK;
	return store_put_exchange(d->store, attempt_seq, &e);
}

enum store_status record_run(struct dispatcher *d, struct run *r)
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
	if (status == STORE_OK)
		status = record_exchange(d, r, output_in);
	/* A test says nothing of the deliveries: it neither switches a webhook off nor clears its record. */
	if (status == STORE_OK && r->target->webhook && !r->test)
		status = webhook_note(d, r);
	if (status == STORE_OK && a.due_ms && a.due_ms < r->target->next_retry_ms)
		r->target->next_retry_ms = a.due_ms;
	return status;
}

/* --- the dispatcher before us ------------------------------------------------------------- */

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
	if (status == STORE_OK && !r->test)
		count_attempts(d->meters, r->target, outcome.kind, 1);
	buf_free(&outcome.message);
	return status;
}

enum store_status record_all_interrupted(struct dispatcher *d)
{
	return store_each_running(d->store, record_interrupted, d);
}
