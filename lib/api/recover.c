#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/targets.h"

/* Events in one commit; and how long a client waits at most until it is told how much is left. */
#define RECOVER_STEP 200
#define RECOVER_LIMIT_MS 10000

struct recovery {
	int64_t found, done;
	int64_t deadline_ms;
};

static enum store_status recover_event(struct api_call *c, struct recovery *r, const char *event)
{
	struct store_recovery range = {
		.target = c->id, .org = c->who->org, .event = event, .since_ms = c->in.since_ms, .until_ms = c->in.until_ms,
	};
	int64_t n = 0, before = -1;
	size_t step;
	enum store_status status = store_count_recoverable(c->store, &range, &n);

	r->found += n;
	while (status == STORE_OK && n > 0 && c->in.preview <= 0 && range.after_seq != before && clock_mono_ms() < r->deadline_ms) {
		before = range.after_seq;
		status = store_recover(c->store, &range, c->now_ms, RECOVER_STEP, &step);
		r->done += status == STORE_OK ? (int64_t)step : 0;
	}
	return status;
}

/* For each of the target's events, "a b c" or "*". */
static enum store_status recover_events(struct api_call *c, struct recovery *r, const char *events)
{
	enum store_status status = STORE_OK;
	char *copy = xstrdup(events), *rest = copy, *name;

	if (strcmp(events, "*") == 0)
		status = recover_event(c, r, NULL);
	else
		while (status == STORE_OK && (name = strtok_r(rest, " ", &rest)))
			status = recover_event(c, r, name);
	free(copy);
	return status;
}

static void answer_recovery(struct api_call *c, const struct recovery *r)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "webhook_id", c->id);
	json_add_time(o, "since", c->in.since_ms);
	json_add_time(o, "until", c->in.until_ms);
	json_add_bool(o, "preview", c->in.preview > 0);
	json_add_number(o, "recoverable", r->found);
	json_add_number(o, "recovered", r->done);
	json_add_number(o, "remaining", r->found > r->done ? r->found - r->done : 0);
	c->answer->new_work = r->done > 0;
	call_answer(c, 202, "Accepted", o);
}

static char *events_of(const struct api_call *c, const struct api_target *t)
{
	char *event = t->webhook ? xstrdup(t->registered.events) : targets_event(c->id);

	return event ? event : xstrdup("*");
}

static void recover(struct api_call *c)
{
	struct recovery r = { .deadline_ms = clock_mono_ms() + RECOVER_LIMIT_MS };
	struct api_target t;
	enum store_status status;
	char *events;

	if (c->in.until_ms && c->in.until_ms <= c->in.since_ms) {
		fields_refuse(c->errors, "until", "wants a time later than since");
		return;
	}
	if (!call_target(c, &t))
		return;
	if (t.inactive) {
		call_refuse(c, PROBLEM_CONFLICT, "The handler would not run at present");
	} else {
		events = events_of(c, &t);
		status = recover_events(c, &r, events);
		free(events);
		if (status == STORE_OK)
			answer_recovery(c, &r);
		else
			call_store_failed(c, status);
	}
	api_target_free(&t);
}

static const struct field recover_fields[] = {
	{ .name = "since", .type = FIELD_TIME, .offset = IN(since_ms), .required = true },
	{ .name = "until", .type = FIELD_TIME, .offset = IN(until_ms) },
	{ .name = "preview", .type = FIELD_BOOL, .offset = IN(preview) },
};

const struct route recover_routes[] = {
	{ "POST", "/v1/webhooks/{id}/recover", AUTH_WRITE, NO_FIELDS, FIELDS(recover_fields), recover },
};
const size_t recover_nroutes = sizeof recover_routes / sizeof recover_routes[0];
