/* ntrvsta failed: the deliveries that were given up. */
#include "lib/cli/cli.h"

#include <stdio.h>

#include "lib/cli/output.h"
#include "lib/cli/target.h"

struct listing {
	struct cli_table *table; /* one of these two */
	struct json_object *rows;
	struct webhooks_legend legend;
	int64_t n, limit;
	bool more;
};

static struct json_object *json_failed(const struct store_delivery_row *row)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", cli_json_string(row->id));
	json_object_object_add(o, "event_id", cli_json_string(row->event_id));
	json_object_object_add(o, "event", cli_json_string(row->event));
	json_object_object_add(o, "target", cli_json_string(row->target));
	json_object_object_add(o, "error_code", cli_json_string(row->error_code));
	json_object_object_add(o, "error_message", cli_json_string(row->error_message));
	json_object_object_add(o, "retry_count", json_object_new_int(row->attempts > 0 ? row->attempts - 1 : 0));
	json_object_object_add(o, "last_attempt_at", cli_json_time(row->updated_ms));
	return o;
}

static int list_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct listing *l = ctx;
	char time[CLI_TIME_SIZE], attempts[16];

	if (l->limit && l->n == l->limit) {
		l->more = true;
		return 1;
	}
	l->n++;
	if (l->rows) {
		json_object_array_add(l->rows, json_failed(row));
		return 0;
	}
	snprintf(attempts, sizeof attempts, "%d", row->attempts);
	cli_table_cell(l->table, cli_format_time(row->updated_ms, time));
	cli_table_cell(l->table, row->id);
	cli_table_cell(l->table, row->target);
	webhooks_legend_note(&l->legend, row->target);
	cli_table_cell(l->table, row->event);
	cli_table_cell(l->table, attempts);
	cli_table_cell(l->table, row->error_message);
	return 0;
}

static int list(const struct cli *cli, struct store *store, struct store_filter *filter)
{
	static const char *const headings[] = { "LAST ATTEMPT", "DELIVERY", "TARGET", "EVENT", "ATTEMPTS", "ERROR" };
	struct listing l = { .limit = filter->limit };

	if (cli->json)
		l.rows = json_object_new_array();
	else
		l.table = cli_table_new(headings, 6);
	filter->limit += filter->limit > 0; /* one more tells whether there are more */
	if (store_list_deliveries(store, filter, list_delivery, &l) != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	if (cli->json) {
		cli_print_json(cli_json_list(l.rows, l.more));
		return CLI_OK;
	}
	cli_table_print(l.table, "No delivery has failed.");
	if (l.more)
		printf("... and more: --limit N shows more than %lld, --limit 0 shows all.\n", (long long)l.limit);
	webhooks_legend_print(&l.legend, store);
	if (l.n)
		printf("\nOnce the cause is mended: ntrvsta retry DELIVERY, or ntrvsta recover TARGET --since T\n");
	return CLI_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *since = NULL, *limit = NULL;
	const struct cli_option options[] = { { "since", &since, NULL }, { "limit", &limit, NULL } };
	struct store_filter filter = { .state = "failed", .skip_tests = true, .limit = 50 };
	struct conf *conf;
	struct store *store;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 1)
		return cli_usage(cli, "wants one handler or webhook at most, not also '%s'", argv[1]);
	if (!cli_parse_time(cli, "since", since, &filter.since_ms) || !cli_parse_limit(cli, limit, &filter.limit))
		return CLI_USAGE;
	if (argc == 1 && !target_usable(cli, argv[0]))
		return CLI_USAGE;
	filter.target = argc == 1 ? argv[0] : NULL;
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store && filter.target && !target_known(conf, store, filter.target))
		target_unknown(cli, conf, filter.target);
	else if (store)
		status = list(cli, store, &filter);
	store_close(store);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_failed = {
	.name = "failed",
	.summary = "deliveries that were given up after their last attempt",
	.help =
		"Usage: ntrvsta failed [TARGET] [--since T] [--limit N]\n"
		"\n"
		"Deliveries that nothing tries any more: their retry schedule came to its end, the handler left with\n"
		"exit status 100, or the webhook's receiver answered 410. 'ntrvsta retry' and 'ntrvsta recover' let\n"
		"them begin anew; else they stay until they are too old to keep.\n"
		"\n"
		TARGET_HELP
		"  --since T    only what was to be delivered from T on: 2026-12-31T00:00:00Z, 2026-12-31, or 2h (ago)\n"
		"  --limit N    at most so many (50); 0 for all\n"
		"\n"
		"Examples:\n"
		"  ntrvsta failed --since 7d\n"
		"  ntrvsta failed all/10-log --json --limit 0 | jq -r '.data[].id' | xargs -r ntrvsta retry\n",
	.run = run,
};
