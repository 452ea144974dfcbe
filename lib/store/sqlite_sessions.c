#include "lib/store/sessions.h"

#include <string.h>

#include "lib/store/sqlite.h"

static enum store_status insert(struct store *s, const struct store_session *session)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO session (hash, key_prefix, csrf, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)");

	sqlite_bind_blob(stmt, 1, session->hash, sizeof session->hash);
	sqlite_bind_text(stmt, 2, session->key_prefix);
	sqlite_bind_text(stmt, 3, session->csrf);
	sqlite3_bind_int64(stmt, 4, session->created_ms);
	sqlite3_bind_int64(stmt, 5, session->expires_ms);
	return sqlite_run(s, stmt);
}

/* What has expired, and what is too many for one key: the table stays small whoever signs in how often. */
static enum store_status remove_old(struct store *s, const struct store_session *session)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"DELETE FROM session WHERE expires_ms <= ?1 OR hash IN"
		" (SELECT hash FROM session WHERE key_prefix = ?2 ORDER BY created_ms DESC LIMIT -1 OFFSET ?3)");

	sqlite3_bind_int64(stmt, 1, session->created_ms);
	sqlite_bind_text(stmt, 2, session->key_prefix);
	sqlite3_bind_int(stmt, 3, STORE_SESSIONS_OF_KEY - 1);
	return sqlite_run(s, stmt);
}

enum store_status store_put_session(struct store *s, const struct store_session *session)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	status = remove_old(s, session);
	if (status == STORE_OK)
		status = insert(s, session);
	return sqlite_leave(s, own, status);
}

enum store_status store_get_session(struct store *s, const uint8_t hash[SHA256_BYTES], int64_t now_ms,
                                    struct store_session *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT key_prefix, csrf, created_ms, expires_ms FROM session WHERE hash = ?1 AND expires_ms > ?2");
	enum store_status status;

	sqlite_bind_blob(stmt, 1, hash, SHA256_BYTES);
	sqlite3_bind_int64(stmt, 2, now_ms);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		memcpy(out->hash, hash, SHA256_BYTES);
		sqlite_copy_word(out->key_prefix, sizeof out->key_prefix, stmt, 0);
		sqlite_copy_word(out->csrf, sizeof out->csrf, stmt, 1);
		out->created_ms = sqlite3_column_int64(stmt, 2);
		out->expires_ms = sqlite3_column_int64(stmt, 3);
	}
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_delete_session(struct store *s, const uint8_t hash[SHA256_BYTES])
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "DELETE FROM session WHERE hash = ?1");

	sqlite_bind_blob(stmt, 1, hash, SHA256_BYTES);
	return sqlite_change(s, stmt);
}
