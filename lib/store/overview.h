/* More statistics, for who looks at the whole; as exact and quick as those of store.h. */
#ifndef NTRVSTA_STORE_OVERVIEW_H
#define NTRVSTA_STORE_OVERVIEW_H

#include "lib/store/store.h"

/* When the last attempt of TARGET ended, tests not counted; 0 where none has for more than a year. */
enum store_status store_last_attempt(struct store *s, const char *target, int64_t *ended_ms);

/* As store_stats() with store_stats_backlog(), and store_list_buckets(), over all targets that ORG may see. */
enum store_status store_stats_seen(struct store *s, const char *org, int64_t from_ms, int64_t to_ms, struct store_stats *out);
enum store_status store_list_buckets_seen(struct store *s, const char *org, enum store_span span,
                                          int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx);

/* Events that ORG may see, tests aside, by when they came: buckets in which any did, in no order, one maybe several
 * times. SPAN is a minute (of the last three hours) or an hour (of the last forty days). They are counted as the
 * dispatcher looks at them; those that it has not looked at yet are counted here, a million in half a second or so. */
struct store_arrivals {
	int64_t bucket_ms, events;
};
typedef void store_arrivals_fn(void *ctx, const struct store_arrivals *row);
enum store_status store_list_arrivals(struct store *s, const char *org, enum store_span span,
                                      int64_t from_ms, int64_t to_ms, store_arrivals_fn *fn, void *ctx);

/* When the first of those came that the dispatcher has not looked at yet; 0: it has seen all. */
enum store_status store_oldest_new(struct store *s, const char *org, int64_t *received_ms);

#endif
