#include "lib/store/search.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/xalloc.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define DAY INT64_C(86400000)

/* An event and a delivery for each even number from 10 to 208, one a day: number N came on day N / 2. */
static void fill(const char *path)
{
	sqlite3 *db;
	int rc = sqlite3_open(path, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db,
			"WITH RECURSIVE n (n) AS (VALUES (10) UNION ALL SELECT n + 2 FROM n WHERE n < 208)"
			" INSERT INTO event (seq, id, source, event, timestamp, idempotency_key, received_ms, identity, body)"
			" SELECT n, 'evt_' || n, 's', 'e', '', '', n / 2 * 86400000, x'', '{}' FROM n;"
			"INSERT INTO target (name) VALUES ('all/x'), ('wh_00000000000000000000000000');"
			"INSERT INTO delivery (seq, id, event_seq, target, created_ms, updated_ms, state)"
			" SELECT seq, 'dlv_' || seq, seq, 1, received_ms, received_ms, 'success' FROM event;", NULL, NULL, NULL);
	CHECK_INT(rc, SQLITE_OK, "filled");
	sqlite3_close(db);
}

static void set_state(const char *path, int64_t seq, const char *state)
{
	char *sql = xasprintf("UPDATE delivery SET state = '%s' WHERE seq = %lld", state, (long long)seq);
	sqlite3 *db;

	sqlite3_open(path, &db);
	CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "delivery %lld is %s", (long long)seq, state);
	sqlite3_close(db);
	free(sql);
}

static void test_ranges(struct store *s)
{
	/* What came from SINCE until UNTIL, in days, and a day more at both ends for clocks that were wrong. */
	static const struct {
		int64_t since, until, after, before;
	} rows[] = {
		{ 0, 0, 9, 209 },
		{ 1, 0, 9, 209 },
		{ 6, 0, 9, 209 },
		{ 7, 0, 10, 209 },
		{ 50, 0, 96, 209 },
		{ 104, 0, 204, 209 },
		{ 200, 0, 208, 209 },
		{ 0, 200, 9, 209 },
		{ 0, 103, 9, 207 },
		{ 0, 50, 9, 101 },
		{ 0, 4, 9, 10 },
		{ 0, 1, 9, 10 },
		{ 50, 51, 96, 103 },
		{ 60, 40, 116, 81 },
	};
	static const enum store_table tables[] = { STORE_EVENTS, STORE_DELIVERIES };
	struct store_range range;
	size_t i, k;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (k = 0; k < 2; k++) {
			CHECK_INT(store_find_range(s, tables[k], rows[i].since * DAY, rows[i].until * DAY, &range), STORE_OK, "found");
			CHECK(range.after_seq >= rows[i].after - 1 && range.after_seq <= rows[i].after,
			      "since day %lld: behind %lld, is %lld", (long long)rows[i].since, (long long)rows[i].after, (long long)range.after_seq);
			CHECK(range.before_seq >= rows[i].before && range.before_seq <= rows[i].before + 1,
			      "until day %lld: before %lld, is %lld", (long long)rows[i].until, (long long)rows[i].before, (long long)range.before_seq);
		}
	}
}

static void test_times(struct store *s)
{
	int64_t ms = -1;

	CHECK(store_time_behind(s, STORE_EVENTS, 0, &ms) == STORE_OK && ms == 5 * DAY, "the first event");
	CHECK(store_time_behind(s, STORE_DELIVERIES, 11, &ms) == STORE_OK && ms == 6 * DAY, "the one behind a gap");
	CHECK(store_time_behind(s, STORE_DELIVERIES, 208, &ms) == STORE_OK && ms == 0, "none behind the last one");
}

static void test_waiting(struct store *s, const char *path)
{
	int64_t seq = -1;

	CHECK(store_newest_waiting(s, 209, true, &seq) == STORE_OK && seq == 0, "nothing waits");
	set_state(path, 20, "pending");
	set_state(path, 30, "pending");
	set_state(path, 40, "running");
	CHECK(store_newest_waiting(s, 209, true, &seq) == STORE_OK && seq == 40, "the newest that waits or runs");
	CHECK(store_newest_waiting(s, 209, false, &seq) == STORE_OK && seq == 30, "the newest that waits");
	CHECK(store_newest_waiting(s, 30, true, &seq) == STORE_OK && seq == 20, "the newest one before another");
	CHECK(store_newest_waiting(s, 20, true, &seq) == STORE_OK && seq == 0, "none before the first");
}

static int note_seq(void *ctx, const struct store_delivery_row *row)
{
	struct buf *found = ctx;

	buf_addf(found, "%s%lld", found->len ? " " : "", (long long)row->seq);
	return 0;
}

/* The same rows whether they are found by an index or not. */
static void test_states(struct store *s, const char *path)
{
	static const struct {
		const char *state, *window, *all;
	} rows[] = {
		{ "waiting", "40 30 20", "40 30 20" }, { "pending", "30 20", "30 20" }, { "running", "40", "40" },
		{ "failed", "36 24", "50 36 24" },     { "canceled", "34", "34" },      { "success", "44 42 38 32 28 26 22", NULL },
	};
	size_t i;

	set_state(path, 24, "failed");
	set_state(path, 36, "failed");
	set_state(path, 50, "failed");
	set_state(path, 34, "canceled");
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct store_filter f = { .state = rows[i].state, .org = "acme", .before_seq = 46, .after_seq = 19, .event = "e" };
		struct buf found = BUF_INIT;

		CHECK_INT(store_list_deliveries(s, &f, note_seq, &found), STORE_OK, "listed");
		CHECK_STR(buf_str(&found), rows[i].window, "%s in a window", rows[i].state);
		buf_reset(&found);
		f.before_seq = f.after_seq = 0;
		CHECK_INT(store_list_deliveries(s, &f, note_seq, &found), STORE_OK, "listed");
		if (rows[i].all)
			CHECK_STR(buf_str(&found), rows[i].all, "%s in all", rows[i].state);
		buf_free(&found);
	}
}

static int count_event(void *ctx, const struct store_event_row *row)
{
	(void)row;
	(*(int *)ctx)++;
	return 0;
}

static int count_events(struct store *s, const char *text)
{
	struct store_filter f = { .text = text };
	int n = 0;

	CHECK_INT(store_list_events(s, &f, count_event, &n), STORE_OK, "listed");
	return n;
}

static void set_body(const char *path, int64_t seq, const char *body)
{
	sqlite3 *db;
	sqlite3_stmt *stmt;

	sqlite3_open(path, &db);
	sqlite3_prepare_v2(db, "UPDATE event SET body = ?1 WHERE seq = ?2", -1, &stmt, NULL);
	sqlite3_bind_blob(stmt, 1, body, (int)strlen(body), SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, seq);
	CHECK_INT(sqlite3_step(stmt), SQLITE_DONE, "a body is set");
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

static void test_text(struct store *s, const char *path)
{
	static const struct {
		const char *body, *text;
		int found;
	} rows[] = {
		{ "aab", "ab", 1 },         { "ababac", "abac", 1 },       { "abababc", "ABABC", 1 }, { "aaaab", "aaab", 1 },
		{ "abcabcabd", "abd", 1 },  { "abcab", "abcabc", 0 },      { "AbC", "aBc", 1 },       { "a%b_c", "%b_", 1 },
		{ "axb", "a%b", 0 },        { "z", "zz", 0 },              { "@[`{", "`{", 1 },       { "@[", "`{", 0 },
		{ "\xc3\x89", "\xc3\xa9", 0 }, { "\xc3\xa9", "\xc3\xa9", 1 }, { "a", "", 100 },      { "", "q", 0 },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		set_body(path, 10, rows[i].body);
		CHECK_INT(count_events(s, rows[i].text), rows[i].found, "\"%s\" in \"%s\"", rows[i].text, rows[i].body);
	}
	set_body(path, 10, "{}");
	CHECK_INT(count_events(s, "EVT_10"), 6, "in an id");
	CHECK_INT(count_events(s, "E"), 100, "in a name");
}

/* Nearly the text at each place: a body of the largest size must take no longer for it. */
static void test_hostile_text(struct store *s, const char *path)
{
	enum { BODY_BYTES = 4 << 20, TEXT_BYTES = 200 };
	char *body = xmalloc(BODY_BYTES + 1), text[TEXT_BYTES + 1];
	clock_t begun;

	memset(body, 'a', BODY_BYTES);
	body[BODY_BYTES] = '\0';
	memset(text, 'a', TEXT_BYTES);
	text[TEXT_BYTES] = '\0';
	set_body(path, 10, body);
	CHECK_INT(count_events(s, text), 1, "found");
	text[TEXT_BYTES - 1] = 'b';
	begun = clock();
	CHECK_INT(count_events(s, text), 0, "not found");
	begun = clock() - begun;
	CHECK(begun < CLOCKS_PER_SEC / 2, "4 MiB are looked through in %ld ms", (long)(begun * 1000 / CLOCKS_PER_SEC));
	free(body);
}

int main(void)
{
	char *path = xasprintf("%s/search.db", tap_tmpdir());
	struct store *s = must_open(path, STORE_TOOL);
	struct store_range range;

	CHECK(store_find_range(s, STORE_EVENTS, DAY, 2 * DAY, &range) == STORE_OK && range.before_seq <= range.after_seq + 1,
	      "nothing in an empty store");
	fill(path);
	test_ranges(s);
	test_times(s);
	test_waiting(s, path);
	test_states(s, path);
	test_text(s, path);
	test_hostile_text(s, path);
	store_close(s);
	free(path);
	return tap_done();
}
