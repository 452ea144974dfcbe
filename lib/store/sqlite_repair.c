#include "lib/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h"

/* --- begin anew -------------------------------------------------------------------------- */

struct ended { /* a delivery as it is before it begins anew */
	int64_t seq, target, updated_ms;
	char state[16];
};

static enum store_status read_ended(struct store *s, sqlite3_stmt *stmt, struct ended *out)
{
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK) {
		out->seq = sqlite3_column_int64(stmt, 0);
		out->target = sqlite3_column_int64(stmt, 1);
		out->updated_ms = sqlite3_column_int64(stmt, 2);
		sqlite_copy_word(out->state, sizeof out->state, stmt, 3);
	}
	sqlite3_reset(stmt);
	return status;
}

static enum store_status begin_anew(struct store *s, const struct ended *e, int64_t now_ms)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"UPDATE delivery SET state = 'pending', attempt = 0, grouped = 0, batch = 0, due_ms = 0, updated_ms = ?3"
		" WHERE seq = ?1 AND state = ?2");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, e->seq);
	sqlite_bind_text(stmt, 2, e->state);
	sqlite3_bind_int64(stmt, 3, now_ms);
	status = sqlite_change(s, stmt);
	if (status == STORE_OK)
		status = sqlite_untally_delivery(s, e->target, e->updated_ms, e->state);
	return status;
}

enum store_status store_retry_from(struct store *s, const char *delivery_id, const char *state, int64_t now_ms)
{
	struct ended ended;
	sqlite3_stmt *stmt;
	bool own;
	enum store_status status = sqlite_enter(s, &own);

	if (status != STORE_OK)
		return status;
	stmt = sqlite_prepare(s,
		"SELECT seq, target, updated_ms, state FROM delivery WHERE id = ?1 AND state <> 'running' AND test = 0"
		" AND (?2 = '' OR state = ?2)");
	sqlite_bind_text(stmt, 1, delivery_id);
	sqlite_bind_text(stmt, 2, state);
	status = read_ended(s, stmt, &ended);
	if (status == STORE_OK)
		status = begin_anew(s, &ended, now_ms);
	return sqlite_leave(s, own, status);
}

enum store_status store_retry(struct store *s, const char *delivery_id, int64_t now_ms)
{
	return store_retry_from(s, delivery_id, NULL, now_ms);
}

/* Give the event a delivery to TARGET that waits. *N counts it unless it waited or ran already. */
static enum store_status begin_for_target(struct store *s, int64_t event_seq, const char *target,
                                          int64_t now_ms, size_t *n)
{
	bool added = false;
	struct ended ended;
	sqlite3_stmt *stmt;
	enum store_status status = sqlite_put_delivery(s, event_seq, target, now_ms, &added);

	if (status != STORE_OK || added) {
		*n += added;
		return status;
	}
	stmt = sqlite_prepare(s,
		"SELECT seq, target, updated_ms, state FROM delivery"
		" WHERE event_seq = ?1 AND target = (SELECT id FROM target WHERE name = ?2)"
		" AND state IN ('success', 'failed', 'canceled')");
	sqlite3_bind_int64(stmt, 1, event_seq);
	sqlite_bind_text(stmt, 2, target);
	status = read_ended(s, stmt, &ended);
	if (status == STORE_NOT_FOUND)
		return STORE_OK;
	if (status == STORE_OK)
		status = begin_anew(s, &ended, now_ms);
	*n += status == STORE_OK;
	return status;
}

static enum store_status find_event(struct store *s, const char *id, int64_t *seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT seq FROM event WHERE id = ?1 AND test = 0");
	enum store_status status;

	sqlite_bind_text(stmt, 1, id);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		*seq = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return status;
}

enum store_status store_replay(struct store *s, const char *event_id, const char *const *targets,
                               size_t ntargets, int64_t now_ms, size_t *n)
{
	bool own;
	enum store_status status = sqlite_enter(s, &own);
	int64_t seq = 0;
	size_t i;

	*n = 0;
	if (status != STORE_OK)
		return status;
	status = find_event(s, event_id, &seq);
	for (i = 0; status == STORE_OK && i < ntargets; i++)
		status = begin_for_target(s, seq, targets[i], now_ms, n);
	return sqlite_leave(s, own, status);
}

/* --- cancel ------------------------------------------------------------------------------ */

enum store_status store_cancel(struct store *s, const char *delivery_id, const char *target,
                               int64_t now_ms, size_t max, size_t *n)
{
	sqlite3_stmt *stmt = delivery_id
		? sqlite_prepare(s,
			"UPDATE delivery SET state = 'canceled', due_ms = 0, batch = 0, updated_ms = ?2"
			" WHERE id = ?1 AND state = 'pending'")
		: sqlite_prepare(s,
			"UPDATE delivery SET state = 'canceled', due_ms = 0, batch = 0, updated_ms = ?2"
			" WHERE seq IN (SELECT seq FROM delivery WHERE state = 'pending'"
			"  AND target = (SELECT id FROM target WHERE name = ?1) LIMIT ?3) AND state = 'pending'");
	enum store_status status;

	*n = 0;
	sqlite_bind_text(stmt, 1, delivery_id ? delivery_id : target);
	sqlite3_bind_int64(stmt, 2, now_ms);
	if (!delivery_id)
		sqlite3_bind_int64(stmt, 3, (sqlite3_int64)max);
	status = sqlite_change(s, stmt);
	if (status == STORE_OK)
		*n = (size_t)sqlite3_changes(s->db);
	return status;
}

/* --- recover ----------------------------------------------------------------------------- */

/* Not the new ones: the dispatcher will give them a delivery by itself. For a handler there is no webhook, and so
 * no organisation. */
#define RECOVERABLE \
	" FROM event e LEFT JOIN delivery d ON d.event_seq = e.seq" \
	"  AND d.target = (SELECT id FROM target WHERE name = ?1)" \
	" WHERE e.seq > ?2 AND e.seq <= (SELECT value FROM meta WHERE key = 'expanded') AND e.test = 0" \
	" AND e.received_ms >= ?3 AND e.received_ms < ?4 AND (?5 = '' OR instr(' ' || ?5 || ' ', ' ' || e.event || ' '))" \
	" AND (d.seq IS NULL OR d.state IN ('failed', 'canceled'))" \
	" AND (e.org = '' OR ?6 = '' OR e.org = ?6)" \
	" AND (e.org = '' OR e.org = coalesce((SELECT org FROM webhook WHERE id = ?1), e.org))"

static void bind_recovery(sqlite3_stmt *stmt, const struct store_recovery *r)
{
	sqlite_bind_text(stmt, 1, r->target);
	sqlite3_bind_int64(stmt, 2, r->after_seq);
	sqlite3_bind_int64(stmt, 3, r->since_ms);
	sqlite3_bind_int64(stmt, 4, r->until_ms ? r->until_ms : INT64_MAX);
	sqlite_bind_text(stmt, 5, r->event);
	sqlite_bind_text(stmt, 6, r->org);
}

enum store_status store_count_recoverable(struct store *s, const struct store_recovery *r, int64_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT count(*)" RECOVERABLE);
	enum store_status status;

	bind_recovery(stmt, r);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK)
		*n = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return status;
}

/* Up to MAX recoverable events behind R->after_seq. Looked for without the lock: where they are few
 * among many, that takes a while. */
static enum store_status find_recoverable(struct store *s, const struct store_recovery *r, int64_t *out, size_t max, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT e.seq" RECOVERABLE " ORDER BY e.seq LIMIT ?7");
	enum store_status status;

	*n = 0;
	bind_recovery(stmt, r);
	sqlite3_bind_int64(stmt, 7, (sqlite3_int64)max);
	while ((status = sqlite_next(s, stmt)) == STORE_OK)
		out[(*n)++] = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

/* With the lock: unless somebody else has done it meanwhile. */
static enum store_status recover_one(struct store *s, const struct store_recovery *r, int64_t seq, int64_t now_ms, size_t *n)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT 1" RECOVERABLE " AND e.seq = ?7");
	enum store_status status;

	bind_recovery(stmt, r);
	sqlite3_bind_int64(stmt, 7, seq);
	status = sqlite_next(s, stmt);
	sqlite3_reset(stmt);
	if (status == STORE_NOT_FOUND)
		return STORE_OK;
	return status == STORE_OK ? begin_for_target(s, seq, r->target, now_ms, n) : status;
}

enum store_status store_recover(struct store *s, struct store_recovery *r, int64_t now_ms, size_t max, size_t *n)
{
	int64_t *found = xcalloc(max, sizeof *found);
	size_t nfound = 0, i;
	enum store_status status = find_recoverable(s, r, found, max, &nfound);

	*n = 0;
	if (status == STORE_OK && nfound > 0) {
		status = store_begin(s);
		for (i = 0; status == STORE_OK && i < nfound; i++)
			status = recover_one(s, r, found[i], now_ms, n);
		status = sqlite_leave(s, true, status);
	}
	if (status == STORE_OK && nfound > 0)
		r->after_seq = found[nfound - 1];
	free(found);
	return status;
}

/* --- retention --------------------------------------------------------------------------- */

/* May the event go? What waits or runs, or failed a short while ago, holds it. */
static enum store_status is_held(struct store *s, const struct store_retention *r, int64_t event_seq, bool *held)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT 1 FROM delivery WHERE event_seq = ?1 AND"
		" (state IN ('pending', 'running') OR (state = 'failed' AND updated_ms >= ?2 AND test = 0)) LIMIT 1");
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, event_seq);
	sqlite3_bind_int64(stmt, 2, r->failed_before_ms);
	status = sqlite_next(s, stmt);
	sqlite3_reset(stmt);
	*held = status != STORE_NOT_FOUND;
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static enum store_status remove_event(struct store *s, int64_t event_seq)
{
	sqlite3_stmt *steps[] = {
		sqlite_prepare(s, "DELETE FROM attempt WHERE delivery_seq IN (SELECT seq FROM delivery WHERE event_seq = ?1)"),
		sqlite_prepare(s, "DELETE FROM delivery WHERE event_seq = ?1"),
		sqlite_prepare(s, "DELETE FROM event WHERE seq = ?1"),
	};
	enum store_status status = sqlite_remove_exchanges(s, event_seq);
	size_t i;

	for (i = 0; status == STORE_OK && i < sizeof steps / sizeof steps[0]; i++) {
		sqlite3_bind_int64(steps[i], 1, event_seq);
		status = sqlite_run(s, steps[i]);
	}
	return status;
}

/* The next event that has its deliveries: *OLD tells whether it is old enough. Events are about in the
 * order of their times, so that the first one that is too young ends the search; but not one from the
 * future, which came while the clock was wrong. */
static enum store_status next_event(struct store *s, const struct store_retention *r, int64_t now_ms,
                                    int64_t *seq, bool *old)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT seq, received_ms FROM event WHERE seq > ?1"
		" AND seq <= (SELECT value FROM meta WHERE key = 'expanded') ORDER BY seq LIMIT 1");
	enum store_status status;
	int64_t received_ms;

	sqlite3_bind_int64(stmt, 1, r->after_seq);
	status = sqlite_next(s, stmt);
	if (status == STORE_OK) {
		*seq = sqlite3_column_int64(stmt, 0);
		received_ms = sqlite3_column_int64(stmt, 1);
		*old = received_ms < r->events_before_ms;
		if (!*old && received_ms <= now_ms)
			status = STORE_NOT_FOUND;
	}
	sqlite3_reset(stmt);
	return status;
}

static enum store_status prune_one(struct store *s, struct store_retention *r, int64_t now_ms, size_t *removed)
{
	bool held = false, old = false;
	int64_t seq = 0;
	enum store_status status = next_event(s, r, now_ms, &seq, &old);

	if (status == STORE_OK && old)
		status = is_held(s, r, seq, &held);
	if (status == STORE_OK && old && !held)
		status = remove_event(s, seq);
	if (status == STORE_OK) {
		*removed += old && !held;
		r->after_seq = seq;
	}
	return status;
}

#define STEP_ROWS 200 /* at once: somebody may wait for the lock */

enum store_status sqlite_prune_step(struct store *s, sqlite3_stmt *stmt, int64_t before_ms, bool *done)
{
	enum store_status status;

	sqlite3_bind_int64(stmt, 1, before_ms);
	sqlite3_bind_int(stmt, 2, STEP_ROWS);
	status = sqlite_run(s, stmt);
	*done = *done && sqlite3_changes(s->db) < STEP_ROWS;
	return status;
}

/* What is no event: a step of it. R->done where nothing is left to do. */
static enum store_status prune_others(struct store *s, struct store_retention *r, int64_t now_ms)
{
	enum store_status status = sqlite_prune_probes(s, now_ms);

	r->done = true;
	if (status == STORE_OK)
		status = sqlite_prune_arrivals(s, now_ms);
	if (status == STORE_OK)
		status = sqlite_prune_answers(s, now_ms, &r->done);
	if (status == STORE_OK)
		status = sqlite_prune_invitations(s, r->events_before_ms, &r->done);
	if (status == STORE_OK)
		status = sqlite_prune_tallies(s, now_ms, &r->done);
	return status;
}

enum store_status store_prune(struct store *s, struct store_retention *r, int64_t now_ms, size_t max, size_t *removed)
{
	struct store_retention at = *r;
	enum store_status status = store_begin(s);
	size_t i;

	*removed = 0;
	if (status != STORE_OK)
		return status;
	for (i = 0; i < max && status == STORE_OK; i++)
		status = prune_one(s, &at, now_ms, removed);
	if (status == STORE_NOT_FOUND)
		status = prune_others(s, &at, now_ms);
	status = sqlite_leave(s, true, status);
	if (status == STORE_OK)
		*r = at;
	else
		*removed = 0;
	return status;
}
