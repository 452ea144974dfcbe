#include "lib/store/overview.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* --- reading counts ----------------------------------------------------------------------- */

static enum store_status add_rows(struct store *s, int64_t target, enum store_span span, int64_t from_ms, int64_t to_ms,
                                  struct sqlite_sum *sum)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT attempts, failed_attempts, successful, failed, durations, last_ms FROM tally"
		" WHERE target = ?1 AND span = ?2 AND bucket_ms >= ?3 AND bucket_ms < ?4");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, target);
	sqlite3_bind_int(stmt, 2, (int)span);
	sqlite3_bind_int64(stmt, 3, from_ms);
	sqlite3_bind_int64(stmt, 4, to_ms);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		sum->counts.attempts += sqlite3_column_int64(stmt, 0);
		sum->counts.failed_attempts += sqlite3_column_int64(stmt, 1);
		sum->counts.successful += sqlite3_column_int64(stmt, 2);
		sum->counts.failed += sqlite3_column_int64(stmt, 3);
		sum->counts.last_ms = later(sum->counts.last_ms, sqlite3_column_int64(stmt, 5));
		/* Ours alone, or the database is broken; then SQLite has more to say. */
		(void)durations_unpack(&sum->durations, sqlite3_column_blob(stmt, 4), (size_t)sqlite3_column_bytes(stmt, 4));
		sum->read++;
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

/* Those of minutes have rows of their own. */
static enum store_status add_minutes(struct store *s, int64_t target, int64_t from_ms, int64_t to_ms, struct sqlite_sum *sum)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT duration_ms, attempts FROM duration WHERE target = ?1 AND bucket_ms >= ?2 AND bucket_ms < ?3");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, target);
	sqlite3_bind_int64(stmt, 2, from_ms);
	sqlite3_bind_int64(stmt, 3, to_ms);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		durations_add(&sum->durations, sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1));
		sum->read++;
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status sqlite_add_up(struct store *s, int64_t target, enum store_span span, int64_t from_ms, int64_t to_ms,
                                struct sqlite_sum *sum)
{
	enum store_status status;

	if (from_ms >= to_ms)
		return STORE_OK;
	status = add_rows(s, target, span, from_ms, to_ms, sum);
	if (status == STORE_OK && span == STORE_MINUTE)
		status = add_minutes(s, target, from_ms, to_ms, sum);
	return status;
}

/* --- ranges -------------------------------------------------------------------------------- */

struct progress { /* a target, and how far its counts are added up */
	int64_t target, hours_until, days_until;
};

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* From the start of an hour: whole days and, at both ends, hours, and what is not added up yet. */
static enum store_status add_long_range(struct store *s, const struct progress *p, int64_t from_ms, int64_t to_ms,
                                        struct sqlite_sum *sum)
{
	int64_t first_day = store_bucket(STORE_DAY, from_ms + DAY_MS - 1);
	int64_t last_day = store_bucket(STORE_DAY, earlier(to_ms, p->days_until));
	int64_t hours_end = earlier(to_ms, p->hours_until);
	enum store_status status;

	if (first_day > last_day)
		first_day = last_day = from_ms; /* no whole day */
	status = sqlite_add_up(s, p->target, STORE_HOUR, from_ms, earlier(first_day, hours_end), sum);
	if (status == STORE_OK)
		status = sqlite_add_up(s, p->target, STORE_DAY, first_day, last_day, sum);
	if (status == STORE_OK)
		status = sqlite_add_up(s, p->target, STORE_HOUR, last_day, hours_end, sum);
	if (status == STORE_OK)
		status = sqlite_add_up(s, p->target, STORE_MINUTE, later(from_ms, p->hours_until), to_ms, sum);
	return status;
}

struct scope { /* which targets count: the one of this name, else those that ORG may see, else all */
	const char *target, *org;
};

/* Conditions for the one and the others, with ?1 for what scope_value() returns. */
#define BY_NAME(name) name " = ?1"
#define BY_ORG(name) "(?1 = '' OR " SQLITE_TARGET_SEEN(name, "?1") ")"

static const char *scope_value(const struct scope *scope)
{
	return scope->target ? scope->target : scope->org;
}

/* How far the targets in scope are. *OUT is the caller's to free. */
static enum store_status read_targets(struct store *s, const struct scope *scope, struct progress **out, size_t *n)
{
	sqlite3_stmt *stmt = scope->target
		? sqlite_prepare(s, "SELECT id, hours_until, days_until FROM target WHERE " BY_NAME("name"))
		: sqlite_prepare(s, "SELECT id, hours_until, days_until FROM target WHERE " BY_ORG("name"));
	enum store_status status;

	*out = NULL;
	*n = 0;
	sqlite_bind_text(stmt, 1, scope_value(scope));
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		*out = xreallocarray(*out, *n + 1, sizeof **out);
		(*out)[(*n)++] = (struct progress){
			.target = sqlite3_column_int64(stmt, 0),
			.hours_until = sqlite3_column_int64(stmt, 1),
			.days_until = sqlite3_column_int64(stmt, 2),
		};
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status add_range(struct store *s, const struct scope *scope, int64_t from_ms, int64_t to_ms, bool minutes,
                                   struct sqlite_sum *sum)
{
	struct progress *targets;
	size_t n, i;
	enum store_status status = read_targets(s, scope, &targets, &n);

	for (i = 0; status == STORE_OK && i < n; i++)
		status = minutes ? sqlite_add_up(s, targets[i].target, STORE_MINUTE, from_ms, to_ms, sum)
		                 : add_long_range(s, &targets[i], from_ms, to_ms, sum);
	free(targets);
	return status;
}

/* One pass over the index of what waits: it has the deliveries' numbers, which are in the order
 * of their events. */
#define BACKLOG(targets) \
	"WITH seen AS MATERIALIZED (SELECT id FROM target WHERE " targets ")," \
	" open AS (SELECT seq FROM delivery WHERE state = 'pending' AND due_ms >= 0 AND target IN seen" \
	" UNION ALL SELECT seq FROM delivery WHERE state = 'running' AND test = 0 AND target IN seen)," \
	" summary AS (SELECT count(*) AS n, min(seq) AS oldest FROM open)" \
	"SELECT n, (SELECT e.received_ms FROM delivery d JOIN event e ON e.seq = d.event_seq" \
	"  WHERE d.seq = oldest) FROM summary"

static enum store_status read_backlog(struct store *s, const struct scope *scope, int64_t *waiting, int64_t *oldest_ms)
{
	sqlite3_stmt *stmt = scope->target ? sqlite_prepare(s, BACKLOG(BY_NAME("name"))) : sqlite_prepare(s, BACKLOG(BY_ORG("name")));
	enum store_status status;

	sqlite_bind_text(stmt, 1, scope_value(scope));
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*waiting = sqlite3_column_int64(stmt, 0);
		*oldest_ms = sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return status;
}

static enum store_status read_stats(struct store *s, const struct scope *scope, int64_t from_ms, int64_t to_ms,
                                    struct store_stats *out)
{
	bool minutes = to_ms - from_ms <= HOUR_MS;
	struct sqlite_sum sum = { .durations = DURATIONS_INIT };
	enum store_status status = sqlite_begin_reading(s);

	memset(out, 0, sizeof *out);
	out->from_ms = store_bucket(minutes ? STORE_MINUTE : STORE_HOUR, from_ms);
	out->to_ms = to_ms;
	if (status == STORE_OK)
		status = add_range(s, scope, out->from_ms, to_ms, minutes, &sum);
	out->successful = sum.counts.successful;
	out->failed = sum.counts.failed;
	out->attempts = sum.counts.attempts;
	out->failed_attempts = sum.counts.failed_attempts;
	out->p50_ms = durations_percentile(&sum.durations, 50);
	out->p95_ms = durations_percentile(&sum.durations, 95);
	durations_free(&sum.durations);
	store_rollback(s);
	return status;
}

enum store_status store_stats(struct store *s, const char *target, int64_t from_ms, int64_t to_ms,
                              struct store_stats *out)
{
	return read_stats(s, &(struct scope){ .target = target }, from_ms, to_ms, out);
}

enum store_status store_stats_backlog(struct store *s, const char *target, struct store_stats *out)
{
	return read_backlog(s, &(struct scope){ .target = target }, &out->pending, &out->oldest_waiting_ms);
}

enum store_status store_stats_seen(struct store *s, const char *org, int64_t from_ms, int64_t to_ms, struct store_stats *out)
{
	const struct scope scope = { .org = org };
	enum store_status status = read_stats(s, &scope, from_ms, to_ms, out);

	return status == STORE_OK ? read_backlog(s, &scope, &out->pending, &out->oldest_waiting_ms) : status;
}

#define LAST_IN(span) \
	"coalesce((SELECT last_ms FROM tally WHERE target = t.id AND span = " span " AND last_ms > 0" \
	"  ORDER BY bucket_ms DESC LIMIT 1), 0)"

enum store_status store_last_attempt(struct store *s, const char *target, int64_t *ended_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT max(" LAST_IN("0") ", " LAST_IN("1") ", " LAST_IN("2") ") FROM target t WHERE name = ?1");
	enum store_status status;

	sqlite_bind_text(stmt, 1, target);
	status = sqlite_next(s, stmt);
	*ended_ms = status == STORE_OK ? sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

/* Rows of the span itself, and of smaller ones where these are not added up yet: by target, so that nothing
 * else is read. Hours and days have an index without the durations, which are most of a row. */
#define ROWS_OF(tally, span, since, targets) \
	"SELECT y.bucket_ms - y.bucket_ms % ?2 AS bucket, y.attempts, y.failed_attempts" \
	" FROM target t CROSS JOIN " tally " ON y.target = t.id AND y.span = " span \
	" AND y.bucket_ms >= " since " AND y.bucket_ms < ?4 WHERE " targets
#define ROWS(since, targets) ROWS_OF("tally y", "0", since, targets)
#define SUMS(span, since, targets) ROWS_OF("tally y INDEXED BY tally_sums", span " AND y.span > 0", since, targets)
#define BUCKETS(rows) "SELECT bucket, sum(attempts), sum(failed_attempts) FROM (" rows ") GROUP BY bucket ORDER BY bucket"
#define MINUTES(targets) BUCKETS(ROWS("?3", targets))
#define HOURS(targets) BUCKETS(SUMS("1", "?3", targets) " UNION ALL " ROWS("max(?3, t.hours_until)", targets))
#define DAYS(targets) \
	BUCKETS(SUMS("2", "?3", targets) " UNION ALL " SUMS("1", "max(?3, t.days_until)", targets) " UNION ALL " \
	        ROWS("max(?3, t.hours_until)", targets))

static sqlite3_stmt *prepare_buckets(struct store *s, const struct scope *scope, enum store_span span)
{
	switch (span) {
	case STORE_MINUTE:
		return scope->target ? sqlite_prepare(s, MINUTES(BY_NAME("t.name"))) : sqlite_prepare(s, MINUTES(BY_ORG("t.name")));
	case STORE_HOUR:
		return scope->target ? sqlite_prepare(s, HOURS(BY_NAME("t.name"))) : sqlite_prepare(s, HOURS(BY_ORG("t.name")));
	default:
		return scope->target ? sqlite_prepare(s, DAYS(BY_NAME("t.name"))) : sqlite_prepare(s, DAYS(BY_ORG("t.name")));
	}
}

static enum store_status list_buckets(struct store *s, const struct scope *scope, enum store_span span,
                                      int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = prepare_buckets(s, scope, span);
	enum store_status status;

	sqlite_bind_text(stmt, 1, scope_value(scope));
	sqlite3_bind_int64(stmt, 2, sqlite_spans[span].length_ms);
	sqlite3_bind_int64(stmt, 3, store_bucket(span, from_ms));
	sqlite3_bind_int64(stmt, 4, to_ms);
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

enum store_status store_list_buckets(struct store *s, const char *target, enum store_span span,
                                     int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx)
{
	return list_buckets(s, &(struct scope){ .target = target }, span, from_ms, to_ms, fn, ctx);
}

enum store_status store_list_buckets_seen(struct store *s, const char *org, enum store_span span,
                                          int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx)
{
	return list_buckets(s, &(struct scope){ .org = org }, span, from_ms, to_ms, fn, ctx);
}

/* --- the whole store ----------------------------------------------------------------------- */

static enum store_status count_states(struct store *s, struct store_counts *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT (SELECT count(*) FROM event WHERE test = 0 AND seq > (SELECT value FROM meta WHERE key = 'expanded')),"
		" (SELECT min(received_ms) FROM event WHERE test = 0"
		"  AND seq > (SELECT value FROM meta WHERE key = 'expanded')),"
		" (SELECT count(*) FROM delivery WHERE state = 'running' AND test = 0),"
		" (SELECT count(*) FROM delivery WHERE state = 'failed' AND test = 0)");
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

/* In one view: what runs is taken from what is open. */
enum store_status store_count(struct store *s, struct store_counts *out)
{
	int64_t open = 0, oldest_ms = 0;
	enum store_status status = sqlite_begin_reading(s);

	memset(out, 0, sizeof *out);
	if (status == STORE_OK)
		status = count_states(s, out);
	if (status == STORE_OK)
		status = read_backlog(s, &(struct scope){ NULL, NULL }, &open, &oldest_ms);
	out->pending = open - out->running;
	if (oldest_ms && (!out->oldest_waiting_ms || oldest_ms < out->oldest_waiting_ms))
		out->oldest_waiting_ms = oldest_ms;
	store_rollback(s);
	return status;
}
