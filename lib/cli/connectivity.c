/* ntrvsta connectivity: does a webhook answer at all, and how long does each step take? */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/units.h"
#include "lib/cli/await.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"

/* --- what came of it ------------------------------------------------------------------------ */

static int show_json(const struct store_probe *p)
{
	cli_print_json(trial_probe_json(p));
	return *p->error ? CLI_FAILED : CLI_OK;
}

static int show(const struct store_probe *p)
{
	static const char *const headings[] = { "RESULT", "HTTP STATUS", "DNS", "CONNECT", "TLS", "TOTAL" };
	const int64_t times[] = { p->dns_ms, p->connect_ms, p->tls_ms, p->total_ms };
	struct cli_table *table = cli_table_new(headings, 6);
	char text[UNITS_SIZE];
	size_t i;

	snprintf(text, sizeof text, "%d", p->status_code);
	cli_table_cell(table, *p->error ? "failed" : "success");
	cli_table_cell(table, p->status_code ? text : "-");
	for (i = 0; i < sizeof times / sizeof times[0]; i++)
		cli_table_cell(table, units_format_duration(times[i], text));
	cli_table_print(table, "");
	if (*p->error) {
		putchar('\n');
		cli_print_text("", p->error, strlen(p->error));
	}
	return *p->error ? CLI_FAILED : CLI_OK;
}

/* --- making it ------------------------------------------------------------------------------ */

static int make(const struct cli *cli, const struct conf *conf, struct store *store, const char *id, int64_t timeout_ms)
{
	struct trial trial = await_trial(conf, store, timeout_ms);
	struct store_probe probe;
	int status = CLI_FAILED;

	if (await_succeeded(cli, &trial, trial_connectivity(&trial, id, &probe)))
		status = cli->json ? show_json(&probe) : show(&probe);
	store_probe_free(&probe);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *timeout = NULL;
	const struct cli_option options[] = { { "timeout", &timeout, NULL } };
	struct store_webhook webhook;
	int64_t timeout_ms = AWAIT_USUAL_MS;
	struct store *store;
	struct conf *conf;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 1, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1)
		return cli_usage(cli, "wants the id of one webhook (wh_...)");
	if (!target_is_webhook(argv[0]))
		return cli_usage(cli, "'%s' is no webhook's id (wh_...); a handler is tried with 'ntrvsta test'", argv[0]);
	if (!await_parse_timeout(cli, timeout, &timeout_ms))
		return CLI_USAGE;
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store && webhooks_get(cli, store, argv[0], &webhook)) {
		store_webhook_free(&webhook);
		if (await_possible(cli, conf))
			status = make(cli, conf, store, argv[0], timeout_ms);
	}
	store_close(store);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_connectivity = {
	.name = "connectivity",
	.summary = "does a webhook's URL answer, and how long does it take?",
	.help =
		"Usage: ntrvsta connectivity ID [--timeout T]\n"
		"\n"
		"Calls the webhook's URL with a HEAD request, on a new connection, without an event and without a\n"
		"signature, and shows how long the look-up of its name, the connection, the agreement on TLS and all of\n"
		"it took. Any HTTP answer is a success, whatever its status; exit status 0 then. The same addresses are\n"
		"refused, and the same limits hold, as for a delivery. A webhook that is not active can be tested.\n"
		"\n"
		"  ID               the webhook's id\n"
		"  --timeout T      how long to wait for the result (60s)\n"
		"\n"
		"Examples:\n"
		"  ntrvsta connectivity wh_01kb2x3y4z5a6b7c8d9e0f1g2h\n"
		"  ntrvsta connectivity wh_01kb2x3y4z5a6b7c8d9e0f1g2h --json | jq .total_ms\n",
	.run = run,
};
