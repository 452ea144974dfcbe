#include "lib/store/store.h"

#include "lib/base/hooks.h"
#include "lib/store/sqlite.h"

/* A number is never used twice, also not after the last events were removed by retention:
 * `expanded` counts as used, else a new event could fall behind it and never be delivered. */
static enum store_status next_sequence(struct store *s, int64_t *seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT max(coalesce((SELECT max(seq) FROM event), 0),"
		" (SELECT value FROM meta WHERE key = 'expanded'))");
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK)
		*seq = sqlite3_column_int64(stmt, 0) + 1;
	sqlite3_reset(stmt);
	return status;
}

static enum store_status find_first(struct store *s, struct store_event_in *e)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT id FROM event WHERE identity = ?1");
	enum store_status status;

	sqlite_bind_blob(stmt, 1, e->identity, sizeof e->identity);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		sqlite_copy_id(e->id, stmt, 0);
	sqlite3_reset(stmt);
	return status;
}

static enum store_status put_event(struct store *s, struct store_event_in *e, int64_t *seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (identity) DO NOTHING");
	enum store_status status;

	id_make(ID_EVENT, e->received_ms, e->id);
	sqlite3_bind_int64(stmt, 1, *seq);
	sqlite_bind_text(stmt, 2, e->id);
	sqlite_bind_text(stmt, 3, e->source);
	sqlite_bind_text(stmt, 4, e->event);
	sqlite_bind_text(stmt, 5, e->timestamp);
	sqlite_bind_text(stmt, 6, e->idempotency_key);
	sqlite3_bind_int64(stmt, 7, e->received_ms);
	sqlite_bind_blob(stmt, 8, e->identity, sizeof e->identity);
	sqlite_bind_blob(stmt, 9, e->body, e->body_len);
	status = sqlite_change(s, stmt);
	e->duplicate = status == STORE_NOT_FOUND;
	if (e->duplicate)
		return find_first(s, e);
	(*seq)++;
	return status;
}

enum store_status store_put_events(struct store *s, struct store_event_in *const *events, size_t n)
{
	enum store_status status = store_begin(s);
	int64_t seq;
	size_t i;

	if (status != STORE_OK)
		return status;
	status = next_sequence(s, &seq);
	for (i = 0; status == STORE_OK && i < n; i++)
		status = put_event(s, events[i], &seq);
	FAULT_POINT("storing");
	return sqlite_leave(s, true, status);
}
