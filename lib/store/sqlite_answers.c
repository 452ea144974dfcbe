#include "lib/store/answers.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/sqlite.h"

void store_answer_free(struct store_answer *a)
{
	if (a->body)
		OPENSSL_cleanse(a->body, a->body_len);
	free(a->headers);
	free(a->body);
	memset(a, 0, sizeof *a);
}

static void bind_call(sqlite3_stmt *stmt, const struct store_once *c)
{
	sqlite_bind_text(stmt, 1, c->org);
	sqlite_bind_text(stmt, 2, c->key);
	sqlite3_bind_int64(stmt, 3, c->now_ms);
}

static void read_answer(sqlite3_stmt *stmt, struct store_answer *out)
{
	out->status = (unsigned)sqlite3_column_int(stmt, 1);
	out->headers = sqlite_copy_text(stmt, 2);
	out->body = sqlite_copy_blob(stmt, 3, &out->body_len);
}

enum store_status store_find_answer(struct store *s, const struct store_once *c, bool *same, struct store_answer *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT request, status, headers, body FROM answer WHERE org = ?1 AND key = ?2 AND until_ms > ?3");
	enum store_status status;

	memset(out, 0, sizeof *out);
	bind_call(stmt, c);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*same = sqlite3_column_bytes(stmt, 0) == SHA256_BYTES &&
		        memcmp(sqlite3_column_blob(stmt, 0), c->request, SHA256_BYTES) == 0;
		read_answer(stmt, out);
	}
	sqlite3_reset(stmt);
	return status;
}

/* In place of what has lapsed, or of the reservation of C itself: of two calls that began in one millisecond, the
 * second has found the first one's. */
static enum store_status put(struct store *s, const struct store_once *c, int64_t until_ms, const struct store_answer *a)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO answer (org, key, created_ms, until_ms, request, status, headers, body)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT (org, key) DO UPDATE SET created_ms = ?3, until_ms = ?4, request = ?5, status = ?6, headers = ?7,"
		" body = ?8 WHERE until_ms <= ?3 OR (status = 0 AND created_ms = ?3 AND request = ?5)");

	bind_call(stmt, c);
	sqlite3_bind_int64(stmt, 4, until_ms);
	sqlite_bind_blob(stmt, 5, c->request, sizeof c->request);
	sqlite3_bind_int64(stmt, 6, a->status);
	sqlite_bind_text(stmt, 7, a->headers);
	sqlite_bind_blob(stmt, 8, a->body, a->body_len);
	return sqlite_change(s, stmt);
}

enum store_status store_reserve_answer(struct store *s, const struct store_once *c, int64_t lapse_ms)
{
	const struct store_answer none = { 0 };

	return put(s, c, lapse_ms, &none);
}

enum store_status store_keep_answer(struct store *s, const struct store_once *c, const struct store_answer *a)
{
	return put(s, c, c->now_ms + STORE_ANSWER_KEEP_MS, a);
}

enum store_status store_drop_answer(struct store *s, const struct store_once *c)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"DELETE FROM answer WHERE org = ?1 AND key = ?2 AND created_ms = ?3 AND status = 0");

	bind_call(stmt, c);
	return sqlite_run(s, stmt);
}

enum store_status sqlite_prune_answers(struct store *s, int64_t now_ms, bool *done)
{
	return sqlite_prune_step(s, sqlite_prepare(s,
		"DELETE FROM answer WHERE seq IN (SELECT seq FROM answer WHERE until_ms <= ?1 LIMIT ?2)"), now_ms, done);
}

/* --- a transaction around others ----------------------------------------------------------- */

enum store_status store_begin_around(struct store *s)
{
	enum store_status status = store_begin(s);

	s->around = status == STORE_OK;
	return status;
}

enum store_status store_end_around(struct store *s, bool commit)
{
	store_rollback(s); /* a part that nobody has ended */
	s->around = false;
	if (commit)
		return store_commit(s);
	store_rollback(s);
	return STORE_OK;
}
