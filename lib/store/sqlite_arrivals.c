#include "lib/store/overview.h"

#include "lib/store/sqlite.h"

/* Intake writes nothing but the event: it is counted where the cursor of expanded events passes it, once for
 * each minute, hour and organisation of a commit. So each event is counted once, whatever crashes. */

static enum store_status count_span(struct store *s, enum store_span span, int64_t seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO arrival (org, span, bucket_ms, events)"
		" SELECT org, ?2, received_ms - received_ms % ?3 AS bucket, count(*) FROM event"
		" WHERE seq > (SELECT value FROM meta WHERE key = 'expanded') AND seq <= ?1 AND test = 0 GROUP BY org, bucket"
		" ON CONFLICT (org, span, bucket_ms) DO UPDATE SET events = events + excluded.events");

	sqlite3_bind_int64(stmt, 1, seq);
	sqlite3_bind_int(stmt, 2, (int)span);
	sqlite3_bind_int64(stmt, 3, sqlite_spans[span].length_ms);
	return sqlite_run(s, stmt);
}

enum store_status sqlite_count_arrivals(struct store *s, int64_t seq)
{
	enum store_status status = count_span(s, STORE_MINUTE, seq);

	return status == STORE_OK ? count_span(s, STORE_HOUR, seq) : status;
}

enum store_status sqlite_prune_arrivals(struct store *s, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"DELETE FROM arrival WHERE bucket_ms < CASE span WHEN 0 THEN ?1 ELSE ?2 END");

	sqlite3_bind_int64(stmt, 1, now_ms - sqlite_spans[STORE_MINUTE].keep_ms);
	sqlite3_bind_int64(stmt, 2, now_ms - sqlite_spans[STORE_HOUR].keep_ms);
	return sqlite_run(s, stmt);
}

/* One statement, so that an event that is expanded meanwhile is in one of the two. */
enum store_status store_list_arrivals(struct store *s, const char *org, enum store_span span,
                                      int64_t from_ms, int64_t to_ms, store_arrivals_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT bucket_ms, events FROM arrival"
		" WHERE org IN ('', ?1) AND span = ?2 AND bucket_ms >= ?4 AND bucket_ms < ?5"
		" UNION ALL SELECT received_ms - received_ms % ?3 AS bucket, count(*) FROM event"
		" WHERE seq > (SELECT value FROM meta WHERE key = 'expanded') AND test = 0 AND org IN ('', ?1)"
		" AND received_ms >= ?4 AND received_ms < ?5 GROUP BY bucket");
	enum store_status status;

	sqlite_bind_text(stmt, 1, org);
	sqlite3_bind_int(stmt, 2, (int)span);
	sqlite3_bind_int64(stmt, 3, sqlite_spans[span].length_ms);
	sqlite3_bind_int64(stmt, 4, store_bucket(span, from_ms));
	sqlite3_bind_int64(stmt, 5, to_ms);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		const struct store_arrivals row = { sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1) };

		fn(ctx, &row);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_oldest_new(struct store *s, const char *org, int64_t *received_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT received_ms FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')"
		" AND test = 0 AND org IN ('', ?1) ORDER BY seq LIMIT 1");
	enum store_status status;

	sqlite_bind_text(stmt, 1, org);
	status = sqlite_next(s, stmt);
	*received_ms = status == STORE_OK ? sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}
