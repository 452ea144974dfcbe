#include "lib/store/tests.h"

#include <stdlib.h>
#include <string.h>

#include "lib/store/sqlite.h"

/* --- test events -------------------------------------------------------------------------- */

/* Where nothing is new, the cursor of expanded events moves on, so that retention gets there. */
static enum store_status move_cursor(struct store *s, int64_t seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE meta SET value = ?1 WHERE key = 'expanded'"
		" AND NOT EXISTS (SELECT 1 FROM event WHERE seq > meta.value AND test = 0)");

	sqlite3_bind_int64(stmt, 1, seq);
	return sqlite_run(s, stmt);
}

static enum store_status put_delivery(struct store *s, int64_t event_seq, const char *target, int64_t now_ms,
                                      const char *id)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO delivery (id, event_seq, target, due_ms, created_ms, updated_ms, test)"
		" SELECT ?1, ?2, id, -1, ?4, ?4, 1 FROM target WHERE name = ?3");

	sqlite_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, event_seq);
	sqlite_bind_text(stmt, 3, target);
	sqlite3_bind_int64(stmt, 4, now_ms);
	return sqlite_change(s, stmt);
}

/* What is sent to an organisation's webhook is nobody else's to see. */
static enum store_status own_event(struct store *s, int64_t event_seq, const char *target)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE event SET org = coalesce((SELECT org FROM webhook WHERE id = ?2), '') WHERE seq = ?1");

	sqlite3_bind_int64(stmt, 1, event_seq);
	sqlite_bind_text(stmt, 2, target);
	return sqlite_run(s, stmt);
}

enum store_status store_put_test(struct store *s, struct store_event_in *e, const char *target, int64_t now_ms,
                                 char delivery_id[ID_SIZE])
{
	int64_t first = 0, last = 0;
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	bytes_random(e->identity, sizeof e->identity);
	e->duplicate = false;
	id_make(ID_DELIVERY, now_ms, delivery_id);
	status = sqlite_read_sequence(s, &first, &last);
	if (status == STORE_OK)
		status = sqlite_insert_event(s, e, last + 1, true);
	if (status == STORE_OK)
		status = own_event(s, last + 1, target);
	if (status == STORE_OK)
		status = sqlite_put_target(s, target);
	if (status == STORE_OK || status == STORE_NOT_FOUND)
		status = put_delivery(s, last + 1, target, now_ms, delivery_id);
	if (status == STORE_OK)
		status = move_cursor(s, last + 1);
	return sqlite_leave(s, own, status);
}

/* --- connectivity ------------------------------------------------------------------------- */

void store_probe_free(struct store_probe *p)
{
	free(p->error);
	memset(p, 0, sizeof *p);
}

enum store_status store_put_probe(struct store *s, const char *webhook, int64_t now_ms, int64_t *seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "INSERT INTO probe (webhook, created_ms) VALUES (?1, ?2)");
	enum store_status status;

	sqlite_bind_text(stmt, 1, webhook);
	sqlite3_bind_int64(stmt, 2, now_ms);
	status = sqlite_run(s, stmt);
	*seq = sqlite3_last_insert_rowid(s->db);
	return status;
}

enum store_status store_get_probe(struct store *s, int64_t seq, struct store_probe *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT webhook, state = 'done', error, status_code, dns_ms, connect_ms, tls_ms, total_ms FROM probe"
		" WHERE seq = ?1");
	enum store_status status;

	memset(out, 0, sizeof *out);
	sqlite3_bind_int64(stmt, 1, seq);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		out->seq = seq;
		sqlite_copy_id(out->webhook, stmt, 0);
		out->done = sqlite3_column_int(stmt, 1);
		out->error = sqlite_copy_text(stmt, 2);
		out->status_code = sqlite3_column_int(stmt, 3);
		out->dns_ms = sqlite3_column_int64(stmt, 4);
		out->connect_ms = sqlite3_column_int64(stmt, 5);
		out->tls_ms = sqlite3_column_int64(stmt, 6);
		out->total_ms = sqlite3_column_int64(stmt, 7);
	}
	sqlite3_reset(stmt);
	return status;
}

/* Looked for first: a round of the dispatcher must not take the write lock for nothing. */
static enum store_status find_pending(struct store *s, struct store_probe *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT seq, webhook FROM probe WHERE state = 'pending' ORDER BY seq LIMIT 1");
	enum store_status status = sqlite_next(s, stmt);

	memset(out, 0, sizeof *out);
	if (status == STORE_OK) {
		out->seq = sqlite3_column_int64(stmt, 0);
		sqlite_copy_id(out->webhook, stmt, 1);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_claim_probe(struct store *s, struct store_probe *out)
{
	enum store_status status = find_pending(s, out);
	sqlite3_stmt *stmt;

	if (status != STORE_OK)
		return status;
	stmt = sqlite_prepare(s, "UPDATE probe SET state = 'running' WHERE seq = ?1 AND state = 'pending'");
	sqlite3_bind_int64(stmt, 1, out->seq);
	return sqlite_change(s, stmt);
}

enum store_status store_finish_probe(struct store *s, const struct store_probe *p)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE probe SET state = 'done', error = ?2, status_code = ?3, dns_ms = ?4, connect_ms = ?5, tls_ms = ?6,"
		" total_ms = ?7 WHERE seq = ?1 AND state = 'running'");

	sqlite3_bind_int64(stmt, 1, p->seq);
	sqlite_bind_text(stmt, 2, p->error);
	sqlite3_bind_int(stmt, 3, p->status_code);
	sqlite3_bind_int64(stmt, 4, p->dns_ms);
	sqlite3_bind_int64(stmt, 5, p->connect_ms);
	sqlite3_bind_int64(stmt, 6, p->tls_ms);
	sqlite3_bind_int64(stmt, 7, p->total_ms);
	return sqlite_change(s, stmt);
}

enum store_status store_reset_probes(struct store *s)
{
	return sqlite_run(s, sqlite_prepare(s, "UPDATE probe SET state = 'pending' WHERE state = 'running'"));
}

enum store_status sqlite_prune_probes(struct store *s, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "DELETE FROM probe WHERE created_ms < ?1");

	sqlite3_bind_int64(stmt, 1, now_ms - STORE_PROBE_KEEP_MS);
	return sqlite_run(s, stmt);
}
