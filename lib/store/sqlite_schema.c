#include "lib/store/sqlite.h"

/* Migration N takes a database from user_version N to N + 1. Never change one that was
 * released: add another. */
static const char *const migrations[] = {
	/* The cursor `expanded` is the last event that has its deliveries: intake writes nothing but
	 * the event itself. Sequence numbers therefore never repeat, see sqlite_read_sequence(). */
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

/* Several processes may try at once: the lock decides, and who comes second finds nothing left to do. */
enum store_status sqlite_migrate(struct store *s)
{
	enum store_status status;
	int version = 0, rc = read_version(s->db, &version);

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
