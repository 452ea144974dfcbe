#include "lib/api/call.h"
#include "lib/api/publish.h"

#include "lib/api/scan.h"
#include "lib/event/catalogue.h"
#include "lib/event/sample.h"

#define SEARCH_MAX 200 /* bytes of the text looked for */
#define SEARCH_ROWS 100000 /* events whose bodies one call looks through */

static struct json_object *show_event(const struct store_event_row *row)
{
	struct json_object *o = json_object_new_object(), *counts = json_object_new_object();

	json_add_text(o, "id", row->id);
	json_add_text(o, "event", row->event);
	json_add_text(o, "source", row->source);
	json_add_text(o, "timestamp", row->timestamp);
	json_add_time(o, "received_at", row->received_ms);
	json_add_text(o, "idempotency_key", row->idempotency_key);
	json_add_text(o, "status", store_event_status(row));
	json_add_number(counts, "total", row->deliveries);
	json_add_number(counts, "success", row->succeeded);
	json_add_number(counts, "failed", row->failed);
	json_add_number(counts, "waiting", row->waiting);
	json_object_object_add(o, "deliveries", counts);
	json_add_bool(o, "test", row->test);
	return o;
}

static int add_event(void *ctx, const struct store_event_row *row)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, show_event(row), "e%lld", (long long)row->seq);
	page->last_ms = row->received_ms;
	return 0;
}

/* A whole id needs no search. */
static void list_one(struct api_call *c, struct store_filter *f)
{
	struct page page;

	f->event_id = f->text;
	f->text = NULL;
	page_begin(&page, c);
	page.searched = true;
	page_end(&page, c, store_list_events(c->store, f, add_event, &page));
}

static void list(struct api_call *c)
{
	struct store_filter f = {
		.org = c->who->org, .event = c->in.event, .text = c->in.search, .since_ms = c->in.since_ms,
		.until_ms = c->in.until_ms, .limit = PAGE_LIMIT_MAX + 1,
	};
	struct page page;
	struct scan scan;
	int64_t before_seq = page_cursor(c, 'e');
	enum store_status status;

	if (before_seq < 0)
		return;
	if (f.text && id_valid(ID_EVENT, f.text)) {
		list_one(c, &f);
		return;
	}
	page_begin(&page, c);
	status = scan_begin(&scan, c, STORE_EVENTS, before_seq, f.text ? SEARCH_ROWS : INT64_MAX);
	while (status == STORE_OK && !page.more && scan_next(&scan, &f))
		status = store_list_events(c->store, &f, add_event, &page);
	scan_end(&scan, &page, c, 'e', status);
}

/* With the body as it was received: text, so that not a byte of it changes. */
static int keep_event(void *ctx, const struct store_event_row *row)
{
	struct json_object *o = show_event(row);

	json_add_bytes(o, "body", row->body, row->body_len);
	*(struct json_object **)ctx = o;
	return 1;
}

static void get(struct api_call *c)
{
	struct store_filter f = { .org = c->who->org, .event_id = c->id, .limit = 1 };
	struct json_object *found = NULL;
	enum store_status status = store_list_events(c->store, &f, keep_event, &found);

	call_answer_found(c, found, status);
}

/* --- publish -------------------------------------------------------------------------------- */

static int show_published(void *ctx, const struct store_event_row *row)
{
	struct api_call *c = ctx;

	call_answer(c, 202, "Accepted", show_event(row));
	return 1;
}

static void publish(struct api_call *c)
{
	int64_t timestamp_ms = c->in.timestamp_ms == INT64_MIN ? c->now_ms : c->in.timestamp_ms;
	char id[ID_SIZE];
	struct store_filter f = { .event_id = id, .limit = 1 };
	enum store_status status = publish_event(c->store, c->who->org, c->in.event, c->in.data, timestamp_ms, c->now_ms, id);

	if (status == STORE_OK)
		status = store_list_events(c->store, &f, show_published, c);
	if (status == STORE_OK)
		c->answer->new_work = true;
	else
		call_store_failed(c, status);
}

/* --- what there may be ---------------------------------------------------------------------- */

static struct json_object *show_type(const struct catalogue_event *type, int64_t now_ms)
{
	struct json_object *o = json_object_new_object();
	struct buf sample = BUF_INIT;

	sample_write(type->name, NULL, now_ms, &sample);
	json_add_text(o, "name", type->name);
	json_add_text(o, "description", type->description);
	json_object_object_add(o, "sample", json_tokener_parse(buf_str(&sample)));
	buf_free(&sample);
	return o;
}

static void list_types(struct api_call *c)
{
	struct json_object *doc = json_object_new_object(), *rows = json_object_new_array();
	size_t n, i;
	const struct catalogue_event *types = catalogue_events(&n);

	for (i = 0; i < n; i++)
		json_object_array_add(rows, show_type(&types[i], c->now_ms));
	json_object_object_add(doc, "data", rows);
	call_answer(c, 200, "OK", doc);
}

/* --- routes --------------------------------------------------------------------------------- */

static const struct field list_fields[] = {
	PAGE_FIELDS,
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event) },
	{ .name = "since", .type = FIELD_TIME, .offset = IN(since_ms) },
	{ .name = "until", .type = FIELD_TIME, .offset = IN(until_ms) },
	{ .name = "q", .type = FIELD_TEXT, .offset = IN(search), .min = 1, .max = SEARCH_MAX },
};
static const struct field publish_fields[] = {
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event), .required = true },
	{ .name = "data", .type = FIELD_OBJECT, .offset = IN(data), .required = true },
	{ .name = "timestamp", .type = FIELD_TIME, .offset = IN(timestamp_ms) },
};

const struct route event_routes[] = {
	{ "GET", "/v1/events", AUTH_READ, FIELDS(list_fields), NO_FIELDS, list },
	{ "POST", "/v1/events", AUTH_WRITE, NO_FIELDS, FIELDS(publish_fields), publish },
	{ "GET", "/v1/events/{id}", AUTH_READ, NO_FIELDS, NO_FIELDS, get },
	{ "GET", "/v1/event-types", AUTH_READ, NO_FIELDS, NO_FIELDS, list_types },
};
const size_t event_nroutes = sizeof event_routes / sizeof event_routes[0];
