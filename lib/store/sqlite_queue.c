#include "lib/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

/* --- new events -------------------------------------------------------------------------- */

enum store_status store_new_events(struct store *s, struct store_new_event *out, size_t max, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT seq, id, event, org FROM event"
		" WHERE seq > (SELECT value FROM meta WHERE key = 'expanded') AND test = 0 ORDER BY seq LIMIT ?1");
	enum store_status status;

	*n = 0;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)max);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		struct store_new_event *e = &out[(*n)++];

		e->seq = sqlite3_column_int64(stmt, 0);
		sqlite_copy_id(e->id, stmt, 1);
		e->event = sqlite_copy_text(stmt, 2);
		e->org = sqlite_copy_text(stmt, 3);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

void store_new_events_free(struct store_new_event *events, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(events[i].event);
		free(events[i].org);
	}
}

enum store_status sqlite_put_target(struct store *s, const char *name)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "INSERT INTO target (name) VALUES (?1) ON CONFLICT (name) DO NOTHING");

	sqlite_bind_text(stmt, 1, name);
	return sqlite_change(s, stmt);
}

/* STORE_NOT_FOUND where the event has one already, or where TARGET is not known yet. */
static enum store_status put_delivery(struct store *s, int64_t event_seq, const char *target, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO delivery (id, event_seq, target, created_ms, updated_ms)"
		" SELECT ?1, ?2, id, ?4, ?4 FROM target WHERE name = ?3"
		" ON CONFLICT (event_seq, target) DO NOTHING");
	char id[ID_SIZE];

	sqlite_bind_text(stmt, 1, id_make(ID_DELIVERY, now_ms, id));
	sqlite3_bind_int64(stmt, 2, event_seq);
	sqlite_bind_text(stmt, 3, target);
	sqlite3_bind_int64(stmt, 4, now_ms);
	return sqlite_change(s, stmt);
}

enum store_status sqlite_put_delivery(struct store *s, int64_t event_seq, const char *target,
                                      int64_t now_ms, bool *added)
{
	enum store_status status = put_delivery(s, event_seq, target, now_ms);

	/* Seldom: the first event for TARGET. */
	if (status == STORE_NOT_FOUND && (status = sqlite_put_target(s, target)) == STORE_OK)
		status = put_delivery(s, event_seq, target, now_ms);
	*added = status == STORE_OK;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_expand_event(struct store *s, int64_t seq, const char *const *targets,
                                     size_t ntargets, int64_t now_ms)
{
	enum store_status status = STORE_OK;
	bool added;
	size_t i;

	s->expanded = seq;
	for (i = 0; status == STORE_OK && i < ntargets; i++)
		status = sqlite_put_delivery(s, seq, targets[i], now_ms, &added);
	return status;
}

enum store_status sqlite_flush_expanded(struct store *s)
{
	sqlite3_stmt *stmt;
	enum store_status status;

	if (s->expanded == 0)
		return STORE_OK;
	status = sqlite_count_arrivals(s, s->expanded);
	if (status != STORE_OK)
		return status;
	stmt = sqlite_prepare(s, "UPDATE meta SET value = ?1 WHERE key = 'expanded' AND value < ?1");
	sqlite3_bind_int64(stmt, 1, s->expanded);
	status = sqlite_change(s, stmt);
	s->expanded = 0;
	return status;
}

/* --- claiming ---------------------------------------------------------------------------- */

#define CLAIM \
	"SELECT d.seq, d.id, d.attempt, d.grouped, e.id, e.source, e.event, e.timestamp, e.received_ms, e.body, d.test" \
	" FROM delivery d CROSS JOIN event e ON e.seq = d.event_seq" \
	" WHERE d.state = 'pending' AND d.target = (SELECT id FROM target WHERE name = ?1)"
#define CLAIM_FIRST CLAIM " AND d.due_ms = 0 ORDER BY d.seq LIMIT ?3"
#define CLAIM_TEST CLAIM " AND d.due_ms < 0 ORDER BY d.due_ms, d.seq LIMIT ?3"
#define RETRY_DUE \
	"FROM delivery WHERE state = 'pending' AND due_ms BETWEEN 1 AND ?2" \
	" AND target = (SELECT id FROM target WHERE name = ?1) ORDER BY due_ms, seq LIMIT 1"
/* One group shares one due time, so that it stands together in the index. */
#define CLAIM_RETRY CLAIM \
	" AND d.due_ms = (SELECT due_ms " RETRY_DUE ")" \
	" AND CASE (SELECT batch " RETRY_DUE ")" \
	"  WHEN 0 THEN d.seq = (SELECT seq " RETRY_DUE ")" \
	"  ELSE d.batch = (SELECT batch " RETRY_DUE ") END ORDER BY d.seq LIMIT ?3"

/* Bodies of several go through memory together: no further one once so many bytes are reached. */
#define GROUP_BYTES (16 * 1024 * 1024)

static void read_claim(sqlite3_stmt *stmt, struct store_claim *out)
{
	memset(out, 0, sizeof *out);
	out->seq = sqlite3_column_int64(stmt, 0);
	sqlite_copy_id(out->delivery_id, stmt, 1);
	out->attempt = sqlite3_column_int(stmt, 2) + 1;
	out->grouped = sqlite3_column_int(stmt, 3);
	sqlite_copy_id(out->event_id, stmt, 4);
	out->source = sqlite_copy_text(stmt, 5);
	out->event = sqlite_copy_text(stmt, 6);
	out->timestamp = sqlite_copy_text(stmt, 7);
	out->received_ms = sqlite3_column_int64(stmt, 8);
	out->body = sqlite_copy_blob(stmt, 9, &out->body_len);
	out->test = sqlite3_column_int(stmt, 10);
}

/* Several that run together stay together, as group GROUP, if their dispatcher dies meanwhile. */
static enum store_status mark_claimed(struct store *s, int64_t seq, int64_t group, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE delivery SET state = 'running', attempt = attempt + 1, updated_ms = ?2, batch = ?3"
		" WHERE seq = ?1 AND state = 'pending'");

	sqlite3_bind_int64(stmt, 1, seq);
	sqlite3_bind_int64(stmt, 2, now_ms);
	sqlite3_bind_int64(stmt, 3, group);
	return sqlite_change(s, stmt);
}

static sqlite3_stmt *prepare_claim(struct store *s, enum store_claim_kind kind)
{
	switch (kind) {
	case STORE_CLAIM_TEST:
		return sqlite_prepare(s, CLAIM_TEST);
	case STORE_CLAIM_RETRY:
		return sqlite_prepare(s, CLAIM_RETRY);
	default:
		return sqlite_prepare(s, CLAIM_FIRST);
	}
}

enum store_status store_claim(struct store *s, const char *target, enum store_claim_kind kind,
                              int64_t now_ms, size_t max, struct store_claim *out, size_t *n)
{
	sqlite3_stmt *stmt = prepare_claim(s, kind);
	enum store_status status = STORE_OK;
	size_t bytes = 0, i;

	*n = 0;
	sqlite_bind_text(stmt, 1, target);
	sqlite3_bind_int64(stmt, 2, now_ms);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)max);
	while (bytes < GROUP_BYTES && (status = sqlite_next(s, stmt)) == STORE_OK) {
		read_claim(stmt, &out[*n]);
		bytes += out[(*n)++].body_len;
	}
	sqlite3_reset(stmt);
	if (status == STORE_NOT_FOUND && *n > 0)
		status = STORE_OK;
	for (i = 0; status == STORE_OK && i < *n; i++)
		status = mark_claimed(s, out[i].seq, *n > 1 ? out[0].seq : 0, now_ms);
	return status;
}

void store_claim_free(struct store_claim *c)
{
	free(c->source);
	free(c->event);
	free(c->timestamp);
	free(c->body);
	memset(c, 0, sizeof *c);
}

enum store_status store_unclaim(struct store *s, const struct store_claim *c)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE delivery SET state = 'pending', attempt = attempt - 1"
		" WHERE seq = ?1 AND state = 'running' AND attempt = ?2");

	sqlite3_bind_int64(stmt, 1, c->seq);
	sqlite3_bind_int(stmt, 2, c->attempt);
	return sqlite_change(s, stmt);
}

/* --- attempts ---------------------------------------------------------------------------- */

static enum store_status put_attempt(struct store *s, const struct store_attempt *a, int64_t *output_in)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO attempt (delivery_seq, attempt, started_ms, duration_ms, outcome, error_code,"
		" error_message, exit_code, signal, output, output_cut, output_of, status_code)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, a->delivery_seq);
	sqlite3_bind_int(stmt, 2, a->attempt);
	sqlite3_bind_int64(stmt, 3, a->started_ms);
	sqlite3_bind_int64(stmt, 4, a->duration_ms);
	sqlite_bind_text(stmt, 5, a->outcome);
	sqlite_bind_text(stmt, 6, a->error_code);
	sqlite_bind_text(stmt, 7, a->error_message);
	sqlite3_bind_int(stmt, 8, a->exit_code);
	sqlite3_bind_int(stmt, 9, a->signal);
	sqlite_bind_blob(stmt, 10, a->output, *output_in ? 0 : a->output_len);
	sqlite3_bind_int(stmt, 11, a->output_cut);
	sqlite3_bind_int64(stmt, 12, *output_in);
	sqlite3_bind_int(stmt, 13, a->status_code);
	status = sqlite_run(s, stmt);
	if (status == STORE_OK && *output_in == 0)
		*output_in = sqlite3_last_insert_rowid(s->db);
	return status;
}

static enum store_status finish_delivery(struct store *s, const struct store_attempt *a, int64_t *target, bool *test)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE delivery SET state = ?1, due_ms = ?2, updated_ms = ?3, error_code = ?4, error_message = ?5,"
		" batch = ?8, grouped = grouped + ?9"
		" WHERE seq = ?6 AND state = 'running' AND attempt = ?7 RETURNING target, test");
	enum store_status status;

	sqlite_bind_text(stmt, 1, a->next_state);
	sqlite3_bind_int64(stmt, 2, a->due_ms);
	sqlite3_bind_int64(stmt, 3, a->started_ms + a->duration_ms);
	sqlite_bind_text(stmt, 4, a->error_code);
	sqlite_bind_text(stmt, 5, a->error_message);
	sqlite3_bind_int64(stmt, 6, a->delivery_seq);
	sqlite3_bind_int(stmt, 7, a->attempt);
	sqlite3_bind_int64(stmt, 8, a->group);
	sqlite3_bind_int(stmt, 9, a->grouped);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		*target = sqlite3_column_int64(stmt, 0);
	if (status == STORE_OK)
		*test = sqlite3_column_int(stmt, 1);
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_finish(struct store *s, const struct store_attempt *a, int64_t *output_in)
{
	int64_t target = 0;
	bool own, test = false;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	status = finish_delivery(s, a, &target, &test);
	if (status == STORE_OK)
		status = put_attempt(s, a, output_in);
	if (status == STORE_OK && !test)
		status = sqlite_tally_attempt(s, target, a->started_ms + a->duration_ms, a->duration_ms,
		                              strcmp(a->outcome, "success") != 0, a->next_state);
	return sqlite_leave(s, own, status);
}

/* --- what waits -------------------------------------------------------------------------- */

#define SELECT_WAITING \
	"SELECT t.name," \
	" (SELECT updated_ms FROM delivery WHERE state = 'pending' AND target = t.id AND due_ms = 0" \
	"  ORDER BY seq LIMIT 1)," \
	" (SELECT min(due_ms) FROM delivery WHERE state = 'pending' AND target = t.id AND due_ms > 0)," \
	" EXISTS (SELECT 1 FROM delivery WHERE state = 'pending' AND target = t.id AND due_ms < 0)" \
	" FROM target t"

static void read_waiting(sqlite3_stmt *stmt, struct store_waiting *out)
{
	out->target = sqlite_copy_text(stmt, 0);
	out->first = sqlite3_column_type(stmt, 1) != SQLITE_NULL;
	out->first_since_ms = sqlite3_column_int64(stmt, 1);
	out->next_retry_ms = sqlite3_column_type(stmt, 2) == SQLITE_NULL ? INT64_MAX
	                                                                 : sqlite3_column_int64(stmt, 2);
	out->test = sqlite3_column_int(stmt, 3);
}

enum store_status store_waiting(struct store *s, struct store_waiting **out, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_WAITING);
	enum store_status status;

	*out = NULL;
	*n = 0;
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		*out = xreallocarray(*out, *n + 1, sizeof **out);
		read_waiting(stmt, &(*out)[(*n)++]);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_waiting_for(struct store *s, const char *target, struct store_waiting *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_WAITING " WHERE t.name = ?1");
	enum store_status status;

	memset(out, 0, sizeof *out);
	sqlite_bind_text(stmt, 1, target);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		read_waiting(stmt, out);
	sqlite3_reset(stmt);
	return status;
}

void store_waiting_free(struct store_waiting *w, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(w[i].target);
	free(w);
}

enum store_status store_hold(struct store *s, const char *target, const char *reason)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "UPDATE target SET held = ?2 WHERE name = ?1 AND held <> ?2");

	sqlite_bind_text(stmt, 1, target);
	sqlite_bind_text(stmt, 2, reason);
	return sqlite_run(s, stmt);
}

/* --- at start ---------------------------------------------------------------------------- */

/* A handler may be back since the dispatcher that held it has ended. */
static enum store_status lift_holds(struct store *s)
{
	return sqlite_run(s, sqlite_prepare(s, "UPDATE target SET held = '' WHERE held <> ''"));
}

/* Never more than one dispatcher ran, so they are few. */
static enum store_status read_running(struct store *s, struct store_running **rows, int64_t **groups, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT d.seq, t.name, d.attempt, d.grouped, d.updated_ms, d.batch, d.error_code = 'interrupted', d.test"
		" FROM delivery d"
		" JOIN target t ON t.id = d.target WHERE d.state = 'running' ORDER BY d.batch, d.seq");
	enum store_status status;

	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		*rows = xreallocarray(*rows, *n + 1, sizeof **rows);
		*groups = xreallocarray(*groups, *n + 1, sizeof **groups);
		(*groups)[*n] = sqlite3_column_int64(stmt, 5);
		(*rows)[(*n)++] = (struct store_running){
			.delivery_seq = sqlite3_column_int64(stmt, 0),
			.target = sqlite_copy_text(stmt, 1),
			.attempt = sqlite3_column_int(stmt, 2),
			.grouped = sqlite3_column_int(stmt, 3),
			.claimed_ms = sqlite3_column_int64(stmt, 4),
			.again = sqlite3_column_int(stmt, 6),
			.test = sqlite3_column_int(stmt, 7),
		};
	}
	sqlite3_reset(stmt);
	return status;
}

static void find_members(struct store_running *rows, const int64_t *groups, size_t n)
{
	size_t first = 0, end, i;

	for (; first < n; first = end) {
		end = first + 1;
		while (groups[first] != 0 && end < n && groups[end] == groups[first])
			end++;
		for (i = first; i < end; i++) {
			rows[i].members = &rows[first];
			rows[i].n = end - first;
			rows[i].index = i - first;
		}
	}
}

enum store_status store_each_running(struct store *s, store_running_fn *fn, void *ctx)
{
	struct store_running *rows = NULL;
	int64_t *groups = NULL;
	size_t n = 0, i;
	/* Collected first: FN changes the very rows that the statement walks over. */
	enum store_status status = read_running(s, &rows, &groups, &n);

	if (status == STORE_NOT_FOUND)
		status = lift_holds(s);
	find_members(rows, groups, n);
	for (i = 0; status == STORE_OK && i < n; i++)
		status = fn(ctx, s, &rows[i]);
	for (i = 0; i < n; i++)
		free((char *)rows[i].target);
	free(groups);
	free(rows);
	return status;
}

enum store_status store_rebase(struct store *s, int64_t now_ms)
{
	/* What was written later than now was written by a clock that has gone back since. */
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE delivery SET due_ms = max(1, ?1 + due_ms - updated_ms), updated_ms = ?1"
		" WHERE state = 'pending' AND target IN (SELECT id FROM target)"
		" AND due_ms > ?1 AND updated_ms > ?1");

	sqlite3_bind_int64(stmt, 1, now_ms);
	return sqlite_run(s, stmt);
}
