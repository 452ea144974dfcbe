#include "lib/store/search.h"

#include <string.h>

#include "lib/store/sqlite.h"

/* --- a query put together from a filter ---------------------------------------------------- */

struct query {
	struct buf sql;
	struct { const char *text; int64_t number; } values[24];
	int n;
};

static void add_text(struct query *q, const char *condition, const char *value)
{
	if (!value)
		return;
	buf_addf(&q->sql, " AND %s", condition);
	q->values[q->n++].text = value;
}

static void add_number(struct query *q, const char *condition, int64_t value)
{
	if (!value)
		return;
	buf_addf(&q->sql, " AND %s", condition);
	q->values[q->n].text = NULL;
	q->values[q->n++].number = value;
}

#define TARGET_SEEN(name) SQLITE_TARGET_SEEN(name, "?")

static void add_order(struct query *q, const char *column, const struct store_filter *f)
{
	buf_addf(&q->sql, " ORDER BY %s %s", column, f->oldest_first ? "ASC" : "DESC");
	if (f->limit) {
		buf_adds(&q->sql, " LIMIT ?");
		q->values[q->n].text = NULL;
		q->values[q->n++].number = f->limit;
	}
}

/* Call FN for each row until it returns nonzero. Releases the query. */
static enum store_status run_query(struct store *s, struct query *q,
                                   int (*fn)(void *ctx, sqlite3_stmt *stmt), void *ctx)
{
	sqlite3_stmt *stmt = NULL;
	enum store_status status;
	int rc = sqlite3_prepare_v2(s->db, buf_str(&q->sql), -1, &stmt, NULL), i;

	for (i = 0; rc == SQLITE_OK && i < q->n; i++)
		rc = q->values[i].text ? sqlite3_bind_text(stmt, i + 1, q->values[i].text, -1, SQLITE_STATIC)
		                       : sqlite3_bind_int64(stmt, i + 1, q->values[i].number);
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			if (fn(ctx, stmt))
				break;
	}
	status = sqlite_status(s, rc);
	sqlite3_finalize(stmt);
	buf_free(&q->sql);
	return status;
}

static const char *text(sqlite3_stmt *stmt, int column)
{
	const char *value = (const char *)sqlite3_column_text(stmt, column);

	return value ? value : "";
}

/* The caller's function and its context, on their way through run_query(). */
struct listing {
	store_event_fn *event;
	store_delivery_fn *delivery;
	store_attempt_fn *attempt;
	void *ctx;
};

/* --- events ---------------------------------------------------------------------------- */

static int list_event(void *ctx, sqlite3_stmt *stmt)
{
	const struct listing *l = ctx;
	struct store_event_row row = {
		.seq = sqlite3_column_int64(stmt, 0),
		.id = text(stmt, 1),
		.source = text(stmt, 2),
		.event = text(stmt, 3),
		.timestamp = text(stmt, 4),
		.idempotency_key = text(stmt, 5),
		.received_ms = sqlite3_column_int64(stmt, 6),
		.body = sqlite3_column_blob(stmt, 7),
		.body_len = (size_t)sqlite3_column_bytes(stmt, 7),
		.expanded = sqlite3_column_int(stmt, 8),
		.deliveries = sqlite3_column_int64(stmt, 9),
		.succeeded = sqlite3_column_int64(stmt, 10),
		.failed = sqlite3_column_int64(stmt, 11),
		.waiting = sqlite3_column_int64(stmt, 12),
		.test = sqlite3_column_int(stmt, 13),
		.org = text(stmt, 14),
	};

	return l->event(l->ctx, &row);
}

static void add_counts(struct buf *sql, bool seen_only)
{
	static const char *const conditions[] = {
		"", " AND d.state = 'success'", " AND d.state = 'failed'", " AND d.state IN ('pending', 'running')",
	};
	size_t i;

	for (i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
		buf_addf(sql, ", (SELECT count(*) FROM delivery d WHERE d.event_seq = e.seq%s%s)", conditions[i],
		         seen_only ? " AND d.target IN seen" : "");
}

enum store_status store_list_events(struct store *s, const struct store_filter *f, store_event_fn *fn, void *ctx)
{
	struct listing l = { .event = fn, .ctx = ctx };
	struct query q = { .sql = BUF_INIT };
	int i;

	if (f->org) {
		buf_adds(&q.sql, "WITH seen AS (SELECT t.id FROM target t WHERE " TARGET_SEEN("t.name") ") ");
		q.values[q.n++].text = f->org;
	}
	buf_adds(&q.sql,
	         "SELECT e.seq, e.id, e.source, e.event, e.timestamp, e.idempotency_key, e.received_ms, e.body,"
	         " e.test OR e.seq <= (SELECT value FROM meta WHERE key = 'expanded')");
	add_counts(&q.sql, f->org != NULL);
	buf_adds(&q.sql, ", e.test, e.org FROM event e WHERE 1");
	add_text(&q, "e.org IN ('', ?)", f->org);
	add_text(&q, "e.id = ?", f->event_id);
	add_text(&q, "e.event = ?", f->event);
	add_number(&q, "e.received_ms >= ?", f->since_ms);
	add_number(&q, "e.received_ms < ?", f->until_ms);
	add_number(&q, "e.seq < ?", f->before_seq);
	add_number(&q, "e.seq > ?", f->after_seq);
	if (f->text) {
		buf_adds(&q.sql, " AND (holds(e.body, ?) OR holds(e.id, ?) OR holds(e.event, ?))");
		for (i = 0; i < 3; i++)
			q.values[q.n++].text = f->text;
	}
	add_order(&q, "e.seq", f);
	return run_query(s, &q, list_event, &l);
}

/* --- deliveries ------------------------------------------------------------------------ */

static int list_delivery(void *ctx, sqlite3_stmt *stmt)
{
	const struct listing *l = ctx;
	struct store_delivery_row row = {
		.id = text(stmt, 0),
		.event_id = text(stmt, 1),
		.event = text(stmt, 2),
		.target = text(stmt, 3),
		.state = text(stmt, 4),
		.attempts = sqlite3_column_int(stmt, 5),
		.created_ms = sqlite3_column_int64(stmt, 6),
		.due_ms = sqlite3_column_int64(stmt, 7),
		.updated_ms = sqlite3_column_int64(stmt, 8),
		.error_code = text(stmt, 9),
		.error_message = text(stmt, 10),
		.held = text(stmt, 11),
		.test = sqlite3_column_int(stmt, 12),
		.seq = sqlite3_column_int64(stmt, 13),
	};

	return l->delivery(l->ctx, &row);
}

/* Conditions that name the state in the words of the indexes that have it. */
static const struct {
	const char *state, *condition;
} states[] = {
	{ "waiting", " AND d.state IN ('pending', 'running')" },
	{ "pending", " AND d.state = 'pending'" },
	{ "running", " AND d.state = 'running'" },
	{ "success", " AND d.state = 'success'" },
	{ "failed", " AND d.state = 'failed' AND d.state IN ('failed', 'canceled')" },
	{ "canceled", " AND d.state = 'canceled' AND d.state IN ('failed', 'canceled')" },
};

static void add_state(struct query *q, const char *state)
{
	size_t i;

	for (i = 0; i < sizeof states / sizeof states[0]; i++)
		if (strcmp(states[i].state, state) == 0)
			buf_adds(&q->sql, states[i].condition);
}

/* What waits has an index by target: looked up there it need not be found among all that is done. The
 * window bounds how much of it is sorted. */
static bool add_waiting(struct query *q, const struct store_filter *f)
{
	bool pending = f->state && strcmp(f->state, "pending") == 0, waiting = f->state && strcmp(f->state, "waiting") == 0;

	if ((!pending && !waiting) || !f->before_seq || !f->after_seq)
		return false;
	buf_adds(&q->sql, "WITH open AS MATERIALIZED (SELECT seq FROM delivery WHERE state = 'pending'"
	                  " AND target IN (SELECT id FROM target)");
	add_number(q, "seq < ?", f->before_seq);
	add_number(q, "seq > ?", f->after_seq);
	if (waiting) {
		buf_adds(&q->sql, " UNION ALL SELECT seq FROM delivery WHERE state = 'running'");
		add_number(q, "seq < ?", f->before_seq);
		add_number(q, "seq > ?", f->after_seq);
	}
	buf_adds(&q->sql, ") ");
	return true;
}

static void add_delivery_conditions(struct query *q, const struct store_filter *f)
{
	add_text(q, "e.org IN ('', ?)", f->org);
	add_text(q, TARGET_SEEN("t.name"), f->org);
	add_text(q, "d.id = ?", f->delivery_id);
	add_text(q, "e.id = ?", f->event_id);
	add_text(q, "e.event = ?", f->event);
	add_text(q, "t.name = ?", f->target);
	if (f->state)
		add_state(q, f->state);
	if (f->skip_tests)
		buf_adds(&q->sql, " AND d.test = 0");
	add_number(q, "d.created_ms >= ?", f->since_ms);
	add_number(q, "d.created_ms < ?", f->until_ms);
	add_number(q, "d.seq < ?", f->before_seq);
	add_number(q, "d.seq > ?", f->after_seq);
}

#define DELIVERY_JOINS " JOIN event e ON e.seq = d.event_seq JOIN target t ON t.id = d.target WHERE 1"

enum store_status store_list_deliveries(struct store *s, const struct store_filter *f,
                                        store_delivery_fn *fn, void *ctx)
{
	struct listing l = { .delivery = fn, .ctx = ctx };
	struct query q = { .sql = BUF_INIT };
	bool open = add_waiting(&q, f);

	buf_addf(&q.sql,
	         "SELECT d.id, e.id, e.event, t.name, d.state, d.attempt, d.created_ms, max(d.due_ms, 0), d.updated_ms,"
	         " d.error_code, d.error_message, t.held, d.test, d.seq FROM %s" DELIVERY_JOINS,
	         open ? "open o CROSS JOIN delivery d ON d.seq = o.seq" : "delivery d");
	add_delivery_conditions(&q, f);
	add_order(&q, "d.seq", f);
	return run_query(s, &q, list_delivery, &l);
}

static int note_count(void *ctx, sqlite3_stmt *stmt)
{
	*(int64_t *)ctx = sqlite3_column_int64(stmt, 0);
	return 1;
}

enum store_status store_count_deliveries(struct store *s, const struct store_filter *f, int64_t *n)
{
	struct query q = { .sql = BUF_INIT };

	*n = 0;
	buf_adds(&q.sql, "SELECT count(*) FROM delivery d" DELIVERY_JOINS);
	add_delivery_conditions(&q, f);
	return run_query(s, &q, note_count, n);
}

/* --- attempts -------------------------------------------------------------------------- */

static int list_attempt(void *ctx, sqlite3_stmt *stmt)
{
	const struct listing *l = ctx;
	struct store_attempt_row row = {
		.seq = sqlite3_column_int64(stmt, 0),
		.delivery_id = text(stmt, 1),
		.event_id = text(stmt, 2),
		.event = text(stmt, 3),
		.target = text(stmt, 4),
		.attempt = sqlite3_column_int(stmt, 5),
		.started_ms = sqlite3_column_int64(stmt, 6),
		.duration_ms = sqlite3_column_int64(stmt, 7),
		.outcome = text(stmt, 8),
		.error_code = text(stmt, 9),
		.error_message = text(stmt, 10),
		.exit_code = sqlite3_column_int(stmt, 11),
		.signal = sqlite3_column_int(stmt, 12),
		.output = sqlite3_column_blob(stmt, 13),
		.output_len = (size_t)sqlite3_column_bytes(stmt, 13),
		.output_cut = sqlite3_column_int(stmt, 14),
		.status_code = sqlite3_column_int(stmt, 15),
		.test = sqlite3_column_int(stmt, 16),
		.request_head = text(stmt, 17),
		.answer_head = text(stmt, 18),
		.answer_head_cut = sqlite3_column_int(stmt, 19),
	};

	return l->attempt(l->ctx, &row);
}

enum store_status store_list_attempts(struct store *s, const struct store_filter *f,
                                      store_attempt_fn *fn, void *ctx)
{
	struct listing l = { .attempt = fn, .ctx = ctx };
	struct query q = { .sql = BUF_INIT };

	buf_adds(&q.sql,
	         "SELECT a.seq, d.id, e.id, e.event, t.name, a.attempt, a.started_ms, a.duration_ms, a.outcome,"
	         " a.error_code, a.error_message, a.exit_code, a.signal, coalesce(o.output, a.output), a.output_cut,"
	         " a.status_code, d.test, x.request_head, x.answer_head, x.answer_head_cut"
	         " FROM attempt a LEFT JOIN attempt o ON o.seq = a.output_of AND a.output_of <> 0"
	         " LEFT JOIN exchange x ON x.attempt_seq = a.seq"
	         " JOIN delivery d ON d.seq = a.delivery_seq"
	         " JOIN event e ON e.seq = d.event_seq JOIN target t ON t.id = d.target WHERE 1");
	add_text(&q, "e.org IN ('', ?)", f->org);
	add_text(&q, TARGET_SEEN("t.name"), f->org);
	add_text(&q, "d.id = ?", f->delivery_id);
	add_text(&q, "e.id = ?", f->event_id);
	add_text(&q, "e.event = ?", f->event);
	add_text(&q, "t.name = ?", f->target);
	if (f->outcome)
		buf_addf(&q.sql, " AND a.outcome %s 'success'", strcmp(f->outcome, "success") == 0 ? "=" : "<>");
	add_number(&q, "a.started_ms >= ?", f->since_ms);
	add_number(&q, "a.started_ms < ?", f->until_ms);
	add_number(&q, "a.seq < ?", f->before_seq);
	add_number(&q, "a.seq > ?", f->after_seq);
	add_order(&q, "a.seq", f);
	return run_query(s, &q, list_attempt, &l);
}
