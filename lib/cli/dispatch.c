/* ntrvsta dispatch: run what is due. */
#include "lib/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/units.h"
#include "lib/cli/output.h"
#include "lib/delivery/dispatcher.h"
#include "lib/delivery/launch.h"

/* Not an error: whoever holds the lock does the work. */
static int say_held(const struct cli *cli, const struct conf *conf, pid_t holder)
{
	struct json_object *doc;

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "ran", json_object_new_boolean(false));
		json_object_object_add(doc, "holder", holder ? json_object_new_int(holder) : NULL);
		cli_print_json(doc);
	} else if (holder) {
		printf("A dispatcher runs already: process %d holds %s/dispatch.lock.\n", (int)holder, conf->state_dir);
	} else {
		printf("A dispatcher runs already: another process holds %s/dispatch.lock.\n", conf->state_dir);
	}
	return CLI_OK;
}

static int say_ran(const struct cli *cli, int result)
{
	struct json_object *doc;

	if (result)
		return CLI_FAILED;
	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "ran", json_object_new_boolean(true));
		json_object_object_add(doc, "holder", NULL);
		cli_print_json(doc);
	}
	return CLI_OK;
}

static int dispatch(const struct cli *cli, struct conf *conf, const struct dispatcher_options *options)
{
	pid_t holder = 0;

	if (!cli_may_change_state(cli, conf))
		return CLI_FAILED;
	if (log_open("ntrvsta-dispatch", conf->log_level, conf->log_target))
		return cli_fail(cli, "%s: can't be opened for the log: %s", conf->log_target, strerror(errno));
	/* Held for life: the descriptor is never closed. */
	if (launch_lock(conf->state_dir, &holder) >= 0)
		return say_ran(cli, dispatcher_run(conf, options));
	if (errno == EWOULDBLOCK)
		return say_held(cli, conf, holder);
	return cli_fail(cli, "%s/dispatch.lock: can't be locked: %s", conf->state_dir, strerror(errno));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct dispatcher_options dispatcher = { 0 };
	const char *idle = NULL;
	const struct cli_option options[] = { { "once", NULL, &dispatcher.once }, { "idle", &idle, NULL } };
	struct conf *conf;
	int status;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 0)
		return cli_usage(cli, "takes no operand, such as '%s'", argv[0]);
	if (idle && units_parse_duration(idle, &dispatcher.idle_ms))
		return cli_usage(cli, "--idle wants a duration such as 30s or 5m, not '%s'", idle);
	conf = cli_load_conf(cli);
	if (!conf)
		return CLI_FAILED;
	status = dispatch(cli, conf, &dispatcher);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_dispatch = {
	.name = "dispatch",
	.summary = "deliver what was received: run handlers, call URLs",
	.help =
		"Usage: ntrvsta dispatch [--once] [--idle DURATION]\n"
		"\n"
		"Runs the handlers of each event, and what is due of their retries, until SIGTERM or SIGINT;\n"
		"then it claims nothing more and waits for the handlers that run, up to their time-out. One\n"
		"dispatcher works on a state directory: a second one says who has the lock and leaves with 0.\n"
		"With 'start = auto' in [dispatch], ntrvsta-fcgi starts one where none runs; with 'start = off',\n"
		"systemd or cron does.\n"
		"\n"
		"  --once           leave when nothing is due: for cron\n"
		"  --idle DURATION  leave when nothing ran or came for so long and no ntrvsta-fcgi runs. What\n"
		"                   ntrvsta-fcgi passes to the dispatcher that it starts\n"
		"\n"
		"Examples:\n"
		"  ntrvsta dispatch\n"
		"  * * * * * ntrvsta dispatch --once >/dev/null    (a crontab line)\n",
	.run = run,
};
