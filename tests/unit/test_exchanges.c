#include "lib/store/exchanges.h"

#include <string.h>

#include "lib/store/sqlite.h" /* to count rows */
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define TARGET "wh_00000000000000000000000000"

/* One event, its delivery to TARGET, and an attempt of it that succeeded: the attempt's number. */
static int64_t make_attempt(struct store *s, const char *body, int64_t received_ms)
{
	struct store_event_in e = {
		.source = "test", .event = "a.b", .timestamp = "", .idempotency_key = "", .body = body,
		.body_len = strlen(body), .received_ms = received_ms,
	}, *list = &e;
	struct store_attempt a = {
		.attempt = 1, .next_state = "success", .started_ms = received_ms, .outcome = "success", .error_code = "",
		.error_message = "", .exit_code = -1, .output = "answer", .output_len = 6,
	};
	const char *target = TARGET;
	struct store_new_event event;
	struct store_claim claim;
	int64_t attempt = 0;
	size_t n;

	bytes_sha256(body, strlen(body), e.identity);
	store_put_events(s, &list, 1);
	store_new_events(s, &event, 1, &n);
	store_begin(s);
	store_expand_event(s, event.seq, &target, 1, received_ms);
	store_claim(s, target, STORE_CLAIM_FIRST, received_ms, 1, &claim, &n);
	a.delivery_seq = claim.seq;
	CHECK_INT(store_finish(s, &a, &attempt), STORE_OK, "an attempt of %s is recorded", body);
	store_commit(s);
	store_claim_free(&claim);
	store_new_events_free(&event, 1);
	return attempt;
}

/* What is listed of the attempts, newest first: "REQUEST/ANSWER[+]" with blanks between them. */
static int add_row(void *ctx, const struct store_attempt_row *row)
{
	buf_addf(ctx, "%s%s/%s%s", ((struct buf *)ctx)->len ? " " : "", row->request_head, row->answer_head,
	         row->answer_head_cut ? "+" : "");
	return 0;
}

static const char *listed(struct store *s)
{
	static struct buf text;
	struct store_filter f = { .target = TARGET };

	buf_reset(&text);
	CHECK_INT(store_list_attempts(s, &f, add_row, &text), STORE_OK, "attempts are listed");
	return buf_str(&text);
}

static int64_t count(struct store *s)
{
	sqlite3_stmt *stmt = sqlite_prepare(s, "SELECT count(*) FROM exchange");
	int64_t n = sqlite_next(s, stmt) == STORE_OK ? sqlite3_column_int64(stmt, 0) : -1;

	sqlite3_reset(stmt);
	return n;
}

int main(void)
{
	struct store *s = new_store();
	struct store_retention r = { .events_before_ms = 1500, .failed_before_ms = 1500 };
	struct store_exchange e = { .request_head = "old", .answer_head = "", .answer_head_cut = false };
	int64_t old = make_attempt(s, "{\"n\":1}", 1000), young = make_attempt(s, "{\"n\":2}", 2000);
	size_t removed = 0;

	CHECK_STR(listed(s), "/ /", "at first nothing is kept");
	CHECK_INT(store_put_exchange(s, old, &e), STORE_OK, "a request without an answer is kept");
	e = (struct store_exchange){ .request_head = "young", .answer_head = "200", .answer_head_cut = true };
	CHECK_INT(store_put_exchange(s, young, &e), STORE_OK, "... and one with");
	CHECK_STR(listed(s), "young/200+ old/", "each is listed with its attempt");
	while (!r.done && store_prune(s, &r, 3000, 100, &removed) == STORE_OK)
		;
	CHECK_STR(listed(s), "young/200+", "it goes with its attempt");
	CHECK_INT(count(s), 1, "... and leaves nothing behind");
	store_close(s);
	return tap_done();
}
