#include "lib/api/call.h"

#include <string.h>

#include "lib/api/scan.h"
#include "lib/delivery/targets.h"

#define EVENT_ID_MAX (ID_SIZE - 1)

static int add_row(void *ctx, const struct store_delivery_row *row)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, call_show_delivery(row), "d%lld", (long long)row->seq);
	page->last_ms = row->created_ms;
	return 0;
}

static struct store_filter make_filter(const struct api_call *c)
{
	return (struct store_filter){
		.org = c->who->org, .state = c->in.status, .event = c->in.event, .target = c->in.webhook, .event_id = c->in.event_id,
		.since_ms = c->in.since_ms, .until_ms = c->in.until_ms, .limit = PAGE_LIMIT_MAX + 1,
	};
}

/* Of one event: there is an index. */
static void list_of_event(struct api_call *c, int64_t before_seq)
{
	struct store_filter f = make_filter(c);
	struct page page;

	f.before_seq = before_seq;
	page_begin(&page, c);
	page.searched = true;
	page_end(&page, c, store_list_deliveries(c->store, &f, add_row, &page));
}

static void list_all(struct api_call *c, int64_t before_seq)
{
	struct store_filter f = make_filter(c);
	struct page page;
	struct scan scan;
	enum store_status status = scan_begin(&scan, c, STORE_DELIVERIES, before_seq, INT64_MAX);
	bool pending = f.state && strcmp(f.state, "pending") == 0, waiting = f.state && strcmp(f.state, "waiting") == 0;

	if (status == STORE_OK && (pending || waiting))
		status = scan_waiting(&scan, c, waiting);
	page_begin(&page, c);
	while (status == STORE_OK && !page.more && scan_next(&scan, &f))
		status = store_list_deliveries(c->store, &f, add_row, &page);
	scan_end(&scan, &page, c, 'd', status);
}

static void list(struct api_call *c)
{
	int64_t before_seq = page_cursor(c, 'd');

	if (before_seq < 0)
		return;
	if (c->in.event_id)
		list_of_event(c, before_seq);
	else
		list_all(c, before_seq);
}

/* --- routes --------------------------------------------------------------------------------- */

static const char *const states[] = { "waiting", "pending", "running", "success", "failed", "canceled", NULL };

static const struct field list_fields[] = {
	PAGE_FIELDS,
	{ .name = "status", .type = FIELD_CHOICE, .offset = IN(status), .choices = states },
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event) },
	{ .name = "webhook", .type = FIELD_TEXT, .offset = IN(webhook), .min = 1, .max = TARGET_NAME_MAX },
	{ .name = "event_id", .type = FIELD_TEXT, .offset = IN(event_id), .min = 1, .max = EVENT_ID_MAX },
	{ .name = "since", .type = FIELD_TIME, .offset = IN(since_ms) },
	{ .name = "until", .type = FIELD_TIME, .offset = IN(until_ms) },
};

const struct route queue_routes[] = {
	{ "GET", "/v1/deliveries", AUTH_READ, FIELDS(list_fields), NO_FIELDS, list },
};
const size_t queue_nroutes = sizeof queue_routes / sizeof queue_routes[0];
