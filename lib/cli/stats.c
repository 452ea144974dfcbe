/* ntrvsta stats: how deliveries went, in numbers and over time. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/chart.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"
#include "lib/cli/terminal.h"
#include "lib/delivery/targets.h"

#define CHART_HEIGHT 6
#define BUCKETS_MAX 720

struct range {
	const char *name;
	enum store_span span;
	int64_t bucket_ms;
	size_t buckets; /* the current one counts as whole */
	const char *unit;
};

static const struct range ranges[] = {
	{ "1h", STORE_MINUTE, MINUTE_MS, 60, "minute" },
	{ "24h", STORE_HOUR, HOUR_MS, 24, "hour" },
	{ "7d", STORE_HOUR, HOUR_MS, 7 * 24, "hour" },
	{ "30d", STORE_HOUR, HOUR_MS, BUCKETS_MAX, "hour" },
};

struct view {
	const struct cli *cli;
	const struct conf *conf;
	struct store *store;
	const struct range *range;
	int64_t from_ms, to_ms;
};

/* --- numbers ------------------------------------------------------------------------------- */

static enum store_status read_stats(const struct view *v, const char *target, struct store_stats *out)
{
	/* What ended in this very millisecond counts. */
	enum store_status status = store_stats(v->store, target, v->from_ms, v->to_ms + 1, out);

	out->to_ms = v->to_ms;
	return status;
}

static const char *format_took(int64_t ms, char out[UNITS_SIZE])
{
	return ms < 0 ? strcpy(out, "-") : units_format_duration(ms, out);
}

/* How long the oldest one waits. */
static const char *format_waits(const struct view *v, const struct store_stats *s, char out[UNITS_SIZE])
{
	int64_t ms = v->to_ms - s->oldest_waiting_ms;

	if (!s->oldest_waiting_ms)
		return strcpy(out, "-");
	return units_format_duration(ms < 1000 ? 0 : ms / 1000 * 1000, out);
}

/* --- over time ------------------------------------------------------------------------------- */

struct buckets {
	const struct view *view;
	struct chart_column columns[BUCKETS_MAX];
};

static int note_bucket(void *ctx, const struct store_bucket_row *row)
{
	struct buckets *b = ctx;
	int64_t i = (row->bucket_ms - b->view->from_ms) / b->view->range->bucket_ms;

	if (i >= 0 && i < (int64_t)b->view->range->buckets)
		b->columns[i] = (struct chart_column){ row->attempts, row->failed_attempts };
	return 0;
}

static enum store_status read_buckets(const struct view *v, const char *target, struct buckets *out)
{
	memset(out, 0, sizeof *out);
	out->view = v;
	return store_list_buckets(v->store, target, v->range->span, v->from_ms, v->to_ms + 1, note_bucket, out);
}

static struct json_object *json_buckets(const struct buckets *b)
{
	struct json_object *rows = json_object_new_array();
	size_t i;

	for (i = 0; i < b->view->range->buckets; i++) {
		struct json_object *row = json_object_new_object();

		json_object_object_add(row, "from", cli_json_time(b->view->from_ms + (int64_t)i * b->view->range->bucket_ms));
		json_object_object_add(row, "attempts", json_object_new_int64(b->columns[i].attempts));
		json_object_object_add(row, "failed_attempts", json_object_new_int64(b->columns[i].failed));
		json_object_array_add(rows, row);
	}
	return rows;
}

static const char *axis_label(int64_t ms, char out[CLI_TIME_SIZE])
{
	cli_format_time(ms, out);
	out[strlen("2026-12-31 13:05")] = '\0'; /* buckets begin with a minute */
	return out;
}

static void print_chart(const struct view *v, const struct buckets *b)
{
	char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE];
	struct terminal terminal;
	struct chart chart = {
		.columns = b->columns, .n = v->range->buckets, .height = CHART_HEIGHT,
		.from = axis_label(v->from_ms, from), .to = axis_label(v->to_ms, to),
	};
	struct buf text = BUF_INIT;
	size_t group;

	terminal_look(&terminal);
	chart.width = terminal.width;
	chart.unicode = terminal.unicode;
	chart.color = terminal.color;
	group = chart_group(&chart);
	chart_draw(&text, &chart);
	if (group == 1)
		printf("\nAttempts in each %s, %s failed:\n", v->range->unit, chart_failed_mark(terminal.unicode));
	else
		printf("\nAttempts in each %zu %ss, %s failed:\n", group, v->range->unit, chart_failed_mark(terminal.unicode));
	fputs(buf_str(&text), stdout);
	buf_free(&text);
}

/* --- one target -------------------------------------------------------------------------------- */

static void print_one(const struct view *v, const char *target, const struct store_stats *s)
{
	char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE], rate[UNITS_SIZE], took[UNITS_SIZE];

	printf("%-11s %s\n", target_is_webhook(target) ? "Webhook" : "Handler", target);
	printf("%-11s %s until %s\n", "Range", cli_format_time(v->from_ms, from), cli_format_time(v->to_ms, to));
	printf("%-11s %lld ended: %lld success, %lld failed", "Deliveries", (long long)(s->successful + s->failed),
	       (long long)s->successful, (long long)s->failed);
	if (*cli_format_rate(s, rate))
		printf(" (%s%% success)", rate);
	printf("\n%-11s %lld", "Waiting", (long long)s->pending);
	if (s->pending)
		printf(", the oldest for %s", format_waits(v, s, took));
	putchar('\n');
	printf("%-11s %lld, of which %lld failed\n", "Attempts", (long long)s->attempts, (long long)s->failed_attempts);
	printf("%-11s %s for half of the attempts", "Took", format_took(s->p50_ms, took));
	printf(", %s for 95%% of them, at most\n", format_took(s->p95_ms, took));
}

static int show_one(const struct view *v, const char *target)
{
	struct store_stats stats;
	struct buckets buckets;
	struct json_object *doc;

	if (!target_known(v->conf, v->store, target))
		return target_unknown(v->cli, v->conf, target);
	if (read_stats(v, target, &stats) != STORE_OK ||
	    store_stats_backlog(v->store, target, &stats) != STORE_OK || read_buckets(v, target, &buckets) != STORE_OK)
		return cli_fail(v->cli, "%s", store_error(v->store));
	if (v->cli->json) {
		doc = cli_json_stats(&stats);
		json_object_object_add(doc, "target", cli_json_string(target));
		json_object_object_add(doc, "range", json_object_new_string(v->range->name));
		json_object_object_add(doc, "buckets", json_buckets(&buckets));
		cli_print_json(doc);
		return CLI_OK;
	}
	print_one(v, target, &stats);
	if (stats.attempts)
		print_chart(v, &buckets);
	return CLI_OK;
}

/* --- all of them --------------------------------------------------------------------------------- */

struct row {
	char *target;
	struct store_stats stats;
	bool exists;
};

struct rows {
	struct row *items;
	size_t n;
};

static void add_target(struct rows *rows, const char *target, bool exists)
{
	size_t i;

	for (i = 0; i < rows->n; i++) {
		if (strcmp(rows->items[i].target, target) == 0) {
			rows->items[i].exists |= exists;
			return;
		}
	}
	rows->items = xreallocarray(rows->items, rows->n + 1, sizeof *rows->items);
	rows->items[rows->n++] = (struct row){ .target = xstrdup(target), .exists = exists };
}

static int by_target(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->target, y->target);
}

/* Every handler on disk, every webhook, and every target that has had deliveries. */
static enum store_status find_targets(const struct view *v, struct rows *rows)
{
	struct targets found = { 0 };
	struct webhooks webhooks = { NULL, 0 };
	struct store_waiting *waiting;
	struct buf err = BUF_INIT;
	enum store_status status = store_waiting(v->store, &waiting, &rows->n);
	size_t n = rows->n, i;

	rows->n = 0;
	for (i = 0; i < n; i++)
		add_target(rows, waiting[i].target, false);
	store_waiting_free(waiting, n);
	if (targets_find_all(v->conf->handlers_dir, &found, NULL, NULL, &err) == 0)
		for (i = 0; i < found.n; i++)
			add_target(rows, found.names[i], true);
	if (status == STORE_OK)
		status = webhooks_load(v->store, &webhooks);
	for (i = 0; i < webhooks.n; i++)
		add_target(rows, webhooks.items[i].id, true);
	webhooks_free(&webhooks);
	targets_free(&found);
	buf_free(&err);
	if (rows->n)
		qsort(rows->items, rows->n, sizeof *rows->items, by_target);
	return status;
}

static enum store_status read_row(const struct view *v, struct row *row)
{
	enum store_status status = read_stats(v, row->target, &row->stats);

	return status == STORE_OK ? store_stats_backlog(v->store, row->target, &row->stats) : status;
}

/* What waits is counted once: by target. */
static enum store_status read_total(const struct view *v, const struct rows *rows, struct store_stats *total)
{
	enum store_status status = read_stats(v, NULL, total);
	size_t i;

	for (i = 0; i < rows->n; i++) {
		const struct store_stats *s = &rows->items[i].stats;

		total->pending += s->pending;
		if (s->oldest_waiting_ms && (!total->oldest_waiting_ms || s->oldest_waiting_ms < total->oldest_waiting_ms))
			total->oldest_waiting_ms = s->oldest_waiting_ms;
	}
	return status;
}

/* A target that is gone, and of which nothing is left to tell, has no row. */
static bool is_shown(const struct row *row)
{
	const struct store_stats *s = &row->stats;

	return row->exists || s->pending || s->attempts || s->successful || s->failed;
}

static void add_row(const struct view *v, struct cli_table *table, const char *name, const struct store_stats *s)
{
	const int64_t counts[] = { s->successful, s->failed, s->pending };
	char text[UNITS_SIZE + 1];
	size_t i;

	cli_table_cell(table, name);
	for (i = 0; i < 3; i++) {
		snprintf(text, sizeof text, "%lld", (long long)counts[i]);
		cli_table_cell(table, text);
	}
	cli_table_cell(table, *cli_format_rate(s, text) ? strcat(text, "%") : "-");
	snprintf(text, sizeof text, "%lld", (long long)s->attempts);
	cli_table_cell(table, text);
	cli_table_cell(table, format_took(s->p50_ms, text));
	cli_table_cell(table, format_took(s->p95_ms, text));
	cli_table_cell(table, format_waits(v, s, text));
}

static void print_all(const struct view *v, const struct rows *rows, const struct store_stats *total)
{
	static const char *const headings[] = {
		"TARGET", "SUCCESS", "FAILED", "WAITING", "RATE", "ATTEMPTS", "P50", "P95", "OLDEST WAITING",
	};
	struct cli_table *table = cli_table_new(headings, sizeof headings / sizeof headings[0]);
	char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE];
	struct webhooks_legend legend = { NULL, 0 };
	size_t i;

	printf("%s until %s\n\n", cli_format_time(v->from_ms, from), cli_format_time(v->to_ms, to));
	for (i = 0; i < rows->n; i++) {
		if (!is_shown(&rows->items[i]))
			continue;
		add_row(v, table, rows->items[i].target, &rows->items[i].stats);
		webhooks_legend_note(&legend, rows->items[i].target);
	}
	add_row(v, table, "total", total);
	cli_table_print(table, "");
	webhooks_legend_print(&legend, v->store);
}

static void print_json_all(const struct view *v, const struct rows *rows, const struct store_stats *total,
                           const struct buckets *buckets)
{
	struct json_object *data = json_object_new_array(), *doc = cli_json_list(data, false), *sum = cli_json_stats(total);
	size_t i;

	for (i = 0; i < rows->n; i++) {
		struct json_object *row = cli_json_stats(&rows->items[i].stats);

		json_object_object_add(row, "target", cli_json_string(rows->items[i].target));
		if (is_shown(&rows->items[i]))
			json_object_array_add(data, json_object_get(row));
		json_object_put(row);
	}
	json_object_object_add(sum, "buckets", json_buckets(buckets));
	json_object_object_add(doc, "range", json_object_new_string(v->range->name));
	json_object_object_add(doc, "total", sum);
	cli_print_json(doc);
}

static int show_all(const struct view *v)
{
	struct store_stats total;
	struct buckets buckets;
	struct rows rows = { NULL, 0 };
	enum store_status status = find_targets(v, &rows);
	size_t i;

	for (i = 0; status == STORE_OK && i < rows.n; i++)
		status = read_row(v, &rows.items[i]);
	if (status == STORE_OK)
		status = read_total(v, &rows, &total);
	if (status == STORE_OK)
		status = read_buckets(v, NULL, &buckets);
	if (status == STORE_OK && v->cli->json) {
		print_json_all(v, &rows, &total, &buckets);
	} else if (status == STORE_OK) {
		print_all(v, &rows, &total);
		if (total.attempts)
			print_chart(v, &buckets);
	}
	for (i = 0; i < rows.n; i++)
		free(rows.items[i].target);
	free(rows.items);
	return status == STORE_OK ? CLI_OK : cli_fail(v->cli, "%s", store_error(v->store));
}

/* --- the command ----------------------------------------------------------------------------------- */

static const struct range *find_range(const struct cli *cli, const char *name)
{
	size_t i;

	for (i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (strcmp(name, ranges[i].name) == 0)
			return &ranges[i];
	cli_usage(cli, "--range wants 1h, 24h, 7d or 30d, not '%s'", name);
	return NULL;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *range = "24h";
	const struct cli_option options[] = { { "range", &range, NULL } };
	struct view v = { .cli = cli, .to_ms = clock_wall_ms() };
	struct conf *conf;
	int result = CLI_FAILED;

	argc = cli_parse(cli, options, 1, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 1)
		return cli_usage(cli, "wants one handler or webhook at most, not also '%s'", argv[1]);
	v.range = find_range(cli, range);
	if (!v.range || (argc == 1 && !target_usable(cli, argv[0])))
		return CLI_USAGE;
	v.from_ms = store_bucket(v.range->span, v.to_ms) - (int64_t)(v.range->buckets - 1) * v.range->bucket_ms;
	v.conf = conf = cli_load_conf(cli);
	v.store = conf ? cli_open_store(cli, conf) : NULL;
	if (v.store)
		result = argc == 1 ? show_one(&v, argv[0]) : show_all(&v);
	store_close(v.store);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_stats = {
	.name = "stats",
	.summary = "how deliveries went: counts, success rate, durations, a chart",
	.help =
		"Usage: ntrvsta stats [TARGET] [--range 1h|24h|7d|30d]\n"
		"\n"
		"Deliveries that ended in the time looked at, by how they ended; the share of success among them;\n"
		"what waits now and for how long the oldest does; how many attempts were made, and how long half of\n"
		"them (P50) and 95% of them (P95) took at most. On a terminal, and elsewhere in plain ASCII, a\n"
		"chart shows the attempts over time, with the failed ones at the foot of each column. The counts\n"
		"are exact. A delivery that begins anew counts no more until it ends again.\n"
		"\n"
		TARGET_HELP
		"  --range R    24h: the present hour and the 23 before it. Or 1h, in whole minutes, or 7d or 30d, in\n"
		"               whole hours\n"
		"\n"
		"Examples:\n"
		"  ntrvsta stats --range 7d\n"
		"  ntrvsta stats session.completed/20-warehouse --json | jq .success_rate\n",
	.run = run,
};
