#include "lib/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/store/identity.h"
#include "lib/store/sqlite.h"

/* The journal gives space back beyond this once a checkpoint has emptied it. */
#define JOURNAL_LIMIT "67108864"

/* Senders wait for a commit of intake. The dispatcher moves the journal to its place every 1000 pages,
 * as is SQLite's way; intake does it itself only where that does not happen. */
#define INTAKE_CHECKPOINT_PAGES 4000

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

sqlite3_stmt *sqlite_prepare(struct store *s, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	size_t i;
	int rc;

	for (i = 0; i < s->nstatements; i++)
		if (s->statements[i].sql == sql)
			return s->statements[i].stmt;
	if (s->nstatements == SQLITE_STATEMENTS_MAX)
		abort();
	rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (rc != SQLITE_OK) {
		sqlite_status(s, rc);
		return NULL;
	}
	s->statements[s->nstatements].sql = sql;
	s->statements[s->nstatements++].stmt = stmt;
	return stmt;
}

enum store_status sqlite_run(struct store *s, sqlite3_stmt *stmt)
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
	/* An insert or update outside a transaction commits here, so this can fail as well. */
	return sqlite_status(s, sqlite3_reset(stmt));
}

enum store_status sqlite_change(struct store *s, sqlite3_stmt *stmt)
{
	enum store_status status = sqlite_run(s, stmt);

	if (status == STORE_OK && sqlite3_changes(s->db) == 0)
		return STORE_NOT_FOUND;
	return status;
}

enum store_status sqlite_next(struct store *s, sqlite3_stmt *stmt)
{
	int rc;

	if (!stmt)
		return STORE_UNAVAILABLE;
	rc = sqlite3_step(stmt);
	return rc == SQLITE_DONE ? STORE_NOT_FOUND : sqlite_status(s, rc);
}

void sqlite_bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
	sqlite3_bind_text(stmt, index, text ? text : "", -1, SQLITE_STATIC);
}

void sqlite_bind_blob(sqlite3_stmt *stmt, int index, const void *data, size_t len)
{
	sqlite3_bind_blob64(stmt, index, data && len ? data : "", len, SQLITE_STATIC);
}

void sqlite_copy_word(char *out, size_t size, sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	out[0] = '\0';
	if (text)
		strncat(out, text, size - 1);
}

void sqlite_copy_id(char out[ID_SIZE], sqlite3_stmt *stmt, int column)
{
	sqlite_copy_word(out, ID_SIZE, stmt, column);
}

char *sqlite_copy_text(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return xstrdup(text ? text : "");
}

char *sqlite_copy_blob(sqlite3_stmt *stmt, int column, size_t *len)
{
	const void *data = sqlite3_column_blob(stmt, column);
	char *copy;

	*len = (size_t)sqlite3_column_bytes(stmt, column);
	copy = xmalloc(*len + 1);
	if (*len)
		memcpy(copy, data, *len);
	copy[*len] = '\0';
	return copy;
}

/* --- opening ---------------------------------------------------------------------------- */

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
		rc = sqlite3_exec(s->db,
		                  "PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;"
		                  "PRAGMA journal_size_limit = " JOURNAL_LIMIT, NULL, NULL, NULL);
	if (rc == SQLITE_OK && role == STORE_INTAKE)
		rc = sqlite3_wal_autocheckpoint(s->db, INTAKE_CHECKPOINT_PAGES);
	if (rc == SQLITE_OK)
		rc = sqlite_register_text(s->db);
	return rc == SQLITE_OK ? sqlite_migrate(s) : sqlite_status(s, rc);
}

struct store *store_open(const char *path, enum store_role role, enum store_status *status, struct buf *err)
{
	struct store *s = xcalloc(1, sizeof *s);
	int rc;

	s->identity_path = xasprintf("%s-identity", path);
	rc = sqlite3_open_v2(path, &s->db,
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
	for (i = 0; i < s->nstatements; i++)
		sqlite3_finalize(s->statements[i].stmt);
	sqlite3_close(s->db);
	identity_close(s->identities);
	free(s->identity_path);
	buf_free(&s->error);
	free(s);
}

/* --- transactions ----------------------------------------------------------------------- */

/* SQLite has rolled back what is around by itself: alone, a savepoint would be a transaction of its own. */
static enum store_status begin_part(struct store *s)
{
	enum store_status status;

	if (sqlite3_get_autocommit(s->db))
		return STORE_UNAVAILABLE;
	status = sqlite_run(s, sqlite_prepare(s, "SAVEPOINT part"));
	s->part = status == STORE_OK;
	return status;
}

enum store_status store_begin(struct store *s)
{
	return s->around ? begin_part(s) : sqlite_run(s, sqlite_prepare(s, "BEGIN IMMEDIATE"));
}

enum store_status sqlite_begin_reading(struct store *s)
{
	return s->around ? begin_part(s) : sqlite_run(s, sqlite_prepare(s, "BEGIN"));
}

enum store_status store_commit(struct store *s)
{
	enum store_status status = sqlite_flush_tally(s);

	if (status == STORE_OK)
		status = sqlite_flush_expanded(s);
	if (status == STORE_OK)
		status = sqlite_run(s, s->around ? sqlite_prepare(s, "RELEASE part") : sqlite_prepare(s, "COMMIT"));
	if (status != STORE_OK)
		store_rollback(s);
	s->part = false;
	return status;
}

/* The first error is the one to keep. */
static void run_quietly(sqlite3_stmt *stmt)
{
	if (stmt) {
		sqlite3_step(stmt);
		sqlite3_reset(stmt);
	}
}

void store_rollback(struct store *s)
{
	bool part = s->part;

	if (s->around && !part)
		return; /* what is around ends with store_end_around() */
	s->part = false;
	memset(&s->tally, 0, sizeof s->tally);
	s->expanded = 0;
	/* SQLite rolls back by itself after some errors; then there is nothing left to do. */
	if (sqlite3_get_autocommit(s->db))
		return;
	if (part) {
		run_quietly(sqlite_prepare(s, "ROLLBACK TO part"));
		run_quietly(sqlite_prepare(s, "RELEASE part"));
	} else {
		run_quietly(sqlite_prepare(s, "ROLLBACK"));
	}
}

enum store_status sqlite_enter(struct store *s, bool *own)
{
	*own = s->around ? !s->part : sqlite3_get_autocommit(s->db);
	return *own ? store_begin(s) : STORE_OK;
}

enum store_status sqlite_leave(struct store *s, bool own, enum store_status status)
{
	if (!own)
		return status;
	if (status == STORE_OK)
		return store_commit(s);
	store_rollback(s);
	return status;
}
