#include "lib/api/call.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/delivery/trial.h"

/* Beyond the target's own time-out: a dispatcher that is started, and what runs before it. */
#define PATIENCE_MS 10000

static atomic_bool stopping;
static atomic_uint waiting;

void api_stop_waiting(void)
{
	atomic_store(&stopping, true);
}

/* --- waiting -------------------------------------------------------------------------------- */

/* As plain CGI the program has blocked these, and nobody reads them. */
static bool told_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

static bool pause_thread(int64_t ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
	return !atomic_load(&stopping) && !told_to_end();
}

static struct trial trial_for(const struct api_call *c)
{
	const struct conf_handler *settings = conf_handler(c->conf, c->id);

	return (struct trial){
		.conf = c->conf, .store = c->store, .pause = pause_thread,
		.timeout_ms = settings->timeout_ms + settings->kill_grace_ms + PATIENCE_MS,
	};
}

/* A thread that waits does nothing else: half of them are kept for others. False: answered. */
static bool enter(struct api_call *c)
{
	unsigned most = c->conf->web_threads > 1 ? c->conf->web_threads / 2 : 1;

	if (!trial_possible(c->conf)) {
		call_refuse(c, PROBLEM_NO_DISPATCHER, NULL);
		return false;
	}
	if (atomic_fetch_add(&waiting, 1) < most)
		return true;
	atomic_fetch_sub(&waiting, 1);
	call_refuse(c, PROBLEM_TOO_MANY_TESTS, NULL);
	return false;
}

static void leave(void)
{
	atomic_fetch_sub(&waiting, 1);
}

static void refuse_result(struct api_call *c, const struct trial *t, enum trial_result result)
{
	switch (result) {
	case TRIAL_DONE:
		break;
	case TRIAL_CANCELED:
		call_refuse(c, PROBLEM_CONFLICT, "The test was canceled before it began");
		break;
	case TRIAL_LATE:
		call_refuse(c, PROBLEM_DISPATCHER_TIMEOUT, t->begun ? "There was no result in time; the logs will have it" : NULL);
		break;
	case TRIAL_INTERRUPTED:
		call_refuse(c, PROBLEM_STOPPING, NULL);
		break;
	case TRIAL_NO_DISPATCHER:
		call_refuse(c, PROBLEM_NO_DISPATCHER, NULL);
		break;
	case TRIAL_STORE_FAILED:
		call_store_failed(c, t->status);
		break;
	}
}

/* --- a test event --------------------------------------------------------------------------- */

static int keep_attempt(void *ctx, const struct store_attempt_row *row)
{
	*(struct json_object **)ctx = call_show_attempt(row);
	return 1;
}

static void answer_attempt(struct api_call *c, const struct trial *t)
{
	struct store_filter f = { .delivery_id = t->delivery_id, .limit = 1 };
	struct json_object *attempt = NULL;
	enum store_status status = store_list_attempts(c->store, &f, keep_attempt, &attempt);

	call_answer_found(c, attempt, status);
}

static void make_test(struct api_call *c)
{
	struct trial t = trial_for(c);
	enum trial_result result;

	if (!enter(c))
		return;
	result = trial_event(&t, c->id, c->in.event, c->in.test_data);
	leave();
	if (result == TRIAL_DONE)
		answer_attempt(c, &t);
	else
		refuse_result(c, &t, result);
}

static void test(struct api_call *c)
{
	struct api_target target;

	if (!call_target(c, &target))
		return;
	if (target.inactive) /* of a webhook that is not active there is something to find out */
		call_refuse(c, PROBLEM_CONFLICT, "The handler would not run at present");
	else
		make_test(c);
	api_target_free(&target);
}

/* --- connectivity --------------------------------------------------------------------------- */

static void make_probe(struct api_call *c)
{
	struct trial t = trial_for(c);
	struct store_probe probe;
	enum trial_result result;

	if (!enter(c))
		return;
	result = trial_connectivity(&t, c->id, &probe);
	leave();
	if (result == TRIAL_DONE)
		call_answer(c, 200, "OK", trial_probe_json(&probe));
	else
		refuse_result(c, &t, result);
	store_probe_free(&probe);
}

static void test_connectivity(struct api_call *c)
{
	struct api_target target;

	if (!call_target(c, &target))
		return;
	if (target.webhook)
		make_probe(c);
	else
		call_refuse(c, PROBLEM_CONFLICT, "A handler has no URL to connect to");
	api_target_free(&target);
}

/* --- routes --------------------------------------------------------------------------------- */

static const struct field test_fields[] = {
	{ .name = "event", .type = FIELD_EVENT, .offset = IN(event), .required = true },
	{ .name = "testData", .type = FIELD_OBJECT, .offset = IN(test_data) },
};

const struct route test_routes[] = {
	{ "POST", "/v1/webhooks/{id}/test", AUTH_WRITE, NO_FIELDS, FIELDS(test_fields), test },
	{ "POST", "/v1/webhooks/{id}/test-connectivity", AUTH_WRITE, NO_FIELDS, NO_FIELDS, test_connectivity },
};
const size_t test_nroutes = sizeof test_routes / sizeof test_routes[0];
