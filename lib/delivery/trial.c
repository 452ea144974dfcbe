#include "lib/delivery/trial.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/wake.h"
#include "lib/event/sample.h"

#define SOURCE "test"
#define LOOK_MS 20
#define CHECK_MS 1000 /* between two looks whether the dispatcher still lives */
#define STATE_SIZE 16

/* --- waiting -------------------------------------------------------------------------------- */

bool trial_possible(const struct conf *conf)
{
	return conf->dispatch_auto || wake_is_read_now(conf->state_dir);
}

typedef enum trial_result look_fn(struct trial *t, void *ctx); /* TRIAL_LATE: not yet */

static enum trial_result await(struct trial *t, look_fn *look, void *ctx)
{
	int64_t now_ms = clock_mono_ms(), until_ms = now_ms + t->timeout_ms, check_ms = now_ms + CHECK_MS;
	enum trial_result result;

	launch_or_wake(t->conf);
	while ((result = look(t, ctx)) == TRIAL_LATE) {
		now_ms = clock_mono_ms();
		if (now_ms >= until_ms)
			return TRIAL_LATE;
		if (!t->pause(LOOK_MS))
			return TRIAL_INTERRUPTED;
		if (now_ms < check_ms)
			continue;
		check_ms = now_ms + CHECK_MS;
		if (wake_is_read_now(t->conf->state_dir))
			continue;
		if (!t->conf->dispatch_auto)
			return TRIAL_NO_DISPATCHER;
		launch_or_wake(t->conf);
	}
	return result;
}

/* --- a test event --------------------------------------------------------------------------- */

static int note_state(void *ctx, const struct store_delivery_row *row)
{
	snprintf(ctx, STATE_SIZE, "%s", row->state);
	return 1;
}

static enum trial_result look_at_delivery(struct trial *t, void *ctx)
{
	struct store_filter filter = { .delivery_id = t->delivery_id, .limit = 1 };
	char state[STATE_SIZE] = "";

	(void)ctx;
	t->status = store_list_deliveries(t->store, &filter, note_state, state);
	if (t->status != STORE_OK)
		return TRIAL_STORE_FAILED;
	if (strcmp(state, "pending") == 0 || strcmp(state, "running") == 0)
		return TRIAL_LATE;
	return strcmp(state, "success") == 0 || strcmp(state, "failed") == 0 ? TRIAL_DONE : TRIAL_CANCELED;
}

enum trial_result trial_event(struct trial *t, const char *target, const char *event, struct json_object *data)
{
	int64_t now_ms = clock_wall_ms();
	struct buf body = BUF_INIT;
	char time[CLOCK_RFC3339_SIZE];
	struct store_event_in e = {
		.source = SOURCE, .event = event, .timestamp = clock_format(now_ms, time), .idempotency_key = "",
		.received_ms = now_ms,
	};
	enum trial_result result;
	size_t n = 0;

	sample_write(event, data, now_ms, &body);
	e.body = body.data;
	e.body_len = body.len;
	t->status = store_put_test(t->store, &e, target, now_ms, t->delivery_id);
	buf_free(&body);
	if (t->status != STORE_OK)
		return TRIAL_STORE_FAILED;
	result = await(t, look_at_delivery, NULL);
	if (result == TRIAL_LATE || result == TRIAL_INTERRUPTED || result == TRIAL_NO_DISPATCHER) {
		store_cancel(t->store, t->delivery_id, NULL, clock_wall_ms(), 1, &n);
		t->begun = n == 0;
	}
	return result;
}

/* --- connectivity --------------------------------------------------------------------------- */

static enum trial_result look_at_probe(struct trial *t, void *ctx)
{
	struct store_probe *p = ctx, now;

	t->status = store_get_probe(t->store, p->seq, &now);
	if (t->status == STORE_OK && now.done) {
		*p = now;
		return TRIAL_DONE;
	}
	store_probe_free(&now);
	return t->status == STORE_OK ? TRIAL_LATE : t->status == STORE_NOT_FOUND ? TRIAL_CANCELED : TRIAL_STORE_FAILED;
}

enum trial_result trial_connectivity(struct trial *t, const char *webhook, struct store_probe *out)
{
	memset(out, 0, sizeof *out);
	t->status = store_put_probe(t->store, webhook, clock_wall_ms(), &out->seq);
	if (t->status != STORE_OK)
		return TRIAL_STORE_FAILED;
	return await(t, look_at_probe, out);
}

struct json_object *trial_probe_json(const struct store_probe *p)
{
	struct json_object *o = json_object_new_object();
	struct buf error = BUF_INIT;

	buf_add_utf8(&error, p->error, strlen(p->error));
	json_object_object_add(o, "success", json_object_new_boolean(!*p->error));
	json_object_object_add(o, "error", error.len ? json_object_new_string(buf_str(&error)) : NULL);
	json_object_object_add(o, "status_code", p->status_code ? json_object_new_int(p->status_code) : NULL);
	json_object_object_add(o, "dns_ms", json_object_new_int64(p->dns_ms));
	json_object_object_add(o, "connect_ms", json_object_new_int64(p->connect_ms));
	json_object_object_add(o, "tls_ms", json_object_new_int64(p->tls_ms));
	json_object_object_add(o, "total_ms", json_object_new_int64(p->total_ms));
	buf_free(&error);
	return o;
}
