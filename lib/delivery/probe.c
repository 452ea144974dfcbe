#include "lib/delivery/probe.h"

#include <stdlib.h>

#include "config.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/store/tests.h"
#include "lib/store/webhooks.h"

#define PROBES_AT_ONCE 4

struct probe {
	struct probe *next;
	struct store_probe row;
	bool ended;
};

/* --- its end ------------------------------------------------------------------------------ */

static void end_with(struct probe *p, const char *error)
{
	p->row.error = xstrdup(error);
	p->ended = true;
}

/* How long a step took that was over AT_MS after the start, and began after BEFORE_MS. */
static int64_t step_ms(int64_t at_ms, int64_t before_ms)
{
	return at_ms > before_ms ? at_ms - before_ms : 0;
}

static void take_end(struct probe *p, const struct call_end *end)
{
	/* An answer is an answer, also where it broke off behind its headers. */
	end_with(p, end->status ? "" : end->message.len ? end->message.data : end->error_code);
	p->row.status_code = end->status;
	p->row.dns_ms = end->dns_ms;
	p->row.connect_ms = step_ms(end->connect_ms, end->dns_ms);
	p->row.tls_ms = step_ms(end->tls_ms, end->connect_ms);
	p->row.total_ms = end->duration_ms;
}

bool probe_ended(struct dispatcher *d, void *owner, struct call_end *end)
{
	struct probe *p;

	for (p = d->probes; p && p != owner; p = p->next)
		;
	if (!p)
		return false;
	take_end(p, end);
	buf_free(&end->message);
	buf_free(&end->answer);
	return true;
}

/* --- its beginning ------------------------------------------------------------------------ */

static void call(struct dispatcher *d, struct probe *p, const char *url)
{
	static const char *const headers[] = { "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION, NULL };
	struct call_spec spec = { .url = url, .headers = headers, .settings = &d->conf->webhooks };
	struct buf err = BUF_INIT;

	if (!d->caller)
		d->caller = caller_new();
	if (!d->caller)
		end_with(p, "libcurl can't start");
	else if (call_start(d->caller, &spec, p, &err))
		end_with(p, buf_str(&err));
	buf_free(&err);
}

static enum store_status begin(struct dispatcher *d, struct probe *p)
{
	struct store_webhook webhook;
	enum store_status status = store_get_webhook(d->store, NULL, p->row.webhook, clock_wall_ms(), &webhook);

	if (status == STORE_NOT_FOUND)
		end_with(p, "the webhook was deleted");
	else if (status == STORE_OK)
		call(d, p, webhook.url);
	else
		end_with(p, store_error(d->store));
	store_webhook_free(&webhook);
	return status == STORE_NOT_FOUND ? STORE_OK : status;
}

static size_t count(const struct dispatcher *d)
{
	const struct probe *p;
	size_t n = 0;

	for (p = d->probes; p; p = p->next)
		n++;
	return n;
}

void probes_start(struct dispatcher *d)
{
	enum store_status status = STORE_OK;

	while (d->store && d->probes_wait && !d->stopping && status == STORE_OK && count(d) < PROBES_AT_ONCE) {
		struct probe *p = xcalloc(1, sizeof *p);

		status = store_claim_probe(d->store, &p->row);
		if (status != STORE_OK) {
			free(p);
			d->probes_wait = false;
			break;
		}
		p->next = d->probes;
		d->probes = p;
		d->last_activity_ms = clock_mono_ms();
		status = begin(d, p);
	}
	if (status != STORE_OK && status != STORE_NOT_FOUND)
		backlog_store_failed(d, "begin a connectivity test");
}

/* --- its result --------------------------------------------------------------------------- */

bool probes_to_settle(const struct dispatcher *d)
{
	const struct probe *p;

	for (p = d->probes; p; p = p->next)
		if (p->ended)
			return true;
	return false;
}

void probes_settle(struct dispatcher *d)
{
	struct probe **link = &d->probes, *p;
	enum store_status status = STORE_OK;

	while (d->store && (p = *link)) {
		if (!p->ended) {
			link = &p->next;
			continue;
		}
		status = store_finish_probe(d->store, &p->row);
		if (status != STORE_OK && status != STORE_NOT_FOUND) {
			backlog_store_failed(d, "record a connectivity test");
			return;
		}
		log_info("connectivity tested webhook=%s status=%d error=\"%s\"", p->row.webhook, p->row.status_code,
		         p->row.error);
		*link = p->next;
		store_probe_free(&p->row);
		free(p);
	}
}

void probes_free(struct dispatcher *d)
{
	struct probe *p;

	while ((p = d->probes)) {
		d->probes = p->next;
		store_probe_free(&p->row);
		free(p);
	}
}
