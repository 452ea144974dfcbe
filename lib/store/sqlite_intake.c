#include "lib/store/store.h"

#include <errno.h>
#include <string.h>

#include "lib/base/hooks.h"
#include "lib/store/identity.h"
#include "lib/store/sqlite.h"

/* How many entries the table of identities makes room for at once while it is made anew. */
#define CATCH_UP_GROUP 1024

/* --- identities -------------------------------------------------------------------------- */

static enum store_status identity_failed(struct store *s)
{
	bool full = errno == ENOSPC || errno == EDQUOT;

	buf_reset(&s->error);
	buf_addf(&s->error, "%s: %s", s->identity_path, strerror(errno));
	return full ? STORE_FULL : STORE_UNAVAILABLE;
}

/* The random number by which the table of identities knows that it belongs to this database. */
static enum store_status open_identities(struct store *s)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT value FROM meta WHERE key = 'database'");
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK && sqlite3_column_bytes(stmt, 0) == IDENTITY_DATABASE_BYTES)
		s->identities = identity_open(s->identity_path, sqlite3_column_blob(stmt, 0));
	sqlite3_reset(stmt);
	if (status == STORE_OK && s->identities)
		return STORE_OK;
	buf_reset(&s->error);
	buf_adds(&s->error, "the database has no id of its own: is it damaged?");
	return STORE_INVALID;
}

/* Is a stored event behind one of the candidates? Its id is the answer to a second call then. */
static enum store_status check_candidates(struct store *s, const struct identity_probe *probe, struct store_event_in *e)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT id FROM event WHERE seq = ?1 AND identity = ?2");
	enum store_status status = STORE_OK;
	size_t i;

	e->duplicate = false;
	for (i = 0; status == STORE_OK && !e->duplicate && i < probe->n; i++) {
		sqlite3_bind_int64(stmt, 1, probe->candidates[i]);
		sqlite_bind_blob(stmt, 2, e->identity, sizeof e->identity);
		status = sqlite_next(s, stmt);
		e->duplicate = status == STORE_OK;
		if (e->duplicate)
			sqlite_copy_id(e->id, stmt, 0);
		sqlite3_reset(stmt);
		if (status == STORE_NOT_FOUND)
			status = STORE_OK;
	}
	return status;
}

/* Enter what is stored and not in the table yet: all of it where the file is new, else what a crash
 * of the machine has lost. */
static enum store_status catch_up(struct store *s, int64_t last_seq)
{
	sqlite3_stmt *stmt;
	enum store_status status = STORE_OK;
	struct identity_probe probe;
	int64_t n = 0;

	if (identity_covered(s->identities) >= last_seq)
		return STORE_OK;
	stmt = sqlite_prepare(s, "SELECT seq, identity FROM event WHERE seq > ?1 ORDER BY seq");
	sqlite3_bind_int64(stmt, 1, identity_covered(s->identities));
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		const uint8_t *identity = sqlite3_column_blob(stmt, 1);
		int64_t seq = sqlite3_column_int64(stmt, 0);

		if (++n % CATCH_UP_GROUP == 0 && identity_begin(s->identities, CATCH_UP_GROUP, 0))
			break;
		if (sqlite3_column_bytes(stmt, 1) != SHA256_BYTES || identity_find(s->identities, identity, &probe) ||
		    identity_add(s->identities, identity, seq, &probe) || identity_cover(s->identities, seq))
			break;
	}
	if (status == STORE_OK)
		status = identity_failed(s);
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status begin_identities(struct store *s, size_t more, int64_t first_seq, int64_t last_seq)
{
	enum store_status status = s->identities ? STORE_OK : open_identities(s);

	if (status == STORE_OK && identity_begin(s->identities, more + CATCH_UP_GROUP, first_seq))
		status = identity_failed(s);
	return status == STORE_OK ? catch_up(s, last_seq) : status;
}

/* --- events ------------------------------------------------------------------------------ */

/* A number is never used twice, also not after the last events were removed by retention:
 * `expanded` counts as used, else a new event could fall behind it and never be delivered. */
enum store_status sqlite_read_sequence(struct store *s, int64_t *first, int64_t *last)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT (SELECT min(seq) FROM event),"
		" max(coalesce((SELECT max(seq) FROM event), 0), (SELECT value FROM meta WHERE key = 'expanded'))");
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK) {
		*first = sqlite3_column_int64(stmt, 0);
		*last = sqlite3_column_int64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status sqlite_insert_event(struct store *s, struct store_event_in *e, int64_t seq, bool test)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body, test,"
		" org)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");

	id_make(ID_EVENT, e->received_ms, e->id);
	sqlite3_bind_int64(stmt, 1, seq);
	sqlite_bind_text(stmt, 2, e->id);
	sqlite_bind_text(stmt, 3, e->source);
	sqlite_bind_text(stmt, 4, e->event);
	sqlite_bind_text(stmt, 5, e->timestamp);
	sqlite_bind_text(stmt, 6, e->idempotency_key);
	sqlite3_bind_int64(stmt, 7, e->received_ms);
	sqlite_bind_blob(stmt, 8, e->identity, sizeof e->identity);
	sqlite_bind_blob(stmt, 9, e->body, e->body_len);
	sqlite3_bind_int(stmt, 10, test);
	sqlite_bind_text(stmt, 11, e->org);
	return sqlite_run(s, stmt);
}

static enum store_status put_event(struct store *s, struct store_event_in *e, int64_t *last_seq)
{
	struct identity_probe probe;
	enum store_status status;

	if (identity_find(s->identities, e->identity, &probe))
		return identity_failed(s);
	status = check_candidates(s, &probe, e);
	if (status != STORE_OK || e->duplicate)
		return status;
	status = sqlite_insert_event(s, e, *last_seq + 1, false);
	if (status == STORE_OK && identity_add(s->identities, e->identity, *last_seq + 1, &probe))
		status = identity_failed(s);
	*last_seq += status == STORE_OK;
	return status;
}

enum store_status store_put_events(struct store *s, struct store_event_in *const *events, size_t n)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);
	int64_t first_seq = 0, last_seq = 0;
	size_t i;

	if (status != STORE_OK)
		return status;
	status = sqlite_read_sequence(s, &first_seq, &last_seq);
	if (status == STORE_OK)
		status = begin_identities(s, n, first_seq, last_seq);
	for (i = 0; status == STORE_OK && i < n; i++)
		status = put_event(s, events[i], &last_seq);
	if (status == STORE_OK && identity_cover(s->identities, last_seq))
		status = identity_failed(s);
	FAULT_POINT("storing");
	return sqlite_leave(s, own, status);
}

enum store_status store_sync(struct store *s)
{
	enum store_status status = s->identities ? STORE_OK : open_identities(s);

	if (status == STORE_OK && identity_sync(s->identities))
		status = identity_failed(s);
	return status;
}
