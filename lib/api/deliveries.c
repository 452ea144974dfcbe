#include "lib/api/call.h"

#include <string.h>

#include "lib/api/exchanges.h"

/* --- what is shown -------------------------------------------------------------------------- */

static int64_t next_attempt_ms(const struct store_delivery_row *row)
{
	if (strcmp(row->state, "pending") != 0)
		return 0;
	return row->due_ms ? row->due_ms : row->created_ms;
}

struct json_object *call_show_delivery(const struct store_delivery_row *row)
{
	struct json_object *o = json_object_new_object();
	bool pending = strcmp(row->state, "pending") == 0;

	json_add_text(o, "id", row->id);
	json_add_text(o, "webhook_id", row->target);
	json_add_text(o, "kind", id_valid(ID_WEBHOOK, row->target) ? "webhook" : "handler");
	json_add_text(o, "event_id", row->event_id);
	json_add_text(o, "event", row->event);
	json_add_text(o, "status", row->state);
	json_add_number(o, "attempt_count", row->attempts);
	json_add_time(o, "created_at", row->created_ms);
	json_add_time(o, "updated_at", row->updated_ms);
	json_add_time(o, "next_attempt_at", next_attempt_ms(row));
	json_add_text(o, "held", pending ? row->held : "");
	json_add_text(o, "error_code", row->error_code);
	json_add_text(o, "error_message", row->error_message);
	json_add_bool(o, "test", row->test);
	return o;
}

struct json_object *call_show_attempt(const struct store_attempt_row *row)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "delivery_id", row->delivery_id);
	json_add_text(o, "webhook_id", row->target);
	json_add_text(o, "event_id", row->event_id);
	json_add_text(o, "event", row->event);
	json_add_text(o, "status", store_attempt_status(row));
	json_add_number(o, "attempt", row->attempt);
	json_add_time(o, "started_at", row->started_ms);
	json_add_number(o, "duration_ms", row->duration_ms);
	json_add_time(o, "next_attempt_at", 0);
	json_add_number_unless(o, "status_code", row->status_code, 0);
	json_add_number_unless(o, "exit_code", row->exit_code, -1);
	json_add_number_unless(o, "signal", row->signal, 0);
	json_add_text(o, "error_code", row->error_code);
	json_add_text(o, "error_message", row->error_message);
	json_add_bytes(o, "output", row->output, row->output_len);
	json_add_bool(o, "output_cut", row->output_cut);
	exchange_add_json(o, row);
	json_add_bool(o, "test", row->test);
	return o;
}

/* What waits, with the members of an attempt. */
static struct json_object *show_waiting(const struct store_delivery_row *row)
{
	const struct store_attempt_row attempt = {
		.delivery_id = row->id, .target = row->target, .event_id = row->event_id, .event = row->event,
		.attempt = row->attempts, .outcome = "", .exit_code = -1, .error_code = row->error_code,
		.error_message = row->error_message, .test = row->test,
	};
	bool pending = strcmp(row->state, "pending") == 0;
	struct json_object *o = call_show_attempt(&attempt);

	json_add_text(o, "status", "pending");
	json_add_number(o, "attempt", row->attempts + pending);
	json_object_object_add(o, "duration_ms", NULL);
	json_add_time(o, "next_attempt_at", next_attempt_ms(row));
	if (pending && *row->held)
		json_add_text(o, "error_message", row->held);
	return o;
}

static int add_waiting(void *ctx, const struct store_delivery_row *row)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, show_waiting(row), "w%lld", (long long)row->seq);
	return 0;
}

static int add_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, call_show_attempt(row), "a%lld", (long long)row->seq);
	return 0;
}

/* --- logs ----------------------------------------------------------------------------------- */

/* Counted first: where nothing waits among millions that are done, looking for it would take a while. */
static enum store_status list_waiting(struct api_call *c, struct store_filter *f, struct page *page)
{
	struct store_stats s = { 0 };
	enum store_status status = store_stats_backlog(c->store, c->id, &s);

	f->state = "waiting";
	return status == STORE_OK && s.pending > 0 ? store_list_deliveries(c->store, f, add_waiting, page) : status;
}

/* First what waits, then attempts, each newest first: a cursor stands in one of the two. */
static void list_logs(struct api_call *c, const char *status_wanted)
{
	bool in_attempts = c->in.cursor && c->in.cursor[0] == 'a';
	struct store_filter f = {
		.org = c->who->org, .target = c->id, .event = c->in.event, .since_ms = c->in.since_ms, .until_ms = c->in.until_ms,
		.before_seq = page_cursor(c, in_attempts ? 'a' : 'w'),
	};
	bool pending = status_wanted && strcmp(status_wanted, "pending") == 0;
	enum store_status status = STORE_OK;
	struct page page;

	if (f.before_seq < 0)
		return;
	page_begin(&page, c);
	f.limit = page.limit + 1;
	if (!in_attempts && (!status_wanted || pending))
		status = list_waiting(c, &f, &page);
	if (status == STORE_OK && !page.more && !pending) {
		f.before_seq = in_attempts ? f.before_seq : 0;
		f.outcome = status_wanted;
		status = store_list_attempts(c->store, &f, add_attempt, &page);
	}
	page_end(&page, c, status);
}

static void logs(struct api_call *c)
{
	struct api_target t;

	if (!call_target(c, &t))
		return;
	list_logs(c, c->in.status);
	api_target_free(&t);
}

static int add_failed(void *ctx, const struct store_delivery_row *row)
{
	struct page *page = ctx;
	struct json_object *o;

	if (!page_has_room(page))
		return 1;
	o = json_object_new_object();
	json_add_text(o, "id", row->id);
	json_add_text(o, "event_id", row->event_id);
	json_add_text(o, "event", row->event);
	json_add_text(o, "error_code", row->error_code);
	json_add_text(o, "error_message", row->error_message);
	json_add_number(o, "retry_count", row->attempts > 0 ? row->attempts - 1 : 0);
	json_add_time(o, "last_attempt_at", row->updated_ms);
	page_add(page, o, "f%lld", (long long)row->seq);
	return 0;
}

static void failed(struct api_call *c)
{
	struct store_filter f = {
		.org = c->who->org, .target = c->id, .state = "failed", .skip_tests = true, .since_ms = c->in.since_ms,
		.before_seq = page_cursor(c, 'f'),
	};
	struct api_target t;
	struct page page;

	if (f.before_seq < 0 || !call_target(c, &t))
		return;
	page_begin(&page, c);
	f.limit = page.limit + 1;
	page_end(&page, c, store_list_deliveries(c->store, &f, add_failed, &page));
	api_target_free(&t);
}

/* --- one delivery --------------------------------------------------------------------------- */

static int keep_delivery(void *ctx, const struct store_delivery_row *row)
{
	*(struct json_object **)ctx = call_show_delivery(row);
	return 1;
}

static int keep_attempt(void *ctx, const struct store_attempt_row *row)
{
	json_object_array_add(ctx, call_show_attempt(row));
	return 0;
}

/* As an object, the caller's to put. NULL where there is none that may be seen: answered. */
static struct json_object *find_delivery(struct api_call *c)
{
	struct store_filter f = { .org = c->who->org, .delivery_id = c->id, .limit = 1 };
	struct json_object *found = NULL;
	enum store_status status = store_list_deliveries(c->store, &f, keep_delivery, &found);

	if (!found)
		call_store_failed(c, status == STORE_OK ? STORE_NOT_FOUND : status);
	return found;
}

static void get(struct api_call *c)
{
	struct store_filter f = { .org = c->who->org, .delivery_id = c->id, .oldest_first = true };
	struct json_object *found = find_delivery(c), *attempts;
	enum store_status status;

	if (!found)
		return;
	attempts = json_object_new_array();
	status = store_list_attempts(c->store, &f, keep_attempt, attempts);
	json_object_object_add(found, "attempts", attempts);
	if (status == STORE_OK) {
		call_answer(c, 200, "OK", found);
	} else {
		json_object_put(found);
		call_store_failed(c, status);
	}
}

static bool is_there(struct api_call *c)
{
	struct json_object *found = find_delivery(c);
	bool there = found != NULL;

	json_object_put(found);
	return there;
}

/* As it is after its state was changed; WHY_NOT is said where the state that it was in forbids that. */
static void answer_changed(struct api_call *c, enum store_status status, unsigned code, const char *reason, const char *why_not)
{
	struct json_object *found;

	if (status == STORE_NOT_FOUND)
		call_refuse(c, PROBLEM_CONFLICT, why_not);
	else if (status != STORE_OK)
		call_store_failed(c, status);
	else if ((found = find_delivery(c)))
		call_answer(c, code, reason, found);
}

static void retry(struct api_call *c)
{
	enum store_status status;

	if (!is_there(c))
		return;
	status = store_retry(c->store, c->id, c->now_ms);
	c->answer->new_work = status == STORE_OK;
	answer_changed(c, status, 202, "Accepted", "The delivery is under way now, or is a test");
}

static void cancel(struct api_call *c)
{
	size_t n;

	if (is_there(c))
		answer_changed(c, store_cancel(c->store, c->id, NULL, c->now_ms, 1, &n), 200, "OK", "The delivery does not wait");
}

/* --- routes --------------------------------------------------------------------------------- */

static const char *const statuses[] = { "success", "failed", "pending", NULL };

#define SINCE { .name = "since", .type = FIELD_TIME, .offset = IN(since_ms) }

static const struct field log_fields[] = {
	PAGE_FIELDS, SINCE,
	{ .name = "until", .type = FIELD_TIME, .offset = IN(until_ms) },
	{ .name = "status", .type = FIELD_CHOICE, .offset = IN(status), .choices = statuses },
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event) },
};
static const struct field failed_fields[] = { PAGE_FIELDS, SINCE };

const struct route delivery_routes[] = {
	{ "GET", "/v1/webhooks/{id}/logs", AUTH_READ, FIELDS(log_fields), NO_FIELDS, logs },
	{ "GET", "/v1/webhooks/{id}/failed-deliveries", AUTH_READ, FIELDS(failed_fields), NO_FIELDS, failed },
	{ "POST", "/v1/deliveries/{id}/retry", AUTH_WRITE, NO_FIELDS, NO_FIELDS, retry },
	{ "POST", "/v1/deliveries/{id}/cancel", AUTH_WRITE, NO_FIELDS, NO_FIELDS, cancel },
	{ "GET", "/v1/deliveries/{id}", AUTH_READ, NO_FIELDS, NO_FIELDS, get },
};
const size_t delivery_nroutes = sizeof delivery_routes / sizeof delivery_routes[0];
