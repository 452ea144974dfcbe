/* Private to lib/api: counts over a range of time, and the steps in which it is drawn. */
#ifndef NTRVSTA_API_STATS_H
#define NTRVSTA_API_STATS_H

#include "lib/api/call.h"

struct stats_range {
	enum store_span span; /* how fine counts are read */
	int64_t from_ms;      /* the present minute or hour, and those before it */
	int64_t step_ms;      /* a whole number of spans */
	size_t steps;
};

extern const char *const stats_ranges[]; /* "1h" ...; NULL-terminated */
#define TIME_RANGE_FIELD { .name = "timeRange", .type = FIELD_CHOICE, .offset = IN(time_range), .choices = stats_ranges }

/* Of the call's timeRange; 24h where it says none. */
void stats_find_range(const struct api_call *c, struct stats_range *out);

/* Add `stats` to each of ROWS, which are webhooks and handlers as a list shows them. */
enum store_status stats_add_to_rows(struct api_call *c, struct json_object *rows);

/* The members of GET /v1/webhooks/{id}/stats. */
struct json_object *stats_show(const struct api_call *c, const struct store_stats *s);

/* Add `bucket_seconds` and `buckets`, one for each step. BUCKETS has R->steps of them. */
struct stats_bucket {
	int64_t attempts, failed_attempts, events;
};
void stats_add_buckets(struct json_object *o, const struct stats_range *r, const struct stats_bucket *buckets, bool events);

/* Add the attempts of ROW to the step that it falls into. */
void stats_fill_bucket(const struct stats_range *r, struct stats_bucket *buckets, const struct store_bucket_row *row);

/* The step that WALL_MS falls into; R->steps where it is none of them. */
size_t stats_step(const struct stats_range *r, int64_t wall_ms);

#endif
