#include "lib/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/store/identity.h"
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

	/* Groups: `batch` is shared by deliveries that run together, `grouped` counts their attempts
	 * of that kind, `output_of` is the attempt that holds the output of all. Statistics: counts
	 * by minute, hour and day, and how often an attempt took how many milliseconds; filled with
	 * what happened before. */
	"ALTER TABLE delivery ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE delivery ADD COLUMN grouped INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE attempt ADD COLUMN output_of INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE target ADD COLUMN held TEXT NOT NULL DEFAULT '';"
	"CREATE TABLE tally ("
	"  target INTEGER NOT NULL,"
	"  span INTEGER NOT NULL,"
	"  bucket_ms INTEGER NOT NULL,"
	"  attempts INTEGER NOT NULL DEFAULT 0,"
	"  failed_attempts INTEGER NOT NULL DEFAULT 0,"
	"  successful INTEGER NOT NULL DEFAULT 0,"
	"  failed INTEGER NOT NULL DEFAULT 0,"
	"  PRIMARY KEY (target, span, bucket_ms)) WITHOUT ROWID;"
	"CREATE TABLE duration ("
	"  target INTEGER NOT NULL,"
	"  span INTEGER NOT NULL,"
	"  bucket_ms INTEGER NOT NULL,"
	"  duration_ms INTEGER NOT NULL,"
	"  attempts INTEGER NOT NULL,"
	"  PRIMARY KEY (target, span, bucket_ms, duration_ms)) WITHOUT ROWID;"
	"CREATE TEMP TABLE span AS SELECT 0 AS span, 60000 AS ms UNION ALL SELECT 1, 3600000 UNION ALL SELECT 2, 86400000;"
	"INSERT INTO tally (target, span, bucket_ms, attempts, failed_attempts)"
	"  SELECT target, span, (started_ms + duration_ms) / ms * ms, count(*), sum(outcome <> 'success')"
	"  FROM span, attempt a JOIN delivery d ON d.seq = a.delivery_seq GROUP BY 1, 2, 3;"
	"INSERT INTO tally (target, span, bucket_ms, successful, failed)"
	"  SELECT target, span, updated_ms / ms * ms, sum(state = 'success'), sum(state = 'failed')"
	"  FROM span, delivery WHERE state IN ('success', 'failed') GROUP BY 1, 2, 3"
	"  ON CONFLICT (target, span, bucket_ms)"
	"  DO UPDATE SET successful = excluded.successful, failed = excluded.failed;"
	"INSERT INTO duration"
	"  SELECT target, span, (started_ms + duration_ms) / ms * ms, duration_ms, count(*)"
	"  FROM span, attempt a JOIN delivery d ON d.seq = a.delivery_seq GROUP BY 1, 2, 3, 4;"
	"DROP TABLE temp.span;",

	/* Identities have a table in a file of its own, see identity.h. */
	("DROP INDEX event_identity;"
	 "INSERT INTO meta VALUES ('database', randomblob(16));"),

	/* Attempts count by minutes only, hours and days are added up once they are over and carry their
	 * durations packed (sqlite_tally.c). What is there counts as added up: all of its last day. */
	("ALTER TABLE target ADD COLUMN hours_until INTEGER NOT NULL DEFAULT 0;"
	 "ALTER TABLE target ADD COLUMN days_until INTEGER NOT NULL DEFAULT 0;"
	 "UPDATE target SET days_until = coalesce((SELECT max(bucket_ms) + 86400000 FROM tally"
	 "  WHERE tally.target = target.id AND span = 2), 0);"
	 "UPDATE target SET hours_until = days_until;"
	 "ALTER TABLE tally ADD COLUMN durations BLOB NOT NULL DEFAULT x'';"
	 "UPDATE tally SET durations = (SELECT pack_durations(d.duration_ms, d.attempts) FROM duration d"
	 "  WHERE d.target = tally.target AND d.span = tally.span AND d.bucket_ms = tally.bucket_ms) WHERE span > 0;"
	 "ALTER TABLE duration RENAME TO duration_of_spans;"
	 "CREATE TABLE duration ("
	 "  target INTEGER NOT NULL,"
	 "  bucket_ms INTEGER NOT NULL,"
	 "  duration_ms INTEGER NOT NULL,"
	 "  attempts INTEGER NOT NULL,"
	 "  PRIMARY KEY (target, bucket_ms, duration_ms)) WITHOUT ROWID;"
	 "INSERT INTO duration SELECT target, bucket_ms, duration_ms, attempts FROM duration_of_spans WHERE span = 0;"
	 "DROP TABLE duration_of_spans;"),

	/* Registered URLs (webhooks.h). */
	("CREATE TABLE webhook ("
	 "  id TEXT PRIMARY KEY,"
	 "  url TEXT NOT NULL,"
	 "  description TEXT NOT NULL,"
	 "  events TEXT NOT NULL,"
	 "  active INTEGER NOT NULL,"
	 "  inactive_reason TEXT NOT NULL DEFAULT '',"
	 "  created_ms INTEGER NOT NULL,"
	 "  updated_ms INTEGER NOT NULL,"
	 "  failures INTEGER NOT NULL DEFAULT 0,"
	 "  failing_since_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	 "CREATE TABLE webhook_secret ("
	 "  seq INTEGER PRIMARY KEY,"
	 "  webhook TEXT NOT NULL,"
	 "  secret TEXT NOT NULL,"
	 "  created_ms INTEGER NOT NULL,"
	 "  until_ms INTEGER NOT NULL);"
	 "CREATE INDEX webhook_secret_webhook ON webhook_secret (webhook, seq);"
	 "ALTER TABLE attempt ADD COLUMN status_code INTEGER NOT NULL DEFAULT 0;"),

	/* Organisations: whose a webhook is; an event that a sender posted is nobody's, and for all. Keys of
	 * the management API (keys.h). */
	("ALTER TABLE webhook ADD COLUMN org TEXT NOT NULL DEFAULT 'default';"
	 "CREATE INDEX webhook_org ON webhook (org, id);"
	 "ALTER TABLE event ADD COLUMN org TEXT NOT NULL DEFAULT '';"
	 "CREATE TABLE api_key ("
	 "  prefix TEXT PRIMARY KEY,"
	 "  hash BLOB NOT NULL,"
	 "  org TEXT NOT NULL,"
	 "  scope TEXT NOT NULL,"
	 "  created_ms INTEGER NOT NULL,"
	 "  revoked_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"),

	/* Tests (tests.h). One that waits has a negative due_ms, so that the index of what is due keeps it
	 * apart from first attempts and retries, and in front of them. */
	("ALTER TABLE event ADD COLUMN test INTEGER NOT NULL DEFAULT 0;"
	 "ALTER TABLE delivery ADD COLUMN test INTEGER NOT NULL DEFAULT 0;"
	 "DROP INDEX delivery_failed;"
	 "CREATE INDEX delivery_failed ON delivery (target, seq) WHERE state = 'failed' AND test = 0;"
	 "CREATE TABLE probe ("
	 "  seq INTEGER PRIMARY KEY,"
	 "  webhook TEXT NOT NULL,"
	 "  state TEXT NOT NULL DEFAULT 'pending',"
	 "  created_ms INTEGER NOT NULL,"
	 "  error TEXT NOT NULL DEFAULT '',"
	 "  status_code INTEGER NOT NULL DEFAULT 0,"
	 "  dns_ms INTEGER NOT NULL DEFAULT 0,"
	 "  connect_ms INTEGER NOT NULL DEFAULT 0,"
	 "  tls_ms INTEGER NOT NULL DEFAULT 0,"
	 "  total_ms INTEGER NOT NULL DEFAULT 0);"),

	/* Answers that are given again (answers.h). */
	("CREATE TABLE answer ("
	 "  seq INTEGER PRIMARY KEY,"
	 "  org TEXT NOT NULL,"
	 "  key TEXT NOT NULL,"
	 "  created_ms INTEGER NOT NULL,"
	 "  until_ms INTEGER NOT NULL,"
	 "  request BLOB NOT NULL,"
	 "  status INTEGER NOT NULL,"
	 "  headers TEXT NOT NULL,"
	 "  body BLOB NOT NULL,"
	 "  UNIQUE (org, key));"
	 "CREATE INDEX answer_until ON answer (until_ms);"),

	/* Invitations, and their templates (invitations.h). */
	("CREATE TABLE template ("
	 "  id TEXT PRIMARY KEY,"
	 "  org TEXT NOT NULL,"
	 "  title TEXT NOT NULL,"
	 "  description TEXT NOT NULL,"
	 "  posting_id TEXT NOT NULL,"
	 "  expires_days INTEGER NOT NULL,"
	 "  created_ms INTEGER NOT NULL) WITHOUT ROWID;"
	 "CREATE INDEX template_org ON template (org, id);"
	 "CREATE UNIQUE INDEX template_posting ON template (org, posting_id) WHERE posting_id <> '';"
	 "CREATE TABLE invitation ("
	 "  id TEXT PRIMARY KEY,"
	 "  org TEXT NOT NULL,"
	 "  template TEXT NOT NULL,"
	 "  candidate TEXT NOT NULL,"
	 "  email TEXT NOT NULL,"
	 "  name TEXT NOT NULL,"
	 "  first_name TEXT NOT NULL,"
	 "  last_name TEXT NOT NULL,"
	 "  external_id TEXT NOT NULL,"
	 "  token TEXT NOT NULL UNIQUE,"
	 "  created_ms INTEGER NOT NULL,"
	 "  expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	 "CREATE INDEX invitation_org ON invitation (org, id);"
	 "CREATE INDEX invitation_email ON invitation (org, email, id);"
	 "CREATE INDEX invitation_expires ON invitation (expires_ms);"),

	/* How much of its calls a webhook wants kept, and that (exchanges.h). */
	("ALTER TABLE webhook ADD COLUMN debug INTEGER NOT NULL DEFAULT 0;"
	 "ALTER TABLE webhook ADD COLUMN detailed INTEGER NOT NULL DEFAULT 0;"
	 "CREATE TABLE exchange ("
	 "  attempt_seq INTEGER PRIMARY KEY,"
	 "  request_head TEXT NOT NULL,"
	 "  answer_head TEXT NOT NULL,"
	 "  answer_head_cut INTEGER NOT NULL);"),

	/* Sessions of the dashboard (sessions.h). */
	("CREATE TABLE session ("
	 "  hash BLOB PRIMARY KEY,"
	 "  key_prefix TEXT NOT NULL,"
	 "  csrf TEXT NOT NULL,"
	 "  created_ms INTEGER NOT NULL,"
	 "  expires_ms INTEGER NOT NULL) WITHOUT ROWID;"),

	/* What did not succeed, newest first, over all targets. */
	"CREATE INDEX delivery_unsuccessful ON delivery (state, seq) WHERE state IN ('failed', 'canceled');",

	/* When the last of the attempts that are counted ended; of those of before, the start of their bucket. */
	("ALTER TABLE tally ADD COLUMN last_ms INTEGER NOT NULL DEFAULT 0;"
	 "UPDATE tally SET last_ms = bucket_ms WHERE attempts > 0;"
	 "CREATE INDEX tally_sums ON tally (target, span, bucket_ms, attempts, failed_attempts) WHERE span > 0;"),

	/* How many events came, by whose they are and when, counted as they are expanded (sqlite_arrivals.c). */
	("CREATE TABLE arrival ("
	 "  org TEXT NOT NULL,"
	 "  span INTEGER NOT NULL,"
	 "  bucket_ms INTEGER NOT NULL,"
	 "  events INTEGER NOT NULL,"
	 "  PRIMARY KEY (org, span, bucket_ms)) WITHOUT ROWID;"
	 "INSERT INTO arrival SELECT org, 0, received_ms / 60000 * 60000, count(*) FROM event"
	 "  WHERE test = 0 AND seq <= (SELECT value FROM meta WHERE key = 'expanded') GROUP BY 1, 3;"
	 "INSERT INTO arrival SELECT org, 1, bucket_ms / 3600000 * 3600000, sum(events) FROM arrival GROUP BY 1, 3;"),
};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

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

void sqlite_copy_id(char out[ID_SIZE], sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	out[0] = '\0';
	if (text)
		strncat(out, text, ID_SIZE - 1);
}

char *sqlite_copy_text(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return xstrdup(text ? text : "");
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

/* Within a transaction: the migrations that VERSION lacks. */
static int apply_migrations(sqlite3 *db, int version)
{
	char pragma[64];
	int rc = sqlite_register_packing(db);

	for (; rc == SQLITE_OK && version < SCHEMA_VERSION; version++)
		rc = sqlite3_exec(db, migrations[version], NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA user_version = %d", SCHEMA_VERSION);
	return sqlite3_exec(db, pragma, NULL, NULL, NULL);
}

/* Bring the schema up to date. Several processes may try at once: the lock decides, and who
 * comes second finds nothing left to do. */
static enum store_status migrate(struct store *s)
{
	enum store_status status;
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
	if (rc == SQLITE_OK)
		rc = apply_migrations(s->db, version);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
	status = sqlite_status(s, rc);
	if (status != STORE_OK)
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return status;
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
	return rc == SQLITE_OK ? migrate(s) : sqlite_status(s, rc);
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
