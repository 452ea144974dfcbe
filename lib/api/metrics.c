#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/base/id.h"
#include "lib/base/meters.h"
#include "lib/delivery/wake.h"
#include "lib/intake/refusals.h"

#define TARGET "target=\""

/* What the counters of meters.h mean. */
static const struct family {
	const char *name, *type, *help;
} families[] = {
	{ "ntrvsta_attempt_duration_seconds", "histogram", "How long attempts took that were begun" },
	{ "ntrvsta_attempts_total", "counter", "Attempts to deliver, by target and outcome" },
	{ "ntrvsta_events_received_total", "counter", "Events that were answered with 200, by source and whether they were new" },
	{ "ntrvsta_spawn_failures_total", "counter", "Handlers that could not be started" },
	{ "ntrvsta_store_commit_seconds", "histogram", "How long events took to the disk, each group of them" },
};

struct report {
	struct api_call *call;
	struct buf *out;
	const struct family *family; /* whose series were written last */
};

static void add_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* --- what the store says -------------------------------------------------------------------- */

static void add_gauge(struct buf *out, const char *name, const char *help, double value)
{
	add_head(out, name, "gauge", help);
	buf_addf(out, "%s %.17g\n", name, value);
}

static void add_states(struct buf *out, const struct store_counts *counts)
{
	static const char name[] = "ntrvsta_deliveries";

	add_head(out, name, "gauge", "Deliveries that wait, run, or were given up and are kept");
	buf_addf(out, "%s{state=\"pending\"} %lld\n", name, (long long)counts->pending);
	buf_addf(out, "%s{state=\"running\"} %lld\n", name, (long long)counts->running);
	buf_addf(out, "%s{state=\"failed\"} %lld\n", name, (long long)counts->failed);
}

/* For how long the delivery has been due that is due longest. */
static enum store_status find_oldest_due(struct api_call *c, int64_t *age_ms)
{
	struct store_waiting *waiting;
	size_t n, i;
	enum store_status status = store_waiting(c->store, &waiting, &n);

	*age_ms = 0;
	if (status != STORE_OK)
		return status;
	for (i = 0; i < n; i++) {
		int64_t first_ms = waiting[i].first_since_ms, retry_ms = waiting[i].next_retry_ms;

		if (first_ms && c->now_ms - first_ms > *age_ms)
			*age_ms = c->now_ms - first_ms;
		if (c->now_ms > retry_ms && c->now_ms - retry_ms > *age_ms)
			*age_ms = c->now_ms - retry_ms;
	}
	store_waiting_free(waiting, n);
	return STORE_OK;
}

static enum store_status add_gauges(struct api_call *c, struct buf *out)
{
	struct store_counts counts;
	int64_t oldest_ms;
	enum store_status status = store_count(c->store, &counts);

	if (status == STORE_OK)
		status = find_oldest_due(c, &oldest_ms);
	if (status != STORE_OK)
		return status;
	add_head(out, "ntrvsta_build_info", "gauge", "Always 1; the version is in the label");
	buf_addf(out, "ntrvsta_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	add_states(out, &counts);
	add_gauge(out, "ntrvsta_dispatcher_up", "Does a dispatcher run?", wake_is_read_now(c->conf->state_dir));
	add_gauge(out, "ntrvsta_events_new", "Events that the dispatcher has not looked at yet", (double)counts.new_events);
	add_gauge(out, "ntrvsta_oldest_due_seconds", "For how long what is due longest has been due; 0: nothing is",
	          (double)oldest_ms / 1000);
	return STORE_OK;
}

static void add_refusals(struct api_call *c, struct buf *out)
{
	static const char name[] = "ntrvsta_requests_refused_total";
	struct refusals *refusals = refusals_new(c->conf->state_dir);
	unsigned code;

	add_head(out, name, "counter", "Calls and requests that were refused, by the code in the answer");
	for (code = 0; refusals_code_name(code); code++)
		buf_addf(out, "%s{code=\"%s\"} %lld\n", name, refusals_code_name(code), (long long)refusals_total(refusals, code));
	refusals_free(refusals);
}

/* --- what was counted ----------------------------------------------------------------------- */

static const struct family *find_family(const char *series)
{
	size_t len = strcspn(series, "{"), i;

	for (i = 0; i < sizeof families / sizeof families[0]; i++) {
		const char *name = families[i].name;
		size_t name_len = strlen(name);

		if (strncmp(series, name, name_len) == 0 && (len == name_len || strcmp(families[i].type, "histogram") == 0))
			return &families[i];
	}
	return NULL;
}

/* Handlers are everybody's to see, webhooks their organisation's. */
static bool may_see(const struct report *r, const char *series)
{
	const char *target = strstr(series, TARGET);
	struct store_webhook webhook;
	char id[ID_SIZE] = "";
	size_t len;

	if (!target)
		return true;
	target += strlen(TARGET);
	len = strcspn(target, "\"");
	if (len >= sizeof id)
		return true; /* a handler's name */
	memcpy(id, target, len);
	if (!id_valid(ID_WEBHOOK, id))
		return true;
	if (store_get_webhook(r->call->store, r->call->who->org, id, r->call->now_ms, &webhook) != STORE_OK)
		return false;
	store_webhook_free(&webhook);
	return true;
}

static void add_series(void *ctx, const char *series, uint64_t value)
{
	struct report *r = ctx;
	const struct family *family = find_family(series);
	size_t len = strcspn(series, "{");

	if (!family || !may_see(r, series))
		return;
	if (family != r->family)
		add_head(r->out, family->name, family->type, family->help);
	r->family = family;
	if (len > 4 && strncmp(series + len - 4, "_sum", 4) == 0)
		buf_addf(r->out, "%s %.17g\n", series, (double)value / 1000000);
	else
		buf_addf(r->out, "%s %llu\n", series, (unsigned long long)value);
}

void call_metrics(struct api_call *c)
{
	struct report report = { .call = c, .out = &c->answer->body };
	enum store_status status = add_gauges(c, report.out);
	struct meters *meters;

	if (status != STORE_OK) {
		call_store_failed(c, status);
		return;
	}
	add_refusals(c, report.out);
	meters = meters_open(c->conf->state_dir);
	meters_each(meters, add_series, &report);
	meters_close(meters);
	c->answer->status = 200;
	c->answer->reason = "OK";
	c->answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
}
