/* ntrvsta events: what came in, one event in full, one event once more. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/cli/show.h"
#include "lib/delivery/targets.h"
#include "lib/store/webhooks.h"

/* --- list ---------------------------------------------------------------------------------- */

struct listing {
	struct cli_table *table;   /* one of these two */
	struct json_object *rows;
	int64_t n, limit;
	bool more;
};

static int list_event(void *ctx, const struct store_event_row *row)
{
	struct listing *l = ctx;
	char time[CLI_TIME_SIZE];
	struct buf counts = BUF_INIT;

	if (l->limit && l->n == l->limit) {
		l->more = true;
		return 1;
	}
	l->n++;
	if (l->rows) {
		json_object_array_add(l->rows, cli_json_event(row));
		return 0;
	}
	cli_table_cell(l->table, cli_format_time(row->received_ms, time));
	cli_table_cell(l->table, row->id);
	cli_table_cell(l->table, row->event);
	cli_table_cell(l->table, row->source);
	cli_add_event_counts(&counts, row);
	cli_table_cell(l->table, counts.data);
	buf_free(&counts);
	return 0;
}

static int list(const struct cli *cli, struct store *store, struct store_filter *filter)
{
	static const char *const headings[] = { "RECEIVED", "ID", "EVENT", "SOURCE", "DELIVERIES" };
	struct listing l = { .limit = filter->limit };

	if (cli->json)
		l.rows = json_object_new_array();
	else
		l.table = cli_table_new(headings, 5);
	filter->limit += filter->limit > 0; /* one more tells whether there are more */
	if (store_list_events(store, filter, list_event, &l) != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	if (cli->json)
		cli_print_json(cli_json_list(l.rows, l.more));
	else
		cli_table_print(l.table, "No events.");
	if (l.more && !cli->json)
		printf("... and more: --limit N shows more than %lld, --limit 0 shows all.\n", (long long)l.limit);
	return CLI_OK;
}


/* --- replay -------------------------------------------------------------------------------- */

struct found {
	char *event, *org; /* NULL where there is none of this id */
	bool expanded, test;
};

static int note_event(void *ctx, const struct store_event_row *row)
{
	struct found *found = ctx;

	found->event = xstrdup(row->event);
	found->org = xstrdup(row->org);
	found->expanded = row->expanded;
	found->test = row->test;
	return 1;
}

static int say_replayed(const struct cli *cli, const char *id, size_t n)
{
	struct json_object *doc;

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "event_id", cli_json_string(id));
		json_object_object_add(doc, "deliveries", json_object_new_int64((int64_t)n));
		cli_print_json(doc);
	} else if (n == 0) {
		printf("Nothing to do: the deliveries of %s wait or run already.\n", id);
	} else {
		printf("%zu %s of %s %s anew. See: ntrvsta events show %s\n", n, n == 1 ? "delivery" : "deliveries",
		       id, n == 1 ? "begins" : "begin", id);
	}
	return CLI_OK;
}

/* The handlers and active webhooks that there are now: also those that came after the event. */
static int replay_found(const struct cli *cli, const struct conf *conf, struct store *store,
                        const char *id, const struct found *e)
{
	struct targets targets = { 0 };
	struct buf err = BUF_INIT;
	size_t n = 0;
	int status = CLI_FAILED;

	if (targets_find(conf->handlers_dir, e->event, &targets, NULL, NULL, &err))
		cli_fail(cli, "%s", buf_str(&err));
	else if (store_webhooks_for(store, e->event, e->org, &targets.names, &targets.n) != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else if (targets.n == 0)
		cli_fail(cli, "no handler below %s and no active webhook takes %s: nothing would run", conf->handlers_dir,
		         e->event);
	else if (store_replay(store, id, (const char *const *)targets.names, targets.n, clock_wall_ms(), &n) != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else
		status = say_replayed(cli, id, n);
	targets_free(&targets);
	buf_free(&err);
	return status;
}

static int replay(const struct cli *cli, const struct conf *conf, struct store *store, const char *id)
{
	struct found found = { 0 };
	struct store_filter filter = { .event_id = id, .limit = 1 };
	int status;

	if (store_list_events(store, &filter, note_event, &found) != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	if (!found.event)
		return cli_no_such_event(cli, id);
	if (found.test)
		status = cli_fail(cli, "%s is a test: 'ntrvsta test' makes a new one", id);
	else if (found.expanded)
		status = replay_found(cli, conf, store, id, &found);
	else /* a new event gets its deliveries from the dispatcher in any case */
		status = say_replayed(cli, id, 0);
	free(found.event);
	free(found.org);
	if (status == CLI_OK)
		cli_wake_dispatcher(cli, conf);
	return status;
}

/* --- the command ---------------------------------------------------------------------------- */

struct events_options {
	const char *event, *since, *until, *limit;
};

static int run_list(const struct cli *cli, const struct events_options *o)
{
	struct store_filter filter = { .event = o->event, .limit = 50 };
	struct conf *conf;
	struct store *store = NULL;
	int status = CLI_FAILED;

	if (!cli_parse_time(cli, "since", o->since, &filter.since_ms) ||
	    !cli_parse_time(cli, "until", o->until, &filter.until_ms) || !cli_parse_limit(cli, o->limit, &filter.limit))
		return CLI_USAGE;
	conf = cli_load_conf(cli);
	if (conf)
		store = cli_open_store(cli, conf);
	if (store)
		status = list(cli, store, &filter);
	store_close(store);
	conf_unref(conf);
	return status;
}

static int run_one(const struct cli *cli, const char *subcommand, const char *id)
{
	struct conf *conf = cli_load_conf(cli);
	struct store *store = conf ? cli_open_store(cli, conf) : NULL;
	int status = CLI_FAILED;

	if (store)
		status = strcmp(subcommand, "show") == 0 ? cli_show_event(cli, store, id) : replay(cli, conf, store, id);
	store_close(store);
	conf_unref(conf);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct events_options o = { 0 };
	const struct cli_option options[] = {
		{ "event", &o.event, NULL }, { "since", &o.since, NULL },
		{ "until", &o.until, NULL }, { "limit", &o.limit, NULL },
	};

	argc = cli_parse(cli, options, 4, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc == 0 || (argc == 1 && strcmp(argv[0], "list") == 0))
		return run_list(cli, &o);
	if (strcmp(argv[0], "show") != 0 && strcmp(argv[0], "replay") != 0)
		return cli_usage(cli, "unknown subcommand '%s': there are show ID and replay ID", argv[0]);
	if (argc != 2)
		return cli_usage(cli, "%s wants the id of one event", argv[0]);
	if (o.event || o.since || o.until || o.limit)
		return cli_usage(cli, "--event, --since, --until and --limit are for the list, not for %s", argv[0]);
	return run_one(cli, argv[0], argv[1]);
}

const struct cli_command cli_events = {
	.name = "events",
	.summary = "what came in: list it, show one event, replay it",
	.help =
		"Usage: ntrvsta events [--event E] [--since T] [--until T] [--limit N]\n"
		"       ntrvsta events show ID\n"
		"       ntrvsta events replay ID\n"
		"\n"
		"Without a subcommand: the events that were accepted, newest first, and what became of their\n"
		"deliveries. 'new' waits for the dispatcher, 'unhandled' had neither a handler nor a webhook.\n"
		"\n"
		"  show ID      one event: what is known of it, its body, each delivery with its attempts and\n"
		"               what the handler printed, or the webhook's receiver answered; behind > what was\n"
		"               sent and behind < the answer's headers, where the webhook's log level was detailed\n"
		"  replay ID    deliver it once more to all handlers and active webhooks that there are now for it\n"
		"\n"
		"  --event E    only events of this name, such as session.completed\n"
		"  --since T    received at T or later: 2026-12-31T00:00:00Z, 2026-12-31, or 2h (ago)\n"
		"  --until T    received before T\n"
		"  --limit N    at most so many (50); 0 for all\n"
		"\n"
		"Examples:\n"
		"  ntrvsta events --event session.completed --since 24h\n"
		"  ntrvsta events --json --limit 0 | jq -r '.data[] | select(.status == \"unhandled\") | .id'\n"
		"  ntrvsta events show evt_01kb2x3y4z5a6b7c8d9e0f1g2h\n",
	.run = run,
};
