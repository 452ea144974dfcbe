#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/store.h"
#include "tests/unit/tap.h"

static char *new_path(void)
{
	static int n;

	return xasprintf("%s/store-%d.db", tap_tmpdir(), n++);
}

static struct store *must_open(const char *path, enum store_role role)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	struct store *s = store_open(path, role, &status, &err);

	if (!s) {
		printf("Bail out! %s\n", buf_str(&err));
		exit(99);
	}
	buf_free(&err);
	return s;
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
		char body[16];
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
	return tap_done();
}
