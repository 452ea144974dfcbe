#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/store/sqlite.h" /* for what its statements cost */
#include "lib/store/tests.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

static struct store_event_in make_event(const char *body, int64_t received_ms)
{
	struct store_event_in e = {
		.source = "test", .event = "a.b", .timestamp = "", .idempotency_key = "", .body = body,
		.body_len = strlen(body), .received_ms = received_ms,
	};

	bytes_sha256(body, strlen(body), e.identity);
	return e;
}

static void put_event(struct store *s, const char *body, int64_t received_ms)
{
	struct store_event_in e = make_event(body, received_ms), *list = &e;

	store_put_events(s, &list, 1);
}

/* Expand what is new to TARGET; how many that were. */
static size_t expand(struct store *s, const char *target)
{
	struct store_new_event events[16];
	size_t n, i;

	store_new_events(s, events, 16, &n);
	store_begin(s);
	for (i = 0; i < n; i++)
		store_expand_event(s, events[i].seq, &target, 1, 2000);
	store_commit(s);
	store_new_events_free(events, n);
	return n;
}

static enum store_status claim(struct store *s, const char *target, enum store_claim_kind kind, struct store_claim *out)
{
	size_t n;

	memset(out, 0, sizeof *out);
	return store_claim(s, target, kind, INT64_MAX / 2, 1, out, &n);
}

static bool claimable(struct store *s, const char *target, enum store_claim_kind kind)
{
	struct store_claim c;
	bool found;

	store_begin(s);
	found = claim(s, target, kind, &c) == STORE_OK;
	store_rollback(s);
	store_claim_free(&c);
	return found;
}

static enum store_status finish(struct store *s, int64_t seq, const char *state)
{
	struct store_attempt a = {
		.delivery_seq = seq, .attempt = 1, .next_state = state, .started_ms = 3000, .duration_ms = 5, .exit_code = 1,
		.outcome = strcmp(state, "success") == 0 ? "success" : "retry", .error_code = "exit",
		.error_message = "exit status 1", .output = "", .status_code = 0,
	};
	int64_t output_in = 0;

	return store_finish(s, &a, &output_in);
}

struct seen {
	int n, tests, expanded;
};

static int see_event(void *ctx, const struct store_event_row *row)
{
	struct seen *seen = ctx;

	seen->n++;
	seen->tests += row->test;
	seen->expanded += row->expanded;
	return 0;
}

static int see_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct seen *seen = ctx;

	seen->n++;
	seen->tests += row->test;
	CHECK(row->due_ms >= 0, "a due time is never negative outside");
	return 0;
}

static int see_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct seen *seen = ctx;

	seen->n++;
	seen->tests += row->test;
	return 0;
}

static void test_claiming(void)
{
	struct store *s = new_store();
	struct store_event_in a = make_event("one", 1000), b = make_event("one", 1000);
	char first[ID_SIZE], second[ID_SIZE];
	struct store_waiting w;
	struct store_claim c;

	put_event(s, "one", 1000);
	expand(s, "x");
	CHECK_INT(store_put_test(s, &a, "x", 1000, first), STORE_OK, "a test is stored");
	CHECK(store_put_test(s, &b, "x", 1000, second) == STORE_OK && strcmp(a.id, b.id) != 0 && !b.duplicate,
	      "an equal one too, beside an equal event");
	CHECK(store_waiting_for(s, "x", &w) == STORE_OK && w.test && w.first, "a test waits, beside a first attempt");
	free(w.target);
	CHECK(claim(s, "x", STORE_CLAIM_FIRST, &c) == STORE_OK && !c.test, "a first attempt is none");
	store_claim_free(&c);
	CHECK(!claimable(s, "x", STORE_CLAIM_FIRST) && !claimable(s, "x", STORE_CLAIM_RETRY), "tests are neither first attempts nor retries");
	CHECK(claim(s, "x", STORE_CLAIM_TEST, &c) == STORE_OK && c.test && c.attempt == 1, "a test is claimed as one");
	CHECK_STR(c.delivery_id, first, "the first one first");
	CHECK(c.body_len == 3 && memcmp(c.body, "one", 3) == 0, "with its body");
	CHECK(store_unclaim(s, &c) == STORE_OK && claimable(s, "x", STORE_CLAIM_TEST), "what is given back is a test again");
	CHECK(!claimable(s, "x", STORE_CLAIM_FIRST), "and nothing else");
	store_claim_free(&c);
	store_close(s);
}

static void test_alone(void)
{
	struct store *s = new_store();
	struct store_event_in t = make_event("t", 1000);
	char id[ID_SIZE];
	struct seen seen = { 0 };
	struct store_filter all = { 0 };
	struct store_recovery r = { .target = "y" };
	int64_t n = -1;

	store_put_test(s, &t, "x", 1000, id);
	CHECK_INT(expand(s, "y"), 0, "a test is not new to the dispatcher");
	put_event(s, "1", 1000);
	store_put_test(s, &t, "x", 1000, id);
	put_event(s, "2", 1000);
	store_put_test(s, &t, "x", 1000, id);
	CHECK_INT(expand(s, "y"), 2, "also between new events, which all are expanded");
	CHECK_INT(expand(s, "y"), 0, "once");
	store_put_test(s, &t, "x", 1000, id);
	put_event(s, "3", 1000);
	CHECK_INT(expand(s, "y"), 1, "what comes behind a test is new");
	store_list_events(s, &all, see_event, &seen);
	CHECK(seen.n == 7 && seen.tests == 4 && seen.expanded == 7, "they are listed with a mark, and wait for nothing");
	CHECK(store_count_recoverable(s, &r, &n) == STORE_OK && n == 0, "tests of others are nothing to recover");
	r.target = "z";
	CHECK(store_count_recoverable(s, &r, &n) == STORE_OK && n == 3, "while events are");
	store_close(s);
}

static void test_ended(void)
{
	static const char *const targets[] = { "x", "y" };
	struct store *s = new_store();
	struct store_event_in t = make_event("t", 1000);
	struct store_filter all = { 0 }, failed = { .state = "failed", .skip_tests = true };
	struct store_recovery r = { .target = "x" };
	struct seen deliveries = { 0 }, attempts = { 0 }, failures = { 0 };
	struct store_counts counts;
	struct store_stats stats;
	struct store_waiting w;
	char id[ID_SIZE];
	struct store_claim c;
	int64_t n = -1;
	size_t put = 9;

	store_put_test(s, &t, "x", 1000, id);
	store_stats_backlog(s, "x", &stats);
	CHECK(stats.pending == 0 && store_count(s, &counts) == STORE_OK && counts.pending == 0 && counts.new_events == 0,
	      "a test that waits is no backlog");
	claim(s, "x", STORE_CLAIM_TEST, &c);
	store_stats_backlog(s, NULL, &stats);
	CHECK(stats.pending == 0 && store_count(s, &counts) == STORE_OK && counts.running == 0 && counts.oldest_waiting_ms == 0,
	      "nor is one that runs");
	CHECK_INT(finish(s, c.seq, "failed"), STORE_OK, "it fails");
	store_claim_free(&c);
	CHECK(store_waiting_for(s, "x", &w) == STORE_OK && !w.test && !w.first && w.next_retry_ms == INT64_MAX, "nothing waits then");
	free(w.target);
	store_stats(s, "x", 0, 3600000, &stats);
	CHECK(stats.attempts == 0 && stats.failed == 0 && stats.failed_attempts == 0 && stats.p50_ms == -1, "it does not count");
	CHECK(store_count(s, &counts) == STORE_OK && counts.failed == 0, "also not as a failure that stays");
	store_list_deliveries(s, &failed, see_delivery, &failures);
	CHECK_INT(failures.n, 0, "it is not among those");
	CHECK_INT(store_retry(s, id, 5000), STORE_NOT_FOUND, "it can't be retried");
	CHECK_INT(store_replay(s, t.id, targets, 2, 5000, &put), STORE_NOT_FOUND, "its event can't be replayed");
	CHECK(store_count_recoverable(s, &r, &n) == STORE_OK && n == 0, "and not be recovered");
	store_list_deliveries(s, &all, see_delivery, &deliveries);
	store_list_attempts(s, &all, see_attempt, &attempts);
	CHECK(deliveries.n == 1 && deliveries.tests == 1 && attempts.n == 1 && attempts.tests == 1, "it is listed with a mark");
	store_put_test(s, &t, "x", 1000, id);
	CHECK(store_cancel(s, id, NULL, 6000, 1, &put) == STORE_OK && put == 1, "one that waits can be canceled");
	CHECK(!claimable(s, "x", STORE_CLAIM_TEST), "and does not begin any more");
	store_close(s);
}

static enum store_status see_running(void *ctx, struct store *s, const struct store_running *r)
{
	(void)s;
	*(bool *)ctx = r->test;
	return STORE_OK;
}

static void test_interrupted_and_old(void)
{
	struct store *s = new_store();
	struct store_event_in t = make_event("t", 1000);
	struct store_retention r = { .events_before_ms = 5000, .failed_before_ms = 1000 };
	struct seen seen = { 0 };
	struct store_filter all = { 0 };
	char id[ID_SIZE];
	struct store_claim c;
	bool test = false;
	size_t removed = 9;

	store_put_test(s, &t, "x", 1000, id);
	claim(s, "x", STORE_CLAIM_TEST, &c);
	CHECK(store_each_running(s, see_running, &test) == STORE_OK && test, "one that a dead dispatcher has left is known as a test");
	CHECK(store_prune(s, &r, 90000, 10, &removed) == STORE_OK && removed == 0, "what runs stays");
	finish(s, c.seq, "failed");
	store_claim_free(&c);
	r.after_seq = 0;
	CHECK(store_prune(s, &r, 90000, 10, &removed) == STORE_OK && removed == 1, "a failed test is kept no longer than others");
	store_list_events(s, &all, see_event, &seen);
	CHECK_INT(seen.n, 0, "it is gone");
	put_event(s, "1", 1000);
	CHECK_INT(expand(s, "x"), 1, "and the next event is delivered");
	store_close(s);
}

/* --- beside a million --------------------------------------------------------------------- */

#define MILLION "1000000"

static const char million[] =
	"BEGIN;"
	"INSERT INTO target (name) VALUES ('x');"
	"INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body)"
	"  VALUES (1, 'evt_1', '', 'a', '', '', 1, x'', '');"
	"WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < " MILLION ")"
	" INSERT INTO delivery (id, event_seq, target, due_ms, created_ms, updated_ms)"
	"  SELECT n, -n, 1, n % 2 * 1000, 1, 1 FROM number;"
	"COMMIT";

/* Steps of SQLite's machine since the last call, for all statements of S that look at tests. Each of them
 * must find its way by the index of what is due: no scan, no sorting. */
static int cost(struct store *s, bool *by_index)
{
	int steps = 0;
	size_t i;

	for (i = 0; i < s->nstatements; i++) {
		sqlite3_stmt *stmt = s->statements[i].stmt, *plan = NULL;
		char *sql;

		steps += sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
		if (!strstr(s->statements[i].sql, "due_ms < 0"))
			continue;
		sql = xasprintf("EXPLAIN QUERY PLAN %s", s->statements[i].sql);
		sqlite3_prepare_v2(s->db, sql, -1, &plan, NULL);
		while (sqlite3_step(plan) == SQLITE_ROW) {
			const char *line = (const char *)sqlite3_column_text(plan, 3);

			*by_index &= !strstr(line, "SCAN d") && !strstr(line, "TEMP B-TREE") &&
			             (!strstr(line, "SEARCH d") || strstr(line, "delivery_due (target=? AND due_ms"));
		}
		sqlite3_finalize(plan);
		free(sql);
	}
	return steps;
}

static void test_million(void)
{
	struct store *s = new_store();
	struct store_event_in t = make_event("t", 1000);
	char id[ID_SIZE];
	struct store_waiting *w;
	struct store_claim c;
	bool by_index = true;
	size_t n;
	int steps;

	CHECK_INT(sqlite3_exec(s->db, million, NULL, NULL, NULL), SQLITE_OK, MILLION " deliveries wait");
	CHECK_INT(store_put_test(s, &t, "x", 1000, id), STORE_OK, "a test is put beside them");
	CHECK(store_waiting(s, &w, &n) == STORE_OK && n == 1 && w[0].test && w[0].first, "a look at what waits finds it");
	store_waiting_free(w, n);
	CHECK(claim(s, "x", STORE_CLAIM_TEST, &c) == STORE_OK && c.test, "and it is claimed");
	finish(s, c.seq, "success");
	store_claim_free(&c);
	steps = cost(s, &by_index);
	CHECK(by_index, "by the index of what is due");
	CHECK(steps < 2000, "with %d steps in all", steps);
	CHECK(store_waiting(s, &w, &n) == STORE_OK && n == 1 && !w[0].test, "then none is left");
	store_waiting_free(w, n);
	CHECK(claim(s, "x", STORE_CLAIM_TEST, &c) == STORE_NOT_FOUND, "and none is claimed");
	steps = cost(s, &by_index);
	CHECK(steps < 1000, "which takes %d steps to see", steps);
	store_close(s);
}

/* --- connectivity ------------------------------------------------------------------------- */

static void test_probes(void)
{
	static const char webhook[] = "wh_01kb2x3y4z5a6b7c8d9e0f1g2h";
	struct store *s = new_store();
	struct store_retention r = { 0 };
	struct store_probe p, result = {
		.error = (char *)"no", .status_code = 503, .dns_ms = 1, .connect_ms = 2, .tls_ms = 3, .total_ms = 7,
	};
	int64_t first = 0, second = 0;
	size_t removed;

	CHECK_INT(store_claim_probe(s, &p), STORE_NOT_FOUND, "nothing is asked for");
	CHECK(store_put_probe(s, webhook, 1000, &first) == STORE_OK && store_put_probe(s, webhook, 1000, &second) == STORE_OK &&
	      second > first, "two are asked for");
	CHECK(store_get_probe(s, first, &p) == STORE_OK && !p.done, "none is done");
	store_probe_free(&p);
	CHECK(store_claim_probe(s, &p) == STORE_OK && p.seq == first, "the first is claimed first");
	CHECK_STR(p.webhook, webhook, "with its webhook");
	result.seq = second;
	CHECK_INT(store_finish_probe(s, &result), STORE_NOT_FOUND, "what is not claimed can't end");
	result.seq = first;
	CHECK_INT(store_finish_probe(s, &result), STORE_OK, "what is claimed can");
	CHECK_INT(store_finish_probe(s, &result), STORE_NOT_FOUND, "once");
	CHECK(store_get_probe(s, first, &p) == STORE_OK && p.done && p.status_code == 503 && p.dns_ms == 1 && p.connect_ms == 2 &&
	      p.tls_ms == 3 && p.total_ms == 7, "it is read with its result");
	CHECK_STR(p.error, "no", "and its error");
	store_probe_free(&p);
	CHECK(store_claim_probe(s, &p) == STORE_OK && p.seq == second, "the second is claimed");
	CHECK_INT(store_claim_probe(s, &p), STORE_NOT_FOUND, "then none is left");
	CHECK(store_reset_probes(s) == STORE_OK && store_claim_probe(s, &p) == STORE_OK && p.seq == second,
	      "what a dead dispatcher had claimed waits again");
	store_prune(s, &r, 1000 + STORE_PROBE_KEEP_MS, 10, &removed);
	CHECK_INT(store_get_probe(s, first, &p), STORE_OK, "they are kept for an hour");
	store_probe_free(&p);
	memset(&r, 0, sizeof r);
	store_prune(s, &r, 1001 + STORE_PROBE_KEEP_MS, 10, &removed);
	CHECK_INT(store_get_probe(s, first, &p), STORE_NOT_FOUND, "and no longer");
	store_probe_free(&p);
	store_close(s);
}

int main(void)
{
	test_claiming();
	test_alone();
	test_ended();
	test_interrupted_and_old();
	test_probes();
	test_million();
	return tap_done();
}
