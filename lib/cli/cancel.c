/* ntrvsta cancel: give up deliveries that wait. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/cli/output.h"
#include "lib/cli/progress.h"
#include "lib/cli/target.h"
#include "lib/cli/terminal.h"

/* Deliveries in one commit, and a gap in which others get at the store. */
#define STEP 200
#define PAUSE_MS 2

static int print_canceled(const struct cli *cli, const char *target, struct json_object *ids, int64_t n, int result)
{
	struct json_object *doc;

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "target", target ? cli_json_string(target) : NULL);
		json_object_object_add(doc, "canceled", json_object_new_int64(n));
		json_object_object_add(doc, "ids", ids);
		cli_print_json(doc);
	} else {
		json_object_put(ids);
	}
	return result;
}

/* --- one by one ---------------------------------------------------------------------------- */

/* Why the store did not cancel ID. */
static void say_refused(const struct cli *cli, struct store *store, const char *id)
{
	char state[CLI_STATE_SIZE];

	if (id_valid(ID_EVENT, id))
		cli_fail(cli, "%s is an event's id: 'ntrvsta events show' names its deliveries", id);
	else if (target_is_webhook(id))
		cli_fail(cli, "%s is a webhook's id: --webhook cancels all that waits for it", id);
	else if (cli_delivery_state(store, id, state) != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else if (strcmp(state, "running") == 0)
		cli_fail(cli, "%s runs now: only what waits can be canceled", id);
	else if (state[0])
		cli_fail(cli, "%s does not wait: its status is %s", id, state);
	else
		cli_fail(cli, "no delivery %s: see 'ntrvsta logs --status pending'", id);
}

static bool cancel_one(const struct cli *cli, struct store *store, const char *id)
{
	size_t n;
	enum store_status status = store_cancel(store, id, NULL, clock_wall_ms(), 1, &n);

	if (status == STORE_NOT_FOUND)
		say_refused(cli, store, id);
	else if (status != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else if (!cli->json)
		printf("%s is canceled.\n", id);
	return status == STORE_OK;
}

static int cancel_each(const struct cli *cli, struct store *store, int argc, char **argv)
{
	struct json_object *ids = json_object_new_array();
	int result = CLI_OK, i;

	for (i = 0; i < argc; i++) {
		if (cancel_one(cli, store, argv[i]))
			json_object_array_add(ids, cli_json_string(argv[i]));
		else
			result = CLI_FAILED;
	}
	return print_canceled(cli, NULL, ids, (int64_t)json_object_array_length(ids), result);
}

/* --- all of a target -------------------------------------------------------------------------- */

static int cancel_target(const struct cli *cli, const struct conf *conf, struct store *store, const char *target)
{
	struct progress progress;
	enum store_status status = STORE_OK;
	int64_t canceled = 0;
	size_t n;

	terminal_catch_interrupt();
	progress_start(&progress, cli->json, "cancel", "deliveries", 0);
	while (status == STORE_OK && !terminal_interrupted()) {
		status = store_cancel(store, NULL, target, clock_wall_ms(), STEP, &n);
		canceled += (int64_t)n;
		progress_set(&progress, canceled);
		if (status == STORE_OK)
			terminal_pause(PAUSE_MS);
	}
	progress_end(&progress);
	if (status != STORE_OK && status != STORE_NOT_FOUND)
		return cli_fail(cli, "%s", store_error(store));
	if (canceled == 0 && !target_known(conf, store, target))
		return target_unknown(cli, conf, target);
	if (!cli->json && canceled == 0)
		printf("Nothing waits for %s.\n", target);
	else if (!cli->json)
		printf("%lld %s of %s %s canceled.\n", (long long)canceled, canceled == 1 ? "delivery" : "deliveries", target,
		       canceled == 1 ? "is" : "are");
	print_canceled(cli, target, NULL, canceled, CLI_OK);
	return terminal_interrupted() ? cli_fail(cli, "interrupted: there may be more; the same command goes on") : CLI_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *handler = NULL, *webhook = NULL, *target;
	const struct cli_option options[] = { { "handler", &handler, NULL }, { "webhook", &webhook, NULL } };
	struct conf *conf;
	struct store *store;
	int result = CLI_FAILED;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	target = handler ? handler : webhook;
	if (argc == 0 && !target)
		return cli_usage(cli, "wants the id of a delivery (dlv_...), or --handler, or --webhook");
	if ((argc > 0 && target) || (handler && webhook))
		return cli_usage(cli, "wants ids of deliveries, or --handler, or --webhook, not several of these");
	if (target && !target_usable(cli, target))
		return CLI_USAGE;
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store)
		result = target ? cancel_target(cli, conf, store, target) : cancel_each(cli, store, argc, argv);
	store_close(store);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_cancel = {
	.name = "cancel",
	.summary = "give up deliveries that wait",
	.help =
		"Usage: ntrvsta cancel DELIVERY...\n"
		"       ntrvsta cancel --handler HANDLER | --webhook ID\n"
		"\n"
		"What waits for its attempt, the first one or a further one, is not tried any more. It stays as\n"
		"'canceled' until it is too old to keep; 'ntrvsta retry' and 'ntrvsta recover' bring it back. What\n"
		"runs now is left alone. Asks nothing.\n"
		"\n"
		"  --handler HANDLER  all that waits for this handler, also where its file was removed\n"
		"  --webhook ID       all that waits for this webhook (wh_...), also where it is not active\n"
		"\n"
		"Examples:\n"
		"  ntrvsta cancel dlv_01kb2x3y4z5a6b7c8d9e0f1g2h\n"
		"  ntrvsta cancel --handler session.completed/20-warehouse\n",
	.run = run,
};
