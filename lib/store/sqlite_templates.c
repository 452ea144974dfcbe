#include "lib/store/invitations.h"

#include <stdlib.h>
#include <string.h>

#include "lib/store/sqlite.h"

void store_template_free(struct store_template *t)
{
	free(t->org);
	free(t->title);
	free(t->description);
	free(t->posting_id);
	memset(t, 0, sizeof *t);
}

#define SELECT_TEMPLATE \
	"SELECT id, org, title, description, posting_id, expires_days, created_ms FROM template"

static void read_template(sqlite3_stmt *stmt, struct store_template *out)
{
	memset(out, 0, sizeof *out);
	sqlite_copy_id(out->id, stmt, 0);
	out->org = sqlite_copy_text(stmt, 1);
	out->title = sqlite_copy_text(stmt, 2);
	out->description = sqlite_copy_text(stmt, 3);
	out->posting_id = sqlite_copy_text(stmt, 4);
	out->expires_days = sqlite3_column_int64(stmt, 5);
	out->created_ms = sqlite3_column_int64(stmt, 6);
}

/* The one row of STMT, which is bound. */
static enum store_status get_one(struct store *s, sqlite3_stmt *stmt, struct store_template *out)
{
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK)
		read_template(stmt, out);
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_get_template(struct store *s, const char *org, const char *id, struct store_template *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_TEMPLATE " WHERE (?1 = '' OR org = ?1) AND id = ?2");

	memset(out, 0, sizeof *out);
	sqlite_bind_text(stmt, 1, org);
	sqlite_bind_text(stmt, 2, id);
	return get_one(s, stmt, out);
}

static enum store_status find_posting(struct store *s, const struct store_template *t, struct store_template *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_TEMPLATE " WHERE org = ?1 AND posting_id = ?2 AND posting_id <> ''");

	sqlite_bind_text(stmt, 1, t->org);
	sqlite_bind_text(stmt, 2, t->posting_id);
	return get_one(s, stmt, out);
}

static enum store_status insert(struct store *s, const struct store_template *t)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO template (id, org, title, description, posting_id, expires_days, created_ms)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");

	sqlite_bind_text(stmt, 1, t->id);
	sqlite_bind_text(stmt, 2, t->org);
	sqlite_bind_text(stmt, 3, t->title);
	sqlite_bind_text(stmt, 4, t->description);
	sqlite_bind_text(stmt, 5, t->posting_id);
	sqlite3_bind_int64(stmt, 6, t->expires_days);
	sqlite3_bind_int64(stmt, 7, t->created_ms);
	return sqlite_run(s, stmt);
}

enum store_status store_put_template(struct store *s, struct store_template *t, int64_t now_ms, bool *reused)
{
	struct store_template found;
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	*reused = false;
	if (status != STORE_OK)
		return status;
	status = find_posting(s, t, &found);
	if (status == STORE_OK) {
		store_template_free(t);
		*t = found;
		*reused = true;
	} else if (status == STORE_NOT_FOUND) {
		id_make(ID_TEMPLATE, now_ms, t->id);
		t->created_ms = now_ms;
		status = insert(s, t);
	}
	return sqlite_leave(s, own, status);
}

enum store_status store_list_templates(struct store *s, const char *org, const char *before_id,
                                       store_template_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, /* two, so that the index of organisations serves the first */
		org ? SELECT_TEMPLATE " WHERE org = ?1 AND id < ?2 ORDER BY id DESC"
		    : SELECT_TEMPLATE " WHERE ?1 = '' AND id < ?2 ORDER BY id DESC");
	enum store_status status = STORE_OK;
	bool ended = false;

	sqlite_bind_text(stmt, 1, org);
	sqlite_bind_text(stmt, 2, before_id ? before_id : SQLITE_BEHIND_IDS);
	while (!ended && (status = sqlite_next(s, stmt)) == STORE_OK) {
		struct store_template t;

		read_template(stmt, &t);
		ended = fn(ctx, &t);
		store_template_free(&t);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}
