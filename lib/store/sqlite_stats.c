#include "lib/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

static const struct {
	int64_t length_ms;
	int64_t keep_ms; /* longer than any range that reads this span */
} spans[] = {
	[STORE_MINUTE] = { MINUTE_MS, 3 * HOUR_MS },
	[STORE_HOUR] = { HOUR_MS, 40 * DAY_MS },
	[STORE_DAY] = { DAY_MS, 400 * DAY_MS },
};
#define NSPANS (sizeof spans / sizeof spans[0])

int64_t store_bucket(enum store_span span, int64_t wall_ms)
{
	return wall_ms - wall_ms % spans[span].length_ms;
}

/* --- counting as it happens --------------------------------------------------------------- */

static enum store_status add_to_tally(struct store *s, const struct sqlite_tally *t, int span)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts, successful, failed)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (target, span, bucket_ms) DO UPDATE SET"
		" attempts = attempts + excluded.attempts, failed_attempts = failed_attempts + excluded.failed_attempts,"
		" successful = successful + excluded.successful, failed = failed + excluded.failed");

	sqlite3_bind_int64(stmt, 1, t->target);
	sqlite3_bind_int(stmt, 2, span);
	sqlite3_bind_int64(stmt, 3, store_bucket((enum store_span)span, t->ended_ms));
	sqlite3_bind_int64(stmt, 4, t->attempts);
	sqlite3_bind_int64(stmt, 5, t->failed_attempts);
	sqlite3_bind_int64(stmt, 6, t->successful);
	sqlite3_bind_int64(stmt, 7, t->failed);
	return sqlite_run(s, stmt);
}

static enum store_status add_to_durations(struct store *s, const struct sqlite_tally *t, int span)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO duration (target, span, bucket_ms, duration_ms, attempts) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (target, span, bucket_ms, duration_ms) DO UPDATE SET attempts = attempts + excluded.attempts");

	sqlite3_bind_int64(stmt, 1, t->target);
	sqlite3_bind_int(stmt, 2, span);
	sqlite3_bind_int64(stmt, 3, store_bucket((enum store_span)span, t->ended_ms));
	sqlite3_bind_int64(stmt, 4, t->duration_ms);
	sqlite3_bind_int64(stmt, 5, t->attempts);
	return sqlite_run(s, stmt);
}

enum store_status sqlite_flush_tally(struct store *s)
{
	enum store_status status = STORE_OK;
	int span;

	if (s->tally.target == 0)
		return STORE_OK;
	for (span = 0; status == STORE_OK && span < (int)NSPANS; span++) {
		status = add_to_tally(s, &s->tally, span);
		if (status == STORE_OK && s->tally.attempts > 0)
			status = add_to_durations(s, &s->tally, span);
	}
	memset(&s->tally, 0, sizeof s->tally);
	return status;
}

enum store_status sqlite_tally_attempt(struct store *s, int64_t target, int64_t ended_ms, int64_t duration_ms,
                                       bool failed, const char *state)
{
	struct sqlite_tally *t = &s->tally;
	enum store_status status = STORE_OK;

	if (t->target != target || t->ended_ms != ended_ms || t->duration_ms != duration_ms)
		status = sqlite_flush_tally(s);
	t->target = target;
	t->ended_ms = ended_ms;
	t->duration_ms = duration_ms;
	t->attempts++;
	t->failed_attempts += failed;
	t->successful += strcmp(state, "success") == 0;
	t->failed += strcmp(state, "failed") == 0;
	return status;
}

enum store_status sqlite_untally_delivery(struct store *s, int64_t target, int64_t ended_ms, const char *state)
{
	enum store_status status = sqlite_flush_tally(s);

	s->tally = (struct sqlite_tally){
		.target = target,
		.ended_ms = ended_ms,
		.successful = -(strcmp(state, "success") == 0),
		.failed = -(strcmp(state, "failed") == 0),
	};
	return status == STORE_OK ? sqlite_flush_tally(s) : status;
}

/* What to remove of one table at a time, so that nobody waits long for the lock. */
#define PRUNE_ROWS 1000
#define OUTDATED(table, key) \
	"DELETE FROM " table " WHERE (" key ") IN (SELECT " key " FROM " table \
	" WHERE target IN (SELECT id FROM target) AND span = ?1 AND bucket_ms < ?2 LIMIT ?3)"

enum store_status sqlite_prune_tallies(struct store *s, int64_t now_ms, bool *done)
{
	enum store_status status = STORE_OK;
	int span;

	*done = true;
	for (span = 0; status == STORE_OK && span < (int)NSPANS; span++) {
		sqlite3_stmt *steps[] = {
			sqlite_prepare(s, OUTDATED("tally", "target, span, bucket_ms")),
			sqlite_prepare(s, OUTDATED("duration", "target, span, bucket_ms, duration_ms")),
		};
		size_t i;

		for (i = 0; status == STORE_OK && i < 2; i++) {
			sqlite3_bind_int(steps[i], 1, span);
			sqlite3_bind_int64(steps[i], 2, now_ms - spans[span].keep_ms);
			sqlite3_bind_int(steps[i], 3, PRUNE_ROWS);
			status = sqlite_run(s, steps[i]);
			*done = *done && sqlite3_changes(s->db) < PRUNE_ROWS;
		}
	}
	return status;
}

/* --- reading it --------------------------------------------------------------------------- */

/* A range is put together from whole days and, at both ends, hours; a short one from minutes. */
struct piece {
	enum store_span span;
	int64_t from_ms, to_ms;
};

static size_t split_range(int64_t from_ms, int64_t to_ms, struct piece out[3])
{
	int64_t first_day, last_day;

	if (to_ms - from_ms <= HOUR_MS) {
		out[0] = (struct piece){ STORE_MINUTE, store_bucket(STORE_MINUTE, from_ms), to_ms };
		return 1;
	}
	from_ms = store_bucket(STORE_HOUR, from_ms);
	first_day = store_bucket(STORE_DAY, from_ms + DAY_MS - 1);
	last_day = store_bucket(STORE_DAY, to_ms);
	if (first_day >= last_day) {
		out[0] = (struct piece){ STORE_HOUR, from_ms, to_ms };
		return 1;
	}
	out[0] = (struct piece){ STORE_HOUR, from_ms, first_day };
	out[1] = (struct piece){ STORE_DAY, first_day, last_day };
	out[2] = (struct piece){ STORE_HOUR, last_day, to_ms };
	return 3;
}

#define IN_PIECE \
	" WHERE target IN (SELECT id FROM target WHERE ?1 = '' OR name = ?1)" \
	" AND span = ?2 AND bucket_ms >= ?3 AND bucket_ms < ?4"

static void bind_piece(sqlite3_stmt *stmt, const char *target, const struct piece *p)
{
	sqlite_bind_text(stmt, 1, target);
	sqlite3_bind_int(stmt, 2, (int)p->span);
	sqlite3_bind_int64(stmt, 3, p->from_ms);
	sqlite3_bind_int64(stmt, 4, p->to_ms);
}

static enum store_status sum_tallies(struct store *s, const char *target, const struct piece *p, struct store_stats *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT sum(successful), sum(failed), sum(attempts), sum(failed_attempts) FROM tally" IN_PIECE);
	enum store_status status;

	bind_piece(stmt, target, p);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		out->successful += sqlite3_column_int64(stmt, 0);
		out->failed += sqlite3_column_int64(stmt, 1);
		out->attempts += sqlite3_column_int64(stmt, 2);
		out->failed_attempts += sqlite3_column_int64(stmt, 3);
	}
	sqlite3_reset(stmt);
	return status;
}

struct histogram {
	struct { int64_t duration_ms, attempts; } *rows;
	size_t n;
};

static enum store_status collect_durations(struct store *s, const char *target, const struct piece *p, struct histogram *h)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT duration_ms, sum(attempts) FROM duration" IN_PIECE " GROUP BY duration_ms");
	enum store_status status;

	bind_piece(stmt, target, p);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		if (h->n % 1024 == 0)
			h->rows = xreallocarray(h->rows, h->n + 1024, sizeof *h->rows);
		h->rows[h->n].duration_ms = sqlite3_column_int64(stmt, 0);
		h->rows[h->n++].attempts = sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static int by_duration(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Nearest rank: the smallest duration that PERCENT of the attempts did not exceed. H is sorted. */
static int64_t percentile(const struct histogram *h, int64_t attempts, int percent)
{
	int64_t rank = (attempts * percent + 99) / 100, seen = 0;
	size_t i;

	for (i = 0; i < h->n; i++) {
		seen += h->rows[i].attempts;
		if (seen >= rank)
			return h->rows[i].duration_ms;
	}
	return -1;
}

/* One pass over the index of what waits: it has the deliveries' numbers, which are in the order
 * of their events. */
static enum store_status read_backlog(struct store *s, const char *target, int64_t *waiting, int64_t *oldest_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"WITH open AS (SELECT seq FROM delivery WHERE state = 'pending'"
		"  AND target IN (SELECT id FROM target WHERE ?1 = '' OR name = ?1)"
		" UNION ALL SELECT seq FROM delivery WHERE state = 'running'"
		"  AND target IN (SELECT id FROM target WHERE ?1 = '' OR name = ?1)),"
		" summary AS (SELECT count(*) AS n, min(seq) AS oldest FROM open)"
		"SELECT n, (SELECT e.received_ms FROM delivery d JOIN event e ON e.seq = d.event_seq"
		"  WHERE d.seq = oldest) FROM summary");
	enum store_status status;

	sqlite_bind_text(stmt, 1, target);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*waiting = sqlite3_column_int64(stmt, 0);
		*oldest_ms = sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_stats(struct store *s, const char *target, int64_t from_ms, int64_t to_ms,
                              struct store_stats *out)
{
	struct histogram h = { NULL, 0 };
	struct piece pieces[3];
	size_t n = split_range(from_ms, to_ms, pieces), i;
	enum store_status status;

	memset(out, 0, sizeof *out);
	out->from_ms = pieces[0].from_ms;
	out->to_ms = to_ms;
	status = read_backlog(s, target, &out->pending, &out->oldest_waiting_ms);
	for (i = 0; status == STORE_OK && i < n; i++) {
		status = sum_tallies(s, target, &pieces[i], out);
		if (status == STORE_OK)
			status = collect_durations(s, target, &pieces[i], &h);
	}
	if (h.n)
		qsort(h.rows, h.n, sizeof *h.rows, by_duration);
	out->p50_ms = percentile(&h, out->attempts, 50);
	out->p95_ms = percentile(&h, out->attempts, 95);
	free(h.rows);
	return status;
}

enum store_status store_list_buckets(struct store *s, const char *target, enum store_span span,
                                     int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT bucket_ms, sum(attempts), sum(failed_attempts) FROM tally" IN_PIECE
		" GROUP BY bucket_ms ORDER BY bucket_ms");
	struct piece p = { span, store_bucket(span, from_ms), to_ms };
	enum store_status status;

	bind_piece(stmt, target, &p);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		struct store_bucket_row row = {
			.bucket_ms = sqlite3_column_int64(stmt, 0),
			.attempts = sqlite3_column_int64(stmt, 1),
			.failed_attempts = sqlite3_column_int64(stmt, 2),
		};

		if (fn(ctx, &row))
			break;
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

/* --- the whole store ----------------------------------------------------------------------- */

static enum store_status count_states(struct store *s, struct store_counts *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT (SELECT count(*) FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')),"
		" (SELECT min(received_ms) FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')),"
		" (SELECT count(*) FROM delivery WHERE state = 'running'),"
		" (SELECT count(*) FROM delivery WHERE state = 'failed')");
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK) {
		out->new_events = sqlite3_column_int64(stmt, 0);
		out->oldest_waiting_ms = sqlite3_column_int64(stmt, 1);
		out->running = sqlite3_column_int64(stmt, 2);
		out->failed = sqlite3_column_int64(stmt, 3);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_count(struct store *s, struct store_counts *out)
{
	int64_t open = 0, oldest_ms = 0;
	enum store_status status;

	memset(out, 0, sizeof *out);
	status = count_states(s, out);
	if (status == STORE_OK)
		status = read_backlog(s, NULL, &open, &oldest_ms);
	out->pending = open - out->running;
	if (oldest_ms && (!out->oldest_waiting_ms || oldest_ms < out->oldest_waiting_ms))
		out->oldest_waiting_ms = oldest_ms;
	return status;
}
