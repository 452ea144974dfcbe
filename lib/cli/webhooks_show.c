/* ntrvsta webhooks: list, show. */
#include "lib/cli/webhooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"

#define EVENTS_WIDTH 36 /* of a column with names of events, about */
#define LAST_ATTEMPTS 5

/* Of the last 24 hours, with what waits now. */
static enum store_status read_stats(struct store *store, const char *id, struct store_stats *out)
{
	int64_t now_ms = clock_wall_ms();
	enum store_status status = store_stats(store, id, now_ms - DAY_MS, now_ms + 1, out);

	return status == STORE_OK ? store_stats_backlog(store, id, out) : status;
}

/* --- list ---------------------------------------------------------------------------------- */

static const char *state_word(const struct store_webhook *w)
{
	if (w->active)
		return "active";
	return w->inactive_reason[0] ? w->inactive_reason : "off";
}

static void add_row(struct cli_table *table, const struct store_webhook *w, const struct store_stats *stats)
{
	char text[UNITS_SIZE + 1];
	struct buf events = BUF_INIT;

	cli_add_events(&events, w->events, EVENTS_WIDTH);
	cli_table_cell(table, w->id);
	cli_table_cell(table, state_word(w));
	cli_table_cell(table, events.data);
	snprintf(text, sizeof text, "%lld", (long long)stats->pending);
	cli_table_cell(table, text);
	cli_table_cell(table, *cli_format_rate(stats, text) ? strcat(text, "%") : "-");
	cli_table_cell(table, w->url);
	buf_free(&events);
}

static struct json_object *json_row(const struct store_webhook *w, const struct store_stats *stats)
{
	struct json_object *row = webhooks_json(w);
	char rate[UNITS_SIZE];

	cli_format_rate(stats, rate);
	json_object_object_add(row, "pending_deliveries", json_object_new_int64(stats->pending));
	json_object_object_add(row, "success_rate", *rate ? json_object_new_double_s(strtod(rate, NULL), rate) : NULL);
	return row;
}

static int print_list(const struct cli *cli, struct store *store, const struct webhooks *all)
{
	static const char *const headings[] = { "ID", "STATE", "EVENTS", "WAITING", "RATE", "URL" };
	struct json_object *rows = cli->json ? json_object_new_array() : NULL;
	struct cli_table *table = cli->json ? NULL : cli_table_new(headings, sizeof headings / sizeof headings[0]);
	enum store_status status = STORE_OK;
	struct store_stats stats;
	size_t i;

	for (i = 0; i < all->n && status == STORE_OK; i++) {
		status = read_stats(store, all->items[i].id, &stats);
		if (status == STORE_OK && rows)
			json_object_array_add(rows, json_row(&all->items[i], &stats));
		else if (status == STORE_OK)
			add_row(table, &all->items[i], &stats);
	}
	if (status != STORE_OK) {
		json_object_put(rows);
		cli_table_free(table);
		return cli_fail(cli, "%s", store_error(store));
	}
	if (rows)
		cli_print_json(cli_json_list(rows, false));
	else
		cli_table_print(table, "No webhook. 'ntrvsta webhooks create URL' registers one.");
	return CLI_OK;
}

int webhooks_list(const struct cli *cli, const struct conf *conf, struct store *store,
                  const struct webhooks_options *o, const char *operand)
{
	struct webhooks all;
	int result = CLI_FAILED;

	(void)conf, (void)o, (void)operand;
	if (webhooks_load(store, &all) != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else
		result = print_list(cli, store, &all);
	webhooks_free(&all);
	return result;
}

/* --- show ---------------------------------------------------------------------------------- */

struct view {
	struct store_webhook webhook;
	struct store_stats stats;
	struct cli_table *attempts; /* one of these two */
	struct json_object *rows;
};

static int add_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct view *v = ctx;
	char time[CLI_TIME_SIZE], took[UNITS_SIZE], number[16];
	struct buf result = BUF_INIT;

	if (v->rows) {
		json_object_array_add(v->rows, cli_json_attempt(row));
		return 0;
	}
	cli_add_result(&result, row);
	cli_table_cell(v->attempts, cli_format_time(row->started_ms, time));
	cli_table_cell(v->attempts, store_attempt_status(row));
	cli_table_cell(v->attempts, row->event);
	snprintf(number, sizeof number, "%d", row->attempt);
	cli_table_cell(v->attempts, row->test ? "test" : number);
	cli_table_cell(v->attempts, units_format_duration(row->duration_ms, took));
	cli_table_cell(v->attempts, row->delivery_id);
	cli_table_cell(v->attempts, buf_str(&result));
	buf_free(&result);
	return 0;
}

static void print_secrets(const struct store_webhook *w)
{
	int64_t now_ms = clock_wall_ms();
	char time[CLI_TIME_SIZE], age[UNITS_SIZE];
	struct buf line = BUF_INIT;
	size_t i;

	for (i = 0; i < w->nsecrets; i++) {
		const struct store_webhook_secret *s = &w->secrets[i];
		int64_t age_s = (now_ms - s->created_ms) / 1000;

		buf_reset(&line);
		buf_addf(&line, "made %s", cli_format_time(s->created_ms, time));
		if (age_s > 0)
			buf_addf(&line, " (%s ago)", units_format_duration(age_s * 1000, age));
		if (s->until_ms)
			buf_addf(&line, ", signs until %s", cli_format_time(s->until_ms, time));
		cli_print_field(i ? "" : w->nsecrets > 1 ? "Secrets" : "Secret", line.data);
	}
	buf_free(&line);
}

static void print_numbers(const struct store_stats *s)
{
	char rate[UNITS_SIZE];
	int64_t ended = s->successful + s->failed;

	printf("%-16s %lld %s\n", "Waiting", (long long)s->pending, s->pending == 1 ? "delivery" : "deliveries");
	printf("%-16s ", "Last 24 hours");
	if (*cli_format_rate(s, rate))
		printf("%s%% success: %lld of %lld deliveries, ", rate, (long long)s->successful, (long long)ended);
	printf("%lld %s, of which %lld failed\n", (long long)s->attempts, s->attempts == 1 ? "attempt" : "attempts",
	       (long long)s->failed_attempts);
}

static void print_view(struct view *v)
{
	const struct store_webhook *w = &v->webhook;
	struct buf text = BUF_INIT;
	char time[CLI_TIME_SIZE];

	cli_print_field("Webhook", w->id);
	cli_print_field("URL", w->url);
	cli_print_field("Description", w->description);
	cli_add_events(&text, w->events, SIZE_MAX);
	cli_print_field("Events", text.data);
	buf_reset(&text);
	buf_addf(&text, w->active ? "active" : "not active: %s", webhooks_why_inactive(w));
	cli_print_field("State", text.data);
	buf_reset(&text);
	buf_addf(&text, "%s%s", w->detailed ? "detailed" : "normal", w->debug ? ", debug" : "");
	cli_print_field("Log level", text.data);
	cli_print_field("Created", cli_format_time(w->created_ms, time));
	cli_print_field("Changed", cli_format_time(w->updated_ms, time));
	print_secrets(w);
	print_numbers(&v->stats);
	putchar('\n');
	cli_table_print(v->attempts, "No attempt yet.");
	if (!w->active)
		printf("\nWhat waits is held, and new events do not go there: ntrvsta webhooks update %s --activate\n", w->id);
	buf_free(&text);
}

static void print_json_view(struct view *v)
{
	struct json_object *doc = webhooks_json(&v->webhook);

	json_object_object_add(doc, "stats", cli_json_stats(&v->stats));
	json_object_object_add(doc, "attempts", v->rows);
	v->rows = NULL;
	cli_print_json(doc);
}

int webhooks_show(const struct cli *cli, const struct conf *conf, struct store *store,
                  const struct webhooks_options *o, const char *id)
{
	static const char *const headings[] = { "TIME", "STATUS", "EVENT", "ATTEMPT", "TOOK", "DELIVERY", "RESULT" };
	struct store_filter filter = { .target = id, .limit = LAST_ATTEMPTS };
	struct view v = { .rows = NULL };
	int result = CLI_FAILED;

	(void)conf, (void)o;
	if (!webhooks_get(cli, store, id, &v.webhook))
		return CLI_FAILED;
	if (cli->json)
		v.rows = json_object_new_array();
	else
		v.attempts = cli_table_new(headings, sizeof headings / sizeof headings[0]);
	if (read_stats(store, id, &v.stats) != STORE_OK || store_list_attempts(store, &filter, add_attempt, &v) != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
		json_object_put(v.rows);
		cli_table_free(v.attempts);
	} else {
		if (cli->json)
			print_json_view(&v);
		else
			print_view(&v);
		result = CLI_OK;
	}
	store_webhook_free(&v.webhook);
	return result;
}
