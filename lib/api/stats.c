#include "lib/api/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/store/overview.h"

/* --- ranges --------------------------------------------------------------------------------- */

const char *const stats_ranges[] = { "1h", "24h", "7d", "30d", NULL };

/* At most sixty steps, as many as a chart shows well. */
static const struct stats_range shapes[] = {
	{ STORE_MINUTE, 0, MINUTE_MS, 60 },
	{ STORE_HOUR, 0, HOUR_MS, 24 },
	{ STORE_HOUR, 0, 3 * HOUR_MS, 56 },
	{ STORE_HOUR, 0, 12 * HOUR_MS, 60 },
};

void stats_find_range(const struct api_call *c, struct stats_range *out)
{
	const char *name = c->in.time_range ? c->in.time_range : "24h";
	int64_t span_ms;
	size_t i = 0;

	while (strcmp(stats_ranges[i], name) != 0)
		i++;
	*out = shapes[i];
	span_ms = out->span == STORE_MINUTE ? MINUTE_MS : HOUR_MS;
	out->from_ms = store_bucket(out->span, c->now_ms) + span_ms - (int64_t)out->steps * out->step_ms;
}

size_t stats_step(const struct stats_range *r, int64_t wall_ms)
{
	int64_t step = (wall_ms - r->from_ms) / r->step_ms;

	return wall_ms < r->from_ms || step >= (int64_t)r->steps ? r->steps : (size_t)step;
}

/* --- buckets -------------------------------------------------------------------------------- */

struct filling {
	const struct stats_range *range;
	struct stats_bucket *buckets;
};

void stats_fill_bucket(const struct stats_range *r, struct stats_bucket *buckets, const struct store_bucket_row *row)
{
	size_t step = stats_step(r, row->bucket_ms);

	if (step == r->steps)
		return;
	buckets[step].attempts += row->attempts;
	buckets[step].failed_attempts += row->failed_attempts;
}

static int note_bucket(void *ctx, const struct store_bucket_row *row)
{
	struct filling *f = ctx;

	stats_fill_bucket(f->range, f->buckets, row);
	return 0;
}

void stats_add_buckets(struct json_object *o, const struct stats_range *r, const struct stats_bucket *buckets, bool events)
{
	struct json_object *rows = json_object_new_array(), *row;
	size_t i;

	for (i = 0; i < r->steps; i++) {
		row = json_object_new_object();
		json_add_time(row, "start", r->from_ms + (int64_t)i * r->step_ms);
		if (events)
			json_add_number(row, "events", buckets[i].events);
		json_add_number(row, "attempts", buckets[i].attempts);
		json_add_number(row, "failed_attempts", buckets[i].failed_attempts);
		json_object_array_add(rows, row);
	}
	json_add_number(o, "bucket_seconds", r->step_ms / 1000);
	json_object_object_add(o, "buckets", rows);
}

static enum store_status add_target_buckets(struct api_call *c, const char *target, const struct stats_range *r,
                                            struct json_object *o)
{
	struct filling f = { r, xcalloc(r->steps, sizeof *f.buckets) };
	enum store_status status = store_list_buckets(c->store, target, r->span, r->from_ms, c->now_ms + 1, note_bucket, &f);

	if (status == STORE_OK)
		stats_add_buckets(o, r, f.buckets, false);
	free(f.buckets);
	return status;
}

/* --- of one target -------------------------------------------------------------------------- */

/* Percent of what has ended, never rounded up to 100; NULL where nothing has. */
static struct json_object *success_rate(const struct store_stats *s)
{
	int64_t ended = s->successful + s->failed, rate = ended ? s->successful * 10000 / ended : 0;
	char text[32];

	if (ended == 0)
		return NULL;
	snprintf(text, sizeof text, "%lld.%02lld", (long long)(rate / 100), (long long)(rate % 100));
	return json_object_new_double_s((double)rate / 100, text);
}

static enum store_status read_stats(struct api_call *c, const char *target, const struct stats_range *r, struct store_stats *out)
{
	enum store_status status = store_stats(c->store, target, r->from_ms, c->now_ms + 1, out);

	return status == STORE_OK ? store_stats_backlog(c->store, target, out) : status;
}

/* The members of `stats` in a list; NULL where the store failed. */
static struct json_object *show_target(struct api_call *c, const char *target, const struct stats_range *r,
                                       enum store_status *status)
{
	struct json_object *o = json_object_new_object();
	struct store_stats s;
	int64_t last_ms = 0;

	*status = read_stats(c, target, r, &s);
	if (*status == STORE_OK)
		*status = store_last_attempt(c->store, target, &last_ms);
	json_object_object_add(o, "success_rate", success_rate(&s));
	json_add_number_unless(o, "p95_ms", s.p95_ms, -1);
	json_add_number(o, "pending_deliveries", s.pending);
	json_add_number(o, "failed_deliveries", s.failed);
	json_add_time(o, "last_attempt_at", last_ms);
	if (*status == STORE_OK)
		*status = add_target_buckets(c, target, r, o);
	if (*status == STORE_OK)
		return o;
	json_object_put(o);
	return NULL;
}

enum store_status stats_add_to_rows(struct api_call *c, struct json_object *rows)
{
	enum store_status status = STORE_OK;
	struct json_object *row, *id = NULL, *stats;
	struct stats_range range;
	size_t i;

	stats_find_range(c, &range);
	for (i = 0; status == STORE_OK && i < json_object_array_length(rows); i++) {
		row = json_object_array_get_idx(rows, i);
		json_object_object_get_ex(row, "id", &id);
		stats = show_target(c, json_object_get_string(id), &range, &status);
		if (stats)
			json_object_object_add(row, "stats", stats);
	}
	return status;
}

struct json_object *stats_show(const struct api_call *c, const struct store_stats *s)
{
	struct json_object *o = json_object_new_object();

	json_add_number(o, "total_deliveries", s->successful + s->failed + s->pending);
	json_add_number(o, "successful_deliveries", s->successful);
	json_add_number(o, "failed_deliveries", s->failed);
	json_add_number(o, "pending_deliveries", s->pending);
	json_object_object_add(o, "success_rate", success_rate(s));
	json_add_number_unless(o, "p50_ms", s->p50_ms, -1);
	json_add_number_unless(o, "p95_ms", s->p95_ms, -1);
	json_add_time(o, "from", s->from_ms);
	json_add_time(o, "to", c->now_ms);
	return o;
}

static void answer_stats(struct api_call *c)
{
	struct stats_range range;
	struct store_stats s;
	struct json_object *o = NULL;
	enum store_status status;

	stats_find_range(c, &range);
	status = read_stats(c, c->id, &range, &s);
	if (status == STORE_OK) {
		o = stats_show(c, &s);
		if (c->in.include)
			status = add_target_buckets(c, c->id, &range, o);
	}
	if (status == STORE_OK) {
		call_answer(c, 200, "OK", o);
	} else {
		json_object_put(o);
		call_store_failed(c, status);
	}
}

static void stats(struct api_call *c)
{
	struct api_target t;

	if (!call_target(c, &t))
		return;
	answer_stats(c);
	api_target_free(&t);
}

/* --- routes --------------------------------------------------------------------------------- */

static const char *const parts[] = { "buckets", NULL };

static const struct field stats_fields[] = {
	TIME_RANGE_FIELD,
	{ .name = "include", .type = FIELD_CHOICE, .offset = IN(include), .choices = parts },
};

const struct route stats_routes[] = {
	{ "GET", "/v1/webhooks/{id}/stats", AUTH_READ, FIELDS(stats_fields), NO_FIELDS, stats },
};
const size_t stats_nroutes = sizeof stats_routes / sizeof stats_routes[0];
