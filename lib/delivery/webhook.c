#include "lib/delivery/webhook.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/head.h"
#include "lib/delivery/probe.h"
#include "lib/event/signature.h"
#include "lib/event/standard.h"
#include "lib/store/webhooks.h"

#define HEADERS 11 /* with the NULL at their end */

/* One item for each secret that signs, the newest first. */
static char *standard_signatures(const struct run *r, int64_t timestamp_s)
{
	const struct store_claim *c = &r->claims[0];
	struct buf out = BUF_INIT;
	size_t i;

	buf_adds(&out, "webhook-signature: ");
	for (i = 0; i < r->webhook.nsecrets; i++) {
		if (i > 0)
			buf_addc(&out, ' ');
		standard_sign(r->webhook.secrets[i].secret, c->event_id, timestamp_s, c->body, c->body_len, &out);
	}
	return buf_detach(&out);
}

/* The contract, section 6. X-NTRVSTA-Signature has room for one: the newest secret's. */
static void make_headers(const struct run *r, char *headers[HEADERS])
{
	const struct store_claim *c = &r->claims[0];
	int64_t timestamp_s = clock_wall_ms() / 1000;
	const char *secret = r->webhook.nsecrets ? r->webhook.secrets[0].secret : "";
	char signature[SIGNATURE_HEX_SIZE];
	size_t n = 0;

	signature_sign(secret, strlen(secret), c->body, c->body_len, signature);
	headers[n++] = xstrdup("Content-Type: application/json");
	headers[n++] = xstrdup("User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION);
	headers[n++] = xasprintf("X-NTRVSTA-Event: %s", c->event);
	headers[n++] = xasprintf("X-NTRVSTA-Delivery: %s", c->delivery_id);
	headers[n++] = xasprintf("X-NTRVSTA-Idempotency-Key: %s", c->event_id);
	headers[n++] = xasprintf("X-NTRVSTA-Signature: %s", signature);
	headers[n++] = xasprintf("webhook-id: %s", c->event_id);
	headers[n++] = xasprintf("webhook-timestamp: %lld", (long long)timestamp_s);
	headers[n++] = standard_signatures(r, timestamp_s);
	headers[n] = NULL;
}

/* Does the webhook want to have kept what is said in each of its attempts? */
static bool wants_detail(const struct run *r)
{
	return r->webhook.debug || r->webhook.detailed;
}

static int begin_call(struct dispatcher *d, struct run *r, struct buf *err)
{
	char *headers[HEADERS];
	struct call_spec spec = {
		.url = r->webhook.url, .headers = (const char *const *)headers, .settings = &d->conf->webhooks,
		.body = r->claims[0].body, .body_len = r->claims[0].body_len, .keep_heads = wants_detail(r),
	};
	size_t i;
	int result;

	if (!d->caller)
		d->caller = caller_new();
	if (!d->caller) {
		buf_adds(err, "libcurl can't start");
		return -1;
	}
	make_headers(r, headers);
	result = call_start(d->caller, &spec, r, err);
	for (i = 0; headers[i]; i++)
		free(headers[i]);
	return result;
}

bool webhook_start(struct dispatcher *d, struct run *r)
{
	struct call_end end = { .error_code = "call_failed" };
	bool deleted = !r->webhook.url;

	r->exit.code = -1;
	if (deleted)
		buf_adds(&end.message, "the webhook was deleted");
	else if (begin_call(d, r, &end.message) == 0)
		return true;
	outcome_of_call(&end, &r->outcome);
	if (deleted)
		r->outcome.kind = OUTCOME_PERMANENT;
	buf_free(&end.message);
	return false;
}

/* Calls are also made for connectivity tests: those that have ended are on the way. */
static struct run *next_ended(struct dispatcher *d, struct call_end *end)
{
	void *owner = NULL;

	while (d->caller && (owner = caller_next_ended(d->caller, end)) && probe_ended(d, owner, end))
		;
	return owner;
}

/* Takes what is kept of END; releases the rest. */
static void keep(struct run *r, struct call_end *end)
{
	/* Of a success nobody needs to see more, but for who makes a test or looks for something. */
	if (r->outcome.kind == OUTCOME_SUCCESS && !r->test && !wants_detail(r)) {
		buf_free(&end->answer);
	} else {
		r->exit.output = end->answer;
		r->exit.output_cut = end->answer_cut;
	}
	head_mask(&end->request_head, &r->request_head);
	head_mask(&end->answer_head, &r->answer_head);
	r->answer_head_cut = end->answer_head_cut;
	buf_free(&end->request_head);
	buf_free(&end->answer_head);
	buf_free(&end->message);
}

struct run *webhook_next_ended(struct dispatcher *d)
{
	struct call_end end;
	struct run *r = next_ended(d, &end);

	if (!r)
		return NULL;
	outcome_of_call(&end, &r->outcome);
	r->exit.duration_ms = end.duration_ms;
	r->status_code = end.status;
	r->retry_after_ms = end.status == 429 || end.status == 503 ? end.retry_after_ms : 0;
	keep(r, &end);
	return r;
}

enum store_status webhook_note(struct dispatcher *d, const struct run *r)
{
	enum store_call how = r->outcome.kind == OUTCOME_SUCCESS     ? STORE_CALL_SUCCESS
	                      : r->outcome.kind == OUTCOME_PERMANENT ? STORE_CALL_GONE
	                                                             : STORE_CALL_FAILURE;
	bool deactivated;
	enum store_status status = store_note_call(d->store, r->target->name, how, clock_wall_ms(), &deactivated);

	if (status == STORE_OK && deactivated) {
		log_warn("webhook switched off webhook=%s url=%s: %s", r->target->name, r->webhook.url,
		         how == STORE_CALL_GONE ? "it answered 410" : "nothing but failures for five days");
		d->next_scan_ms = 0;
	}
	return status;
}
