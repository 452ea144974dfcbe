#include "lib/store/search.h"

#include "lib/store/sqlite.h"

/* By how much times may be out of order: see search.h. */
#define SLACK_MS DAY_MS

/* The first row behind AFTER_SEQ. STORE_NOT_FOUND where there is none. */
static enum store_status first_behind(struct store *s, enum store_table table, int64_t after_seq, int64_t *seq, int64_t *wall_ms)
{
	sqlite3_stmt *stmt = table == STORE_EVENTS
		? sqlite_prepare(s, "SELECT seq, received_ms FROM event WHERE seq > ?1 ORDER BY seq LIMIT 1")
		: sqlite_prepare(s, "SELECT seq, created_ms FROM delivery WHERE seq > ?1 ORDER BY seq LIMIT 1");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, after_seq);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*seq = sqlite3_column_int64(stmt, 0);
		*wall_ms = sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return status;
}

static enum store_status last_number(struct store *s, enum store_table table, int64_t *seq)
{
	sqlite3_stmt *stmt = table == STORE_EVENTS ? sqlite_prepare(s, "SELECT max(seq) FROM event")
	                                           : sqlite_prepare(s, "SELECT max(seq) FROM delivery");
	enum store_status status = sqlite_next(s, stmt);

	*seq = status == STORE_OK ? sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return status;
}

/* The number in LOW .. HIGH behind which, as far as times are in order, all came at WALL_MS or later. */
static enum store_status seek(struct store *s, enum store_table table, int64_t wall_ms, int64_t low, int64_t high, int64_t *out)
{
	enum store_status status = STORE_OK;
	int64_t middle, seq = 0, at_ms = 0;

	while (low < high) {
		middle = low + (high - low) / 2;
		status = first_behind(s, table, middle, &seq, &at_ms);
		if (status != STORE_OK)
			break;
		if (at_ms < wall_ms)
			low = seq < high ? seq : high;
		else
			high = middle;
	}
	*out = low;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_find_range(struct store *s, enum store_table table, int64_t since_ms, int64_t until_ms,
                                   struct store_range *out)
{
	int64_t first = 0, last = 0, at_ms;
	enum store_status status = last_number(s, table, &last);

	*out = (struct store_range){ 0, 0 };
	if (status == STORE_OK)
		status = first_behind(s, table, 0, &first, &at_ms);
	if (status == STORE_NOT_FOUND)
		return STORE_OK;
	out->after_seq = first - 1;
	out->before_seq = last + 1;
	if (status == STORE_OK && since_ms)
		status = seek(s, table, since_ms - SLACK_MS, first - 1, last, &out->after_seq);
	if (status == STORE_OK && until_ms) {
		status = seek(s, table, until_ms + SLACK_MS, first - 1, last, &out->before_seq);
		out->before_seq++;
	}
	return status;
}

enum store_status store_time_behind(struct store *s, enum store_table table, int64_t after_seq, int64_t *out_ms)
{
	int64_t seq;
	enum store_status status;

	*out_ms = 0;
	status = first_behind(s, table, after_seq, &seq, out_ms);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_newest_waiting(struct store *s, int64_t before_seq, bool running, int64_t *seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT max(coalesce((SELECT max(seq) FROM delivery WHERE state = 'pending'"
		"  AND target IN (SELECT id FROM target) AND seq < ?1), 0),"
		" CASE ?2 WHEN 0 THEN 0 ELSE coalesce((SELECT max(seq) FROM delivery WHERE state = 'running' AND seq < ?1), 0) END)");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, before_seq);
	sqlite3_bind_int(stmt, 2, running);
	status = sqlite_next(s, stmt);
	*seq = status == STORE_OK ? sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return status;
}
