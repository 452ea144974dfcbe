/* ntrvsta recover: all events that a handler or webhook has not done yet, once more. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/cli/output.h"
#include "lib/cli/progress.h"
#include "lib/cli/target.h"
#include "lib/cli/terminal.h"

/* Events in one commit, and a gap in which others get at the store. */
#define STEP 200
#define PAUSE_MS 2

struct recovery {
	struct store_recovery range;
	int64_t found, done;
	bool dry_run;
};

static enum store_status recover_all(const struct cli *cli, struct store *store, struct recovery *r)
{
	struct progress progress;
	enum store_status status = STORE_OK;
	int64_t before = -1;
	size_t n;

	terminal_catch_interrupt();
	progress_start(&progress, cli->json, "recover", "events", r->found);
	while (status == STORE_OK && r->range.after_seq != before && !terminal_interrupted()) {
		before = r->range.after_seq;
		status = store_recover(store, &r->range, clock_wall_ms(), STEP, &n);
		if (status == STORE_OK)
			r->done += (int64_t)n;
		progress_set(&progress, r->done);
		terminal_pause(PAUSE_MS);
	}
	progress_end(&progress);
	return status;
}

static void say_found(const struct recovery *r)
{
	char since[CLI_TIME_SIZE], until[CLI_TIME_SIZE];

	struct buf names = BUF_INIT;

	if (r->range.event)
		cli_add_events(&names, r->range.event, SIZE_MAX);
	printf("%lld %s%s%s received from %s", (long long)r->found, buf_str(&names), names.len ? " " : "",
	       r->found == 1 ? "event" : "events", cli_format_time(r->range.since_ms, since));
	buf_free(&names);
	if (r->range.until_ms)
		printf(" until %s", cli_format_time(r->range.until_ms, until));
	printf(" %s no success for %s%s.\n", r->found == 1 ? "has" : "have", r->range.target,
	       r->found ? "" : ": nothing to do");
}

static void print_account(const struct recovery *r)
{
	struct json_object *doc = json_object_new_object();
	bool one_name = r->range.event && !strchr(r->range.event, ' ');

	json_object_object_add(doc, "target", cli_json_string(r->range.target));
	json_object_object_add(doc, "event", one_name ? cli_json_string(r->range.event) : NULL);
	json_object_object_add(doc, "events", cli_json_words(r->range.event ? r->range.event : "*"));
	json_object_object_add(doc, "since", cli_json_time(r->range.since_ms));
	json_object_object_add(doc, "until", cli_json_time(r->range.until_ms));
	json_object_object_add(doc, "dry_run", json_object_new_boolean(r->dry_run));
	json_object_object_add(doc, "recoverable", json_object_new_int64(r->found));
	json_object_object_add(doc, "recovered", json_object_new_int64(r->done));
	cli_print_json(doc);
}

/* What was done stays done, whatever came in between. */
static int account(const struct cli *cli, const struct recovery *r)
{
	if (cli->json)
		print_account(r);
	else if (r->dry_run && r->found)
		printf("Nothing was changed, because of --dry-run.\n");
	else if (r->done)
		printf("%lld %s anew. See: ntrvsta logs %s\n", (long long)r->done,
		       r->done == 1 ? "delivery begins" : "deliveries begin", r->range.target);
	if (terminal_interrupted() && r->done < r->found)
		return cli_fail(cli, "interrupted after %lld of %lld: the same command goes on", (long long)r->done,
		                (long long)r->found);
	return CLI_OK;
}

static int recover(const struct cli *cli, const struct conf *conf, struct store *store, struct recovery *r)
{
	enum store_status status = store_count_recoverable(store, &r->range, &r->found);
	int result;

	if (status != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	if (!cli->json) {
		say_found(r);
		fflush(stdout);
	}
	if (r->found && !r->dry_run)
		status = recover_all(cli, store, r);
	if (r->done)
		cli_wake_dispatcher(cli, conf);
	result = account(cli, r);
	return status == STORE_OK ? result : cli_fail(cli, "%s", store_error(store));
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *since = NULL, *until = NULL;
	struct recovery r = { 0 };
	const struct cli_option options[] = {
		{ "since", &since, NULL }, { "until", &until, NULL }, { "dry-run", NULL, &r.dry_run },
	};
	char *event = NULL;
	struct conf *conf;
	struct store *store = NULL;
	int result = CLI_FAILED;

	argc = cli_parse(cli, options, 3, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1)
		return cli_usage(cli, "wants the name of one handler, or the id of one webhook");
	if (!since)
		return cli_usage(cli, "wants --since, such as --since 24h");
	if (!target_usable(cli, argv[0]) || !cli_parse_time(cli, "since", since, &r.range.since_ms) ||
	    !cli_parse_time(cli, "until", until, &r.range.until_ms))
		return CLI_USAGE;
	if (until && r.range.until_ms <= r.range.since_ms)
		return cli_usage(cli, "--until is not later than --since");
	r.range.target = argv[0];
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store && target_would_run(cli, conf, store, argv[0])) {
		r.range.event = event = target_events(store, argv[0]);
		result = recover(cli, conf, store, &r);
	}
	store_close(store);
	conf_unref(conf);
	free(event);
	return result;
}

const struct cli_command cli_recover = {
	.name = "recover",
	.summary = "deliver again all that a handler or webhook has not done yet",
	.help =
		"Usage: ntrvsta recover TARGET --since T [--until T] [--dry-run]\n"
		"\n"
		"Runs the handler, or calls the webhook, for each event of that time which it has not done with\n"
		"success: its delivery has failed or was canceled, or there was no such handler or webhook when the\n"
		"event came, or it was not active. What waits or runs already is left alone. Each delivery's retry\n"
		"schedule starts from the beginning. Interrupted, it keeps what it did; the same command goes on.\n"
		"\n"
		"  TARGET       a handler, by its path below the handlers' folder, such as all/10-log. It must be there.\n"
		"               One below session.completed/ gets events of that name, one below all/ those of any.\n"
		"               Or a webhook, by its id (wh_...). It must be active, and gets the events that it is\n"
		"               registered for\n"
		"  --since T    received at T or later: 2026-12-31T00:00:00Z, 2026-12-31, or 2h (ago)\n"
		"  --until T    received before T\n"
		"  --dry-run    only count them\n"
		"\n"
		"Examples:\n"
		"  ntrvsta recover session.completed/20-warehouse --since 7d --dry-run\n"
		"  ntrvsta recover all/10-log --since 2026-11-20T08:00:00Z --until 2026-11-20T09:30:00Z\n",
	.run = run,
};
