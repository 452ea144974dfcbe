#include "lib/delivery/backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/hooks.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/targets.h"
#include "lib/store/webhooks.h"

/* Events that become deliveries in one transaction, and about how many deliveries: bounds how long intake may
 * have to wait. */
#define EXPAND_MAX 200
#define EXPAND_DELIVERIES 2000

/* A lost wake-up costs at most this. */
#define SCAN_MS 1000

/* Retention looks at so many events at once, and lets others have the store in between. */
#define PRUNE_STEP 50
#define PRUNE_PAUSE_MS 20
#define PRUNE_EVERY_MS HOUR_MS

#define SYNC_EVERY_MS MINUTE_MS

/* --- targets ---------------------------------------------------------------------------- */

struct target *backlog_target(struct dispatcher *d, const char *name)
{
	struct target *t;
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (strcmp(d->targets[i]->name, name) == 0)
			return d->targets[i];
	t = xcalloc(1, sizeof *t);
	t->name = xstrdup(name);
	t->next_retry_ms = INT64_MAX;
	t->took_ms = -1;
	t->webhook = id_valid(ID_WEBHOOK, name);
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

bool backlog_has_due(const struct target *t, int64_t now_ms)
{
	if (t->webhook && (t->missing || t->off))
		return false;
	return t->first || (t->next_retry_ms <= now_ms && !t->missing);
}

bool backlog_any_due(const struct dispatcher *d)
{
	int64_t now_ms = clock_wall_ms();
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (d->targets[i]->test || backlog_has_due(d->targets[i], now_ms))
			return true;
	return d->probes_wait;
}

bool backlog_any_waiting(const struct dispatcher *d)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++)
		if (d->targets[i]->test || d->targets[i]->first || d->targets[i]->next_retry_ms != INT64_MAX)
			return true;
	return d->probes_wait;
}

/* --- the store --------------------------------------------------------------------------- */

/* After a failure: say so, let go of the connection and of what was not committed. */
void backlog_store_failed(struct dispatcher *d, const char *what)
{
	log_error("can't %s, trying again: %s", what, store_error(d->store));
	store_rollback(d->store);
	store_close(d->store);
	d->store = NULL;
}

bool backlog_open_store(struct dispatcher *d)
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

static bool handler_is_missing(const struct dispatcher *d, const struct target *t)
{
	char *path = fdio_resolve(d->conf->handlers_dir, t->name);
	bool missing = access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);

	free(path);
	return missing;
}

static void hold_webhook(struct dispatcher *d, struct target *t, bool off)
{
	if (off == t->missing)
		return;
	t->missing = off;
	log_info("webhook is %s webhook=%s", off ? "switched off, its deliveries wait" : "active again", t->name);
	if (store_hold(d->store, t->name, off ? "the webhook is not active" : "") != STORE_OK)
		backlog_store_failed(d, "note a webhook that is switched off");
}

static void look_at_webhook(struct dispatcher *d, struct target *t)
{
	struct store_webhook webhook;
	enum store_status status;

	if (!d->store)
		return;
	status = store_get_webhook(d->store, NULL, t->name, clock_wall_ms(), &webhook);
	t->off = false;
	/* One that was deleted is not held: what is left of it, if anything, ends. */
	if (status == STORE_OK)
		hold_webhook(d, t, !webhook.active);
	store_webhook_free(&webhook);
}

void backlog_look_for_missing(struct dispatcher *d, struct target *t)
{
	bool missing;

	if (t->webhook && (t->first || t->next_retry_ms != INT64_MAX))
		look_at_webhook(d, t);
	if (t->webhook || (t->next_retry_ms == INT64_MAX && !t->missing))
		return;
	missing = handler_is_missing(d, t);
	if (missing == t->missing)
		return;
	t->missing = missing;
	if (missing)
		log_warn("handler was removed, its deliveries wait until it is back or they are canceled handler=%s", t->name);
	else
		log_info("handler is back handler=%s", t->name);
	if (d->store && store_hold(d->store, t->name, missing ? "the handler was removed" : "") != STORE_OK)
		backlog_store_failed(d, "note a removed handler");
}

/* What waits, also what other programs have put back. */
void backlog_scan(struct dispatcher *d)
{
	struct store_waiting *waiting;
	size_t n, i;

	d->next_scan_ms = clock_mono_ms() + SCAN_MS;
	if (!backlog_open_store(d))
		return;
	if (store_waiting(d->store, &waiting, &n) != STORE_OK) {
		backlog_store_failed(d, "look for waiting deliveries");
		n = 0;
	}
	for (i = 0; i < n; i++) {
		struct target *t = backlog_target(d, waiting[i].target);

		if (waiting[i].first)
			note_first(d, t);
		else
			t->first = false;
		t->next_retry_ms = waiting[i].next_retry_ms;
		t->test = waiting[i].test;
		backlog_look_for_missing(d, t);
	}
	store_waiting_free(waiting, n);
	d->more_new = true;
	d->probes_wait = true;
}

void backlog_refresh_target(struct dispatcher *d, struct target *t)
{
	struct store_waiting w;

	t->first = t->test = false;
	t->next_retry_ms = INT64_MAX;
	if (store_waiting_for(d->store, t->name, &w) == STORE_OK) {
		t->first = w.first;
		t->test = w.test;
		t->next_retry_ms = w.next_retry_ms;
		free(w.target);
	}
}

/* --- new events become deliveries -------------------------------------------------------- */

struct plan { /* what the events of one name and organisation expand to; the same for all of a batch */
	const char *event, *org;
	struct targets targets;
};

static const struct targets *plan_for(struct dispatcher *d, struct plan *plans, size_t *n, const char *event,
                                      const char *org)
{
	struct buf err = BUF_INIT;
	size_t i;

	for (i = 0; i < *n; i++)
		if (strcmp(plans[i].event, event) == 0 && strcmp(plans[i].org, org) == 0)
			return &plans[i].targets;
	plans[*n].event = event;
	plans[*n].org = org;
	if (targets_find(d->conf->handlers_dir, event, &plans[*n].targets, NULL, NULL, &err)) {
		if (!d->handlers_unreadable)
			log_error("events wait, their handlers can't be looked up: %s", buf_str(&err));
		d->handlers_unreadable = true;
		buf_free(&err);
		return NULL;
	}
	buf_free(&err);
	d->handlers_unreadable = false;
	if (store_webhooks_for(d->store, event, org, &plans[*n].targets.names, &plans[*n].targets.n) != STORE_OK) {
		targets_free(&plans[*n].targets);
		return NULL; /* what is wrong with the store shows when these events are expanded */
	}
	return &plans[(*n)++].targets;
}

static enum store_status expand_one(struct dispatcher *d, const struct store_new_event *e, const struct targets *t)
{
	size_t i;

	if (t->n == 0)
		log_info("event has no handler and no webhook id=%s event=%s", e->id, e->event);
	for (i = 0; i < t->n; i++)
		note_first(d, backlog_target(d, t->names[i]));
	return store_expand_event(d->store, e->seq, (const char *const *)t->names, t->n, clock_wall_ms());
}

/* Look the handlers up before the transaction: a slow disk must not hold the store's lock. */
static size_t plan_events(struct dispatcher *d, const struct store_new_event *events, size_t n, struct plan *plans,
                          size_t *nplans, const struct targets **planned)
{
	size_t i, deliveries = 0;

	for (i = 0; i < n && deliveries < EXPAND_DELIVERIES; i++) {
		planned[i] = plan_for(d, plans, nplans, events[i].event, events[i].org);
		if (!planned[i])
			break;
		deliveries += planned[i]->n;
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

void backlog_expand(struct dispatcher *d)
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
	d->more_new = status == STORE_OK && ready > 0 && (ready < n || n == EXPAND_MAX);
	if (status != STORE_OK)
		backlog_store_failed(d, "prepare deliveries");
	for (i = 0; i < nplans; i++)
		targets_free(&plans[i].targets);
	store_new_events_free(events, n);
	if (ready > 0)
		FAULT_POINT("expanded");
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
		backlog_store_failed(d, "remove old events");
		return;
	}
	d->next_prune_ms = clock_mono_ms() + (d->retention.done ? PRUNE_EVERY_MS : PRUNE_PAUSE_MS);
}

static void sync_store(struct dispatcher *d)
{
	if (!d->store || clock_mono_ms() < d->next_sync_ms)
		return;
	d->next_sync_ms = clock_mono_ms() + SYNC_EVERY_MS;
	if (store_sync(d->store) != STORE_OK)
		backlog_store_failed(d, "sync");
}

void backlog_maintain(struct dispatcher *d)
{
	prune(d);
	sync_store(d);
}
