#include "lib/api/call.h"

#include <stdlib.h>

#include "lib/api/security.h"
#include "lib/api/stats.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/wake.h"
#include "lib/store/overview.h"

struct overview {
	struct stats_range range;
	struct store_stats stats;
	struct stats_bucket *buckets;
	int64_t events;
};

/* --- reading -------------------------------------------------------------------------------- */

static void note_arrivals(void *ctx, const struct store_arrivals *row)
{
	struct overview *o = ctx;
	size_t step = stats_step(&o->range, row->bucket_ms);

	if (step == o->range.steps)
		return;
	o->buckets[step].events += row->events;
	o->events += row->events;
}

static int note_attempts(void *ctx, const struct store_bucket_row *row)
{
	struct overview *o = ctx;

	stats_fill_bucket(&o->range, o->buckets, row);
	return 0;
}

static enum store_status read_overview(struct api_call *c, struct overview *o)
{
	const struct stats_range *r = &o->range;
	int64_t to_ms = c->now_ms + 1, new_ms = 0;
	enum store_status status = store_stats_seen(c->store, c->who->org, r->from_ms, to_ms, &o->stats);

	if (status == STORE_OK)
		status = store_list_buckets_seen(c->store, c->who->org, r->span, r->from_ms, to_ms, note_attempts, o);
	if (status == STORE_OK)
		status = store_list_arrivals(c->store, c->who->org, r->span, r->from_ms, to_ms, note_arrivals, o);
	if (status == STORE_OK)
		status = store_oldest_new(c->store, c->who->org, &new_ms);
	if (new_ms && (!o->stats.oldest_waiting_ms || new_ms < o->stats.oldest_waiting_ms))
		o->stats.oldest_waiting_ms = new_ms;
	return status;
}

/* --- the answer ----------------------------------------------------------------------------- */

static struct json_object *show_overview(const struct api_call *c, const struct overview *o)
{
	struct json_object *doc = stats_show(c, &o->stats);

	json_add_bool(doc, "dispatcher_running", wake_is_read_now(c->conf->state_dir));
	json_add_number(doc, "events_received", o->events);
	json_add_time(doc, "oldest_waiting_at", o->stats.oldest_waiting_ms);
	stats_add_buckets(doc, &o->range, o->buckets, true);
	json_object_object_add(doc, "refusals", security_count(c, &o->range));
	return doc;
}

static void overview(struct api_call *c)
{
	struct overview o = { .events = 0 };
	enum store_status status;

	stats_find_range(c, &o.range);
	o.buckets = xcalloc(o.range.steps, sizeof *o.buckets);
	status = read_overview(c, &o);
	if (status == STORE_OK)
		call_answer(c, 200, "OK", show_overview(c, &o));
	else
		call_store_failed(c, status);
	free(o.buckets);
}

static const struct field overview_fields[] = { TIME_RANGE_FIELD };

const struct route overview_routes[] = {
	{ "GET", "/v1/overview", AUTH_READ, FIELDS(overview_fields), NO_FIELDS, overview },
};
const size_t overview_nroutes = sizeof overview_routes / sizeof overview_routes[0];
