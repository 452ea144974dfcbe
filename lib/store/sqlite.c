#include "lib/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

/* Migration N takes a database from user_version N to N + 1. Never change one that was
 * released: add another. */
static const char *const migrations[] = {
	/* The cursor `expanded` is the last event that has its deliveries: intake writes nothing but
	 * the event itself. Sequence numbers therefore never repeat, see next_sequence(). */
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('expanded', 0);"
	"CREATE TABLE event ("
	"  seq INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL,"
	"  source TEXT NOT NULL,"
	"  event TEXT NOT NULL,"
	"  timestamp TEXT NOT NULL,"
	"  idempotency_key TEXT NOT NULL,"
	"  received_ms INTEGER NOT NULL,"
	"  identity BLOB NOT NULL,"
	"  body BLOB NOT NULL);"
	"CREATE UNIQUE INDEX event_id ON event (id);"
	"CREATE UNIQUE INDEX event_identity ON event (identity);"
	"CREATE TABLE target (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	/* due_ms is 0 for a first attempt: at once, in order of arrival, whatever the clock does. */
	"CREATE TABLE delivery ("
	"  seq INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL,"
	"  event_seq INTEGER NOT NULL,"
	"  target INTEGER NOT NULL,"
	"  state TEXT NOT NULL DEFAULT 'pending',"
	"  attempt INTEGER NOT NULL DEFAULT 0,"
	"  due_ms INTEGER NOT NULL DEFAULT 0,"
	"  created_ms INTEGER NOT NULL,"
	"  updated_ms INTEGER NOT NULL,"
	"  error_code TEXT NOT NULL DEFAULT '',"
	"  error_message TEXT NOT NULL DEFAULT '',"
	"  UNIQUE (event_seq, target));"
	"CREATE UNIQUE INDEX delivery_id ON delivery (id);"
	"CREATE INDEX delivery_due ON delivery (target, due_ms, seq) WHERE state = 'pending';"
	"CREATE INDEX delivery_running ON delivery (seq) WHERE state = 'running';"
	"CREATE INDEX delivery_failed ON delivery (target, seq) WHERE state = 'failed';"
	"CREATE TABLE attempt ("
	"  seq INTEGER PRIMARY KEY,"
	"  delivery_seq INTEGER NOT NULL,"
	"  attempt INTEGER NOT NULL,"
	"  started_ms INTEGER NOT NULL,"
	"  duration_ms INTEGER NOT NULL,"
	"  outcome TEXT NOT NULL,"
	"  error_code TEXT NOT NULL,"
	"  error_message TEXT NOT NULL,"
	"  exit_code INTEGER NOT NULL,"
	"  signal INTEGER NOT NULL,"
	"  output BLOB NOT NULL,"
	"  output_cut INTEGER NOT NULL);"
	"CREATE INDEX attempt_delivery ON attempt (delivery_seq);",
};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

enum statement {
	BEGIN, COMMIT, ROLLBACK,
	LAST_SEQUENCE, PUT_EVENT, FIND_IDENTITY,
	NEW_EVENTS, MARK_EXPANDED, PUT_TARGET, PUT_DELIVERY,
	CLAIM_FIRST, CLAIM_RETRY, CLAIMED_EVENT,
	FINISH_DELIVERY, PUT_ATTEMPT,
	WAITING, WAITING_FOR, RUNNING, REBASE,
	RETRY, REPLAY, COUNT_DELIVERIES, COUNT_EVENTS, OLDEST_WAITING,
	NSTATEMENTS
};
_Static_assert(NSTATEMENTS <= STORE_STATEMENTS, "struct store has too few statements");

#define RETURN_CLAIM " AND state = 'pending' RETURNING seq, id, event_seq, attempt"
#define SELECT_WAITING \
	"SELECT t.name," \
	" EXISTS (SELECT 1 FROM delivery WHERE state = 'pending' AND target = t.id AND due_ms = 0)," \
	" (SELECT min(due_ms) FROM delivery WHERE state = 'pending' AND target = t.id AND due_ms > 0)" \
	" FROM target t"

static const char *const sql[] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[LAST_SEQUENCE] =
		"SELECT max(coalesce((SELECT max(seq) FROM event), 0),"
		" (SELECT value FROM meta WHERE key = 'expanded'))",
	[PUT_EVENT] =
		"INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (identity) DO NOTHING",
	[FIND_IDENTITY] = "SELECT id FROM event WHERE identity = ?1",
	[NEW_EVENTS] =
		"SELECT seq, id, event FROM event"
		" WHERE seq > (SELECT value FROM meta WHERE key = 'expanded') ORDER BY seq LIMIT ?1",
	[MARK_EXPANDED] = "UPDATE meta SET value = ?1 WHERE key = 'expanded' AND value < ?1",
	[PUT_TARGET] = "INSERT INTO target (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
	[PUT_DELIVERY] =
		"INSERT INTO delivery (id, event_seq, target, created_ms, updated_ms)"
		" SELECT ?1, ?2, id, ?4, ?4 FROM target WHERE name = ?3"
		" ON CONFLICT (event_seq, target) DO NOTHING",
	[CLAIM_FIRST] =
		"UPDATE delivery SET state = 'running', attempt = attempt + 1, updated_ms = ?2"
		" WHERE seq = (SELECT seq FROM delivery WHERE state = 'pending' AND due_ms = 0"
		"  AND target = (SELECT id FROM target WHERE name = ?1) ORDER BY seq LIMIT 1)" RETURN_CLAIM,
	[CLAIM_RETRY] =
		"UPDATE delivery SET state = 'running', attempt = attempt + 1, updated_ms = ?2"
		" WHERE seq = (SELECT seq FROM delivery WHERE state = 'pending' AND due_ms BETWEEN 1 AND ?2"
		"  AND target = (SELECT id FROM target WHERE name = ?1) ORDER BY due_ms, seq LIMIT 1)" RETURN_CLAIM,
	[CLAIMED_EVENT] =
		"SELECT id, source, event, timestamp, received_ms, body FROM event WHERE seq = ?1",
	[FINISH_DELIVERY] =
		"UPDATE delivery SET state = ?1, due_ms = ?2, updated_ms = ?3, error_code = ?4, error_message = ?5"
		" WHERE seq = ?6 AND state = 'running' AND attempt = ?7",
	[PUT_ATTEMPT] =
		"INSERT INTO attempt (delivery_seq, attempt, started_ms, duration_ms, outcome, error_code,"
		" error_message, exit_code, signal, output, output_cut)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
	[WAITING] = SELECT_WAITING,
	[WAITING_FOR] = SELECT_WAITING " WHERE t.name = ?1",
	[RUNNING] =
		"SELECT d.seq, t.name, d.attempt, d.updated_ms FROM delivery d JOIN target t ON t.id = d.target"
		" WHERE d.state = 'running' ORDER BY d.seq",
	/* What was written later than now was written by a clock that has gone back since. */
	[REBASE] =
		"UPDATE delivery SET due_ms = max(1, ?1 + due_ms - updated_ms), updated_ms = ?1"
		" WHERE state = 'pending' AND target IN (SELECT id FROM target)"
		" AND due_ms > ?1 AND updated_ms > ?1",
	[RETRY] =
		"UPDATE delivery SET state = 'pending', attempt = 0, due_ms = 0, updated_ms = ?2"
		" WHERE id = ?1 AND state <> 'running'",
	[REPLAY] =
		"UPDATE delivery SET state = 'pending', attempt = 0, due_ms = 0, updated_ms = ?3"
		" WHERE event_seq = ?1 AND target = (SELECT id FROM target WHERE name = ?2)"
		" AND state IN ('success', 'failed', 'canceled')",
	[COUNT_DELIVERIES] = "SELECT state, count(*) FROM delivery GROUP BY state",
	[COUNT_EVENTS] =
		"SELECT count(*), count(*) FILTER"
		" (WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')) FROM event",
	[OLDEST_WAITING] =
		"SELECT min(received_ms) FROM event"
		" WHERE seq > (SELECT value FROM meta WHERE key = 'expanded')"
		" OR seq IN (SELECT event_seq FROM delivery WHERE state = 'pending')"
		" OR seq IN (SELECT event_seq FROM delivery WHERE state = 'running')",
};
_Static_assert(sizeof sql / sizeof sql[0] == NSTATEMENTS, "a statement has no SQL");

/* --- errors and statements -------------------------------------------------------------- */

enum store_status sqlite_status(struct store *s, int rc)
{
	int cause;

	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return STORE_OK;
	cause = s->db ? sqlite3_system_errno(s->db) : 0;
	buf_reset(&s->error);
	buf_addf(&s->error, "%s", s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
	if ((rc & 0xff) == SQLITE_IOERR && cause)
		buf_addf(&s->error, ": %s", strerror(cause));
	if ((rc & 0xff) == SQLITE_FULL || ((rc & 0xff) == SQLITE_IOERR && (cause == ENOSPC || cause == EDQUOT)))
		return STORE_FULL;
	if ((rc & 0xff) == SQLITE_NOTADB || (rc & 0xff) == SQLITE_CORRUPT)
		return STORE_INVALID;
	return STORE_UNAVAILABLE;
}

const char *store_error(const struct store *s)
{
	return buf_str(&s->error);
}

/* The statement, ready to bind; NULL where it can't be prepared (the error is remembered). */
static sqlite3_stmt *statement(struct store *s, enum statement which)
{
	int rc;

	if (!s->statements[which]) {
		rc = sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
		                        &s->statements[which], NULL);
		if (rc != SQLITE_OK)
			sqlite_status(s, rc);
	}
	return s->statements[which];
}

/* Another process may hold the lock for the length of its fsync: look often at first, since
 * senders wait meanwhile. */
static int wait_for_lock(void *ctx, int tries)
{
	struct store *s = ctx;
	int64_t now = clock_mono_us();

	if (tries == 0)
		s->busy_since_us = now;
	if (now - s->busy_since_us >= s->busy_limit_us)
		return 0;
	usleep(tries < 20 ? 100 : tries < 100 ? 500 : 5000);
	return 1;
}

/* Run a prepared statement that returns nothing. */
static enum store_status run(struct store *s, sqlite3_stmt *stmt)
{
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
		enum store_status status = sqlite_status(s, rc);

		sqlite3_reset(stmt);
		return status;
	}
	/* An insert or update commits here, so this can fail as well. */
	return sqlite_status(s, sqlite3_reset(stmt));
}

/* The same, and STORE_NOT_FOUND where it changed no row. */
static enum store_status run_change(struct store *s, sqlite3_stmt *stmt)
{
	enum store_status status = run(s, stmt);

	if (status == STORE_OK && sqlite3_changes(s->db) == 0)
		return STORE_NOT_FOUND;
	return status;
}

static void bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
	sqlite3_bind_text(stmt, index, text ? text : "", -1, SQLITE_STATIC);
}

/* Bytes that may be empty: a NULL pointer would bind NULL. */
static void bind_blob(sqlite3_stmt *stmt, int index, const void *data, size_t len)
{
	sqlite3_bind_blob64(stmt, index, data && len ? data : "", len, SQLITE_STATIC);
}

static void copy_id(char out[ID_SIZE], sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	out[0] = '\0';
	if (text)
		strncat(out, text, ID_SIZE - 1);
}

static char *copy_text(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return xstrdup(text ? text : "");
}

/* --- opening ---------------------------------------------------------------------------- */

static int read_version(sqlite3 *db, int *version)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*version = sqlite3_column_int(stmt, 0);
	return sqlite3_finalize(stmt);
}

/* Bring the schema up to date. Several processes may try at once: the lock decides, and who
 * comes second finds nothing left to do. */
static enum store_status migrate(struct store *s)
{
	int version = -1, rc = read_version(s->db, &version);

	if (rc == SQLITE_OK && version == SCHEMA_VERSION)
		return STORE_OK;
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return sqlite_status(s, rc);
	rc = read_version(s->db, &version);
	if (rc == SQLITE_OK && version > SCHEMA_VERSION) {
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		buf_reset(&s->error);
		buf_addf(&s->error, "was written by a newer version (schema %d, this program knows %d)",
		         version, SCHEMA_VERSION);
		return STORE_INVALID;
	}
	for (; rc == SQLITE_OK && version < SCHEMA_VERSION; version++)
		rc = sqlite3_exec(s->db, migrations[version], NULL, NULL, NULL);
	if (rc == SQLITE_OK) {
		char pragma[64];

		sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA user_version = %d", SCHEMA_VERSION);
		rc = sqlite3_exec(s->db, pragma, NULL, NULL, NULL);
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		enum store_status status = sqlite_status(s, rc);

		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		return status;
	}
	return STORE_OK;
}

/* The journal mode is a property of the file; changing it once needs the file for itself, and
 * SQLite does not ask the busy handler then. */
static int set_wal(struct store *s)
{
	int tries = 0, rc;

	do {
		rc = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	} while (rc == SQLITE_BUSY && wait_for_lock(s, tries++));
	return rc;
}

static enum store_status configure(struct store *s, enum store_role role)
{
	const char *synchronous = role == STORE_DISPATCH ? "PRAGMA synchronous = NORMAL"
	                                                 : "PRAGMA synchronous = FULL";
	int rc;

	s->busy_limit_us = role == STORE_INTAKE ? 3000000 : 10000000;
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_handler(s->db, wait_for_lock, s);
	rc = set_wal(s);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, synchronous, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, "PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY", NULL, NULL, NULL);
	return rc == SQLITE_OK ? migrate(s) : sqlite_status(s, rc);
}

struct store *store_open(const char *path, enum store_role role, enum store_status *status, struct buf *err)
{
	struct store *s = xcalloc(1, sizeof *s);
	int rc = sqlite3_open_v2(path, &s->db,
	                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	*status = rc == SQLITE_OK ? configure(s, role) : sqlite_status(s, rc);
	if (*status == STORE_OK)
		return s;
	buf_addf(err, "%s: %s", path, store_error(s));
	store_close(s);
	return NULL;
}

void store_close(struct store *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < NSTATEMENTS; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	buf_free(&s->error);
	free(s);
}

/* --- transactions ----------------------------------------------------------------------- */

enum store_status store_begin(struct store *s)
{
	return run(s, statement(s, BEGIN));
}

enum store_status store_commit(struct store *s)
{
	enum store_status status = run(s, statement(s, COMMIT));

	if (status != STORE_OK)
		store_rollback(s);
	return status;
}

void store_rollback(struct store *s)
{
	/* SQLite rolls back by itself after some errors; then there is nothing left to do, and the
	 * first error is the one to keep. */
	sqlite3_stmt *stmt;

	if (sqlite3_get_autocommit(s->db))
		return;
	stmt = statement(s, ROLLBACK);
	if (stmt) {
		sqlite3_step(stmt);
		sqlite3_reset(stmt);
	}
}

/* Commit where STATUS is good, else roll back and keep it. */
static enum store_status end(struct store *s, enum store_status status)
{
	if (status == STORE_OK)
		return store_commit(s);
	store_rollback(s);
	return status;
}

/* --- intake ----------------------------------------------------------------------------- */

/* A number is never used twice, also not after the last events were removed by retention:
 * `expanded` counts as used, else a new event could fall behind it and never be delivered. */
static enum store_status next_sequence(struct store *s, int64_t *seq)
{
	sqlite3_stmt *stmt = statement(s, LAST_SEQUENCE);
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*seq = sqlite3_column_int64(stmt, 0) + 1;
	else
		sqlite_status(s, rc);
	sqlite3_reset(stmt);
	return rc == SQLITE_ROW ? STORE_OK : STORE_UNAVAILABLE;
}

static enum store_status find_first(struct store *s, struct store_event_in *e)
{
	sqlite3_stmt *stmt = statement(s, FIND_IDENTITY);
	enum store_status status;
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_blob(stmt, 1, e->identity, sizeof e->identity);
	rc = sqlite3_step(stmt);
	status = sqlite_status(s, rc);
	if (rc == SQLITE_ROW)
		copy_id(e->id, stmt, 0);
	sqlite3_reset(stmt);
	return status;
}

static enum store_status put_event(struct store *s, struct store_event_in *e, int64_t *seq)
{
	sqlite3_stmt *stmt = statement(s, PUT_EVENT);
	enum store_status status;

	if (!stmt)
		return STORE_UNAVAILABLE;
	id_make(ID_EVENT, e->received_ms, e->id);
	sqlite3_bind_int64(stmt, 1, *seq);
	bind_text(stmt, 2, e->id);
	bind_text(stmt, 3, e->source);
	bind_text(stmt, 4, e->event);
	bind_text(stmt, 5, e->timestamp);
	bind_text(stmt, 6, e->idempotency_key);
	sqlite3_bind_int64(stmt, 7, e->received_ms);
	bind_blob(stmt, 8, e->identity, sizeof e->identity);
	bind_blob(stmt, 9, e->body, e->body_len);
	status = run_change(s, stmt);
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
	return end(s, status);
}

/* --- the dispatcher --------------------------------------------------------------------- */

enum store_status store_new_events(struct store *s, struct store_new_event *out, size_t max, size_t *n)
{
	sqlite3_stmt *stmt = statement(s, NEW_EVENTS);
	enum store_status status;
	int rc;

	*n = 0;
	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)max);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct store_new_event *e = &out[(*n)++];

		e->seq = sqlite3_column_int64(stmt, 0);
		copy_id(e->id, stmt, 1);
		e->event = copy_text(stmt, 2);
	}
	status = sqlite_status(s, rc);
	sqlite3_reset(stmt);
	return status;
}

void store_new_events_free(struct store_new_event *events, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(events[i].event);
}

/* Add a delivery unless the event has one for TARGET: *ADDED tells. */
static enum store_status put_delivery(struct store *s, int64_t event_seq, const char *target,
                                      int64_t now_ms, bool *added)
{
	sqlite3_stmt *stmt = statement(s, PUT_TARGET);
	char id[ID_SIZE];
	enum store_status status;

	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, target);
	status = run(s, stmt);
	if (status != STORE_OK)
		return status;
	stmt = statement(s, PUT_DELIVERY);
	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, id_make(ID_DELIVERY, now_ms, id));
	sqlite3_bind_int64(stmt, 2, event_seq);
	bind_text(stmt, 3, target);
	sqlite3_bind_int64(stmt, 4, now_ms);
	status = run_change(s, stmt);
	*added = status == STORE_OK;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_expand_event(struct store *s, int64_t seq, const char *const *targets,
                                     size_t ntargets, int64_t now_ms)
{
	sqlite3_stmt *stmt = statement(s, MARK_EXPANDED);
	enum store_status status;
	bool added;
	size_t i;

	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, seq);
	status = run_change(s, stmt);
	for (i = 0; status == STORE_OK && i < ntargets; i++)
		status = put_delivery(s, seq, targets[i], now_ms, &added);
	return status;
}

static enum store_status load_event(struct store *s, int64_t event_seq, struct store_claim *out)
{
	sqlite3_stmt *stmt = statement(s, CLAIMED_EVENT);
	enum store_status status;
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, event_seq);
	rc = sqlite3_step(stmt);
	status = rc == SQLITE_DONE ? STORE_NOT_FOUND : sqlite_status(s, rc);
	if (rc == SQLITE_ROW) {
		copy_id(out->event_id, stmt, 0);
		out->source = copy_text(stmt, 1);
		out->event = copy_text(stmt, 2);
		out->timestamp = copy_text(stmt, 3);
		out->received_ms = sqlite3_column_int64(stmt, 4);
		out->body_len = (size_t)sqlite3_column_bytes(stmt, 5);
		out->body = xmalloc(out->body_len);
		if (out->body_len)
			memcpy(out->body, sqlite3_column_blob(stmt, 5), out->body_len);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_claim(struct store *s, const char *target, enum store_claim_kind kind,
                              int64_t now_ms, struct store_claim *out)
{
	sqlite3_stmt *stmt = statement(s, kind == STORE_CLAIM_FIRST ? CLAIM_FIRST : CLAIM_RETRY);
	enum store_status status;
	int64_t event_seq = 0;
	int rc;

	memset(out, 0, sizeof *out);
	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, target);
	sqlite3_bind_int64(stmt, 2, now_ms);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		out->seq = sqlite3_column_int64(stmt, 0);
		copy_id(out->delivery_id, stmt, 1);
		event_seq = sqlite3_column_int64(stmt, 2);
		out->attempt = sqlite3_column_int(stmt, 3);
		rc = sqlite3_step(stmt) == SQLITE_DONE ? SQLITE_ROW : SQLITE_ERROR;
	}
	status = rc == SQLITE_DONE ? STORE_NOT_FOUND : sqlite_status(s, rc);
	if (sqlite3_reset(stmt) != SQLITE_OK && status == STORE_OK)
		status = STORE_UNAVAILABLE;
	return status == STORE_OK ? load_event(s, event_seq, out) : status;
}

void store_claim_free(struct store_claim *c)
{
	free(c->source);
	free(c->event);
	free(c->timestamp);
	free(c->body);
	memset(c, 0, sizeof *c);
}

static enum store_status put_attempt(struct store *s, const struct store_attempt *a)
{
	sqlite3_stmt *stmt = statement(s, PUT_ATTEMPT);

	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, a->delivery_seq);
	sqlite3_bind_int(stmt, 2, a->attempt);
	sqlite3_bind_int64(stmt, 3, a->started_ms);
	sqlite3_bind_int64(stmt, 4, a->duration_ms);
	bind_text(stmt, 5, a->outcome);
	bind_text(stmt, 6, a->error_code);
	bind_text(stmt, 7, a->error_message);
	sqlite3_bind_int(stmt, 8, a->exit_code);
	sqlite3_bind_int(stmt, 9, a->signal);
	bind_blob(stmt, 10, a->output, a->output_len);
	sqlite3_bind_int(stmt, 11, a->output_cut);
	return run(s, stmt);
}

static enum store_status finish_delivery(struct store *s, const struct store_attempt *a)
{
	sqlite3_stmt *stmt = statement(s, FINISH_DELIVERY);

	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, a->next_state);
	sqlite3_bind_int64(stmt, 2, a->due_ms);
	sqlite3_bind_int64(stmt, 3, a->started_ms + a->duration_ms);
	bind_text(stmt, 4, a->error_code);
	bind_text(stmt, 5, a->error_message);
	sqlite3_bind_int64(stmt, 6, a->delivery_seq);
	sqlite3_bind_int(stmt, 7, a->attempt);
	return run_change(s, stmt);
}

enum store_status store_finish(struct store *s, const struct store_attempt *a)
{
	bool alone = sqlite3_get_autocommit(s->db);
	enum store_status status = alone ? store_begin(s) : STORE_OK;

	if (status == STORE_OK)
		status = finish_delivery(s, a);
	if (status == STORE_OK)
		status = put_attempt(s, a);
	return alone ? end(s, status) : status;
}

static void read_waiting(sqlite3_stmt *stmt, struct store_waiting *out)
{
	out->target = copy_text(stmt, 0);
	out->first = sqlite3_column_int(stmt, 1);
	out->next_retry_ms = sqlite3_column_type(stmt, 2) == SQLITE_NULL ? INT64_MAX
	                                                                 : sqlite3_column_int64(stmt, 2);
}

enum store_status store_waiting(struct store *s, struct store_waiting **out, size_t *n)
{
	sqlite3_stmt *stmt = statement(s, WAITING);
	enum store_status status;
	int rc;

	*out = NULL;
	*n = 0;
	if (!stmt)
		return STORE_UNAVAILABLE;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*out = xreallocarray(*out, *n + 1, sizeof **out);
		read_waiting(stmt, &(*out)[(*n)++]);
	}
	status = sqlite_status(s, rc);
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_waiting_for(struct store *s, const char *target, struct store_waiting *out)
{
	sqlite3_stmt *stmt = statement(s, WAITING_FOR);
	enum store_status status;
	int rc;

	memset(out, 0, sizeof *out);
	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, target);
	rc = sqlite3_step(stmt);
	status = rc == SQLITE_DONE ? STORE_NOT_FOUND : sqlite_status(s, rc);
	if (rc == SQLITE_ROW)
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

struct running {
	int64_t seq, claimed_ms;
	char *target;
	int attempt;
};

enum store_status store_each_running(struct store *s, store_running_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = statement(s, RUNNING);
	struct running *rows = NULL;
	enum store_status status;
	size_t n = 0, i;
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	/* Collected first: FN changes the very rows that the statement walks over. Never more than
	 * one dispatcher's concurrency. */
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		rows = xreallocarray(rows, n + 1, sizeof *rows);
		rows[n].seq = sqlite3_column_int64(stmt, 0);
		rows[n].target = copy_text(stmt, 1);
		rows[n].attempt = sqlite3_column_int(stmt, 2);
		rows[n++].claimed_ms = sqlite3_column_int64(stmt, 3);
	}
	status = sqlite_status(s, rc);
	sqlite3_reset(stmt);
	for (i = 0; i < n; i++) {
		if (status == STORE_OK)
			status = fn(ctx, s, rows[i].seq, rows[i].target, rows[i].attempt, rows[i].claimed_ms);
		free(rows[i].target);
	}
	free(rows);
	return status;
}

enum store_status store_rebase(struct store *s, int64_t now_ms)
{
	sqlite3_stmt *stmt = statement(s, REBASE);

	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, now_ms);
	return run(s, stmt);
}

/* --- repairing -------------------------------------------------------------------------- */

enum store_status store_retry(struct store *s, const char *delivery_id, int64_t now_ms)
{
	sqlite3_stmt *stmt = statement(s, RETRY);

	if (!stmt)
		return STORE_UNAVAILABLE;
	bind_text(stmt, 1, delivery_id);
	sqlite3_bind_int64(stmt, 2, now_ms);
	return run_change(s, stmt);
}

static int take_sequence(void *ctx, const struct store_event_row *row)
{
	*(int64_t *)ctx = row->seq;
	return 1;
}

static enum store_status replay_target(struct store *s, int64_t event_seq, const char *target,
                                       int64_t now_ms, size_t *n)
{
	bool added = false;
	enum store_status status = put_delivery(s, event_seq, target, now_ms, &added);
	sqlite3_stmt *stmt;

	if (status != STORE_OK || added) {
		*n += added;
		return status;
	}
	stmt = statement(s, REPLAY);
	if (!stmt)
		return STORE_UNAVAILABLE;
	sqlite3_bind_int64(stmt, 1, event_seq);
	bind_text(stmt, 2, target);
	sqlite3_bind_int64(stmt, 3, now_ms);
	status = run_change(s, stmt);
	*n += status == STORE_OK;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_replay(struct store *s, const char *event_id, const char *const *targets,
                               size_t ntargets, int64_t now_ms, size_t *n)
{
	struct store_filter filter = { .event_id = event_id, .limit = 1 };
	enum store_status status;
	int64_t seq = 0;
	size_t i;

	*n = 0;
	status = store_begin(s);
	if (status != STORE_OK)
		return status;
	status = store_list_events(s, &filter, take_sequence, &seq);
	if (status == STORE_OK && seq == 0)
		status = STORE_NOT_FOUND;
	for (i = 0; status == STORE_OK && i < ntargets; i++)
		status = replay_target(s, seq, targets[i], now_ms, n);
	return end(s, status);
}

/* --- counting --------------------------------------------------------------------------- */

static void add_state(struct store_counts *out, const char *state, int64_t n)
{
	struct { const char *name; int64_t *count; } states[] = {
		{ "pending", &out->pending }, { "running", &out->running }, { "success", &out->success },
		{ "failed", &out->failed },   { "canceled", &out->canceled },
	};
	size_t i;

	for (i = 0; i < sizeof states / sizeof states[0]; i++)
		if (strcmp(states[i].name, state) == 0)
			*states[i].count = n;
}

/* Step a statement of one row; STORE_OK with the row to be read, then reset by the caller. */
static enum store_status one_row(struct store *s, sqlite3_stmt *stmt)
{
	return stmt ? sqlite_status(s, sqlite3_step(stmt)) : STORE_UNAVAILABLE;
}

enum store_status store_count(struct store *s, struct store_counts *out)
{
	sqlite3_stmt *states = statement(s, COUNT_DELIVERIES), *events = statement(s, COUNT_EVENTS);
	sqlite3_stmt *oldest = statement(s, OLDEST_WAITING);
	enum store_status status;
	int rc;

	memset(out, 0, sizeof *out);
	if (!states)
		return STORE_UNAVAILABLE;
	while ((rc = sqlite3_step(states)) == SQLITE_ROW)
		add_state(out, (const char *)sqlite3_column_text(states, 0), sqlite3_column_int64(states, 1));
	status = sqlite_status(s, rc);
	sqlite3_reset(states);
	if (status == STORE_OK && (status = one_row(s, events)) == STORE_OK) {
		out->events = sqlite3_column_int64(events, 0);
		out->new_events = sqlite3_column_int64(events, 1);
		sqlite3_reset(events);
	}
	if (status == STORE_OK && (status = one_row(s, oldest)) == STORE_OK) {
		out->oldest_waiting_ms = sqlite3_column_int64(oldest, 0);
		sqlite3_reset(oldest);
	}
	return status;
}
