/* The durable queue: events, their deliveries, the attempts made. The one truth; everything
 * else may die at any moment.
 *
 * A struct store is one connection, used by one thread and opened after any fork. Every change
 * of state is one statement that names the state it leaves. There is no SQL outside the back
 * ends (sqlite*.c); a second back end is more of them behind these headers.
 *
 * An event is "new" until the dispatcher has expanded it into one delivery for each target
 * that it has then. States of a delivery: pending -> running -> success | failed | pending;
 * pending -> canceled;
 * and back to pending where somebody lets it begin anew. */
#ifndef NTRVSTA_STORE_STORE_H
#define NTRVSTA_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/bytes.h"
#include "lib/base/id.h"

enum store_status {
	STORE_OK = 0,
	STORE_NOT_FOUND,   /* no such row, or none in the state that the call leaves */
	STORE_UNAVAILABLE, /* locked too long, read-only, I/O error: try again later */
	STORE_FULL,        /* no space left */
	STORE_INVALID,     /* a database of a newer version, or no database of ours */
};

enum store_role {
	STORE_INTAKE,   /* a commit has reached the disk when it returns */
	STORE_DISPATCH, /* a commit survives any crash of programs; a power cut may undo the last
	                 * ones, which repeats deliveries but loses none */
	STORE_TOOL,     /* as durable as intake, waits longer for a lock */
};

/* Open the database at PATH, creating or migrating it where needed. NULL with STATUS and a
 * reason in ERR. */
struct store *store_open(const char *path, enum store_role role, enum store_status *status,
                         struct buf *err);
void store_close(struct store *s); /* NULL is allowed */

const char *store_error(const struct store *s); /* of the last call that failed; valid until the next call */

/* Several calls in one commit. Nothing between the two may wait for anything but the store. */
enum store_status store_begin(struct store *s);
enum store_status store_commit(struct store *s);
void store_rollback(struct store *s);

/* --- intake ---------------------------------------------------------------------------- */

struct store_event_in {
	/* in */
	const char *source;
	const char *org;             /* whose it is; NULL or "": nobody's, it is for all */
	const char *event;
	const char *timestamp;       /* the event's own, RFC 3339; "" where it has none */
	const char *idempotency_key; /* the header's value; "" where absent */
	const void *body;
	size_t body_len;
	uint8_t identity[SHA256_BYTES];
	int64_t received_ms;
	/* out */
	char id[ID_SIZE]; /* the first one's where this is a duplicate */
	bool duplicate;
};

/* Store N events in one commit, the caller's where one has begun: all or none. Correct across threads and
 * processes: of two equal identities one is stored, the other is a duplicate. */
enum store_status store_put_events(struct store *s, struct store_event_in *const *events, size_t n);

/* Now and then, by the dispatcher: bring to disk what would have to be made anew after a reboot
 * otherwise. May take seconds, and keeps nobody waiting. */
enum store_status store_sync(struct store *s);

/* --- the dispatcher -------------------------------------------------------------------- */

struct store_new_event {
	int64_t seq; /* order of arrival */
	char id[ID_SIZE];
	char *event, *org; /* free with store_new_events_free() */
};

/* The first MAX events that are new, in order of arrival. *N may be 0. */
enum store_status store_new_events(struct store *s, struct store_new_event *out, size_t max, size_t *n);
void store_new_events_free(struct store_new_event *events, size_t n);

/* Call once for each of those, in order and between store_begin() and store_commit(): the event
 * is new no longer and has a pending delivery for each target. */
enum store_status store_expand_event(struct store *s, int64_t seq, const char *const *targets,
                                     size_t ntargets, int64_t now_ms);

enum store_claim_kind { STORE_CLAIM_FIRST, STORE_CLAIM_RETRY, STORE_CLAIM_TEST };

struct store_claim {
	int64_t seq; /* of the delivery */
	char delivery_id[ID_SIZE];
	char event_id[ID_SIZE];
	char *source, *event, *timestamp; /* "" where the event has none of its own */
	int64_t received_ms;
	int attempt; /* 1, 2, ...: this one counted */
	int grouped; /* of the attempts before, how many were made in a group of several */
	char *body;
	size_t body_len;
	bool test; /* see tests.h */
};

/* Claim up to MAX of TARGET's deliveries of KIND, to be run together: first attempts in order of
 * arrival, fewer where their bodies are large; or the retry that is due longest at NOW_MS, with those
 * that were put into one group with it; or tests. They are a group from then on where they are several. Between store_begin() and
 * store_commit(). STORE_NOT_FOUND where there is none. Each of the *N is the caller's to free with
 * store_claim_free(), whatever the result. */
enum store_status store_claim(struct store *s, const char *target, enum store_claim_kind kind,
                              int64_t now_ms, size_t max, struct store_claim *out, size_t *n);
void store_claim_free(struct store_claim *c);

/* A claim that nothing came of: pending again, its attempt not counted. */
enum store_status store_unclaim(struct store *s, const struct store_claim *c);

struct store_attempt {
	int64_t delivery_seq;
	int attempt;
	const char *next_state; /* "success", "failed" or "pending" */
	int64_t due_ms;         /* of the next attempt, where pending */
	int64_t group;          /* whom to run that one with: any number that they share; 0: alone */
	bool grouped;           /* this attempt was made in a group of several */
	int64_t started_ms, duration_ms;
	const char *outcome;       /* "success", "retry" or "permanent" */
	const char *error_code;    /* "" on success */
	const char *error_message; /* "" on success */
	int exit_code;             /* -1 where it did not exit, or was a call */
	int status_code;           /* of HTTP; 0: none */
	int signal;                /* 0 where none ended it */
	const char *output;
	size_t output_len;
	bool output_cut;
};

/* Record an attempt and what becomes of its delivery, which must be running with this attempt.
 * *OUTPUT_IN is 0, or the attempt that already holds the same output (the first of a group);
 * set to the attempt that does now. */
enum store_status store_finish(struct store *s, const struct store_attempt *a, int64_t *output_in);

/* Targets that have pending deliveries, and when the first of them is due. */
struct store_waiting {
	char *target;
	bool first;         /* has first attempts waiting */
	int64_t first_since_ms; /* since when the one that is next waits; 0: none */
	int64_t next_retry_ms; /* wall clock of its earliest retry; INT64_MAX where none */
	bool test;          /* has tests waiting */
};
enum store_status store_waiting(struct store *s, struct store_waiting **out, size_t *n);
enum store_status store_waiting_for(struct store *s, const char *target, struct store_waiting *out);
void store_waiting_free(struct store_waiting *w, size_t n);

/* For the holder of the dispatcher's lock, at start: deliveries that say "running" belong to a
 * dispatcher that died. Calls FN for each; FN records it with store_finish(). What that one held is
 * held no more. */
struct store_running {
	int64_t delivery_seq;
	const char *target;
	int attempt, grouped; /* as in a claim */
	bool again;           /* its last attempt was interrupted as well */
	bool test;            /* has no further attempt */
	int64_t claimed_ms;
	const struct store_running *members; /* those that it ran with, itself included, in order; */
	size_t n, index;                     /* how many, and which one of them it is */
};
typedef enum store_status store_running_fn(void *ctx, struct store *s, const struct store_running *r);
enum store_status store_each_running(struct store *s, store_running_fn *fn, void *ctx);

/* Why nothing is run for TARGET at present, shown with what waits for it; "" again when it is. */
enum store_status store_hold(struct store *s, const char *target, const char *reason);

/* The wall clock went back: retries that were planned by the clock of then keep their distance. */
enum store_status store_rebase(struct store *s, int64_t now_ms);

/* --- looking and repairing --------------------------------------------------------------- */

struct store_event_row {
	int64_t seq;
	const char *id, *source, *org, *event, *timestamp, *idempotency_key;
	int64_t received_ms;
	const char *body;
	size_t body_len;
	bool expanded, test;
	int64_t deliveries, succeeded, failed, waiting; /* waiting: pending or running; of those that may be seen */
};

struct store_delivery_row {
	int64_t seq;
	const char *id, *event_id, *event, *target, *state;
	int attempts; /* since it last began anew */
	int64_t created_ms, due_ms, updated_ms; /* due_ms 0: at once */
	const char *error_code, *error_message; /* of the last attempt; "" */
	const char *held; /* why its target is not run at present; "" */
	bool test;
};

struct store_attempt_row {
	int64_t seq;
	const char *delivery_id, *event_id, *event, *target;
	int attempt;
	int64_t started_ms, duration_ms;
	const char *outcome, *error_code, *error_message;
	int exit_code, signal, status_code;
	const char *output;
	size_t output_len;
	bool output_cut, test;
	const char *request_head, *answer_head; /* what was said, see exchanges.h; NULL or "": not kept */
	bool answer_head_cut;
};

/* What became of an event, in one word: new, waiting, failed, success, unhandled or canceled. */
const char *store_event_status(const struct store_event_row *row);

/* "success" or "failed". */
const char *store_attempt_status(const struct store_attempt_row *row);

/* What to list; a member that is 0 or NULL does not narrow. Newest first. */
struct store_filter {
	const char *org;            /* what this organisation may see: what is nobody's, and its own */
	const char *event_id, *event, *target, *delivery_id;
	const char *state;          /* of a delivery, or "waiting" for pending and running */
	bool skip_tests;            /* deliveries that are no tests */
	const char *outcome;        /* of an attempt: "success", or "failed" for all others */
	const char *text;           /* an event's id, name or body has this in it; ASCII letters of either case are equal */
	int64_t since_ms, until_ms; /* received, created or started */
	int64_t before_seq, after_seq;
	bool oldest_first;
	int64_t limit;              /* at most this many; 0: all */
};

/* Rows are valid during the call only. A callback that returns nonzero ends the listing. */
typedef int store_event_fn(void *ctx, const struct store_event_row *row);
typedef int store_delivery_fn(void *ctx, const struct store_delivery_row *row);
typedef int store_attempt_fn(void *ctx, const struct store_attempt_row *row);
enum store_status store_list_events(struct store *s, const struct store_filter *f,
                                    store_event_fn *fn, void *ctx);
enum store_status store_list_deliveries(struct store *s, const struct store_filter *f,
                                        store_delivery_fn *fn, void *ctx);
enum store_status store_list_attempts(struct store *s, const struct store_filter *f,
                                      store_attempt_fn *fn, void *ctx);

/* Let a delivery that is finished (or waits for its next attempt) begin anew, now.
 * STORE_NOT_FOUND where ID does not exist, is running or is a test. */
enum store_status store_retry(struct store *s, const char *delivery_id, int64_t now_ms);

/* The same, where its state is STATE; else STORE_NOT_FOUND. */
enum store_status store_retry_from(struct store *s, const char *delivery_id, const char *state, int64_t now_ms);

/* Let an event begin anew for TARGETS: finished deliveries go back to pending, missing ones
 * are added; those that wait or run stay. *N counts what was added or put back. STORE_NOT_FOUND where
 * there is no such event, or where it is a test. */
enum store_status store_replay(struct store *s, const char *event_id, const char *const *targets,
                               size_t ntargets, int64_t now_ms, size_t *n);

/* Give up what waits: pending deliveries become canceled. DELIVERY_ID, or up to MAX of TARGET where
 * that is NULL. *N counts them; STORE_NOT_FOUND where nothing waits. */
enum store_status store_cancel(struct store *s, const char *delivery_id, const char *target,
                               int64_t now_ms, size_t max, size_t *n);

/* Events that TARGET has never done with success, whether it failed, was canceled or did not exist
 * when they came; what waits or runs does not count, nor what is not for a webhook's organisation. */
struct store_recovery {
	const char *target;
	const char *org;            /* only what this organisation may see; NULL: all */
	const char *event;          /* only events of this name, or of these with a blank between them; NULL: of any */
	int64_t since_ms, until_ms; /* received; until 0: now */
	int64_t after_seq;          /* where to go on; 0 at first */
};
enum store_status store_count_recoverable(struct store *s, const struct store_recovery *r, int64_t *n);

/* Let up to MAX of them begin anew, oldest first, in one commit. *N counts them. R->after_seq moves
 * on; it stays where it is when none is left. */
enum store_status store_recover(struct store *s, struct store_recovery *r, int64_t now_ms, size_t max, size_t *n);

/* --- statistics --------------------------------------------------------------------------
 *
 * Kept up to date with each attempt, so that they are exact and quick however many there are. A
 * delivery counts when it ended, by how it ended; one that begins anew counts no more. */

enum store_span { STORE_MINUTE, STORE_HOUR, STORE_DAY }; /* how fine buckets are; days are UTC's */

int64_t store_bucket(enum store_span span, int64_t wall_ms); /* the start of the bucket */

struct store_stats {
	int64_t from_ms, to_ms;
	int64_t successful, failed;   /* deliveries that ended in between */
	int64_t pending;              /* now, with those that run */
	int64_t oldest_waiting_ms;    /* when the oldest of these came; 0: none */
	int64_t attempts, failed_attempts;
	int64_t p50_ms, p95_ms;       /* of attempts; -1 where there was none */
};

/* Over TARGET, or all targets where it is NULL, from the bucket of FROM_MS (minutes where the
 * range is an hour or less, else hours) until TO_MS. All but what waits. */
enum store_status store_stats(struct store *s, const char *target, int64_t from_ms, int64_t to_ms,
                              struct store_stats *out);

/* What waits, of TARGET or of all, into OUT's members for that: it is counted, a million in 50 ms or so. */
enum store_status store_stats_backlog(struct store *s, const char *target, struct store_stats *out);

struct store_bucket_row {
	int64_t bucket_ms;
	int64_t attempts, failed_attempts;
};
typedef int store_bucket_fn(void *ctx, const struct store_bucket_row *row);

/* Buckets in which something happened, oldest first. */
enum store_status store_list_buckets(struct store *s, const char *target, enum store_span span,
                                     int64_t from_ms, int64_t to_ms, store_bucket_fn *fn, void *ctx);

/* --- retention --------------------------------------------------------------------------- */

struct store_retention {
	int64_t events_before_ms; /* events received before go, with deliveries and attempts, ... */
	int64_t failed_before_ms; /* ... those with a failed delivery if it failed before this */
	int64_t after_seq;        /* where to go on; 0 at first */
	bool done;                /* nothing further to look at */
};

/* Look at up to MAX events and remove what is to go, in one short commit; behind the last, also invitations that
 * expired before events_before_ms, and what else is too old. Nothing that waits or
 * runs, and no event that is new, is ever removed. *REMOVED counts events. */
enum store_status store_prune(struct store *s, struct store_retention *r, int64_t now_ms, size_t max, size_t *removed);

struct store_counts { /* what is unfinished or failed, over the whole store, tests aside: a million in 200 ms or so */
	int64_t new_events, pending, running, failed;
	int64_t oldest_waiting_ms; /* when the oldest unfinished event came; 0: none */
};
enum store_status store_count(struct store *s, struct store_counts *out);

#endif
