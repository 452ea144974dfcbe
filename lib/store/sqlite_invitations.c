#include "lib/store/invitations.h"

#include <stdlib.h>
#include <string.h>

#include "lib/store/sqlite.h"

void store_invitation_free(struct store_invitation *i)
{
	free(i->org);
	free(i->email);
	free(i->name);
	free(i->first_name);
	free(i->last_name);
	free(i->external_id);
	free(i->token);
	memset(i, 0, sizeof *i);
}

#define SELECT_INVITATION \
	"SELECT id, template, candidate, org, email, name, first_name, last_name, external_id, token, created_ms," \
	" expires_ms FROM invitation"

static void read_invitation(sqlite3_stmt *stmt, struct store_invitation *out)
{
	memset(out, 0, sizeof *out);
	sqlite_copy_id(out->id, stmt, 0);
	sqlite_copy_id(out->template_id, stmt, 1);
	sqlite_copy_id(out->candidate_id, stmt, 2);
	out->org = sqlite_copy_text(stmt, 3);
	out->email = sqlite_copy_text(stmt, 4);
	out->name = sqlite_copy_text(stmt, 5);
	out->first_name = sqlite_copy_text(stmt, 6);
	out->last_name = sqlite_copy_text(stmt, 7);
	out->external_id = sqlite_copy_text(stmt, 8);
	out->token = sqlite_copy_text(stmt, 9);
	out->created_ms = sqlite3_column_int64(stmt, 10);
	out->expires_ms = sqlite3_column_int64(stmt, 11);
}

enum store_status store_get_invitation(struct store *s, const char *org, const char *id, struct store_invitation *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, SELECT_INVITATION " WHERE (?1 = '' OR org = ?1) AND id = ?2");
	enum store_status status;

	memset(out, 0, sizeof *out);
	sqlite_bind_text(stmt, 1, org);
	sqlite_bind_text(stmt, 2, id);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		read_invitation(stmt, out);
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_find_invitation(struct store *s, struct store_invitation *i, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		SELECT_INVITATION " WHERE org = ?1 AND email = ?2 AND template = ?3 AND expires_ms > ?4"
		" ORDER BY expires_ms DESC LIMIT 1");
	struct store_invitation found;
	enum store_status status;

	sqlite_bind_text(stmt, 1, i->org);
	sqlite_bind_text(stmt, 2, i->email);
	sqlite_bind_text(stmt, 3, i->template_id);
	sqlite3_bind_int64(stmt, 4, now_ms);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		read_invitation(stmt, &found);
	sqlite3_reset(stmt);
	if (status == STORE_OK) {
		store_invitation_free(i);
		*i = found;
	}
	return status;
}

/* Who was invited before is the same candidate again. */
static enum store_status know_candidate(struct store *s, struct store_invitation *i)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT candidate FROM invitation WHERE org = ?1 AND email = ?2 LIMIT 1");
	enum store_status status;

	sqlite_bind_text(stmt, 1, i->org);
	sqlite_bind_text(stmt, 2, i->email);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		sqlite_copy_id(i->candidate_id, stmt, 0);
	else
		id_make(ID_CANDIDATE, i->created_ms, i->candidate_id);
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status insert(struct store *s, const struct store_invitation *i)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO invitation (id, template, candidate, org, email, name, first_name, last_name, external_id, token,"
		" created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");

	sqlite_bind_text(stmt, 1, i->id);
	sqlite_bind_text(stmt, 2, i->template_id);
	sqlite_bind_text(stmt, 3, i->candidate_id);
	sqlite_bind_text(stmt, 4, i->org);
	sqlite_bind_text(stmt, 5, i->email);
	sqlite_bind_text(stmt, 6, i->name);
	sqlite_bind_text(stmt, 7, i->first_name);
	sqlite_bind_text(stmt, 8, i->last_name);
	sqlite_bind_text(stmt, 9, i->external_id);
	sqlite_bind_text(stmt, 10, i->token);
	sqlite3_bind_int64(stmt, 11, i->created_ms);
	sqlite3_bind_int64(stmt, 12, i->expires_ms);
	return sqlite_run(s, stmt);
}

enum store_status store_put_invitation(struct store *s, struct store_invitation *i)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	id_make(ID_INVITATION, i->created_ms, i->id);
	status = know_candidate(s, i);
	if (status == STORE_OK)
		status = insert(s, i);
	return sqlite_leave(s, own, status);
}

enum store_status sqlite_prune_invitations(struct store *s, int64_t before_ms, bool *done)
{
	return sqlite_prune_step(s, sqlite_prepare(s,
		"DELETE FROM invitation WHERE id IN (SELECT id FROM invitation WHERE expires_ms < ?1 LIMIT ?2)"), before_ms, done);
}

#define LIST_INVITATIONS " AND (?2 = '' OR template = ?2) AND id < ?4 ORDER BY id DESC"

enum store_status store_list_invitations(struct store *s, const struct store_invitation_filter *f,
                                         store_invitation_fn *fn, void *ctx)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, /* two, so that each has its index */
		f->email ? SELECT_INVITATION " WHERE org = ?1 AND email = ?3" LIST_INVITATIONS
		         : SELECT_INVITATION " WHERE org = ?1 AND ?3 = ''" LIST_INVITATIONS);
	enum store_status status = STORE_OK;
	bool ended = false;

	sqlite_bind_text(stmt, 1, f->org);
	sqlite_bind_text(stmt, 2, f->template_id);
	sqlite_bind_text(stmt, 3, f->email);
	sqlite_bind_text(stmt, 4, f->before_id ? f->before_id : SQLITE_BEHIND_IDS);
	while (!ended && (status = sqlite_next(s, stmt)) == STORE_OK) {
		struct store_invitation i;

		read_invitation(stmt, &i);
		ended = fn(ctx, &i);
		store_invitation_free(&i);
	}
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}
