#include <stdlib.h>
#include <string.h>

#include "lib/api/publish.h"
#include "lib/store/webhooks.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define NOW INT64_C(1772000000000) /* 2026-02-25T06:13:20Z */

static enum store_status publish(struct store *s, const char *org, const char *json, char id[ID_SIZE])
{
	struct json_object *data = json_tokener_parse(json);
	enum store_status status = publish_event(s, org, "a.b", data, NOW - 1000, NOW, id);

	json_object_put(data);
	return status;
}

/* One that a sender posted. */
static void receive(struct store *s, const char *body)
{
	struct store_event_in e = {
		.source = "ntrvsta", .event = "a.b", .timestamp = "", .idempotency_key = "", .body = body,
		.body_len = strlen(body), .received_ms = NOW,
	}, *list = &e;

	bytes_sha256(body, strlen(body), e.identity);
	store_put_events(s, &list, 1);
}

static void put_webhook(struct store *s, const char *org, char id[ID_SIZE])
{
	struct store_webhook w = {
		.org = (char *)org, .url = (char *)"https://example.org/", .description = (char *)"", .events = (char *)"*",
		.active = true,
	};

	store_put_webhook(s, &w, "secret", NOW);
	memcpy(id, w.id, ID_SIZE);
}

static int note_row(void *ctx, const struct store_event_row *row)
{
	struct buf *out = ctx;

	buf_addf(out, "%s %s %s %s ", row->source, row->org, row->event, row->timestamp);
	buf_add(out, row->body, row->body_len);
	return 1;
}

static int count_row(void *ctx, const struct store_event_row *row)
{
	(void)row;
	++*(int *)ctx;
	return 0;
}

static int count_events(struct store *s, const char *org)
{
	struct store_filter f = { .org = org };
	int n = 0;

	store_list_events(s, &f, count_row, &n);
	return n;
}

static void test_what_is_stored(void)
{
	struct store *s = new_store();
	struct store_filter f = { 0 };
	struct buf row = BUF_INIT;
	char id[ID_SIZE], again[ID_SIZE];

	CHECK_INT(publish(s, "acme", "{\"n\":[1,2.50,\"\\u00e4/\"]}", id), STORE_OK, "an event is published");
	f.event_id = id;
	store_list_events(s, &f, note_row, &row);
	CHECK_STR(buf_str(&row),
	          "api acme a.b 2026-02-25T06:13:19.000Z {\"event\":\"a.b\",\"timestamp\":\"2026-02-25T06:13:19.000Z\","
	          "\"data\":{\"n\":[1,2.50,\"\xc3\xa4/\"]}}", "it is in the store like one that was received");
	CHECK(publish(s, "acme", "{\"n\":[1,2.50,\"\\u00e4/\"]}", again) == STORE_OK && strcmp(id, again) != 0,
	      "the same once more is another event");
	CHECK_INT(count_events(s, NULL), 2, "... and both are there");
	buf_free(&row);
	store_close(s);
}

static void test_transaction(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	store_begin(s);
	CHECK_INT(publish(s, "acme", "{}", id), STORE_OK, "within a transaction it is published, too");
	store_rollback(s);
	CHECK_INT(count_events(s, NULL), 0, "... and taken back with it");
	receive(s, "one");
	store_begin(s);
	publish(s, "acme", "{}", id);
	publish(s, "acme", "{}", id);
	CHECK_INT(store_commit(s), STORE_OK, "... or committed with it");
	receive(s, "one");
	receive(s, "two");
	CHECK_INT(count_events(s, NULL), 4, "what was received before is still known afterwards");
	store_close(s);
}

static void test_who_sees_it(void)
{
	struct store *s = new_store();
	char id[ID_SIZE];

	receive(s, "one");
	publish(s, "acme", "{}", id);
	publish(s, "other", "{}", id);
	CHECK_INT(count_events(s, "acme"), 2, "an organisation sees its own, and what was received");
	CHECK_INT(count_events(s, "nobody"), 1, "who published nothing sees what was received");
	CHECK_INT(count_events(s, NULL), 3, "the operator sees all");
	store_close(s);
}

static void free_all(char **ids, size_t n)
{
	while (n > 0)
		free(ids[--n]);
	free(ids);
}

/* Where an event of ORG goes, as letters: a and b for the two webhooks. */
static const char *goes_to(struct store *s, const char *org, const char *a)
{
	static char letters[8];
	char **ids = NULL;
	size_t n = 0, i;

	store_webhooks_for(s, "a.b", org, &ids, &n);
	for (i = 0; i < n && i < sizeof letters - 1; i++)
		letters[i] = strcmp(ids[i], a) == 0 ? 'a' : 'b';
	letters[i] = '\0';
	free_all(ids, n);
	return letters;
}

static void test_whom_it_goes_to(void)
{
	struct store *s = new_store();
	struct store_new_event found[2];
	char a[ID_SIZE], b[ID_SIZE], id[ID_SIZE];
	size_t n = 0;

	put_webhook(s, "acme", a);
	put_webhook(s, "other", b);
	receive(s, "one");
	publish(s, "acme", "{}", id);
	store_new_events(s, found, 2, &n);
	CHECK_INT((int64_t)n, 2, "the dispatcher finds both");
	CHECK_STR(found[0].org, "", "what was received is nobody's");
	CHECK_STR(found[1].org, "acme", "what was published is its organisation's");
	CHECK_STR(goes_to(s, found[0].org, a), "ab", "what is nobody's goes to all webhooks");
	CHECK_STR(goes_to(s, found[1].org, a), "a", "what is an organisation's goes to its own");
	CHECK_STR(goes_to(s, "nobody", a), "", "or to none");
	store_new_events_free(found, n);
	store_close(s);
}

static int64_t recoverable(struct store *s, const char *target, const char *org)
{
	struct store_recovery r = { .target = target, .org = org };
	int64_t n = -1;

	store_count_recoverable(s, &r, &n);
	return n;
}

static void test_recovery(void)
{
	struct store *s = new_store();
	struct store_new_event found[3];
	char a[ID_SIZE], id[ID_SIZE];
	struct store_recovery r = { .target = a };
	size_t n = 0, i;

	put_webhook(s, "acme", a);
	receive(s, "one");
	publish(s, "acme", "{}", id);
	publish(s, "other", "{}", id);
	store_new_events(s, found, 3, &n);
	store_begin(s);
	for (i = 0; i < n; i++)
		store_expand_event(s, found[i].seq, NULL, 0, NOW);
	store_commit(s);
	store_new_events_free(found, n);
	CHECK_INT(recoverable(s, a, NULL), 2, "a webhook never gets what is another organisation's, whoever asks");
	CHECK_INT(recoverable(s, "all/log", NULL), 3, "a handler gets all");
	CHECK_INT(recoverable(s, "all/log", "acme"), 2, "... but only what may be seen by who asks");
	CHECK(store_recover(s, &r, NOW, 10, &n) == STORE_OK && n == 2, "so many begin anew");
	store_close(s);
}

int main(void)
{
	test_what_is_stored();
	test_transaction();
	test_who_sees_it();
	test_whom_it_goes_to();
	test_recovery();
	return tap_done();
}
