#include "lib/api/scan.h"

#include "lib/base/clock.h"

#define SCAN_MS 300 /* how long a client waits for a page that has little in it */

/* A piece that took less time than this is followed by one twice as large: a short query costs more to prepare
 * than to run. */
#define PIECE_ROWS 2000
#define PIECE_MS 20

/* The same with bodies to read, which may have a megabyte each. */
#define PIECE_BODIES 50

/* All that waits is passed over once for each piece, by its index. */
#define PIECE_WAITING_ROWS 16000

enum store_status scan_begin(struct scan *scan, struct api_call *c, enum store_table table, int64_t before_seq, int64_t rows)
{
	enum store_status status;

	*scan = (struct scan){ .table = table, .least = c->in.search ? PIECE_BODIES : PIECE_ROWS, .rows = rows };
	scan->piece = scan->least / 2;
	scan->started_ms = clock_mono_ms();
	scan->deadline_ms = scan->started_ms + SCAN_MS;
	status = store_find_range(c->store, table, c->in.since_ms, c->in.until_ms, &scan->left);
	if (before_seq && before_seq < scan->left.before_seq)
		scan->left.before_seq = before_seq;
	return status;
}

enum store_status scan_waiting(struct scan *scan, struct api_call *c, bool running)
{
	int64_t newest = 0;
	enum store_status status = store_newest_waiting(c->store, scan->left.before_seq, running, &newest);

	scan->left.before_seq = newest + 1;
	scan->piece = PIECE_WAITING_ROWS / 2;
	scan->grows = true;
	return status;
}

bool scan_is_over(const struct scan *scan)
{
	return scan->left.before_seq <= scan->left.after_seq + 1;
}

bool scan_next(struct scan *scan, struct store_filter *f)
{
	int64_t now_ms = clock_mono_ms(), piece;

	if (scan_is_over(scan) || scan->rows <= 0 || now_ms >= scan->deadline_ms)
		return false;
	if (scan->grows || now_ms - scan->started_ms < PIECE_MS)
		scan->piece *= 2;
	else if (scan->piece > scan->least)
		scan->piece /= 2;
	scan->started_ms = now_ms;
	piece = scan->left.before_seq - scan->left.after_seq - 1;
	if (piece > scan->piece)
		piece = scan->piece;
	if (piece > scan->rows)
		piece = scan->rows;
	f->before_seq = scan->left.before_seq;
	scan->left.before_seq -= piece;
	f->after_seq = scan->left.before_seq - 1;
	if (f->after_seq == 0)
		f->after_seq = -1; /* 0 does not narrow */
	scan->rows -= piece;
	return true;
}

void scan_end(struct scan *scan, struct page *page, struct api_call *c, char mark, enum store_status status)
{
	if (status == STORE_OK && !page->more && !scan_is_over(scan)) {
		page->more = true;
		buf_reset(&page->last);
		buf_addf(&page->last, "%c%lld", mark, (long long)scan->left.before_seq);
		status = store_time_behind(c->store, scan->table, scan->left.before_seq - 1, &page->last_ms);
	}
	page->searched = true;
	page_end(page, c, status);
}
