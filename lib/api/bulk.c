#include "lib/api/call.h"

#include <string.h>

#include "lib/api/scan.h"
#include "lib/delivery/targets.h"

/* Deliveries that begin anew, a step at a time: first a step's are looked for, then they are changed in one
 * commit, each if it is still in that state. */
struct step {
	char ids[PAGE_LIMIT_MAX][ID_SIZE];
	size_t n, limit;
	int64_t last_seq; /* the last one's number; 0: there is room for more */
};

static struct store_filter make_filter(const struct api_call *c)
{
	return (struct store_filter){
		.org = c->who->org, .state = c->in.status, .event = c->in.event, .target = c->in.webhook, .skip_tests = true,
		.since_ms = c->in.since_ms, .until_ms = c->in.until_ms,
	};
}

static void preview(struct api_call *c)
{
	struct store_filter f = make_filter(c);
	struct json_object *o;
	int64_t n;
	enum store_status status = store_count_deliveries(c->store, &f, &n);

	if (status != STORE_OK) {
		call_store_failed(c, status);
		return;
	}
	o = json_object_new_object();
	json_add_number(o, "matched", n);
	call_answer(c, 200, "OK", o);
}

static int note_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct step *step = ctx;

	step->ids[step->n][0] = '\0';
	strncat(step->ids[step->n++], row->id, ID_SIZE - 1);
	if (step->n == step->limit)
		step->last_seq = row->seq;
	return step->last_seq != 0;
}

/* *NEXT_SEQ is where the next step begins; 0 where nothing is left. */
static enum store_status find_step(struct api_call *c, int64_t before_seq, struct step *step, int64_t *next_seq)
{
	struct store_filter f = make_filter(c);
	struct scan scan;
	enum store_status status = scan_begin(&scan, c, STORE_DELIVERIES, before_seq, INT64_MAX);

	while (status == STORE_OK && !step->last_seq && scan_next(&scan, &f))
		status = store_list_deliveries(c->store, &f, note_delivery, step);
	if (step->last_seq)
		*next_seq = step->last_seq;
	else
		*next_seq = scan_is_over(&scan) ? 0 : scan.left.before_seq;
	return status;
}

static enum store_status retry_step(struct api_call *c, const struct step *step, int64_t *retried)
{
	enum store_status status = store_begin(c->store);
	size_t i;

	for (i = 0; status == STORE_OK && i < step->n; i++) {
		status = store_retry_from(c->store, step->ids[i], c->in.status, c->now_ms);
		*retried += status == STORE_OK;
		if (status == STORE_NOT_FOUND)
			status = STORE_OK; /* it is in another state by now */
	}
	if (status == STORE_OK)
		return store_commit(c->store);
	store_rollback(c->store);
	return status;
}

static void answer_step(struct api_call *c, int64_t retried, int64_t next_seq)
{
	struct json_object *o = json_object_new_object();
	struct buf cursor = BUF_INIT;

	if (next_seq)
		buf_addf(&cursor, "d%lld", (long long)next_seq);
	json_add_number(o, "retried", retried);
	json_add_text(o, "next_cursor", buf_str(&cursor));
	json_add_bool(o, "has_more", next_seq != 0);
	c->answer->new_work = retried > 0;
	call_answer(c, 202, "Accepted", o);
	buf_free(&cursor);
}

static void retry_all(struct api_call *c)
{
	struct step step = { .limit = (size_t)(c->in.limit ? c->in.limit : PAGE_LIMIT) };
	int64_t before_seq = page_cursor(c, 'd'), next_seq = 0, retried = 0;
	enum store_status status;

	if (c->in.preview > 0 && (c->in.cursor || c->in.limit))
		fields_refuse(c->errors, c->in.cursor ? "cursor" : "limit", "is not for a preview, which counts all");
	if (before_seq < 0 || json_object_array_length(c->errors) > 0)
		return;
	if (c->in.preview > 0) {
		preview(c);
		return;
	}
	status = find_step(c, before_seq, &step, &next_seq);
	if (status == STORE_OK && step.n > 0)
		status = retry_step(c, &step, &retried);
	if (status == STORE_OK)
		answer_step(c, retried, next_seq);
	else
		call_store_failed(c, status);
}

static const char *const states[] = { "failed", "canceled", NULL };

static const struct field retry_fields[] = {
	PAGE_FIELDS,
	{ .name = "status", .type = FIELD_CHOICE, .offset = IN(status), .required = true, .choices = states },
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event) },
	{ .name = "webhook", .type = FIELD_TEXT, .offset = IN(webhook), .min = 1, .max = TARGET_NAME_MAX },
	{ .name = "since", .type = FIELD_TIME, .offset = IN(since_ms) },
	{ .name = "until", .type = FIELD_TIME, .offset = IN(until_ms) },
	{ .name = "preview", .type = FIELD_BOOL, .offset = IN(preview) },
};

const struct route bulk_routes[] = {
	{ "POST", "/v1/deliveries/retry", AUTH_WRITE, NO_FIELDS, FIELDS(retry_fields), retry_all },
};
const size_t bulk_nroutes = sizeof bulk_routes / sizeof bulk_routes[0];
