#include "lib/store/webhooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define NOW 1000000

static enum store_status put(struct store *s, const char *url, const char *events, bool active, char id[ID_SIZE])
{
	struct store_webhook w = {
		.url = (char *)url, .description = (char *)"a description", .events = (char *)events, .active = active,
	};
	enum store_status status = store_put_webhook(s, &w, "first", NOW);

	memcpy(id, w.id, ID_SIZE);
	return status;
}

/* "secret secret ...", newest first, of those that sign at NOW_MS; static. */
static const char *secrets_at(struct store *s, const char *id, int64_t now_ms)
{
	static char text[200];
	struct store_webhook w;
	size_t i;

	text[0] = '\0';
	if (store_get_webhook(s, NULL, id, now_ms, &w) != STORE_OK)
		return "no such webhook";
	for (i = 0; i < w.nsecrets; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", w.secrets[i].secret);
	store_webhook_free(&w);
	return text;
}

/* "active", or why it is not; static. */
static const char *state_of(struct store *s, const char *id)
{
	static char text[40];
	struct store_webhook w;

	if (store_get_webhook(s, NULL, id, NOW, &w) != STORE_OK)
		return "no such webhook";
	snprintf(text, sizeof text, "%s", w.active ? "active" : *w.inactive_reason ? w.inactive_reason : "off");
	store_webhook_free(&w);
	return text;
}

static void test_put_and_get(void)
{
	struct store *s = new_store();
	struct store_webhook w;
	char id[ID_SIZE];

	CHECK_INT(put(s, "https://example.com/", "*", true, id), STORE_OK, "a webhook is stored");
	CHECK(id_valid(ID_WEBHOOK, id), "... and has an id");
	CHECK_INT(store_get_webhook(s, NULL, id, NOW, &w), STORE_OK, "it is there");
	CHECK_STR(w.id, id, "... with its id");
	CHECK_STR(w.url, "https://example.com/", "... its URL");
	CHECK_STR(w.description, "a description", "... its description");
	CHECK_STR(w.events, "*", "... its events");
	CHECK(w.active && !*w.inactive_reason, "... active");
	CHECK(w.created_ms == NOW && w.updated_ms == NOW, "... its times");
	CHECK_INT((int64_t)w.nsecrets, 1, "... and one secret");
	CHECK(w.secrets[0].created_ms == NOW && w.secrets[0].until_ms == 0, "... without an end");
	store_webhook_free(&w);
	CHECK_INT(store_get_webhook(s, NULL, "wh_00000000000000000000000000", NOW, &w), STORE_NOT_FOUND, "another is not there");
	store_webhook_free(&w);
	store_close(s);
}

static void test_change(void)
{
	struct store *s = new_store();
	struct store_webhook w;
	char id[ID_SIZE];

	put(s, "https://example.com/", "*", true, id);
	w = (struct store_webhook){
		.url = (char *)"https://example.org/", .description = (char *)"", .events = (char *)"a.b c.d", .active = false,
	};
	memcpy(w.id, id, ID_SIZE);
	CHECK_INT(store_change_webhook(s, &w, NOW + 5), STORE_OK, "a webhook is changed");
	store_get_webhook(s, NULL, id, NOW + 5, &w);
	CHECK_STR(w.url, "https://example.org/", "... its URL");
	CHECK_STR(w.events, "a.b c.d", "... its events");
	CHECK(!w.active, "... it is off");
	CHECK(w.created_ms == NOW && w.updated_ms == NOW + 5, "... its times");
	CHECK_INT((int64_t)w.nsecrets, 1, "... and its secret is the same");
	store_webhook_free(&w);
	w = (struct store_webhook){ .id = "wh_none", .url = (char *)"", .description = (char *)"", .events = (char *)"" };
	CHECK_INT(store_change_webhook(s, &w, NOW), STORE_NOT_FOUND, "one that is not there is not");
	store_close(s);
}

static void test_rotation(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	put(s, "https://example.com/", "*", true, id);
	CHECK_INT(store_rotate_webhook(s, id, "second", 1000, NOW), STORE_OK, "a rotation");
	CHECK_STR(secrets_at(s, id, NOW), "second first", "both sign, the new one first");
	CHECK_STR(secrets_at(s, id, NOW + 999), "second first", "... to the end of the overlap");
	CHECK_STR(secrets_at(s, id, NOW + 1000), "second", "... then the new one alone");
	CHECK_INT(store_rotate_webhook(s, id, "third", 5000, NOW + 500), STORE_OK, "another within the overlap");
	CHECK_STR(secrets_at(s, id, NOW + 500), "third second first", "all three sign");
	CHECK_STR(secrets_at(s, id, NOW + 1000), "third second", "the first no longer than it would have");
	CHECK_STR(secrets_at(s, id, NOW + 5500), "third", "the second to the end of its own overlap");
	CHECK_INT(store_rotate_webhook(s, id, "fourth", 0, NOW + 600), STORE_OK, "one without an overlap");
	CHECK_STR(secrets_at(s, id, NOW + 600), "fourth", "the new one signs alone at once");
	CHECK_INT(store_rotate_webhook(s, id, "first", 1000, NOW + 700), STORE_OK, "a secret that was used before");
	CHECK_STR(secrets_at(s, id, NOW + 700), "first fourth", "... is the newest again");
	CHECK_INT(store_rotate_webhook(s, "wh_none", "x", 0, NOW), STORE_NOT_FOUND, "none where there is no webhook");
	store_close(s);
}

static int note_id(void *ctx, const struct store_webhook *w)
{
	char *text = ctx;

	snprintf(text + strlen(text), 200 - strlen(text), "%s %s %zu;", w->url, w->events, w->nsecrets);
	return strlen(text) > 100;
}

static void test_list(void)
{
	struct store *s = new_store();
	char id[ID_SIZE], text[200] = "";

	CHECK_INT(store_list_webhooks(s, NULL, NULL, NOW, note_id, text), STORE_OK, "an empty list");
	CHECK_STR(text, "", "... is empty");
	put(s, "a", "*", true, id);
	put(s, "b", "x.y", false, id);
	store_rotate_webhook(s, id, "second", 1000, NOW);
	put(s, "c", "x.y z", true, id);
	CHECK_INT(store_list_webhooks(s, NULL, NULL, NOW, note_id, text), STORE_OK, "a list");
	CHECK_STR(text, "a * 1;b x.y 2;c x.y z 1;", "... has all, oldest first");
	memset(text, '-', 110);
	text[110] = '\0';
	store_list_webhooks(s, NULL, NULL, NOW, note_id, text);
	CHECK_STR(text + 110, "a * 1;", "... ends where the callback says so");
	store_close(s);
}

static void test_for_event(void)
{
	static const struct {
		const char *events;
		bool active, wanted;
	} rows[] = {
		{ "*", true, true },
		{ "*", false, false },
		{ "session.completed", true, true },
		{ "session.completed", false, false },
		{ "session.complete", true, false },
		{ "session.completed_late", true, false },
		{ "a.session.completed", true, false },
		{ "candidate.invited session.completed", true, true },
		{ "session.completed candidate.invited", true, true },
		{ "a session.completed b", true, true },
		{ "session completed", true, false },
		{ "", true, false },
	};
	struct store *s = new_store();
	char ids[sizeof rows / sizeof rows[0]][ID_SIZE], **found = NULL;
	size_t i, n = 0, at = 0;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		put(s, "u", rows[i].events, rows[i].active, ids[i]);
	CHECK_INT(store_webhooks_for(s, "session.completed", NULL, &found, &n), STORE_OK, "the webhooks of an event");
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool got = at < n && strcmp(found[at], ids[i]) == 0;

		CHECK_INT(got, rows[i].wanted, "events '%s'%s: %s", rows[i].events, rows[i].active ? "" : ", off",
		          rows[i].wanted ? "gets it" : "does not");
		at += got;
	}
	CHECK_INT((int64_t)at, (int64_t)n, "oldest first, and no other");
	for (i = 0; i < n; i++)
		free(found[i]);
	free(found);
	store_close(s);
}

/* An event that waits for each of the N targets. */
static void put_event(struct store *s, const char *body, const char *const *targets, size_t n)
{
	struct store_event_in e = {
		.source = "ntrvsta", .event = "x.y", .timestamp = "", .idempotency_key = "", .body = body,
		.body_len = strlen(body), .received_ms = NOW,
	}, *events = &e;
	struct store_new_event found[4];
	size_t count;

	bytes_sha256(body, strlen(body), e.identity);
	store_put_events(s, &events, 1);
	store_new_events(s, found, 4, &count);
	store_begin(s);
	store_expand_event(s, found[0].seq, targets, n, NOW);
	store_commit(s);
	store_new_events_free(found, count);
}

static int count_state(void *ctx, const struct store_delivery_row *row)
{
	(void)row;
	++*(int *)ctx;
	return 0;
}

static int count_deliveries(struct store *s, const char *target, const char *state)
{
	struct store_filter f = { .target = target, .state = state };
	int n = 0;

	store_list_deliveries(s, &f, count_state, &n);
	return n;
}

static int add_due(void *ctx, const struct store_delivery_row *row)
{
	*(int64_t *)ctx += row->due_ms;
	return 0;
}

static void test_delete_retry(void)
{
	struct store *s = new_store();
	struct store_filter all = { 0 };
	char id[ID_SIZE];
	const char *targets[] = { id };
	struct store_claim claim;
	struct store_attempt a = {
		.attempt = 1, .next_state = "pending", .due_ms = NOW + 9000, .outcome = "retry", .error_code = "http_status",
		.error_message = "", .exit_code = -1, .output = "",
	};
	int64_t canceled, due_ms = 0, output_in = 0;
	size_t n;

	put(s, "a", "*", true, id);
	put_event(s, "1", targets, 1);
	store_begin(s);
	store_claim(s, id, STORE_CLAIM_FIRST, NOW, 1, &claim, &n);
	a.delivery_seq = claim.seq;
	store_finish(s, &a, &output_in);
	store_commit(s);
	store_claim_free(&claim);
	CHECK(store_delete_webhook(s, id, NOW, &canceled) == STORE_OK && canceled == 1, "a retry that waits is canceled too");
	CHECK(store_list_deliveries(s, &all, add_due, &due_ms) == STORE_OK && due_ms == 0, "... and is due no more");
	store_close(s);
}

static void test_delete(void)
{
	struct store *s = new_store();
	char one[ID_SIZE], other[ID_SIZE];
	const char *targets[] = { one, other };
	struct store_claim claim;
	int64_t canceled;
	size_t n;

	put(s, "a", "*", true, one);
	put(s, "b", "*", true, other);
	put_event(s, "1", targets, 2);
	put_event(s, "2", targets, 2);
	put_event(s, "3", targets, 2);
	store_begin(s);
	store_claim(s, one, STORE_CLAIM_FIRST, NOW, 1, &claim, &n);
	store_commit(s);
	store_claim_free(&claim);
	CHECK_INT(store_delete_webhook(s, one, NOW, &canceled), STORE_OK, "a webhook is deleted");
	CHECK_INT(canceled, 2, "what waits for it is canceled");
	CHECK_INT(count_deliveries(s, one, "canceled"), 2, "... and stays in the logs");
	CHECK_INT(count_deliveries(s, one, "running"), 1, "what is under way goes on");
	CHECK_INT(count_deliveries(s, other, "pending"), 3, "another webhook's waits on");
	CHECK_STR(secrets_at(s, one, NOW), "no such webhook", "it is gone");
	CHECK_STR(secrets_at(s, other, NOW), "first", "the other is not");
	CHECK_INT(store_delete_webhook(s, one, NOW, &canceled), STORE_NOT_FOUND, "it can't be deleted again");
	CHECK_INT(canceled, 0, "... which cancels nothing");
	store_close(s);
}

static bool note(struct store *s, const char *id, enum store_call how, int64_t now_ms)
{
	bool deactivated = true;

	CHECK_INT(store_note_call(s, id, how, now_ms, &deactivated), STORE_OK, "a call is noted");
	return deactivated;
}

static void note_failures(struct store *s, const char *id, int n, int64_t now_ms)
{
	while (n-- > 0)
		if (note(s, id, STORE_CALL_FAILURE, now_ms))
			CHECK(false, "not deactivated yet");
}

static void test_failing(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	put(s, "u", "*", true, id);
	note_failures(s, id, 100, NOW);
	note_failures(s, id, 1, NOW + 5 * DAY_MS - 1);
	CHECK_STR(state_of(s, id), "active", "a hundred failures in less than five days: active");
	note(s, id, STORE_CALL_SUCCESS, NOW + 5 * DAY_MS);
	note_failures(s, id, 18, NOW + 6 * DAY_MS);
	note_failures(s, id, 1, NOW + 12 * DAY_MS);
	CHECK_STR(state_of(s, id), "active", "19 failures in six days since the last success: active");
	CHECK(note(s, id, STORE_CALL_FAILURE, NOW + 12 * DAY_MS), "the twentieth switches it off");
	CHECK_STR(state_of(s, id), "failing", "... and says why");
	CHECK(!note(s, id, STORE_CALL_FAILURE, NOW + 12 * DAY_MS), "which happens once");
	CHECK(!note(s, id, STORE_CALL_SUCCESS, NOW + 12 * DAY_MS), "a success that comes later");
	CHECK_STR(state_of(s, id), "failing", "... does not switch it on");
	store_close(s);
}

static void test_five_days(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	put(s, "u", "*", true, id);
	note_failures(s, id, 30, NOW + 1);
	CHECK(note(s, id, STORE_CALL_FAILURE, NOW + 1 + 5 * DAY_MS), "five days to the millisecond are enough");
	store_close(s);

	s = new_store();
	put(s, "u", "*", true, id);
	note_failures(s, id, 30, NOW + 10 * DAY_MS);
	note_failures(s, id, 1, NOW); /* the clock was set back: the days count from then */
	note_failures(s, id, 1, NOW + 5 * DAY_MS - 1);
	CHECK(note(s, id, STORE_CALL_FAILURE, NOW + 5 * DAY_MS), "with a clock that was set back too");
	store_close(s);
}

static void switch_to(struct store *s, const char *id, bool active)
{
	struct store_webhook w;

	store_get_webhook(s, NULL, id, NOW, &w);
	w.active = active;
	CHECK_INT(store_change_webhook(s, &w, NOW), STORE_OK, "it is switched %s", active ? "on" : "off");
	store_webhook_free(&w);
}

static void test_active_again(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	put(s, "u", "*", true, id);
	CHECK(note(s, id, STORE_CALL_GONE, NOW), "410 switches a webhook off at once");
	CHECK_STR(state_of(s, id), "gone", "... and says why");
	CHECK(!note(s, id, STORE_CALL_GONE, NOW), "which happens once");
	switch_to(s, id, true);
	CHECK_STR(state_of(s, id), "active", "somebody can switch it on again");

	note_failures(s, id, 30, NOW);
	CHECK(note(s, id, STORE_CALL_FAILURE, NOW + 5 * DAY_MS), "it fails for days");
	switch_to(s, id, true);
	note_failures(s, id, 19, NOW + 20 * DAY_MS);
	CHECK_STR(state_of(s, id), "active", "and has a new start when it is switched on");

	switch_to(s, id, true);
	note_failures(s, id, 1, NOW + 24 * DAY_MS);
	CHECK(note(s, id, STORE_CALL_FAILURE, NOW + 25 * DAY_MS), "a change that leaves it on is no new start");

	switch_to(s, id, true);
	switch_to(s, id, false);
	CHECK_STR(state_of(s, id), "off", "who switches it off needs no reason");
	CHECK(!note(s, id, STORE_CALL_GONE, NOW), "410 then changes nothing");
	CHECK_STR(state_of(s, id), "off", "... not the reason either");
	CHECK(!note(s, "wh_none", STORE_CALL_GONE, NOW), "and so for one that was deleted");
	CHECK(!note(s, "wh_none", STORE_CALL_FAILURE, NOW), "... whatever it answered");
	CHECK(!note(s, "wh_none", STORE_CALL_SUCCESS, NOW), "... or if it was content");
	store_close(s);
}

int main(void)
{
	test_put_and_get();
	test_change();
	test_rotation();
	test_list();
	test_for_event();
	test_delete();
	test_delete_retry();
	test_failing();
	test_five_days();
	test_active_again();
	return tap_done();
}
