/* Looking for rows among many, where no index helps: their numbers are in the order of their times, so that a
 * span of time is a span of numbers, and one can look at a piece of it at a time (store_filter's before_seq and
 * after_seq). */
#ifndef NTRVSTA_STORE_SEARCH_H
#define NTRVSTA_STORE_SEARCH_H

#include "lib/store/store.h"

struct store_range { /* of sequence numbers, both ends left out */
	int64_t after_seq, before_seq;
};

enum store_table { STORE_EVENTS, STORE_DELIVERIES };

/* Where to look for what came since SINCE_MS (0: ever) and before UNTIL_MS (0: no end). It holds what a clock that was
 * wrong by up to a day has put out of order, and may hold others: the filter decides. */
enum store_status store_find_range(struct store *s, enum store_table table, int64_t since_ms, int64_t until_ms,
                                   struct store_range *out);

/* How many deliveries F leaves. They are counted: a million of one state in two seconds or so. */
enum store_status store_count_deliveries(struct store *s, const struct store_filter *f, int64_t *n);

/* The number of the newest delivery below BEFORE_SEQ that waits, or, where RUNNING, runs; 0 where none does. */
enum store_status store_newest_waiting(struct store *s, int64_t before_seq, bool running, int64_t *seq);

/* When the first row behind AFTER_SEQ came; 0 where there is none. */
enum store_status store_time_behind(struct store *s, enum store_table table, int64_t after_seq, int64_t *out_ms);

#endif
