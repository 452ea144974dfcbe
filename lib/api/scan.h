/* Private to lib/api: a list whose filters no index helps is looked through a piece at a time, newest first, for a
 * short time at most; then the answer says how far it got. */
#ifndef NTRVSTA_API_SCAN_H
#define NTRVSTA_API_SCAN_H

#include "lib/api/call.h"
#include "lib/store/search.h"

struct scan {
	enum store_table table;
	struct store_range left; /* what was not looked at yet */
	int64_t piece, least;    /* how many numbers to look at next; and as few as that, where it takes long */
	bool grows;              /* the next piece is larger, however long this one took */
	int64_t rows;            /* how many are still allowed */
	int64_t deadline_ms, started_ms;
};

/* Begin with what C's since and until leave, before BEFORE_SEQ (0: at the end); at most ROWS numbers of it. With
 * a text to look for in bodies, which may be large, it is small pieces. */
enum store_status scan_begin(struct scan *scan, struct api_call *c, enum store_table table, int64_t before_seq, int64_t rows);

/* Only what waits is wanted (RUNNING: or runs): begin with the newest of it. */
enum store_status scan_waiting(struct scan *scan, struct api_call *c, bool running);

/* The next piece into F's before_seq and after_seq. False where there is none, or the time is up. */
bool scan_next(struct scan *scan, struct store_filter *f);

/* Is nothing left to look at? */
bool scan_is_over(const struct scan *scan);

/* Answer with PAGE, and with `searched_until`: where PAGE is not full, it goes on with a cursor of MARK and the
 * number at which SCAN stopped. */
void scan_end(struct scan *scan, struct page *page, struct api_call *c, char mark, enum store_status status);

#endif
