#include "lib/store/keys.h"

#include <string.h>

#include "lib/store/sqlite.h"

enum store_status store_put_key(struct store *s, const struct store_key *key)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO api_key (prefix, hash, org, scope, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (prefix) DO NOTHING");

	sqlite_bind_text(stmt, 1, key->prefix);
	sqlite_bind_blob(stmt, 2, key->hash, sizeof key->hash);
	sqlite_bind_text(stmt, 3, key->org);
	sqlite_bind_text(stmt, 4, key->scope);
	sqlite3_bind_int64(stmt, 5, key->created_ms);
	return sqlite_change(s, stmt);
}

static void read_key(sqlite3_stmt *stmt, struct store_key *out)
{
	memset(out, 0, sizeof *out);
	sqlite_copy_word(out->prefix, sizeof out->prefix, stmt, 0);
	if (sqlite3_column_bytes(stmt, 1) == SHA256_BYTES)
		memcpy(out->hash, sqlite3_column_blob(stmt, 1), SHA256_BYTES);
	out->org = (const char *)sqlite3_column_text(stmt, 2);
	out->scope = (const char *)sqlite3_column_text(stmt, 3);
	out->created_ms = sqlite3_column_int64(stmt, 4);
	out->revoked_ms = sqlite3_column_int64(stmt, 5);
}

enum store_status store_list_keys(struct store *s, const char *prefix, store_key_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT prefix, hash, org, scope, created_ms, revoked_ms FROM api_key"
		" WHERE ?1 = '' OR prefix = ?1 ORDER BY created_ms, prefix");
	enum store_status status;
	struct store_key key;

	sqlite_bind_text(stmt, 1, prefix);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		read_key(stmt, &key);
		if (fn(ctx, &key))
			break;
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_revoke_key(struct store *s, const char *prefix, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "UPDATE api_key SET revoked_ms = ?2 WHERE prefix = ?1 AND revoked_ms = 0");

	sqlite_bind_text(stmt, 1, prefix);
	sqlite3_bind_int64(stmt, 2, now_ms);
	return sqlite_change(s, stmt);
}
