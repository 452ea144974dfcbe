#include "lib/delivery/dispatcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/hooks.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/child.h"
#include "lib/delivery/environment.h"
#include "lib/delivery/outcome.h"
#include "lib/delivery/schedule.h"
#include "lib/delivery/targets.h"
#include "lib/delivery/wake.h"
#include "lib/store/store.h"

/* Events that become deliveries in one transaction: bounds how long intake may have to wait. */
#define EXPAND_MAX 200

/* A lost wake-up costs at most this. */
#define SCAN_MS 1000

/* Retention looks at so many events at once, and lets others have the store in between. */
#define PRUNE_STEP 50
#define PRUNE_PAUSE_MS 20
#define PRUNE_EVERY_MS (3600 * 1000)

/* How far the wall clock may go back between two rounds before retries are planned anew: more
 * than the slewing of a time daemon does. */
#define CLOCK_STEP_MS 500

struct target {
	char *name;
	unsigned running;
	bool first;            /* first attempts wait */
	int64_t next_retry_ms; /* wall clock; INT64_MAX: none */
	bool retry_was_last;   /* the two kinds take turns, so that neither starves the other */
	bool missing;          /* its file was removed: retries wait until it is back */
	uint64_t place;        /* in the queue for free slots: the smallest is served first */
};

/* Claimed deliveries that run together (one, but for a batch), from their claim until the attempt
 * is recorded. */
struct run {
	struct run *next;
	struct target *target;
	struct store_claim *claims;
	size_t n;
	struct child *child; /* NULL where it could not be started, or has ended */
	int64_t started_ms;
	struct child_exit exit;
	struct outcome outcome;
	const char *next_state; /* of the deliveries, once that is decided */
};

struct dispatcher {
	struct conf *conf;
	const struct dispatcher_options *options;
	struct store *store; /* NULL after a failure, opened again at the next scan */
	struct wake_reader wake;
	int signal_fd;

	struct target **targets;
	size_t ntargets;
	uint64_t last_place;
	struct run *running;   /* with a child */
	struct run *ended;     /* to be recorded */
	struct run *claimed;   /* to be started once the claim is committed */
	unsigned slots_used;   /* all three */

	struct store_retention retention;
	int64_t next_prune_ms; /* clock_mono_ms() */

	bool stopping, reload, more_new, handlers_unreadable;
	int64_t next_scan_ms, last_activity_ms; /* clock_mono_ms() */
	int64_t clock_offset_ms;                /* wall minus monotonic, of the last round */
	int64_t started_ms;                     /* wall clock */
};

/* --- targets ---------------------------------------------------------------------------- */

static struct target *find_target(struct dispatcher *d, const char *name)
{
	struct target *t;
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (strcmp(d->targets[i]->name, name) == 0)
			return d->targets[i];
	t = xcalloc(1, sizeof *t);
	t->name = xstrdup(name);
	t->next_retry_ms = INT64_MAX;
	d->targets = xreallocarray(d->targets, d->ntargets + 1, sizeof(struct target *));
	d->targets[d->ntargets++] = t;
	return t;
}

/* T has a first attempt to claim. Who has had none joins the queue at its end: the handlers of
 * one event begin in the order in which the event went to them, by name. */
static void note_first(struct dispatcher *d, struct target *t)
{
	if (!t->first)
		t->place = ++d->last_place;
	t->first = true;
}

static bool target_has_due(const struct target *t, int64_t now_ms)
{
	return t->first || (t->next_retry_ms <= now_ms && !t->missing);
}

static bool any_due(const struct dispatcher *d)
{
	int64_t now_ms = clock_wall_ms();
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (target_has_due(d->targets[i], now_ms))
			return true;
	return false;
}

static bool any_waiting(const struct dispatcher *d)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (d->targets[i]->first || d->targets[i]->next_retry_ms != INT64_MAX)
			return true;
	return false;
}

/* --- the store --------------------------------------------------------------------------- */

/* After a failure: say so, let go of the connection and of what was not committed. */
static void store_failed(struct dispatcher *d, const char *what)
{
	log_error("can't %s, trying again: %s", what, store_error(d->store));
	store_rollback(d->store);
	store_close(d->store);
	d->store = NULL;
}

static bool open_store(struct dispatcher *d)
{
	struct buf err = BUF_INIT;
	enum store_status status;

	if (!d->store) {
		d->store = store_open(d->conf->store_path, STORE_DISPATCH, &status, &err);
		if (!d->store)
			log_error("store not available, trying again: %s", buf_str(&err));
	}
	buf_free(&err);
	return d->store != NULL;
}

/* A handler that was removed while deliveries wait for their next attempt: they keep waiting, with
 * a reason, and use up none of their attempts. (A first attempt is made, and says what is wrong.) */
static void look_for_missing(struct dispatcher *d, struct target *t)
{
	char *path;
	bool missing;

	if (t->next_retry_ms == INT64_MAX && !t->missing)
		return;
	path = fdio_resolve(d->conf->handlers_dir, t->name);
	missing = access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
	free(path);
	if (missing == t->missing)
		return;
	t->missing = missing;
	if (missing)
		log_warn("handler was removed, its deliveries wait until it is back or they are canceled handler=%s", t->name);
	else
		log_info("handler is back handler=%s", t->name);
	if (d->store && store_hold(d->store, t->name, missing ? "the handler was removed" : "") != STORE_OK)
		store_failed(d, "note a removed handler");
}

/* What waits, also what other programs have put back. */
static void scan(struct dispatcher *d)
{
	struct store_waiting *waiting;
	size_t n, i;

	d->next_scan_ms = clock_mono_ms() + SCAN_MS;
	if (!open_store(d))
		return;
	if (store_waiting(d->store, &waiting, &n) != STORE_OK) {
		store_failed(d, "look for waiting deliveries");
		n = 0;
	}
	for (i = 0; i < n; i++) {
		struct target *t = find_target(d, waiting[i].target);

		if (waiting[i].first)
			note_first(d, t);
		else
			t->first = false;
		t->next_retry_ms = waiting[i].next_retry_ms;
		look_for_missing(d, t);
	}
	store_waiting_free(waiting, n);
	d->more_new = true;
}

static void refresh_target(struct dispatcher *d, struct target *t)
{
	struct store_waiting w;

	t->first = false;
	t->next_retry_ms = INT64_MAX;
	if (store_waiting_for(d->store, t->name, &w) == STORE_OK) {
		t->first = w.first;
		t->next_retry_ms = w.next_retry_ms;
		free(w.target);
	}
}

/* --- new events become deliveries -------------------------------------------------------- */

struct plan { /* what one event name expands to; the same for all of a batch */
	const char *event;
	struct targets targets;
};

static const struct targets *plan_for(struct dispatcher *d, struct plan *plans, size_t *n, const char *event)
{
	struct buf err = BUF_INIT;
	size_t i;

	for (i = 0; i < *n; i++)
		if (strcmp(plans[i].event, event) == 0)
			return &plans[i].targets;
	plans[*n].event = event;
	if (targets_find(d->conf->handlers_dir, event, &plans[*n].targets, NULL, NULL, &err)) {
		if (!d->handlers_unreadable)
			log_error("events wait, their handlers can't be looked up: %s", buf_str(&err));
		d->handlers_unreadable = true;
		buf_free(&err);
		return NULL;
	}
	buf_free(&err);
	d->handlers_unreadable = false;
	return &plans[(*n)++].targets;
}

static enum store_status expand_one(struct dispatcher *d, const struct store_new_event *e, const struct targets *t)
{
	size_t i;

	if (t->n == 0)
		log_info("event has no handler id=%s event=%s", e->id, e->event);
	for (i = 0; i < t->n; i++)
		note_first(d, find_target(d, t->names[i]));
	return store_expand_event(d->store, e->seq, (const char *const *)t->names, t->n, clock_wall_ms());
}

/* Look the handlers up before the transaction: a slow disk must not hold the store's lock. */
static size_t plan_events(struct dispatcher *d, const struct store_new_event *events, size_t n, struct plan *plans,
                          size_t *nplans, const struct targets **planned)
{
	size_t i;

	for (i = 0; i < n; i++) {
		planned[i] = plan_for(d, plans, nplans, events[i].event);
		if (!planned[i])
			break;
	}
	return i;
}

static enum store_status expand_planned(struct dispatcher *d, const struct store_new_event *events, size_t n,
                                        const struct targets *const *planned)
{
	enum store_status status = store_begin(d->store);
	size_t i;

	if (status != STORE_OK)
		return status;
	for (i = 0; status == STORE_OK && i < n; i++)
		status = expand_one(d, &events[i], planned[i]);
	FAULT_POINT("expanding");
	if (status == STORE_OK)
		return store_commit(d->store);
	store_rollback(d->store);
	return status;
}

static void expand(struct dispatcher *d)
{
	struct store_new_event events[EXPAND_MAX];
	const struct targets *planned[EXPAND_MAX];
	struct plan plans[EXPAND_MAX] = { 0 };
	size_t n = 0, nplans = 0, ready, i;
	enum store_status status;

	if (!d->store || !d->more_new)
		return;
	status = store_new_events(d->store, events, EXPAND_MAX, &n);
	ready = status == STORE_OK ? plan_events(d, events, n, plans, &nplans, planned) : 0;
	if (ready > 0) {
		status = expand_planned(d, events, ready, planned);
		d->last_activity_ms = clock_mono_ms();
	}
	d->more_new = status == STORE_OK && ready == EXPAND_MAX;
	if (status != STORE_OK)
		store_failed(d, "prepare deliveries");
	for (i = 0; i < nplans; i++)
		targets_free(&plans[i].targets);
	store_new_events_free(events, n);
	if (ready > 0)
		FAULT_POINT("expanded");
}

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
	int64_t delay_ms = -1;

	if (r->outcome.kind == OUTCOME_RETRY)
		delay_ms = retry_delay(d, r->target->name, attempt);
	*due_ms = delay_ms < 0 ? 0 : clock_wall_ms() + delay_ms;
	r->next_state = r->outcome.kind == OUTCOME_SUCCESS ? "success" : delay_ms < 0 ? "failed" : "pending";
}

/* Which half claim I of a failed run goes on in: by any number of its own, 0 where it is alone. */
static int64_t half_of(const struct run *r, size_t i)
{
	size_t half = (r->n + 1) / 2, first = i < half ? 0 : half, size = i < half ? half : r->n - half;

	return size > 1 ? r->claims[first].seq : 0;
}

static void log_attempt(const struct run *r)
{
	const struct store_claim *c = &r->claims[0];
	long long ms = (long long)r->exit.duration_ms;

	if (r->outcome.kind == OUTCOME_SUCCESS)
		log_debug("attempt succeeded handler=%s event=%s delivery=%s attempt=%d events=%zu duration_ms=%lld",
		          r->target->name, c->event, c->delivery_id, c->attempt, r->n, ms);
	else
		log_warn("attempt failed handler=%s event=%s delivery=%s attempt=%d events=%zu duration_ms=%lld next=%s"
		         " error=\"%s\"", r->target->name, c->event, c->delivery_id, c->attempt, r->n, ms,
		         r->next_state, buf_str(&r->outcome.message));
}

static enum store_status record_one(struct dispatcher *d, const struct run *r, struct store_attempt *a, size_t i,
                                    int64_t *output_in)
{
	enum store_status status;

	a->delivery_seq = r->claims[i].seq;
	a->attempt = r->claims[i].attempt;
	a->group = a->due_ms ? half_of(r, i) : 0;
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
	if (status == STORE_OK && a.due_ms && a.due_ms < r->target->next_retry_ms)
		r->target->next_retry_ms = a.due_ms;
	return status;
}

static void run_free(struct dispatcher *d, struct run *r)
{
	size_t i;

	r->target->running--;
	d->slots_used--;
	child_free(r->child);
	for (i = 0; i < r->n; i++)
		store_claim_free(&r->claims[i]);
	free(r->claims);
	buf_free(&r->exit.output);
	buf_free(&r->outcome.message);
	free(r);
}

/* The holder of the lock finds a delivery running at its start: its dispatcher has died. A group
 * stays one: all of it gets the same time, so no jitter here. */
static enum store_status record_interrupted(void *ctx, struct store *store, const struct store_running *r)
{
	struct dispatcher *d = ctx;
	const struct conf_schedule *schedule = &conf_handler(d->conf, r->target)->retry_schedule;
	int64_t delay_ms = schedule_delay_ms(schedule, r->attempt - r->grouped, 0), output_in = 0;
	struct outcome outcome;
	struct store_attempt a = {
		.delivery_seq = r->delivery_seq, .attempt = r->attempt, .started_ms = r->claimed_ms, .exit_code = -1,
		.group = r->group, .output = "", .next_state = delay_ms < 0 ? "failed" : "pending",
		.due_ms = delay_ms < 0 ? 0 : d->started_ms + delay_ms,
	};
	enum store_status status;

	outcome_of_interruption(&outcome);
	a.outcome = outcome_name(outcome.kind);
	a.error_code = outcome.error_code;
	a.error_message = buf_str(&outcome.message);
	log_warn("attempt was interrupted handler=%s attempt=%d next=%s", r->target, r->attempt, a.next_state);
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

/* Claim T's next delivery, or as many as make a batch, if any is due. */
static enum store_status claim_one(struct dispatcher *d, struct target *t)
{
	int64_t now_ms = clock_wall_ms();
	bool retry_due = t->next_retry_ms <= now_ms;
	bool retry = retry_due && !t->missing && (!t->first || !t->retry_was_last);
	size_t batch = conf_handler(d->conf, t->name)->batch;
	struct run *r = xcalloc(1, sizeof *r);
	enum store_status status;

	r->target = t;
	r->claims = xcalloc(batch, sizeof *r->claims);
	t->running++;
	d->slots_used++;
	t->retry_was_last = retry;
	status = store_claim(d->store, t->name, retry ? STORE_CLAIM_RETRY : STORE_CLAIM_FIRST, now_ms, batch,
	                     r->claims, &r->n);
	if (status == STORE_OK)
		push(&d->claimed, r);
	else
		run_free(d, r);
	if (retry || status == STORE_NOT_FOUND)
		refresh_target(d, t);
	return status;
}

/* One target alone never has all slots, whatever its concurrency: else a slow one with a backlog
 * would keep the others' events waiting for as long as it runs. */
static unsigned slots_for(const struct dispatcher *d, const struct target *t)
{
	unsigned own = conf_handler(d->conf, t->name)->concurrency, all = d->conf->dispatch_concurrency;

	return d->ntargets > 1 && own >= all && all > 1 ? all - 1 : own;
}

static bool may_claim(const struct dispatcher *d, const struct target *t)
{
	return t->running < slots_for(d, t) && target_has_due(t, clock_wall_ms());
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

	while (status == STORE_OK && d->slots_used < d->conf->dispatch_concurrency && (t = next_to_claim(d))) {
		status = claim_one(d, t);
		t->place = ++d->last_place;
		if (status == STORE_NOT_FOUND)
			status = STORE_OK;
	}
	return status;
}

/* Claims that were not committed never were: the deliveries are still pending. */
static void drop_claims(struct dispatcher *d)
{
	struct run *r;

	while ((r = d->claimed)) {
		d->claimed = r->next;
		r->target->first = true; /* looked at again */
		run_free(d, r);
	}
}

static bool wants_claims(const struct dispatcher *d)
{
	size_t i;

	if (d->stopping || d->slots_used >= d->conf->dispatch_concurrency)
		return false;
	for (i = 0; i < d->ntargets; i++)
		if (may_claim(d, d->targets[i]))
			return true;
	return false;
}

/* One commit for all that ended and all that begins. What is not committed stays on its list
 * and is tried again. */
static void settle(struct dispatcher *d)
{
	enum store_status status;
	struct run *r;

	if (!d->store || (!d->ended && !wants_claims(d)))
		return;
	status = store_begin(d->store);
	for (r = d->ended; r && status == STORE_OK; r = r->next)
		status = record(d, r);
	if (status == STORE_OK && !d->stopping)
		status = claim_all(d);
	FAULT_POINT("settling");
	if (status == STORE_OK)
		status = store_commit(d->store);
	if (status != STORE_OK) {
		store_failed(d, "record attempts and claim deliveries");
		drop_claims(d);
		return;
	}
	FAULT_POINT(d->ended ? "recorded" : "claimed");
	while ((r = d->ended)) {
		d->ended = r->next;
		log_attempt(r);
		run_free(d, r);
	}
}

/* --- retention ----------------------------------------------------------------------------- */

/* Once an hour, in steps that hold the store's lock for a few milliseconds each. */
static void prune(struct dispatcher *d)
{
	int64_t now_ms = clock_wall_ms();
	size_t removed;

	if (!d->store || d->stopping || clock_mono_ms() < d->next_prune_ms)
		return;
	if (d->retention.done)
		memset(&d->retention, 0, sizeof d->retention);
	d->retention.events_before_ms = now_ms - d->conf->retain_events_ms;
	d->retention.failed_before_ms = now_ms - d->conf->retain_failed_ms;
	if (store_prune(d->store, &d->retention, now_ms, PRUNE_STEP, &removed) != STORE_OK) {
		store_failed(d, "remove old events");
		return;
	}
	d->next_prune_ms = clock_mono_ms() + (d->retention.done ? PRUNE_EVERY_MS : PRUNE_PAUSE_MS);
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

static void make_input(const struct run *r, bool batch, struct buf *out)
{
	size_t i;

	if (!batch)
		buf_add(out, r->claims[0].body, r->claims[0].body_len);
	for (i = 0; batch && i < r->n; i++)
		add_line(out, &r->claims[i]);
}

static void start_run(struct dispatcher *d, struct run *r)
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
	};

	make_input(r, batch, &input);
	spec.input = buf_str(&input);
	spec.input_len = input.len;
	r->started_ms = clock_wall_ms();
	r->child = child_spawn(&spec);
	if (r->child) {
		push(&d->running, r);
		FAULT_POINT("running");
	} else {
		outcome_of_spawn_error(errno, path, &r->outcome);
		r->exit.code = -1;
		push(&d->ended, r);
	}
	buf_free(&input);
	environment_free(envp);
	free(cwd);
	free(path);
}

static void start_claimed(struct dispatcher *d)
{
	struct run *r;

	while ((r = d->claimed)) {
		d->claimed = r->next;
		start_run(d, r);
		d->last_activity_ms = clock_mono_ms();
	}
}

static void advance_children(struct dispatcher *d)
{
	struct run **link = &d->running, *r;

	while ((r = *link)) {
		if (!child_advance(r->child, &r->exit)) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		outcome_of_exit(&r->exit, &r->outcome);
		FAULT_POINT("ended");
		push(&d->ended, r);
		d->last_activity_ms = clock_mono_ms();
	}
}

/* --- waiting ------------------------------------------------------------------------------ */

static int wait_ms(const struct dispatcher *d)
{
	int64_t now_ms = clock_mono_ms(), until_ms = d->next_scan_ms, wall_ms = clock_wall_ms();
	const struct run *r;
	size_t i;

	if (d->next_prune_ms < until_ms)
		until_ms = d->next_prune_ms;
	if (d->more_new || (d->store && (d->ended || wants_claims(d))))
		return 0;
	for (r = d->running; r; r = r->next)
		if (child_deadline_us(r->child) != INT64_MAX && child_deadline_us(r->child) / 1000 + 1 < until_ms)
			until_ms = child_deadline_us(r->child) / 1000 + 1;
	for (i = 0; i < d->ntargets && !d->stopping; i++) {
		const struct target *t = d->targets[i];

		if (t->running == 0 && t->next_retry_ms != INT64_MAX && t->next_retry_ms > wall_ms &&
		    now_ms + (t->next_retry_ms - wall_ms) < until_ms)
			until_ms = now_ms + (t->next_retry_ms - wall_ms);
	}
	return until_ms > now_ms ? (int)(until_ms - now_ms) : 0;
}

static void on_signal(struct dispatcher *d)
{
	struct signalfd_siginfo info;

	while (read(d->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGHUP) {
			d->reload = true;
		} else if (!d->stopping) {
			log_info("ending: running handlers may finish");
			d->stopping = true;
		}
	}
}

static void wait_for_something(struct dispatcher *d)
{
	struct pollfd fds[2 + 2 * 1024];
	struct run *r;
	nfds_t n = 2;

	fds[0] = (struct pollfd){ .fd = d->signal_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = d->wake.fd, .events = POLLIN };
	for (r = d->running; r && n + 2 <= sizeof fds / sizeof fds[0]; r = r->next) {
		fds[n++] = (struct pollfd){ .fd = child_pidfd(r->child), .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = child_output_fd(r->child), .events = POLLIN };
	}
	if (poll(fds, n, wait_ms(d)) <= 0)
		return;
	if (fds[0].revents)
		on_signal(d);
	if (fds[1].revents && wake_reader_drain(&d->wake))
		d->next_scan_ms = 0;
}

/* --- the loop ----------------------------------------------------------------------------- */

static void reload_conf(struct dispatcher *d)
{
	struct buf err = BUF_INIT;
	struct conf *fresh;

	if (!d->reload)
		return;
	d->reload = false;
	fresh = conf_load(d->conf->path, &err);
	if (!fresh) {
		log_error("the changed configuration is not used, the old one stays in force: %s", buf_str(&err));
	} else if (strcmp(fresh->state_dir, d->conf->state_dir) != 0) {
		log_error("[store] url names another state directory: end this dispatcher and start one for it");
		conf_unref(fresh);
	} else {
		log_info("configuration loaded file=%s", fresh->path);
		conf_unref(d->conf);
		d->conf = fresh;
	}
	buf_free(&err);
}

/* The wall clock may be set back. First attempts don't care; retries keep their distance. */
static void check_clock(struct dispatcher *d)
{
	int64_t offset_ms = clock_wall_ms() - clock_mono_ms();
	bool back = offset_ms < d->clock_offset_ms - CLOCK_STEP_MS;

	d->clock_offset_ms = offset_ms;
	if (!back || !d->store)
		return;
	log_warn("the clock was set back: retries are planned anew");
	if (store_rebase(d->store, clock_wall_ms()) != STORE_OK)
		store_failed(d, "plan retries anew");
	d->next_scan_ms = 0;
}

/* Nobody may be left unserved: with the FIFO closed, who comes from now on sees that no dispatcher
 * runs; who came before has an event in the store. */
static bool leave_idle(struct dispatcher *d)
{
	struct store_new_event event;
	size_t n = 0;
	bool none;

	wake_reader_close(&d->wake);
	none = d->store && store_new_events(d->store, &event, 1, &n) == STORE_OK && n == 0;
	store_new_events_free(&event, n);
	if (none)
		return true;
	if (wake_reader_open(&d->wake, d->conf->state_dir)) {
		log_error("wake-up FIFO in %s: %s", d->conf->state_dir, strerror(errno));
		d->stopping = true;
	}
	d->next_scan_ms = 0;
	return false;
}

static bool finished(struct dispatcher *d)
{
	if (d->slots_used > 0)
		return false;
	if (d->stopping)
		return true;
	if (!d->store || d->more_new)
		return false;
	if (d->options->once)
		return !any_due(d) && d->retention.done;
	return d->options->idle_ms > 0 && !any_waiting(d) && !d->wake.attached &&
	       clock_mono_ms() - d->last_activity_ms >= d->options->idle_ms && leave_idle(d);
}

static void loop(struct dispatcher *d)
{
	while (!finished(d)) {
		wait_for_something(d);
		reload_conf(d);
		check_clock(d);
		if (clock_mono_ms() >= d->next_scan_ms)
			scan(d);
		advance_children(d);
		expand(d);
		settle(d);
		prune(d);
		start_claimed(d);
	}
}

static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Inherited from who started us, perhaps; children must stay until we ask for their end. */
	signal(SIGCHLD, SIG_DFL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start(struct dispatcher *d)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	d->signal_fd = open_signals();
	if (d->signal_fd < 0 || wake_reader_open(&d->wake, d->conf->state_dir)) {
		log_error("can't start: wake-up FIFO in %s: %s", d->conf->state_dir, strerror(errno));
		return -1;
	}
	d->clock_offset_ms = clock_wall_ms() - clock_mono_ms();
	d->started_ms = clock_wall_ms();
	d->last_activity_ms = clock_mono_ms();
	if (!open_store(d))
		return -1;
	if (store_each_running(d->store, record_interrupted, d) != STORE_OK ||
	    store_rebase(d->store, clock_wall_ms()) != STORE_OK) {
		log_error("can't start: %s", store_error(d->store));
		return -1;
	}
	scan(d);
	return 0;
}

static void stop(struct dispatcher *d)
{
	size_t i;

	wake_reader_close(&d->wake);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	for (i = 0; i < d->ntargets; i++) {
		free(d->targets[i]->name);
		free(d->targets[i]);
	}
	free(d->targets);
	store_close(d->store);
	conf_unref(d->conf);
}

int dispatcher_run(struct conf *conf, const struct dispatcher_options *options)
{
	struct dispatcher d = {
		.conf = conf_ref(conf), .options = options, .wake = { .fd = -1 }, .signal_fd = -1,
	};
	int result = start(&d);

	if (result == 0)
		loop(&d);
	stop(&d);
	return result;
}
