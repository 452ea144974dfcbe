#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/store.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

static char *new_path(void)
{
	static int n;

	return xasprintf("%s/store-%d.db", tap_tmpdir(), n++);
}

static struct store_event_in make_event(const char *name, const char *body)
{
	struct store_event_in e = {
		.source = "ntrvsta", .event = name, .timestamp = "", .idempotency_key = "key", .body = body,
		.body_len = strlen(body), .received_ms = 1000,
	};

	bytes_sha256(body, strlen(body), e.identity);
	return e;
}

static enum store_status put(struct store *s, struct store_event_in *e)
{
	return store_put_events(s, &e, 1);
}

/* Expand every new event to these targets, as the dispatcher does. */
static size_t expand_all(struct store *s, const char *const *targets, size_t ntargets)
{
	struct store_new_event events[16];
	size_t n, i;

	store_new_events(s, events, 16, &n);
	store_begin(s);
	for (i = 0; i < n; i++)
		store_expand_event(s, events[i].seq, targets, ntargets, 2000);
	store_commit(s);
	store_new_events_free(events, n);
	return n;
}

static enum store_status finish(struct store *s, int64_t seq, int attempt, const char *state, int64_t due_ms)
{
	struct store_attempt a = {
		.delivery_seq = seq, .attempt = attempt, .next_state = state, .due_ms = due_ms, .started_ms = 3000,
		.duration_ms = 5, .outcome = strcmp(state, "success") == 0 ? "success" : "retry", .error_code = "exit",
		.error_message = "exit status 1", .exit_code = 1, .output = "out\0put", .output_len = 7,
	};
	int64_t output_in = 0;

	return store_finish(s, &a, &output_in);
}

/* Claim one delivery. */
static enum store_status claim(struct store *s, const char *target, enum store_claim_kind kind, int64_t now_ms,
                               struct store_claim *out)
{
	size_t n;

	memset(out, 0, sizeof *out);
	return store_claim(s, target, kind, now_ms, 1, out, &n);
}

static int count_row(void *ctx, const struct store_attempt_row *row)
{
	(void)row;
	++*(int *)ctx;
	return 0;
}

static int count_attempts(struct store *s, const struct store_filter *f)
{
	int n = 0;

	store_list_attempts(s, f, count_row, &n);
	return n;
}

static void test_events(void)
{
	char *path = new_path();
	struct store *s = must_open(path, STORE_INTAKE);
	struct store_event_in a = make_event("a.b", "{\"n\":1}"), b = make_event("a.b", "{\"n\":2}");
	struct store_event_in again = make_event("a.b", "{\"n\":1}");
	struct store_event_in *group[] = { &a, &again, &b };
	struct store_counts counts;

	CHECK_INT(store_put_events(s, group, 3), STORE_OK, "a group is stored");
	CHECK(!a.duplicate && !b.duplicate && again.duplicate, "an equal event in one group is a duplicate");
	CHECK_STR(again.id, a.id, "and gets the first one's id");
	store_close(s);
	s = must_open(path, STORE_INTAKE);
	again.id[0] = '\0';
	CHECK(put(s, &again) == STORE_OK && again.duplicate, "it is one after a restart too");
	CHECK_STR(again.id, a.id, "with the same id");
	store_count(s, &counts);
	CHECK_INT(counts.new_events, 2, "both are new");
	CHECK_INT(counts.oldest_waiting_ms, 1000, "the oldest waits since it came");
	store_close(s);
	free(path);
}

static void test_expand_and_claim(void)
{
	static const char *const targets[] = { "all/x", "all/y" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in a = make_event("a", "first"), b = make_event("b", "second");
	struct store_claim c;

	put(s, &a);
	put(s, &b);
	CHECK_INT(claim(s, "all/x", STORE_CLAIM_FIRST, 2500, &c), STORE_NOT_FOUND, "nothing to claim before it is expanded");
	CHECK_INT(expand_all(s, targets, 2), 2, "two new events");
	CHECK_INT(expand_all(s, targets, 2), 0, "which are new no longer");
	CHECK_INT(claim(s, "all/x", STORE_CLAIM_FIRST, 2500, &c), STORE_OK, "a delivery is claimed");
	CHECK_STR(c.event_id, a.id, "the one that came first");
	CHECK(c.body_len == 5 && memcmp(c.body, "first", 5) == 0 && c.attempt == 1, "with body, as its first attempt");
	CHECK_INT(finish(s, c.seq, 2, "success", 0), STORE_NOT_FOUND, "another attempt's result is refused");
	CHECK_INT(finish(s, c.seq, 1, "pending", 5000), STORE_OK, "it fails and waits");
	CHECK_INT(finish(s, c.seq, 1, "success", 0), STORE_NOT_FOUND, "an attempt ends once");
	store_claim_free(&c);
	CHECK(claim(s, "all/x", STORE_CLAIM_RETRY, 4999, &c) == STORE_NOT_FOUND, "not before it is due");
	CHECK(claim(s, "all/x", STORE_CLAIM_FIRST, 4999, &c) == STORE_OK && strcmp(c.event_id, b.id) == 0,
	      "the next event does not wait for it");
	store_claim_free(&c);
	CHECK(claim(s, "all/x", STORE_CLAIM_RETRY, 5000, &c) == STORE_OK && c.attempt == 2, "then as its second attempt");
	store_claim_free(&c);
	CHECK(claim(s, "all/y", STORE_CLAIM_FIRST, 0, &c) == STORE_OK, "the other target has its own deliveries");
	store_claim_free(&c);
	store_close(s);
	free(path);
}

static void test_waiting(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in e = make_event("a", "1");
	struct store_waiting w;
	struct store_claim c;

	CHECK_INT(store_waiting_for(s, "x", &w), STORE_NOT_FOUND, "an unknown target");
	put(s, &e);
	expand_all(s, targets, 1);
	CHECK(store_waiting_for(s, "x", &w) == STORE_OK && w.first && w.next_retry_ms == INT64_MAX, "a first attempt waits");
	free(w.target);
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
	finish(s, c.seq, 1, "pending", 7777);
	CHECK(store_waiting_for(s, "x", &w) == STORE_OK && !w.first && w.next_retry_ms == 7777, "a retry waits");
	free(w.target);
	store_claim_free(&c);
	store_close(s);
	free(path);
}

static void test_sequence_never_repeats(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_INTAKE);
	struct store_event_in a = make_event("a", "1"), b = make_event("a", "2");
	sqlite3 *db;

	put(s, &a);
	expand_all(s, targets, 1);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "DELETE FROM event", NULL, NULL, NULL);
	sqlite3_close(db);
	put(s, &b);
	CHECK_INT(expand_all(s, targets, 1), 1, "an event that comes after all others were removed is new");
	store_close(s);
	free(path);
}

struct interrupted {
	int n;
	int attempt;
};

static enum store_status on_running(void *ctx, struct store *s, const struct store_running *r)
{
	struct interrupted *i = ctx;

	i->n++;
	i->attempt = r->attempt;
	return finish(s, r->delivery_seq, r->attempt, "pending", 9000);
}

static void test_interrupted(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in e = make_event("a", "1");
	struct interrupted seen = { 0, 0 };
	struct store_claim c;

	put(s, &e);
	expand_all(s, targets, 1);
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
	store_claim_free(&c);
	store_close(s);
	s = must_open(path, STORE_DISPATCH);
	CHECK_INT(store_each_running(s, on_running, &seen), STORE_OK, "a dispatcher starts after another one died");
	CHECK(seen.n == 1 && seen.attempt == 1, "and finds what that one ran");
	seen.n = 0;
	store_each_running(s, on_running, &seen);
	CHECK_INT(seen.n, 0, "once");
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 9000, &c) == STORE_OK && c.attempt == 2, "its attempt counts");
	store_claim_free(&c);
	store_close(s);
	free(path);
}

static void test_rollback(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in e = make_event("a", "1");
	struct store_claim c;

	put(s, &e);
	expand_all(s, targets, 1);
	store_begin(s);
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
	store_claim_free(&c);
	store_rollback(s);
	CHECK(claim(s, "x", STORE_CLAIM_FIRST, 10, &c) == STORE_OK && c.attempt == 1, "a claim that was not committed never was");
	store_claim_free(&c);
	store_close(s);
	free(path);
}

static void test_clock_back(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in e = make_event("a", "1");
	struct store_claim c;

	put(s, &e);
	expand_all(s, targets, 1);
	claim(s, "x", STORE_CLAIM_FIRST, 3000, &c);
	finish(s, c.seq, 1, "pending", 3005 + 60000); /* ended at 3005, due a minute later */
	store_claim_free(&c);
	store_rebase(s, 4000);
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 63004, &c) == STORE_NOT_FOUND, "a clock that goes on changes nothing");
	store_rebase(s, 1005);
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 61004, &c) == STORE_NOT_FOUND, "set back by two seconds: still a minute");
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 61005, &c) == STORE_OK, "and no more");
	store_claim_free(&c);
	store_close(s);
	free(path);
}

static void test_retry_and_replay(void)
{
	static const char *const targets[] = { "x" }, *const more[] = { "x", "y" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_TOOL);
	struct store_event_in e = make_event("a", "1");
	struct store_filter all = { 0 }, failed = { .outcome = "failed" }, good = { .outcome = "success" };
	struct store_claim c;
	char id[ID_SIZE];
	size_t n;

	put(s, &e);
	expand_all(s, targets, 1);
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
	memcpy(id, c.delivery_id, sizeof id);
	CHECK_INT(store_retry(s, id, 20), STORE_NOT_FOUND, "what runs is not retried");
	finish(s, c.seq, 1, "failed", 0);
	store_claim_free(&c);
	CHECK_INT(store_retry(s, id, 20), STORE_OK, "what failed is");
	CHECK(claim(s, "x", STORE_CLAIM_FIRST, 30, &c) == STORE_OK && c.attempt == 1, "and begins anew");
	CHECK_STR(c.delivery_id, id, "as the same delivery");
	finish(s, c.seq, 1, "success", 0);
	store_claim_free(&c);
	CHECK_INT(count_attempts(s, &all), 2, "both attempts are on record");
	CHECK(count_attempts(s, &failed) == 1 && count_attempts(s, &good) == 1, "by outcome");
	CHECK(store_replay(s, e.id, more, 2, 40, &n) == STORE_OK && n == 2, "a replay puts back and adds");
	CHECK(store_replay(s, e.id, more, 2, 50, &n) == STORE_OK && n == 0, "what waits already stays");
	CHECK_INT(store_replay(s, "evt_none", more, 2, 60, &n), STORE_NOT_FOUND, "an unknown event");
	CHECK_INT(store_retry(s, "dlv_none", 60), STORE_NOT_FOUND, "an unknown delivery");
	store_close(s);
	free(path);
}

static int copy_attempt(void *ctx, const struct store_attempt_row *row)
{
	buf_add(ctx, row->output, row->output_len);
	return 1;
}

static void test_output_bytes(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_event_in e = make_event("a", "");
	struct store_filter all = { .limit = 1 };
	struct buf output = BUF_INIT;
	struct store_claim c;

	put(s, &e);
	expand_all(s, targets, 1);
	CHECK(claim(s, "x", STORE_CLAIM_FIRST, 10, &c) == STORE_OK && c.body_len == 0, "an empty body");
	finish(s, c.seq, 1, "success", 0);
	store_list_attempts(s, &all, copy_attempt, &output);
	CHECK(output.len == 7 && memcmp(output.data, "out\0put", 7) == 0, "output is kept byte for byte");
	buf_free(&output);
	store_claim_free(&c);
	store_close(s);
	free(path);
}

/* Several connections store the same 100 events at once, each on its own thread. */
#define RACERS 8

static void *race(void *path)
{
	struct store *s = must_open(path, STORE_INTAKE);
	size_t stored = 0, i;

	for (i = 0; i < 100; i++) {
		char body[24];
		struct store_event_in e;

		snprintf(body, sizeof body, "%zu", i);
		e = make_event("a", body);
		if (put(s, &e) == STORE_OK && !e.duplicate)
			stored++;
	}
	store_close(s);
	return (void *)stored;
}

static void test_race(void)
{
	char *path = new_path();
	pthread_t threads[RACERS];
	struct store_counts counts;
	struct store *s;
	size_t stored = 0, i;

	for (i = 0; i < RACERS; i++)
		pthread_create(&threads[i], NULL, race, path);
	for (i = 0; i < RACERS; i++) {
		void *n;

		pthread_join(threads[i], &n);
		stored += (size_t)n;
	}
	CHECK_INT((int64_t)stored, 100, "of equal events that come at once, each is stored by one connection");
	s = must_open(path, STORE_TOOL);
	store_count(s, &counts);
	CHECK_INT(counts.new_events, 100, "and is there once");
	store_close(s);
	free(path);
}

static void test_refusals(void)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	char *path = new_path();
	struct store *s = must_open(path, STORE_TOOL);
	sqlite3 *db;
	FILE *f;

	store_close(s);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL);
	sqlite3_close(db);
	CHECK(!store_open(path, STORE_TOOL, &status, &err) && status == STORE_INVALID, "a newer version's database is refused");
	CHECK(strstr(buf_str(&err), "newer version") && strstr(buf_str(&err), path), "by name: %s", buf_str(&err));
	buf_reset(&err);
	free(path);

	path = new_path();
	f = fopen(path, "w");
	fputs("this is a text file and no database at all, long enough to have a header", f);
	fclose(f);
	CHECK(!store_open(path, STORE_TOOL, &status, &err) && status == STORE_INVALID, "what is no database is refused");
	buf_reset(&err);
	CHECK(!store_open("/no/such/folder/x.db", STORE_TOOL, &status, &err) && status == STORE_UNAVAILABLE, "a missing folder");
	buf_free(&err);
	free(path);
}

/* --- groups ------------------------------------------------------------------------------ */

/* COUNT events for "x", named "0", "1", ... by their bodies. */
static struct store *with_events(size_t count)
{
	static const char *const targets[] = { "x" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	size_t i;

	for (i = 0; i < count; i++) {
		char body[24];
		struct store_event_in e;

		snprintf(body, sizeof body, "%zu", i);
		e = make_event("a", body);
		put(s, &e);
	}
	while (expand_all(s, targets, 1) > 0)
		;
	free(path);
	return s;
}

/* Claim up to MAX in a commit of its own; what they are as "0 1 2 ", and their places in SEQS. */
static const char *claim_group(struct store *s, enum store_claim_kind kind, int64_t now_ms, size_t max, int64_t *seqs,
                               size_t *n)
{
	static char text[256];
	struct store_claim claims[64];
	size_t i, len = 0;

	text[0] = '\0';
	store_begin(s);
	store_claim(s, "x", kind, now_ms, max, claims, n);
	store_commit(s);
	for (i = 0; i < *n; i++) {
		len += (size_t)snprintf(text + len, sizeof text - len, "%.*s ", (int)claims[i].body_len, claims[i].body);
		seqs[i] = claims[i].seq;
		store_claim_free(&claims[i]);
	}
	return text;
}

/* All N failed in their ATTEMPT, and go on from DUE_MS in two groups of which the first has HALF; GROUPED: as several. */
static void fail_group(struct store *s, const int64_t *seqs, size_t n, size_t half, int attempt, int64_t due_ms)
{
	struct store_attempt a = {
		.attempt = attempt, .next_state = "pending", .due_ms = due_ms, .grouped = n > 1, .started_ms = 3000,
		.duration_ms = 5, .outcome = "retry", .error_code = "exit", .error_message = "", .exit_code = 1,
		.output = "shared", .output_len = 6,
	};
	int64_t output_in = 0;
	size_t i;

	store_begin(s);
	for (i = 0; i < n; i++) {
		a.delivery_seq = seqs[i];
		a.group = i < half ? (half > 1 ? seqs[0] : 0) : (n - half > 1 ? seqs[half] : 0);
		CHECK_INT(store_finish(s, &a, &output_in), STORE_OK, "recorded");
	}
	store_commit(s);
}

struct outputs {
	size_t rows, bytes;
};

static int add_output(void *ctx, const struct store_attempt_row *row)
{
	struct outputs *o = ctx;

	o->rows++;
	o->bytes += row->output_len;
	return 0;
}

static void test_groups(void)
{
	struct store *s = with_events(12);
	struct store_filter all = { 0 };
	struct outputs outputs = { 0, 0 };
	int64_t seqs[64], one;
	struct store_claim c;
	size_t n;

	CHECK_STR(claim_group(s, STORE_CLAIM_FIRST, 10, 5, seqs, &n), "0 1 2 3 4 ", "a group in order of arrival");
	fail_group(s, seqs, n, 3, 1, 5000);
	store_list_attempts(s, &all, add_output, &outputs);
	CHECK(outputs.rows == 5 && outputs.bytes == 5 * 6, "each shows the output of its group");
	CHECK_STR(claim_group(s, STORE_CLAIM_RETRY, 4999, 9, seqs, &n), "", "not before it is due");
	CHECK_STR(claim_group(s, STORE_CLAIM_RETRY, 5000, 9, seqs, &n), "0 1 2 ", "then one half alone");
	CHECK_STR(claim_group(s, STORE_CLAIM_RETRY, 5000, 1, &one, &n), "3 ", "of the other one no more than asked for");
	CHECK_STR(claim_group(s, STORE_CLAIM_RETRY, 5000, 9, &one, &n), "4 ", "and then the rest of it");
	fail_group(s, seqs, 3, 2, 2, 6000);
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 6000, &c) == STORE_OK && c.attempt == 3 && c.grouped == 2,
	      "attempts in a group are told apart");
	store_claim_free(&c);
	CHECK_STR(claim_group(s, STORE_CLAIM_FIRST, 10, 50, seqs, &n), "5 6 7 8 9 10 11 ", "new events are a group of their own");
	store_close(s);
}

static void test_group_bytes(void)
{
	static const char *const targets[] = { "x" };
	size_t size = 6 * 1024 * 1024, n;
	char *path = new_path(), *body = xmalloc(size);
	struct store *s = must_open(path, STORE_DISPATCH);
	struct store_claim claims[8];
	int i;

	memset(body, ' ', size);
	for (i = 0; i < 5; i++) {
		struct store_event_in e = make_event("a", "");
		struct store_event_in *p = &e;

		body[0] = (char)('0' + i);
		e.body = body;
		e.body_len = size;
		bytes_sha256(body, size, e.identity);
		store_put_events(s, &p, 1);
	}
	expand_all(s, targets, 1);
	store_begin(s);
	CHECK_INT(store_claim(s, "x", STORE_CLAIM_FIRST, 10, 8, claims, &n), STORE_OK, "large bodies are claimed");
	store_commit(s);
	CHECK_INT((int64_t)n, 3, "but none more once 16 MiB are reached");
	while (n > 0)
		store_claim_free(&claims[--n]);
	store_close(s);
	free(body);
	free(path);
}

struct groups_seen {
	size_t n;
	bool in_order;
};

static enum store_status note_group(void *ctx, struct store *s, const struct store_running *r)
{
	struct groups_seen *g = ctx;
	struct store_attempt a = {
		.delivery_seq = r->delivery_seq, .attempt = r->attempt, .next_state = "pending", .due_ms = 7000,
		.group = r->members[0].delivery_seq,
		.outcome = "retry", .error_code = "interrupted", .error_message = "", .exit_code = -1, .output = "",
	};
	int64_t output_in = 0;

	g->in_order = g->in_order && r->n == 4 && r->index == g->n && r->members[r->index].delivery_seq == r->delivery_seq;
	g->n++;
	return store_finish(s, &a, &output_in);
}

static void test_unclaim(void)
{
	struct store *s = with_events(2);
	struct store_claim first, second;

	claim(s, "x", STORE_CLAIM_FIRST, 10, &first);
	CHECK_INT(store_unclaim(s, &first), STORE_OK, "a claim that nothing came of is given back");
	CHECK_INT(store_unclaim(s, &first), STORE_NOT_FOUND, "once");
	CHECK(claim(s, "x", STORE_CLAIM_FIRST, 20, &second) == STORE_OK && second.seq == first.seq && second.attempt == 1,
	      "and is the first to be claimed again, without having lost an attempt");
	store_claim_free(&first);
	store_claim_free(&second);
	store_close(s);
}

static void test_interrupted_group(void)
{
	struct store *s = with_events(6);
	struct groups_seen seen = { 0, true };
	int64_t seqs[64];
	size_t n;

	claim_group(s, STORE_CLAIM_FIRST, 10, 4, seqs, &n);
	store_each_running(s, note_group, &seen);
	CHECK(seen.n == 4 && seen.in_order, "a group whose dispatcher died is still one");
	CHECK_STR(claim_group(s, STORE_CLAIM_RETRY, 7000, 9, seqs, &n), "0 1 2 3 ", "and runs together again");
	store_close(s);
}

/* --- hold, cancel, recover --------------------------------------------------------------- */

static int copy_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct buf *out = ctx;

	buf_addf(out, "%s%s%s ", row->state, *row->held ? ":" : "", row->held);
	return 0;
}

/* The deliveries' states, oldest first. Static buffer. */
static const char *states(struct store *s)
{
	static char text[512];
	struct store_filter all = { .oldest_first = true };
	struct buf out = BUF_INIT;

	store_list_deliveries(s, &all, copy_delivery, &out);
	snprintf(text, sizeof text, "%s", buf_str(&out));
	buf_free(&out);
	return text;
}

static void test_hold_and_cancel(void)
{
	struct store *s = with_events(4);
	struct store_claim c;
	char first[ID_SIZE];
	size_t n;

	CHECK_INT(store_hold(s, "x", "gone"), STORE_OK, "a target is held");
	CHECK_STR(states(s), "pending:gone pending:gone pending:gone pending:gone ", "with a reason for all that waits");
	store_hold(s, "x", "");
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
	memcpy(first, c.delivery_id, sizeof first);
	CHECK(store_cancel(s, first, NULL, 20, 1, &n) == STORE_NOT_FOUND && n == 0, "what runs is not canceled");
	finish(s, c.seq, 1, "pending", 5000);
	store_claim_free(&c);
	CHECK(store_cancel(s, first, NULL, 20, 1, &n) == STORE_OK && n == 1, "what waits is");
	CHECK(store_cancel(s, first, NULL, 20, 1, &n) == STORE_NOT_FOUND && n == 0, "once");
	CHECK_STR(states(s), "canceled pending pending pending ", "and nothing else");
	CHECK(store_cancel(s, NULL, "x", 20, 2, &n) == STORE_OK && n == 2, "all of a target go in steps");
	CHECK(store_cancel(s, NULL, "x", 20, 2, &n) == STORE_OK && n == 1, "until none is left");
	CHECK(store_cancel(s, NULL, "x", 20, 2, &n) == STORE_NOT_FOUND && n == 0, "and then no more");
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 9000, &c) == STORE_NOT_FOUND &&
	      claim(s, "x", STORE_CLAIM_FIRST, 9000, &c) == STORE_NOT_FOUND, "nothing of it is run");
	CHECK(store_retry(s, first, 30) == STORE_OK && claim(s, "x", STORE_CLAIM_FIRST, 40, &c) == STORE_OK && c.attempt == 1,
	      "unless it is let begin anew");
	store_claim_free(&c);
	store_close(s);
}

static void test_recover(void)
{
	struct store *s = with_events(5);
	struct store_recovery of_x = { .target = "x" }, of_y = { .target = "y" }, none = { .target = "x", .since_ms = 2000 };
	static const char *const ends[] = { "success", "failed", "pending" };
	struct store_claim c;
	int64_t found;
	size_t n, i;

	for (i = 0; i < 3; i++) {
		claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
		finish(s, c.seq, 1, ends[i], i == 2 ? 5000 : 0);
		store_claim_free(&c);
	}
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c); /* runs */
	store_claim_free(&c);
	CHECK(store_count_recoverable(s, &of_x, &found) == STORE_OK && found == 1, "what failed, not what waits, runs or is done");
	CHECK(store_count_recoverable(s, &of_y, &found) == STORE_OK && found == 5, "all, for who did not exist when they came");
	CHECK(store_count_recoverable(s, &none, &found) == STORE_OK && found == 0, "none that came earlier than asked for");
	CHECK(store_recover(s, &of_x, 50, 10, &n) == STORE_OK && n == 1, "it begins anew");
	CHECK_STR(states(s), "success pending pending running pending ", "alone");
	CHECK(store_recover(s, &of_y, 50, 3, &n) == STORE_OK && n == 3, "in steps");
	CHECK(store_recover(s, &of_y, 50, 3, &n) == STORE_OK && n == 2, "that go on where the last one ended");
	CHECK(store_recover(s, &of_y, 50, 3, &n) == STORE_OK && n == 0, "until none is left");
	store_close(s);
}

static void test_recover_names(void)
{
	static const struct {
		const char *event;
		int64_t found;
	} rows[] = {
		{ NULL, 3 }, { "", 3 }, { "a.b", 2 }, { "c", 1 }, { "c a.b", 3 }, { "a.b a.b.c", 2 }, { "a", 0 }, { "b", 0 }, { "a.b.c d", 0 },
	};
	static const char *const names[] = { "a.b", "c", "a.b" };
	char *path = new_path();
	struct store *s = must_open(path, STORE_DISPATCH);
	int64_t found;
	size_t i;

	for (i = 0; i < 3; i++) {
		struct store_event_in e = make_event(names[i], i == 0 ? "0" : i == 1 ? "1" : "2");
		struct store_new_event new_event;
		size_t n;

		put(s, &e);
		store_new_events(s, &new_event, 1, &n);
		store_begin(s);
		store_expand_event(s, new_event.seq, NULL, 0, 1);
		store_commit(s);
		store_new_events_free(&new_event, n);
	}
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct store_recovery r = { .target = "y", .event = rows[i].event };

		CHECK(store_count_recoverable(s, &r, &found) == STORE_OK && found == rows[i].found, "%lld events called '%s'",
		      (long long)rows[i].found, rows[i].event ? rows[i].event : "anything");
	}
	store_close(s);
	free(path);
}

/* --- retention --------------------------------------------------------------------------- */

static void test_prune(void)
{
	struct store *s = with_events(5);
	struct store_retention r = { .events_before_ms = 2000, .failed_before_ms = 2000 };
	static const char *const ends[] = { "success", "failed", "pending" };
	struct store_counts counts;
	struct store_filter all = { 0 };
	struct store_claim c;
	struct store_event_in later = make_event("a", "later");
	size_t removed, total = 0, i;

	put(s, &later);
	for (i = 0; i < 3; i++) {
		claim(s, "x", STORE_CLAIM_FIRST, 10, &c);
		finish(s, c.seq, 1, ends[i], i == 2 ? 5000 : 0); /* at 3005 */
		store_claim_free(&c);
	}
	claim(s, "x", STORE_CLAIM_FIRST, 10, &c); /* runs; one more waits, one is new */
	store_claim_free(&c);
	for (i = 0; !r.done && i < 20; i++) {
		store_prune(s, &r, 9000, 2, &removed);
		total += removed;
		CHECK(removed <= 2, "a step removes no more than asked for");
	}
	CHECK_INT((int64_t)total, 1, "what is done goes; what failed later, waits, runs or is new stays");
	CHECK_STR(states(s), "failed pending running pending ", "these");
	CHECK_INT(count_attempts(s, &all), 2, "attempts go with their event");
	r = (struct store_retention){ .events_before_ms = 2000, .failed_before_ms = 4000 };
	store_prune(s, &r, 9000, 100, &removed);
	CHECK(removed == 1 && r.done, "the failed one goes when its time has come");
	r = (struct store_retention){ .events_before_ms = 500, .failed_before_ms = 4000 };
	store_prune(s, &r, 9000, 100, &removed);
	store_count(s, &counts);
	CHECK(removed == 0 && counts.new_events == 1 && counts.pending == 2 && counts.running == 1, "what is left stays");
	store_close(s);
}

/* --- statistics --------------------------------------------------------------------------
 *
 * A plain recount beside it: each attempt that was made, each delivery as it stands. */

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NOW (INT64_C(20000) * DAY + 13 * HOUR + 7 * MINUTE + 11123)
#define TARGETS 3
#define EVENTS 400

struct model_delivery {
	char id[ID_SIZE];
	int64_t seq, ended_ms; /* 0: has not ended */
	int target, attempt;
	bool success, running;
};

struct model {
	struct { int64_t ended_ms, duration_ms; int target; bool failed; } attempts[20000];
	size_t nattempts;
	struct model_delivery deliveries[EVENTS * TARGETS];
	size_t ndeliveries;
	unsigned random;
};

static const char *const model_targets[TARGETS] = { "x", "y", "all/z" };

static unsigned roll(struct model *m, unsigned below)
{
	m->random = m->random * 1103515245u + 12345u;
	return (m->random >> 8) % below;
}

static int compare_durations(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int64_t nth(const int64_t *sorted, size_t n, size_t percent)
{
	return n == 0 ? -1 : sorted[(n * percent + 99) / 100 - 1];
}

/* TARGET -1: all. */
static void recount(const struct model *m, int target, int64_t from_ms, int64_t to_ms, struct store_stats *out)
{
	static int64_t durations[20000];
	size_t n = 0, i;

	memset(out, 0, sizeof *out);
	for (i = 0; i < m->nattempts; i++) {
		if ((target >= 0 && m->attempts[i].target != target) || m->attempts[i].ended_ms < from_ms ||
		    m->attempts[i].ended_ms >= to_ms)
			continue;
		out->attempts++;
		out->failed_attempts += m->attempts[i].failed;
		durations[n++] = m->attempts[i].duration_ms;
	}
	qsort(durations, n, sizeof *durations, compare_durations);
	out->p50_ms = nth(durations, n, 50);
	out->p95_ms = nth(durations, n, 95);
	for (i = 0; i < m->ndeliveries; i++) {
		const struct model_delivery *d = &m->deliveries[i];

		if (target >= 0 && d->target != target)
			continue;
		out->pending += d->ended_ms == 0;
		if (d->ended_ms >= from_ms && d->ended_ms < to_ms) {
			out->successful += d->success;
			out->failed += !d->success;
		}
	}
}

static int add_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct model *m = ctx;
	struct model_delivery *d = &m->deliveries[m->ndeliveries++];

	memset(d, 0, sizeof *d);
	memcpy(d->id, row->id, sizeof d->id);
	while (strcmp(model_targets[d->target], row->target) != 0)
		d->target++;
	return 0;
}

static struct model_delivery *model_find(struct model *m, const char *id)
{
	size_t i = 0;

	while (strcmp(m->deliveries[i].id, id) != 0)
		i++;
	return &m->deliveries[i];
}

/* One attempt of some delivery that waits, at some time of the last 38 days. */
static void model_attempt(struct model *m, struct store *s)
{
	int target = (int)roll(m, TARGETS);
	enum store_claim_kind kind = roll(m, 2) ? STORE_CLAIM_RETRY : STORE_CLAIM_FIRST;
	struct store_claim c;
	struct model_delivery *d;
	unsigned way = roll(m, 10);
	/* Times near to now, and durations that repeat, so that counts meet. */
	int64_t back_ms = roll(m, 3) ? roll(m, 100) * MINUTE : roll(m, 38 * 24 * 60) * MINUTE + roll(m, 60000);
	int64_t duration_ms = roll(m, 4) ? roll(m, 40) : roll(m, 30000);
	struct store_attempt a = {
		.next_state = way < 6 ? "success" : way < 8 ? "failed" : "pending", .outcome = way < 6 ? "success" : "retry",
		.started_ms = NOW - back_ms - duration_ms, .duration_ms = duration_ms, .error_code = "", .error_message = "",
		.exit_code = way < 6 ? 0 : 1, .output = "", .due_ms = way < 8 ? 0 : 1 + roll(m, 100),
	};
	int64_t output_in = 0;

	if (claim(s, model_targets[target], kind, NOW, &c) != STORE_OK)
		return;
	d = model_find(m, c.delivery_id);
	a.delivery_seq = c.seq;
	a.attempt = c.attempt;
	store_finish(s, &a, &output_in);
	store_claim_free(&c);
	m->attempts[m->nattempts].ended_ms = NOW - back_ms;
	m->attempts[m->nattempts].duration_ms = duration_ms;
	m->attempts[m->nattempts].target = target;
	m->attempts[m->nattempts++].failed = way >= 6;
	d->success = way < 6;
	d->ended_ms = way < 8 ? NOW - back_ms : 0;
}

static void model_anew(struct model *m, struct store *s)
{
	struct model_delivery *d = &m->deliveries[roll(m, (unsigned)m->ndeliveries)];

	if (store_retry(s, d->id, NOW) == STORE_OK)
		d->ended_ms = 0;
}

/* Some attempts in one commit, or in none. */
static void model_step(struct model *m, struct store *s)
{
	static struct model before;
	size_t n = roll(m, 8), i;
	bool undone = roll(m, 10) == 0;

	if (n == 0) {
		model_anew(m, s);
		return;
	}
	before = *m;
	store_begin(s);
	for (i = 0; i < n; i++)
		model_attempt(m, s);
	if (undone) {
		unsigned random = m->random;

		store_rollback(s);
		*m = before;
		m->random = random;
	} else {
		store_commit(s);
	}
}

static struct store *model_open(struct model *m, char **path)
{
	struct store_filter all = { 0 };
	struct store *s;
	size_t i;

	memset(m, 0, sizeof *m);
	m->random = 20260315;
	*path = new_path();
	s = must_open(*path, STORE_DISPATCH);
	for (i = 0; i < EVENTS; i++) {
		char body[24];
		struct store_event_in e;

		snprintf(body, sizeof body, "%zu", i);
		e = make_event("a", body);
		put(s, &e);
	}
	while (expand_all(s, model_targets, TARGETS) > 0)
		;
	store_list_deliveries(s, &all, add_delivery, m);
	return s;
}

static bool same_stats(const struct store_stats *got, const struct store_stats *want)
{
	return got->successful == want->successful && got->failed == want->failed && got->pending == want->pending &&
	       got->attempts == want->attempts && got->failed_attempts == want->failed_attempts &&
	       got->p50_ms == want->p50_ms && got->p95_ms == want->p95_ms;
}

static void show_stats(const char *what, const struct store_stats *x)
{
	printf("# %s: %lld successful, %lld failed, %lld pending, %lld attempts, %lld failed ones, p50 %lld, p95 %lld\n", what,
	       (long long)x->successful, (long long)x->failed, (long long)x->pending, (long long)x->attempts,
	       (long long)x->failed_attempts, (long long)x->p50_ms, (long long)x->p95_ms);
}

static void compare_all(const struct model *m, struct store *s, const char *when)
{
	static const struct { const char *name; int64_t ms; } ranges[] = {
		{ "a minute", MINUTE }, { "1h", HOUR }, { "90 minutes", 90 * MINUTE }, { "24h", DAY }, { "26h", 26 * HOUR },
		{ "7d", 7 * DAY }, { "30d", 30 * DAY },
	};
	struct store_stats got, want;
	size_t i;
	int t;

	for (i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		for (t = -1; t < TARGETS; t++) {
			const char *name = t < 0 ? NULL : model_targets[t];

			CHECK(store_stats(s, name, NOW - ranges[i].ms, NOW + 1, &got) == STORE_OK &&
			      store_stats_backlog(s, name, &got) == STORE_OK, "answered");
			CHECK(got.from_ms <= NOW - ranges[i].ms && got.from_ms > NOW - ranges[i].ms - HOUR, "from a bucket's start");
			recount(m, t, got.from_ms, NOW + 1, &want);
			if (!CHECK(same_stats(&got, &want), "%s, %s, %s: as counted one by one", when, ranges[i].name,
			           name ? name : "all targets")) {
				show_stats("got", &got);
				show_stats("want", &want);
			}
		}
}

struct bucket_sum {
	int64_t attempts, failed_attempts, last_ms;
	bool ordered;
};

static int add_bucket(void *ctx, const struct store_bucket_row *row)
{
	struct bucket_sum *sum = ctx;

	sum->ordered = sum->ordered && row->bucket_ms > sum->last_ms;
	sum->last_ms = row->bucket_ms;
	sum->attempts += row->attempts;
	sum->failed_attempts += row->failed_attempts;
	return 0;
}

static void compare_buckets(const struct model *m, struct store *s, enum store_span smallest)
{
	int span;

	for (span = (int)smallest; span <= STORE_DAY; span++) {
		struct bucket_sum sum = { 0, 0, 0, true };
		struct store_stats want;

		store_list_buckets(s, NULL, (enum store_span)span, NOW - 39 * DAY, NOW + 1, add_bucket, &sum);
		recount(m, -1, 0, NOW + 1, &want);
		CHECK(sum.attempts == want.attempts && sum.failed_attempts == want.failed_attempts && sum.ordered,
		      "the buckets of each span hold all attempts, in order");
	}
}

/* As retention does on the way, as if it were NOW_MS. */
static void add_up_all(struct store *s, int64_t now_ms)
{
	struct store_retention r = { .events_before_ms = 0 };
	size_t removed;

	while (!r.done)
		CHECK_INT(store_prune(s, &r, now_ms, 100, &removed), STORE_OK, "a step");
}

static void test_stats(void)
{
	static struct model m;
	char *path;
	struct store *s = model_open(&m, &path);
	int i;

	compare_all(&m, s, "at first");
	for (i = 0; i < 700; i++)
		model_step(&m, s);
	compare_all(&m, s, "after some time");
	compare_buckets(&m, s, STORE_MINUTE);
	add_up_all(s, NOW - 20 * DAY);
	compare_all(&m, s, "half of the hours and days are added up");
	for (i = 0; i < 400; i++)
		model_step(&m, s);
	compare_all(&m, s, "and some came later");
	add_up_all(s, NOW);
	compare_all(&m, s, "all are added up");
	compare_buckets(&m, s, STORE_HOUR);
	for (i = 0; i < 400; i++)
		model_step(&m, s);
	CHECK(m.nattempts > 1500 && m.nattempts < 20000, "enough attempts to tell: %zu", m.nattempts);
	compare_all(&m, s, "and many came later");
	store_close(s);
	s = must_open(path, STORE_TOOL);
	for (i = 0; i < 300; i++)
		model_anew(&m, s);
	compare_all(&m, s, "after many began anew");
	add_up_all(s, NOW);
	compare_all(&m, s, "and again");
	store_close(s);
	free(path);
}

/* --- an older database ------------------------------------------------------------------- */

/* The schema of version 1, and what a program of then left: an event that is done, one that failed twice and
 * waits, one that runs, one that is new. */
static const char version_1[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('expanded', 3);"
	"CREATE TABLE event (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, source TEXT NOT NULL, event TEXT NOT NULL,"
	"  timestamp TEXT NOT NULL, idempotency_key TEXT NOT NULL, received_ms INTEGER NOT NULL, identity BLOB NOT NULL,"
	"  body BLOB NOT NULL);"
	"CREATE UNIQUE INDEX event_id ON event (id);"
	"CREATE UNIQUE INDEX event_identity ON event (identity);"
	"CREATE TABLE target (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE delivery (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, event_seq INTEGER NOT NULL, target INTEGER NOT NULL,"
	"  state TEXT NOT NULL DEFAULT 'pending', attempt INTEGER NOT NULL DEFAULT 0, due_ms INTEGER NOT NULL DEFAULT 0,"
	"  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, error_code TEXT NOT NULL DEFAULT '',"
	"  error_message TEXT NOT NULL DEFAULT '', UNIQUE (event_seq, target));"
	"CREATE UNIQUE INDEX delivery_id ON delivery (id);"
	"CREATE INDEX delivery_due ON delivery (target, due_ms, seq) WHERE state = 'pending';"
	"CREATE INDEX delivery_running ON delivery (seq) WHERE state = 'running';"
	"CREATE INDEX delivery_failed ON delivery (target, seq) WHERE state = 'failed';"
	"CREATE TABLE attempt (seq INTEGER PRIMARY KEY, delivery_seq INTEGER NOT NULL, attempt INTEGER NOT NULL,"
	"  started_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL, outcome TEXT NOT NULL, error_code TEXT NOT NULL,"
	"  error_message TEXT NOT NULL, exit_code INTEGER NOT NULL, signal INTEGER NOT NULL, output BLOB NOT NULL,"
	"  output_cut INTEGER NOT NULL);"
	"CREATE INDEX attempt_delivery ON attempt (delivery_seq);"
	"INSERT INTO target VALUES (7, 'x');"
	"INSERT INTO event VALUES (1, 'evt_1', 'ntrvsta', 'a.b', '', '', 1000, x'01', 'one'),"
	"  (2, 'evt_2', 'ntrvsta', 'a.b', '', '', 1000, x'02', 'two'), (3, 'evt_3', 'ntrvsta', 'a.b', '', '', 1000, x'03', 'three'),"
	"  (4, 'evt_4', 'ntrvsta', 'a.b', '', '', 1000, x'04', 'four');"
	"INSERT INTO delivery VALUES (1, 'dlv_1', 1, 7, 'success', 1, 0, 1000, 61005, '', ''),"
	"  (2, 'dlv_2', 2, 7, 'pending', 2, 90000, 1000, 62009, 'exit', 'exit status 1'),"
	"  (3, 'dlv_3', 3, 7, 'running', 1, 0, 1000, 63000, '', '');"
	"INSERT INTO attempt VALUES (1, 1, 1, 61000, 5, 'success', '', '', 0, 0, 'fine', 0),"
	"  (2, 2, 1, 61000, 7, 'retry', 'exit', 'exit status 1', 1, 0, '', 0),"
	"  (3, 2, 2, 62000, 9, 'retry', 'exit', 'exit status 1', 1, 0, '', 0);"
	"PRAGMA user_version = 1;";

static void test_migration(void)
{
	static const char *const targets[] = { "x" };
	char *path = new_path(), *message = NULL;
	struct store_filter all = { 0 };
	struct store_stats stats;
	struct store_claim c;
	struct store *s;
	sqlite3 *db;

	sqlite3_open(path, &db);
	CHECK_INT(sqlite3_exec(db, version_1, NULL, NULL, &message), SQLITE_OK, "a database of the first version: %s",
	          message ? message : "made");
	sqlite3_close(db);
	s = must_open(path, STORE_DISPATCH);
	CHECK_STR(states(s), "success pending running ", "opens, with what was in it");
	CHECK_INT(count_attempts(s, &all), 3, "and its attempts");
	store_stats(s, "x", 60000, 120000, &stats);
	store_stats_backlog(s, "x", &stats);
	CHECK(stats.attempts == 3 && stats.failed_attempts == 2 && stats.successful == 1 && stats.failed == 0 &&
	      stats.pending == 2 && stats.p50_ms == 7 && stats.p95_ms == 9, "statistics count what was before");
	store_stats(s, "x", 0, 2 * DAY, &stats);
	CHECK(stats.attempts == 3 && stats.failed_attempts == 2 && stats.p50_ms == 7 && stats.p95_ms == 9,
	      "also over days");
	CHECK(store_retry(s, "dlv_1", 70000) == STORE_OK && store_stats(s, "x", 60000, 120000, &stats) == STORE_OK &&
	      stats.successful == 0, "also when it begins anew");
	CHECK(claim(s, "x", STORE_CLAIM_RETRY, 90000, &c) == STORE_OK && c.attempt == 3, "what waited goes on");
	finish(s, c.seq, 3, "success", 0);
	store_claim_free(&c);
	store_stats(s, "x", 0, 2 * DAY, &stats);
	CHECK(stats.attempts == 4 && stats.successful == 1, "and counts on the same day");
	CHECK_INT(expand_all(s, targets, 1), 1, "what was new is expanded");
	store_close(s);
	s = must_open(path, STORE_INTAKE);
	CHECK_STR(states(s), "pending success running pending ", "and it opens again");
	store_close(s);
	free(path);
}

int main(void)
{
	test_events();
	test_expand_and_claim();
	test_waiting();
	test_sequence_never_repeats();
	test_interrupted();
	test_rollback();
	test_clock_back();
	test_retry_and_replay();
	test_output_bytes();
	test_race();
	test_refusals();
	test_groups();
	test_group_bytes();
	test_unclaim();
	test_interrupted_group();
	test_hold_and_cancel();
	test_recover();
	test_recover_names();
	test_prune();
	test_stats();
	test_migration();
	return tap_done();
}
