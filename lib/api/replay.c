#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/delivery/targets.h"

struct replay {
	char *event; /* its name; NULL: there is none that may be seen */
	bool expanded, test;
	struct targets targets;
};

static int note_event(void *ctx, const struct store_event_row *row)
{
	struct replay *r = ctx;

	r->event = xstrdup(row->event);
	r->expanded = row->expanded;
	r->test = row->test;
	return 1;
}

/* Of those only NAME, if it is among them. */
static void keep_one(struct targets *t, const char *name)
{
	size_t kept = 0, i;

	for (i = 0; i < t->n; i++) {
		if (strcmp(t->names[i], name) == 0)
			t->names[kept++] = t->names[i];
		else
			free(t->names[i]);
	}
	t->n = kept;
}

/* The handlers, and the organisation's active webhooks, that there are now for it: also those that came after it.
 * False: answered. */
static bool find_targets(struct api_call *c, struct replay *r)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	bool readable = targets_find(c->conf->handlers_dir, r->event, &r->targets, NULL, NULL, &err) == 0;

	buf_free(&err);
	if (!readable) {
		call_refuse(c, PROBLEM_CONFLICT, "The handlers' folder can't be read at present");
		return false;
	}
	status = store_webhooks_for(c->store, r->event, c->who->org, &r->targets.names, &r->targets.n);
	if (status != STORE_OK) {
		call_store_failed(c, status);
		return false;
	}
	if (c->in.webhook)
		keep_one(&r->targets, c->in.webhook);
	if (r->targets.n == 0)
		call_refuse(c, PROBLEM_CONFLICT, c->in.webhook ? "No handler or active webhook of this name takes the event"
		                                              : "No handler and no active webhook takes the event");
	return r->targets.n > 0;
}

static void answer_replay(struct api_call *c, size_t n)
{
	struct json_object *o = json_object_new_object();

	json_add_number(o, "deliveries", (int64_t)n);
	c->answer->new_work = true;
	call_answer(c, 202, "Accepted", o);
}

static void replay_event(struct api_call *c, struct replay *r)
{
	enum store_status status;
	size_t n = 0;

	if (!find_targets(c, r))
		return;
	status = store_replay(c->store, c->id, (const char *const *)r->targets.names, r->targets.n, c->now_ms, &n);
	if (status == STORE_OK)
		answer_replay(c, n);
	else
		call_store_failed(c, status);
}

static void replay(struct api_call *c)
{
	struct store_filter f = { .org = c->who->org, .event_id = c->id, .limit = 1 };
	struct replay r = { .event = NULL };
	enum store_status status = store_list_events(c->store, &f, note_event, &r);

	if (!r.event)
		call_store_failed(c, status == STORE_OK ? STORE_NOT_FOUND : status);
	else if (r.test)
		call_refuse(c, PROBLEM_CONFLICT, "The event is a test: make a new one");
	else if (!r.expanded) /* its deliveries come from the dispatcher in any case */
		answer_replay(c, 0);
	else
		replay_event(c, &r);
	targets_free(&r.targets);
	free(r.event);
}

static const struct field replay_fields[] = {
	{ .name = "webhook", .type = FIELD_TEXT, .offset = IN(webhook), .min = 1, .max = TARGET_NAME_MAX },
};

const struct route replay_routes[] = {
	{ "POST", "/v1/events/{id}/replay", AUTH_WRITE, NO_FIELDS, FIELDS(replay_fields), replay },
};
const size_t replay_nroutes = sizeof replay_routes / sizeof replay_routes[0];
