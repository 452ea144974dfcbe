/* Shared by the files of the SQLite back end; no business of anybody else.
 *
 * Each function of the store has its SQL beside it, in a literal that is prepared once for each
 * connection and found again by its address. */
#ifndef NTRVSTA_STORE_SQLITE_H
#define NTRVSTA_STORE_SQLITE_H

#include <sqlite3.h>

#include "lib/base/clock.h"
#include "lib/store/durations.h"
#include "lib/store/store.h"

#define SQLITE_STATEMENTS_MAX 256

struct sqlite_span {
	int64_t length_ms;
	int64_t keep_ms; /* longer than any range that reads it */
};
extern const struct sqlite_span sqlite_spans[]; /* by enum store_span */

/* Counts of one target, minute and duration that are not written yet: a group's deliveries differ
 * in nothing else, so that hundreds of them are counted at once. */
struct sqlite_tally {
	int64_t target, ended_ms, duration_ms;
	int64_t attempts, failed_attempts, successful, failed;
	int64_t last_ms; /* when the last of the attempts ended; 0: none */
};

struct store {
	sqlite3 *db;
	int64_t busy_limit_us; /* how long to wait for another process's lock */
	int64_t busy_since_us;
	struct buf error;
	struct {
		const char *sql;
		sqlite3_stmt *stmt;
	} statements[SQLITE_STATEMENTS_MAX];
	size_t nstatements;
	struct sqlite_tally tally;
	bool around, part; /* store_begin_around() has begun, and within it store_begin() */
	int64_t expanded; /* the last event that was expanded in this transaction; 0: none */
	char *identity_path; /* see identity.h; opened by who stores events */
	struct identity_table *identities;
};

/* Bring the schema of an older version up to date; STORE_INVALID for a newer one's. */
enum store_status sqlite_migrate(struct store *s);

/* Remember what SQLite says of the last call, and what that means to the caller. */
enum store_status sqlite_status(struct store *s, int rc);

/* The statement for SQL, which must be a literal; ready to bind. NULL where it can't be prepared
 * (the error is remembered); every function below takes that as a failure. */
sqlite3_stmt *sqlite_prepare(struct store *s, const char *sql);

/* Run a statement that returns nothing, and reset it. */
enum store_status sqlite_run(struct store *s, sqlite3_stmt *stmt);

/* The same; STORE_NOT_FOUND where it changed no row. */
enum store_status sqlite_change(struct store *s, sqlite3_stmt *stmt);

/* Step to the next row; STORE_NOT_FOUND behind the last one. The caller reads the row, and resets
 * the statement when it has seen enough (sqlite3_reset(NULL) does no harm). */
enum store_status sqlite_next(struct store *s, sqlite3_stmt *stmt);

#define SQLITE_BEHIND_IDS "~" /* sorts behind each id: a list that is read backwards begins there */

/* NULL is bound as the empty string, or empty blob. The memory must last until the reset. */
void sqlite_bind_text(sqlite3_stmt *stmt, int index, const char *text);
void sqlite_bind_blob(sqlite3_stmt *stmt, int index, const void *data, size_t len);

void sqlite_copy_id(char out[ID_SIZE], sqlite3_stmt *stmt, int column);
void sqlite_copy_word(char *out, size_t size, sqlite3_stmt *stmt, int column); /* cut where it is longer */
char *sqlite_copy_text(sqlite3_stmt *stmt, int column); /* the caller's to free */
char *sqlite_copy_blob(sqlite3_stmt *stmt, int column, size_t *len); /* the same, with a NUL behind it */

/* One view of the database for several statements that read; ended by store_rollback(). */
enum store_status sqlite_begin_reading(struct store *s);

/* Begin unless the caller of the store has begun; *OWN tells sqlite_leave() to end it. */
enum store_status sqlite_enter(struct store *s, bool *own);
enum store_status sqlite_leave(struct store *s, bool own, enum store_status status);

/* Add a pending delivery unless the event has one for TARGET: *ADDED tells. */
enum store_status sqlite_put_delivery(struct store *s, int64_t event_seq, const char *target,
                                      int64_t now_ms, bool *added);

enum store_status sqlite_flush_expanded(struct store *s); /* before each commit */

/* Count what arrived, up to the event SEQ, and was not expanded before; part of the same commit as that. */
enum store_status sqlite_count_arrivals(struct store *s, int64_t seq);

/* Remove counts of arrivals that no range reaches any more. */
enum store_status sqlite_prune_arrivals(struct store *s, int64_t now_ms);

/* May the organisation ORG see the target of this NAME? All may, unless it is a webhook of others; nobody sees
 * one that was deleted. A condition; ORG is a parameter. */
#define SQLITE_TARGET_SEEN(name, org) \
	"(length(" name ") <> 29 OR " name " NOT GLOB 'wh_*' OR substr(" name ", 4) GLOB '*[^0-9a-z]*'" \
	" OR EXISTS (SELECT 1 FROM webhook w WHERE w.id = " name " AND w.org = " org "))"

/* The first and the last sequence number of events that is in use; and an event under the next one. */
enum store_status sqlite_read_sequence(struct store *s, int64_t *first, int64_t *last);
enum store_status sqlite_insert_event(struct store *s, struct store_event_in *e, int64_t seq, bool test);

/* STORE_NOT_FOUND where the store knows it already. */
enum store_status sqlite_put_target(struct store *s, const char *name);

/* Remove connectivity tests that nobody waits for any more. */
enum store_status sqlite_prune_probes(struct store *s, int64_t now_ms);

/* Run STMT, which removes rows that are older than ?1, at most ?2 of them. *DONE becomes false where there may be more. */
enum store_status sqlite_prune_step(struct store *s, sqlite3_stmt *stmt, int64_t before_ms, bool *done);

/* A step of removing answers that nobody gets again; and invitations that expired before BEFORE_MS. */
enum store_status sqlite_prune_answers(struct store *s, int64_t now_ms, bool *done);
enum store_status sqlite_prune_invitations(struct store *s, int64_t before_ms, bool *done);

/* Remove what was said in the attempts of an event; before these. */
enum store_status sqlite_remove_exchanges(struct store *s, int64_t event_seq);

/* Count an attempt, and the end of a delivery where STATE is "success" or "failed". Written with
 * sqlite_flush_tally() at the latest. */
enum store_status sqlite_tally_attempt(struct store *s, int64_t target, int64_t ended_ms, int64_t duration_ms,
                                       bool failed, const char *state);
enum store_status sqlite_flush_tally(struct store *s); /* before each commit */

/* A delivery that ended in STATE at ENDED_MS begins anew: it counts no more. */
enum store_status sqlite_untally_delivery(struct store *s, int64_t target, int64_t ended_ms, const char *state);

struct sqlite_sum {
	struct sqlite_tally counts; /* without target, time and duration */
	struct durations durations;
	size_t read; /* rows that this took */
};

/* Add the rows of one span from FROM_MS until TO_MS to SUM. */
enum store_status sqlite_add_up(struct store *s, int64_t target, enum store_span span, int64_t from_ms, int64_t to_ms,
                                struct sqlite_sum *sum);

/* The aggregate pack_durations(duration_ms, attempts), for the migration of what was counted before. */
int sqlite_register_packing(sqlite3 *db);

/* The function holds(where, what), of texts or blobs: is WHAT in WHERE somewhere, ASCII letters of either case being
 * equal? Unlike LIKE's, its time is that of reading WHERE once, whatever stands in it. */
int sqlite_register_text(sqlite3 *db);

/* Add up hours and days that are over, a step of it; and remove some of the counts that no range
 * reaches any more. *DONE as above. */
enum store_status sqlite_prune_tallies(struct store *s, int64_t now_ms, bool *done);

#endif
