/* ntrvsta logs: what ran and what waits, newest first. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/follow.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"

#define NCOLUMNS 8
#define TARGET 2 /* the column */
#define SHOWN 50
#define FOLLOWED 10

struct entry {
	int64_t time_ms;
	char *cells[NCOLUMNS]; /* for people */
	struct json_object *json;
};

struct log {
	bool json;
	struct entry *entries;
	size_t n;
};

static struct entry *add_entry(struct log *log, int64_t time_ms)
{
	struct entry *e;

	log->entries = xreallocarray(log->entries, log->n + 1, sizeof *log->entries);
	e = &log->entries[log->n++];
	*e = (struct entry){ .time_ms = time_ms };
	return e;
}

static int add_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct log *log = ctx;
	struct entry *e = add_entry(log, row->started_ms);
	char time[CLI_TIME_SIZE], took[UNITS_SIZE];
	struct buf result = BUF_INIT;

	if (log->json) {
		e->json = cli_json_attempt(row);
		return 0;
	}
	cli_add_result(&result, row);
	e->cells[0] = xstrdup(cli_format_time(row->started_ms, time));
	e->cells[1] = xstrdup(store_attempt_status(row));
	e->cells[TARGET] = xstrdup(row->target);
	e->cells[3] = xstrdup(row->event);
	e->cells[4] = row->test ? xstrdup("test") : xasprintf("%d", row->attempt);
	e->cells[5] = xstrdup(units_format_duration(row->duration_ms, took));
	e->cells[6] = xstrdup(row->delivery_id);
	e->cells[7] = buf_detach(&result);
	return 0;
}

/* When, in words, and why it waits. */
static char *waiting_result(const struct store_delivery_row *row)
{
	int64_t left_ms = row->due_ms - clock_wall_ms();
	char left[UNITS_SIZE];
	struct buf out = BUF_INIT;

	if (strcmp(row->state, "running") == 0)
		buf_adds(&out, "running now");
	else if (*cli_held(row))
		buf_addf(&out, "held: %s", row->held);
	else if (left_ms <= 0)
		buf_adds(&out, "due now");
	else
		buf_addf(&out, "due in %s", units_format_duration(left_ms < 1000 ? left_ms : left_ms / 1000 * 1000, left));
	if (row->error_message[0])
		buf_addf(&out, ", last: %s", row->error_message);
	return buf_detach(&out);
}

static int add_waiting(void *ctx, const struct store_delivery_row *row)
{
	struct log *log = ctx;
	struct entry *e = add_entry(log, row->updated_ms ? row->updated_ms : row->created_ms);
	char time[CLI_TIME_SIZE];

	if (log->json) {
		e->json = cli_json_delivery(row);
		return 0;
	}
	e->cells[0] = xstrdup(cli_format_time(e->time_ms, time));
	e->cells[1] = xstrdup(row->state);
	e->cells[TARGET] = xstrdup(row->target);
	e->cells[3] = xstrdup(row->event);
	e->cells[4] = row->test ? xstrdup("test") : xasprintf("%d", row->attempts);
	e->cells[5] = xstrdup("-");
	e->cells[6] = xstrdup(row->id);
	e->cells[7] = waiting_result(row);
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->time_ms < y->time_ms) - (x->time_ms > y->time_ms);
}

/* STATUS is "success", "failed", "pending" or NULL. A delivery waits whether it is pending or runs. */
static enum store_status collect(struct store *store, struct store_filter *filter, const char *status, struct log *log)
{
	static const char *const waiting[] = { "pending", "running" };
	bool only_waiting = status && strcmp(status, "pending") == 0;
	enum store_status result = STORE_OK;
	size_t i;

	for (i = 0; i < 2 && result == STORE_OK && (!status || only_waiting); i++) {
		filter->state = waiting[i];
		result = store_list_deliveries(store, filter, add_waiting, log);
	}
	filter->state = NULL;
	filter->outcome = status;
	if (result == STORE_OK && !only_waiting)
		result = store_list_attempts(store, filter, add_attempt, log);
	if (log->n > 1)
		qsort(log->entries, log->n, sizeof *log->entries, by_time);
	return result;
}

static void print_log(const struct log *log, struct store *store, const struct store_filter *filter, const char *status,
                      int64_t limit)
{
	static const char *const headings[NCOLUMNS] = {
		"TIME", "STATUS", "TARGET", "EVENT", "ATTEMPT", "TOOK", "DELIVERY", "RESULT",
	};
	size_t shown = limit && (size_t)limit < log->n ? (size_t)limit : log->n, i, column;
	struct json_object *rows = log->json ? json_object_new_array() : NULL;
	struct cli_table *table = log->json ? NULL : cli_table_new(headings, NCOLUMNS);
	struct webhooks_legend legend = { NULL, 0 };
	bool narrowed = status || filter->target || filter->event || filter->since_ms || filter->until_ms;

	for (i = 0; i < shown; i++) {
		if (rows)
			json_object_array_add(rows, json_object_get(log->entries[i].json));
		for (column = 0; table && column < NCOLUMNS; column++)
			cli_table_cell(table, log->entries[i].cells[column]);
		if (table)
			webhooks_legend_note(&legend, log->entries[i].cells[TARGET]);
	}
	if (rows)
		cli_print_json(cli_json_list(rows, shown < log->n));
	else
		cli_table_print(table, narrowed ? "Nothing of this kind ran or waits." : "Nothing ran yet and nothing waits.");
	if (!rows && shown < log->n)
		printf("... and more: --limit N shows more than %lld, --limit 0 shows all.\n", (long long)limit);
	webhooks_legend_print(&legend, store);
}

static void free_log(struct log *log)
{
	size_t i, column;

	for (i = 0; i < log->n; i++) {
		for (column = 0; column < NCOLUMNS; column++)
			free(log->entries[i].cells[column]);
		json_object_put(log->entries[i].json);
	}
	free(log->entries);
}

static int show_log(const struct cli *cli, const struct conf *conf, struct store_filter *filter, const char *status)
{
	struct store *store = cli_open_store(cli, conf);
	struct log log = { .json = cli->json };
	int64_t limit = filter->limit;
	int result = CLI_FAILED;

	if (!store)
		goto out;
	filter->limit += limit > 0; /* one more tells whether there are more */
	if (collect(store, filter, status, &log) != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
	} else if (log.n == 0 && filter->target && !target_known(conf, store, filter->target)) {
		target_unknown(cli, conf, filter->target);
	} else {
		print_log(&log, store, filter, status, limit);
		result = CLI_OK;
	}
out:
	free_log(&log);
	store_close(store);
	return result;
}

/* Does what was asked for make sense? */
static bool check_options(const struct cli *cli, const char *status, const char *until, bool follow)
{
	if (status && strcmp(status, "failed") != 0 && strcmp(status, "success") != 0 && strcmp(status, "pending") != 0)
		cli_usage(cli, "--status wants failed, success or pending, not '%s'", status);
	else if (follow && status && strcmp(status, "pending") == 0)
		cli_usage(cli, "--follow shows attempts as they happen; what is pending is none");
	else if (follow && until)
		cli_usage(cli, "--until does not go with --follow, which has no end");
	else
		return true;
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *status = NULL, *limit = NULL, *event = NULL, *since = NULL, *until = NULL;
	bool follow = false;
	const struct cli_option options[] = {
		{ "status", &status, NULL }, { "limit", &limit, NULL }, { "event", &event, NULL },
		{ "since", &since, NULL }, { "until", &until, NULL }, { "follow", NULL, &follow },
	};
	struct store_filter filter = { 0 };
	struct conf *conf;
	int result;

	argc = cli_parse(cli, options, 6, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 1)
		return cli_usage(cli, "wants one handler or webhook at most, not also '%s'", argv[1]);
	filter.limit = !follow ? SHOWN : since ? 0 : FOLLOWED;
	if (!check_options(cli, status, until, follow) || !cli_parse_limit(cli, limit, &filter.limit) ||
	    !cli_parse_time(cli, "since", since, &filter.since_ms) || !cli_parse_time(cli, "until", until, &filter.until_ms) ||
	    (argc == 1 && !target_usable(cli, argv[0])))
		return CLI_USAGE;
	filter.event = event;
	filter.target = argc == 1 ? argv[0] : NULL;
	conf = cli_load_conf(cli);
	if (!conf)
		return CLI_FAILED;
	result = follow ? cli_follow_log(cli, conf, &filter, status) : show_log(cli, conf, &filter, status);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_logs = {
	.name = "logs",
	.summary = "what ran and what waits, newest first",
	.help =
		"Usage: ntrvsta logs [TARGET] [--status S] [--event E] [--since T] [--until T] [--limit N] [--follow]\n"
		"\n"
		"Each attempt to run a handler or to call a webhook, and each delivery that waits for its next\n"
		"attempt. RESULT is why the attempt failed and the last line that the handler printed, or that the\n"
		"webhook's receiver answered; all of that is in 'ntrvsta events show ID' and in --json. 'held' is\n"
		"what waits for a handler that was removed, or for a webhook that is not active.\n"
		"\n"
		TARGET_HELP
		"  --status S   only failed or success attempts, or only pending deliveries\n"
		"  --event E    only events of this name, such as session.completed\n"
		"  --since T    from T on: 2026-12-31T00:00:00Z, 2026-12-31, or 2h (ago)\n"
		"  --until T    before T\n"
		"  --limit N    at most so many (50; with --follow 10, or all where --since is given); 0 for all\n"
		"  --follow     go on with each attempt as it ends, the newest last, until Ctrl-C; with --json each\n"
		"               is a line of its own\n"
		"\n"
		"Examples:\n"
		"  ntrvsta logs all/10-log --status failed --since 24h\n"
		"  ntrvsta logs --follow\n"
		"  ntrvsta logs --json --limit 1 | jq -r '.data[0].output'\n",
	.run = run,
};
