#include "lib/store/webhooks.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

#define FAILING_MS (5 * DAY_MS)
#define FAILING_CALLS 20

/* --- what a webhook is -------------------------------------------------------------------- */

void store_webhook_free(struct store_webhook *w)
{
	size_t i;

	for (i = 0; i < w->nsecrets; i++) {
		OPENSSL_cleanse(w->secrets[i].secret, strlen(w->secrets[i].secret));
		free(w->secrets[i].secret);
	}
	free(w->secrets);
	free(w->org);
	free(w->url);
	free(w->description);
	free(w->events);
	free(w->inactive_reason);
	memset(w, 0, sizeof *w);
}

#define SELECT_WEBHOOK \
	"SELECT id, url, description, events, active, inactive_reason, created_ms, updated_ms, org, debug, detailed" \
	" FROM webhook" \
	" WHERE (?1 = '' OR org = ?1)"

static void read_webhook(sqlite3_stmt *stmt, struct store_webhook *out)
{
	memset(out, 0, sizeof *out);
	sqlite_copy_id(out->id, stmt, 0);
	out->url = sqlite_copy_text(stmt, 1);
	out->description = sqlite_copy_text(stmt, 2);
	out->events = sqlite_copy_text(stmt, 3);
	out->active = sqlite3_column_int(stmt, 4);
	out->inactive_reason = sqlite_copy_text(stmt, 5);
	out->created_ms = sqlite3_column_int64(stmt, 6);
	out->updated_ms = sqlite3_column_int64(stmt, 7);
	out->org = sqlite_copy_text(stmt, 8);
	out->debug = sqlite3_column_int(stmt, 9);
	out->detailed = sqlite3_column_int(stmt, 10);
}

static enum store_status read_secrets(struct store *s, int64_t now_ms, struct store_webhook *w)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT secret, created_ms, until_ms FROM webhook_secret"
		" WHERE webhook = ?1 AND (until_ms = 0 OR until_ms > ?2) ORDER BY seq DESC");
	enum store_status status;

	sqlite_bind_text(stmt, 1, w->id);
	sqlite3_bind_int64(stmt, 2, now_ms);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		w->secrets = xreallocarray(w->secrets, w->nsecrets + 1, sizeof *w->secrets);
		w->secrets[w->nsecrets++] = (struct store_webhook_secret){
			.secret = sqlite_copy_text(stmt, 0),
			.created_ms = sqlite3_column_int64(stmt, 1),
			.until_ms = sqlite3_column_int64(stmt, 2),
		};
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_get_webhook(struct store *s, const char *org, const char *id, int64_t now_ms,
                                    struct store_webhook *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_WEBHOOK " AND id = ?2");
	enum store_status status;

	memset(out, 0, sizeof *out);
	sqlite_bind_text(stmt, 1, org);
	sqlite_bind_text(stmt, 2, id);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		read_webhook(stmt, out);
	sqlite3_reset(stmt);
	if (status == STORE_OK)
		status = read_secrets(s, now_ms, out);
	if (status != STORE_OK)
		store_webhook_free(out);
	return status;
}

enum store_status store_list_webhooks(struct store *s, const char *org, const char *after_id, int64_t now_ms,
                                      store_webhook_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_WEBHOOK " AND id > ?2 ORDER BY id");
	enum store_status status = STORE_OK;
	bool ended = false;

	sqlite_bind_text(stmt, 1, org);
	sqlite_bind_text(stmt, 2, after_id);
	while (!ended && (status = sqlite_next(s, stmt)) == STORE_OK) {
		struct store_webhook w;

		read_webhook(stmt, &w);
		status = read_secrets(s, now_ms, &w);
		ended = status != STORE_OK || fn(ctx, &w);
		store_webhook_free(&w);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

enum store_status store_webhooks_for(struct store *s, const char *event, const char *org, char ***ids, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT id FROM webhook WHERE active AND (events = '*' OR instr(' ' || events || ' ', ' ' || ?1 || ' '))"
		" AND (?2 = '' OR org = ?2) ORDER BY id");
	enum store_status status;

	sqlite_bind_text(stmt, 1, event);
	sqlite_bind_text(stmt, 2, org);
	while ((status = sqlite_next(s, stmt)) == STORE_OK) {
		*ids = xreallocarray(*ids, *n + 1, sizeof **ids);
		(*ids)[(*n)++] = sqlite_copy_text(stmt, 0);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

/* --- changing it -------------------------------------------------------------------------- */

static enum store_status put_secret(struct store *s, const char *id, const char *secret, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO webhook_secret (webhook, secret, created_ms, until_ms) VALUES (?1, ?2, ?3, 0)");

	sqlite_bind_text(stmt, 1, id);
	sqlite_bind_text(stmt, 2, secret);
	sqlite3_bind_int64(stmt, 3, now_ms);
	return sqlite_run(s, stmt);
}

static enum store_status insert_webhook(struct store *s, const struct store_webhook *w)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO webhook (id, url, description, events, active, created_ms, updated_ms, org, debug, detailed)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)");

	sqlite_bind_text(stmt, 1, w->id);
	sqlite_bind_text(stmt, 2, w->url);
	sqlite_bind_text(stmt, 3, w->description);
	sqlite_bind_text(stmt, 4, w->events);
	sqlite3_bind_int(stmt, 5, w->active);
	sqlite3_bind_int64(stmt, 6, w->created_ms);
	sqlite_bind_text(stmt, 7, w->org ? w->org : STORE_DEFAULT_ORG);
	sqlite3_bind_int(stmt, 8, w->debug);
	sqlite3_bind_int(stmt, 9, w->detailed);
	return sqlite_run(s, stmt);
}

enum store_status store_put_webhook(struct store *s, struct store_webhook *w, const char *secret, int64_t now_ms)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	id_make(ID_WEBHOOK, now_ms, w->id);
	w->created_ms = w->updated_ms = now_ms;
	status = insert_webhook(s, w);
	if (status == STORE_OK)
		status = put_secret(s, w->id, secret, now_ms);
	return sqlite_leave(s, own, status);
}

enum store_status store_change_webhook(struct store *s, const struct store_webhook *w, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE webhook SET url = ?2, description = ?3, events = ?4, updated_ms = ?6, debug = ?7, detailed = ?8,"
		" failures = CASE WHEN active = ?5 THEN failures ELSE 0 END,"
		" failing_since_ms = CASE WHEN active = ?5 THEN failing_since_ms ELSE 0 END,"
		" inactive_reason = CASE WHEN active = ?5 THEN inactive_reason ELSE '' END, active = ?5 WHERE id = ?1");

	sqlite_bind_text(stmt, 1, w->id);
	sqlite_bind_text(stmt, 2, w->url);
	sqlite_bind_text(stmt, 3, w->description);
	sqlite_bind_text(stmt, 4, w->events);
	sqlite3_bind_int(stmt, 5, w->active);
	sqlite3_bind_int64(stmt, 6, now_ms);
	sqlite3_bind_int(stmt, 7, w->debug);
	sqlite3_bind_int(stmt, 8, w->detailed);
	return sqlite_change(s, stmt);
}

static enum store_status remove_rows(struct store *s, const char *id)
{
	sqlite3_stmt *secrets = sqlite_prepare(s, "DELETE FROM webhook_secret WHERE webhook = ?1");
	sqlite3_stmt *webhook = sqlite_prepare(s, "DELETE FROM webhook WHERE id = ?1");
	enum store_status status;

	sqlite_bind_text(secrets, 1, id);
	sqlite_bind_text(webhook, 1, id);
	status = sqlite_run(s, secrets);
	return status == STORE_OK ? sqlite_change(s, webhook) : status;
}

enum store_status store_delete_webhook(struct store *s, const char *id, int64_t now_ms, int64_t *canceled)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);
	size_t n = 0;

	*canceled = 0;
	if (status != STORE_OK)
		return status;
	status = remove_rows(s, id);
	if (status == STORE_OK) {
		status = store_cancel(s, NULL, id, now_ms, INT64_MAX, &n);
		if (status == STORE_NOT_FOUND) /* nothing waits */
			status = STORE_OK;
		*canceled = (int64_t)n;
	}
	return sqlite_leave(s, own, status);
}

static enum store_status end_secrets(struct store *s, const char *id, int64_t until_ms, int64_t now_ms)
{
	sqlite3_stmt *over = sqlite_prepare(s, "DELETE FROM webhook_secret WHERE webhook = ?1 AND until_ms BETWEEN 1 AND ?2");
	sqlite3_stmt *others = sqlite_prepare(s,
		"UPDATE webhook_secret SET until_ms = ?2 WHERE webhook = ?1 AND (until_ms = 0 OR until_ms > ?2)");
	enum store_status status;

	sqlite_bind_text(others, 1, id);
	sqlite3_bind_int64(others, 2, until_ms);
	sqlite_bind_text(over, 1, id);
	sqlite3_bind_int64(over, 2, now_ms);
	status = sqlite_run(s, others);
	return status == STORE_OK ? sqlite_run(s, over) : status;
}

enum store_status store_rotate_webhook(struct store *s, const char *id, const char *secret, int64_t overlap_ms,
                                       int64_t now_ms)
{
	sqlite3_stmt *stmt;
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	stmt = sqlite_prepare(s, "UPDATE webhook SET updated_ms = ?2 WHERE id = ?1");
	sqlite_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, now_ms);
	status = sqlite_change(s, stmt);
	if (status == STORE_OK)
		status = end_secrets(s, id, now_ms + overlap_ms, now_ms);
	if (status == STORE_OK)
		status = put_secret(s, id, secret, now_ms);
	return sqlite_leave(s, own, status);
}

/* --- how it does -------------------------------------------------------------------------- */

static enum store_status deactivate(struct store *s, const char *id, const char *reason, int64_t now_ms, bool *done)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE webhook SET active = 0, inactive_reason = ?2, updated_ms = ?3 WHERE id = ?1 AND active");
	enum store_status status;

	sqlite_bind_text(stmt, 1, id);
	sqlite_bind_text(stmt, 2, reason);
	sqlite3_bind_int64(stmt, 3, now_ms);
	status = sqlite_change(s, stmt);
	*done = status == STORE_OK;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status count_failure(struct store *s, const char *id, int64_t now_ms, bool *failing)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE webhook SET failures = failures + 1,"
		" failing_since_ms = CASE WHEN failures = 0 OR failing_since_ms > ?2 THEN ?2 ELSE failing_since_ms END"
		" WHERE id = ?1 RETURNING failures >= ?3 AND ?2 - failing_since_ms >= ?4");
	enum store_status status;

	sqlite_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, now_ms);
	sqlite3_bind_int(stmt, 3, FAILING_CALLS);
	sqlite3_bind_int64(stmt, 4, FAILING_MS);
	status = sqlite_next(s, stmt);
	*failing = status == STORE_OK && sqlite3_column_int(stmt, 0);
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status forget_failures(struct store *s, const char *id)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE webhook SET failures = 0, failing_since_ms = 0 WHERE id = ?1 AND failures > 0");

	sqlite_bind_text(stmt, 1, id);
	return sqlite_run(s, stmt);
}

enum store_status store_note_call(struct store *s, const char *id, enum store_call how, int64_t now_ms, bool *deactivated)
{
	enum store_status status;
	bool failing = false;

	*deactivated = false;
	if (how == STORE_CALL_SUCCESS)
		return forget_failures(s, id);
	if (how == STORE_CALL_GONE)
		return deactivate(s, id, "gone", now_ms, deactivated);
	status = count_failure(s, id, now_ms, &failing);
	return status == STORE_OK && failing ? deactivate(s, id, "failing", now_ms, deactivated) : status;
}
