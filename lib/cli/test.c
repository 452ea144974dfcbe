/* ntrvsta test: one target, one event made for it, now. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/units.h"
#include "lib/cli/await.h"
#include "lib/cli/data.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"
#include "lib/event/envelope.h"

struct test {
	const struct cli *cli;
	struct store *store;
	const char *target, *event;
	bool shown, succeeded;
};

/* --- what came of it ------------------------------------------------------------------------ */

static int show_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct test *t = ctx;
	char took[UNITS_SIZE];
	struct buf line = BUF_INIT;

	t->shown = true;
	t->succeeded = strcmp(row->outcome, "success") == 0;
	if (t->cli->json) {
		cli_print_json(cli_json_attempt(row));
		return 1;
	}
	buf_addf(&line, "%s after %s", store_attempt_status(row), units_format_duration(row->duration_ms, took));
	if (row->error_message[0])
		buf_addf(&line, ": %s", row->error_message);
	else if (row->status_code)
		buf_addf(&line, ": HTTP status %d", row->status_code);
	buf_addf(&line, "\n%s, test event %s, delivery %s", row->event, row->event_id, row->delivery_id);
	cli_print_text("", line.data, line.len);
	buf_free(&line);
	cli_print_exchange("  ", row);
	return 1;
}

static int show(struct test *t, const char *delivery_id)
{
	struct store_filter filter = { .delivery_id = delivery_id, .limit = 1 };

	if (store_list_attempts(t->store, &filter, show_attempt, t) != STORE_OK)
		return cli_fail(t->cli, "%s", store_error(t->store));
	if (!t->shown)
		return cli_fail(t->cli, "the test was removed");
	return t->succeeded ? CLI_OK : CLI_FAILED;
}

/* --- making it ------------------------------------------------------------------------------ */

static int make(struct test *t, const struct conf *conf, struct json_object *data, int64_t timeout_ms)
{
	struct trial trial = await_trial(conf, t->store, timeout_ms);
	enum trial_result result = trial_event(&trial, t->target, t->event, data);

	if (await_succeeded(t->cli, &trial, result))
		return show(t, trial.delivery_id);
	if (trial.begun)
		cli_note(t->cli, "it has begun: see 'ntrvsta logs %s'", t->target);
	return CLI_FAILED;
}

static bool target_exists(const struct test *t, const struct conf *conf)
{
	struct store_webhook webhook = { .url = NULL };
	bool exists;

	if (!target_is_webhook(t->target))
		return target_would_run(t->cli, conf, t->store, t->target);
	exists = webhooks_get(t->cli, t->store, t->target, &webhook); /* active or not */
	if (exists)
		store_webhook_free(&webhook);
	return exists;
}

static int test_with(struct test *t, struct json_object *data, int64_t timeout_ms)
{
	struct conf *conf = cli_load_conf(t->cli);
	int status = CLI_FAILED;

	t->store = conf ? cli_open_store(t->cli, conf) : NULL;
	if (t->store && target_exists(t, conf) && await_possible(t->cli, conf))
		status = make(t, conf, data, timeout_ms);
	store_close(t->store);
	conf_unref(conf);
	return status;
}

/* --- the command ---------------------------------------------------------------------------- */

/* --data as an object. False after it said what is wrong. */
static bool read_data(const struct cli *cli, const char *option, struct json_object **data)
{
	struct buf text = BUF_INIT;
	bool read;

	if (!option)
		return true;
	read = data_read(cli, option, &text);
	if (read)
		*data = data_parse(buf_str(&text));
	buf_free(&text);
	if (!read || json_object_is_type(*data, json_type_object))
		return read;
	cli_fail(cli, "--data wants a JSON object, such as {\"session\":{\"overall_score\":92}}, or @FILE with one in it");
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *option = NULL, *timeout = NULL;
	const struct cli_option options[] = { { "data", &option, NULL }, { "timeout", &timeout, NULL } };
	struct test t = { .cli = cli };
	struct json_object *data = NULL;
	int64_t timeout_ms = AWAIT_USUAL_MS;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 2)
		return cli_usage(cli, "wants a handler's name or a webhook's id, and the name of an event");
	t.target = argv[0];
	t.event = argv[1];
	if (!target_usable(cli, t.target))
		return CLI_USAGE;
	if (!envelope_name_valid(t.event, strlen(t.event)))
		return cli_usage(cli, "'%s' can't be an event's name, such as session.completed", t.event);
	if (!await_parse_timeout(cli, timeout, &timeout_ms))
		return CLI_USAGE;
	data_note_undocumented(cli, t.event);
	if (read_data(cli, option, &data))
		status = test_with(&t, data, timeout_ms);
	json_object_put(data);
	return status;
}

const struct cli_command cli_test = {
	.name = "test",
	.summary = "deliver a test event to one handler or webhook, now",
	.help =
		"Usage: ntrvsta test ID EVENT [--data JSON|@FILE] [--timeout T]\n"
		"\n"
		"Makes a whole sample event EVENT, delivers it to ID alone, once and at once, and shows what came of\n"
		"it: how long it took, what the handler printed, or what the webhook answered. Exit status 0 where\n"
		"that was a success. A handler sees NTRVSTA_TEST=1. A test is marked as one in logs and events; it is\n"
		"not retried and counts in no statistics. A webhook that is not active can be tested.\n"
		"\n"
		"  ID               a handler's path below the handlers' folder, or a webhook's id\n"
		"  EVENT            such as session.completed; it need not be one that ID is called for\n"
		"  --data JSON      an object that is laid over the sample's data: objects in it are merged, all\n"
		"                   else is replaced; @FILE reads it from a file, @- from standard input\n"
		"  --timeout T      how long to wait for the result (60s); a test that has not begun then is canceled\n"
		"\n"
		"Examples:\n"
		"  ntrvsta test all/10-log session.completed\n"
		"  ntrvsta test wh_01kb2x3y4z5a6b7c8d9e0f1g2h session.completed --data '{\"session\":{\"overall_score\":92}}'\n",
	.run = run,
};
