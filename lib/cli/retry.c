/* ntrvsta retry: let deliveries begin anew, now. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/cli/output.h"

static int note_test(void *ctx, const struct store_delivery_row *row)
{
	*(bool *)ctx = row->test;
	return 1;
}

static bool is_test(struct store *store, const char *id)
{
	struct store_filter filter = { .delivery_id = id, .limit = 1 };
	bool test = false;

	return store_list_deliveries(store, &filter, note_test, &test) == STORE_OK && test;
}

/* Why the store would not let ID begin anew. */
static void say_refused(const struct cli *cli, struct store *store, const char *id)
{
	char state[CLI_STATE_SIZE];

	if (id_valid(ID_EVENT, id))
		cli_fail(cli, "%s is an event's id: 'ntrvsta events replay' delivers it to all its targets again", id);
	else if (id_valid(ID_WEBHOOK, id))
		cli_fail(cli, "%s is a webhook's id: 'ntrvsta recover' delivers all that it missed", id);
	else if (cli_delivery_state(store, id, state) != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	else if (is_test(store, id))
		cli_fail(cli, "%s is a test: 'ntrvsta test' makes a new one", id);
	else if (state[0])
		cli_fail(cli, "%s is %s now: wait for its end", id, state);
	else
		cli_fail(cli, "no delivery %s: see 'ntrvsta failed' and 'ntrvsta logs'", id);
}

static bool retry_one(const struct cli *cli, struct store *store, const char *id, struct json_object *done)
{
	enum store_status status = store_retry(store, id, clock_wall_ms());

	if (status == STORE_NOT_FOUND) {
		say_refused(cli, store, id);
		return false;
	}
	if (status != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
		return false;
	}
	json_object_array_add(done, cli_json_string(id));
	if (!cli->json)
		printf("%s begins anew.\n", id);
	return true;
}

static int retry_all(const struct cli *cli, const struct conf *conf, struct store *store, int argc, char **argv)
{
	struct json_object *done = json_object_new_array(), *doc = json_object_new_object();
	int status = CLI_OK, i;

	for (i = 0; i < argc; i++)
		if (!retry_one(cli, store, argv[i], done))
			status = CLI_FAILED;
	if (json_object_array_length(done) > 0)
		cli_wake_dispatcher(cli, conf);
	json_object_object_add(doc, "retried", done);
	if (cli->json)
		cli_print_json(json_object_get(doc));
	json_object_put(doc);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct conf *conf;
	struct store *store;
	int status = CLI_FAILED;

	argc = cli_parse(cli, NULL, 0, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc == 0)
		return cli_usage(cli, "wants the id of a delivery (dlv_...)");
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store)
		status = retry_all(cli, conf, store, argc, argv);
	store_close(store);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_retry = {
	.name = "retry",
	.summary = "let a delivery begin anew, now",
	.help =
		"Usage: ntrvsta retry DELIVERY...\n"
		"\n"
		"Runs the delivery's handler, or calls its webhook, again for its event, now, whether the delivery\n"
		"has failed, has succeeded or waits for its next attempt; its retry schedule starts from the\n"
		"beginning. Deliveries are named by 'ntrvsta failed', 'ntrvsta logs' and 'ntrvsta events show ID'.\n"
		"\n"
		"Examples:\n"
		"  ntrvsta retry dlv_01kb2x3y4z5a6b7c8d9e0f1g2h\n"
		"  ntrvsta failed --json --limit 0 | jq -r '.data[].id' | xargs -r ntrvsta retry\n",
	.run = run,
};
