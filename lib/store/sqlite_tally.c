#include "lib/store/store.h"

#include <string.h>

#include "lib/store/sqlite.h"

/* Counts of what happened, by target and time. Each attempt writes to the row of its minute only; when
 * an hour is over, its minutes are added up, and so are the hours of a day. How far that has come is
 * noted with the target: before `hours_until` there is a row for each hour in which something
 * happened, before `days_until` (which is never later) one for each day. */

const struct sqlite_span sqlite_spans[] = {
	[STORE_MINUTE] = { MINUTE_MS, 3 * HOUR_MS },
	[STORE_HOUR] = { HOUR_MS, 40 * DAY_MS },
	[STORE_DAY] = { DAY_MS, 400 * DAY_MS },
};

int64_t store_bucket(enum store_span span, int64_t wall_ms)
{
	return wall_ms - wall_ms % sqlite_spans[span].length_ms;
}

/* --- counting as it happens --------------------------------------------------------------- */

static enum store_status add_counts(struct store *s, enum store_span span, const struct sqlite_tally *t)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts, successful, failed, last_ms)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (target, span, bucket_ms) DO UPDATE SET"
		" attempts = attempts + excluded.attempts, failed_attempts = failed_attempts + excluded.failed_attempts,"
		" successful = successful + excluded.successful, failed = failed + excluded.failed,"
		" last_ms = max(last_ms, excluded.last_ms)");

	sqlite3_bind_int64(stmt, 1, t->target);
	sqlite3_bind_int(stmt, 2, (int)span);
	sqlite3_bind_int64(stmt, 3, store_bucket(span, t->ended_ms));
	sqlite3_bind_int64(stmt, 4, t->attempts);
	sqlite3_bind_int64(stmt, 5, t->failed_attempts);
	sqlite3_bind_int64(stmt, 6, t->successful);
	sqlite3_bind_int64(stmt, 7, t->failed);
	sqlite3_bind_int64(stmt, 8, t->last_ms);
	return sqlite_run(s, stmt);
}

static enum store_status add_duration(struct store *s, const struct sqlite_tally *t)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO duration (target, bucket_ms, duration_ms, attempts) VALUES (?1, ?2, ?3, ?4)"
		" ON CONFLICT (target, bucket_ms, duration_ms) DO UPDATE SET attempts = attempts + excluded.attempts");

	sqlite3_bind_int64(stmt, 1, t->target);
	sqlite3_bind_int64(stmt, 2, store_bucket(STORE_MINUTE, t->ended_ms));
	sqlite3_bind_int64(stmt, 3, t->duration_ms);
	sqlite3_bind_int64(stmt, 4, t->attempts);
	return sqlite_run(s, stmt);
}

static enum store_status set_durations(struct store *s, int64_t target, enum store_span span, int64_t bucket_ms,
                                       struct durations *d)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE tally SET durations = ?4 WHERE target = ?1 AND span = ?2 AND bucket_ms = ?3");
	struct buf packed = BUF_INIT;
	enum store_status status;

	durations_pack(d, &packed);
	sqlite3_bind_int64(stmt, 1, target);
	sqlite3_bind_int(stmt, 2, (int)span);
	sqlite3_bind_int64(stmt, 3, bucket_ms);
	sqlite_bind_blob(stmt, 4, packed.data, packed.len);
	status = sqlite_change(s, stmt);
	buf_free(&packed);
	return status;
}

/* It ended in an hour, or day, that is added up already: an attempt that was interrupted long ago, or
 * a delivery that begins anew. */
static enum store_status add_late(struct store *s, enum store_span span, const struct sqlite_tally *t)
{
	int64_t bucket_ms = store_bucket(span, t->ended_ms);
	struct sqlite_sum sum = { .durations = DURATIONS_INIT };
	enum store_status status = add_counts(s, span, t);

	if (status != STORE_OK || t->attempts == 0)
		return status;
	status = sqlite_add_up(s, t->target, span, bucket_ms, bucket_ms + 1, &sum);
	durations_add(&sum.durations, t->duration_ms, t->attempts);
	if (status == STORE_OK)
		status = set_durations(s, t->target, span, bucket_ms, &sum.durations);
	durations_free(&sum.durations);
	return status;
}

static enum store_status read_progress(struct store *s, int64_t target, int64_t *hours_until, int64_t *days_until)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT hours_until, days_until FROM target WHERE id = ?1");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, target);
	status = sqlite_next(s, stmt);
	*hours_until = status == STORE_OK ? sqlite3_column_int64(stmt, 0) : 0;
	*days_until = status == STORE_OK ? sqlite3_column_int64(stmt, 1) : 0;
	sqlite3_reset(stmt);
	return status;
}

enum store_status sqlite_flush_tally(struct store *s)
{
	struct sqlite_tally t = s->tally;
	int64_t hours_until, days_until;
	enum store_status status;

	if (t.target == 0)
		return STORE_OK;
	memset(&s->tally, 0, sizeof s->tally);
	status = read_progress(s, t.target, &hours_until, &days_until);
	if (status == STORE_OK)
		status = add_counts(s, STORE_MINUTE, &t);
	if (status == STORE_OK && t.attempts > 0)
		status = add_duration(s, &t);
	if (status == STORE_OK && t.ended_ms < hours_until)
		status = add_late(s, STORE_HOUR, &t);
	if (status == STORE_OK && t.ended_ms < days_until)
		status = add_late(s, STORE_DAY, &t);
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
	t->last_ms = ended_ms;
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
	if (s->tally.successful == 0 && s->tally.failed == 0)
		s->tally.target = 0;
	return status == STORE_OK ? sqlite_flush_tally(s) : status;
}

/* --- adding up ---------------------------------------------------------------------------- */

/* The first bucket of a target that is over, and not in the next larger span yet. */
#define NEXT_BUCKET(span, until, length) \
	"SELECT id, bucket_ms FROM (SELECT t.id, (SELECT min(bucket_ms) FROM tally" \
	"  WHERE target = t.id AND span = " span " AND bucket_ms >= t." until ") AS bucket_ms FROM target t)" \
	" WHERE bucket_ms - bucket_ms % " length " + " length " <= ?1 LIMIT 1"

static enum store_status next_bucket(struct store *s, enum store_span span, int64_t now_ms, int64_t *target, int64_t *bucket_ms)
{
	sqlite3_stmt *stmt = span == STORE_HOUR ? sqlite_prepare(s, NEXT_BUCKET("0", "hours_until", "3600000"))
	                                        : sqlite_prepare(s, NEXT_BUCKET("1", "days_until", "86400000"));
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, now_ms);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*target = sqlite3_column_int64(stmt, 0);
		*bucket_ms = store_bucket(span, sqlite3_column_int64(stmt, 1));
	}
	sqlite3_reset(stmt);
	return status;
}

static enum store_status note_progress(struct store *s, enum store_span span, int64_t target, int64_t until_ms)
{
	sqlite3_stmt *stmt = span == STORE_HOUR
		? sqlite_prepare(s, "UPDATE target SET hours_until = ?2 WHERE id = ?1")
		: sqlite_prepare(s, "UPDATE target SET days_until = ?2, hours_until = max(hours_until, ?2) WHERE id = ?1");

	sqlite3_bind_int64(stmt, 1, target);
	sqlite3_bind_int64(stmt, 2, until_ms);
	return sqlite_change(s, stmt);
}

/* Make the row of one hour or day that is over; *READ grows by how much there was to read.
 * STORE_NOT_FOUND where there is none to make. */
static enum store_status add_up_next(struct store *s, enum store_span span, int64_t now_ms, size_t *read)
{
	struct sqlite_sum sum = { .durations = DURATIONS_INIT };
	int64_t target, bucket_ms, end_ms;
	struct sqlite_tally t;
	enum store_status status = next_bucket(s, span, now_ms, &target, &bucket_ms);

	if (status != STORE_OK)
		return status;
	end_ms = bucket_ms + sqlite_spans[span].length_ms;
	status = sqlite_add_up(s, target, (enum store_span)(span - 1), bucket_ms, end_ms, &sum);
	t = sum.counts;
	t.target = target;
	t.ended_ms = bucket_ms;
	if (status == STORE_OK)
		status = add_counts(s, span, &t);
	if (status == STORE_OK)
		status = set_durations(s, target, span, bucket_ms, &sum.durations);
	if (status == STORE_OK)
		status = note_progress(s, span, target, end_ms);
	durations_free(&sum.durations);
	*read += sum.read;
	return status;
}

/* What to read at a time, so that nobody waits long for the lock. */
#define STEP_ROWS 1000

static enum store_status add_up(struct store *s, int64_t now_ms, bool *done)
{
	enum store_status status = STORE_OK;
	int span;
	size_t read = 0;

	/* Days from hours: these first. */
	for (span = STORE_HOUR; span <= STORE_DAY && read < STEP_ROWS; span++) {
		while (read < STEP_ROWS && (status = add_up_next(s, (enum store_span)span, now_ms, &read)) == STORE_OK)
			read++;
		if (status != STORE_OK && status != STORE_NOT_FOUND)
			return status;
	}
	*done = *done && read < STEP_ROWS;
	return STORE_OK;
}

/* --- removing ----------------------------------------------------------------------------- */

#define OUTDATED(table, key, condition) \
	"DELETE FROM " table " WHERE (" key ") IN (SELECT " key " FROM target t CROSS JOIN " table " ON target = t.id" \
	" WHERE " condition " LIMIT ?2)"

enum store_status sqlite_prune_tallies(struct store *s, int64_t now_ms, bool *done)
{
	/* Never before it is part of a larger span. */
	struct { sqlite3_stmt *stmt; enum store_span span; } steps[] = {
		{ sqlite_prepare(s, OUTDATED("duration", "target, bucket_ms, duration_ms",
			"bucket_ms < min(?1, t.hours_until)")), STORE_MINUTE },
		{ sqlite_prepare(s, OUTDATED("tally", "target, span, bucket_ms",
			"span = 0 AND bucket_ms < min(?1, t.hours_until)")), STORE_MINUTE },
		{ sqlite_prepare(s, OUTDATED("tally", "target, span, bucket_ms",
			"span = 1 AND bucket_ms < min(?1, t.days_until)")), STORE_HOUR },
		{ sqlite_prepare(s, OUTDATED("tally", "target, span, bucket_ms", "span = 2 AND bucket_ms < ?1")), STORE_DAY },
	};
	enum store_status status;
	size_t i;

	status = add_up(s, now_ms, done);
	for (i = 0; status == STORE_OK && i < sizeof steps / sizeof steps[0]; i++)
		status = sqlite_prune_step(s, steps[i].stmt, now_ms - sqlite_spans[steps[i].span].keep_ms, done);
	return status;
}

/* --- what was not packed yet --------------------------------------------------------------- */

static void pack_step(sqlite3_context *context, int n, sqlite3_value **values)
{
	struct durations *d = sqlite3_aggregate_context(context, sizeof *d);

	(void)n;
	if (d)
		durations_add(d, sqlite3_value_int64(values[0]), sqlite3_value_int64(values[1]));
	else
		sqlite3_result_error_nomem(context);
}

static void pack_final(sqlite3_context *context)
{
	struct durations *d = sqlite3_aggregate_context(context, 0);
	struct buf packed = BUF_INIT;

	if (d)
		durations_pack(d, &packed);
	sqlite3_result_blob64(context, packed.len ? packed.data : "", packed.len, SQLITE_TRANSIENT);
	buf_free(&packed);
	if (d)
		durations_free(d);
}

int sqlite_register_packing(sqlite3 *db)
{
	return sqlite3_create_function(db, "pack_durations", 2, SQLITE_UTF8, NULL, NULL, pack_step, pack_final);
}
