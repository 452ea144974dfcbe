/* ntrvsta secret: change a signing secret without a gap; say which ones count. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/cli/output.h"

/* --- list ---------------------------------------------------------------------------------- */

static struct json_object *json_secret(const struct conf_source *source, size_t i, int64_t now_ms)
{
	const struct secret *s = &source->secrets->items[i];
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "source", cli_json_string(source->name));
	json_object_object_add(o, "number", json_object_new_int((int)i + 1));
	json_object_object_add(o, "state", json_object_new_string(secret_live(s, now_ms) ? "live" : "expired"));
	json_object_object_add(o, "until", s->until_ms == SECRETS_FOREVER ? NULL : cli_json_time(s->until_ms));
	json_object_object_add(o, "bytes", json_object_new_int64((int64_t)s->len));
	json_object_object_add(o, "file", conf_secret_from_environment(source) ? NULL : cli_json_string(source->secret_file));
	return o;
}

static void add_row(struct cli_table *table, const struct conf_source *source, size_t i, int64_t now_ms)
{
	const struct secret *s = &source->secrets->items[i];
	char number[24], bytes[24], time[CLI_TIME_SIZE];

	snprintf(number, sizeof number, "%zu", i + 1);
	snprintf(bytes, sizeof bytes, "%zu bytes", s->len);
	cli_table_cell(table, source->name);
	cli_table_cell(table, number);
	cli_table_cell(table, secret_live(s, now_ms) ? "live" : "expired");
	cli_table_cell(table, s->until_ms == SECRETS_FOREVER ? "-" : cli_format_time(s->until_ms, time));
	cli_table_cell(table, bytes);
	cli_table_cell(table, conf_secret_from_environment(source) ? "$NTRVSTA_WEBHOOK_SECRET" : source->secret_file);
}

static int list(const struct cli *cli, const struct conf *conf, const struct conf_source *only)
{
	static const char *const headings[] = { "SOURCE", "NO", "STATE", "UNTIL", "LENGTH", "FROM" };
	struct json_object *rows = json_object_new_array();
	struct cli_table *table = cli_table_new(headings, 6);
	int64_t now_ms = clock_wall_ms();
	size_t i, k;

	for (i = 0; i < conf->nsources; i++) {
		const struct conf_source *source = &conf->sources[i];

		for (k = 0; (!only || only == source) && k < source->secrets->n; k++) {
			json_object_array_add(rows, json_secret(source, k, now_ms));
			add_row(table, source, k, now_ms);
		}
	}
	if (cli->json) {
		cli_print_json(cli_json_list(rows, false));
		cli_table_free(table);
	} else {
		json_object_put(rows);
		cli_table_print(table, "No secret.");
	}
	return CLI_OK;
}

/* --- rotate -------------------------------------------------------------------------------- */

static void say_rotated(const struct cli *cli, const struct conf_source *source, const char *secret,
                        int64_t until_ms, int64_t overlap_ms)
{
	char time[CLI_TIME_SIZE], overlap[UNITS_SIZE];
	struct json_object *doc;

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "source", cli_json_string(source->name));
		json_object_object_add(doc, "secret", json_object_new_string(secret));
		json_object_object_add(doc, "file", cli_json_string(source->secret_file));
		json_object_object_add(doc, "previous_until", cli_json_time(until_ms));
		cli_print_json(doc);
		return;
	}
	printf("The new secret of source %s:\n\n  %s\n\n", source->name, secret);
	if (overlap_ms == 0)
		printf("The old ones count no longer: put the new one into the platform's webhook settings now.\n");
	else
		printf("Put it into the platform's webhook settings. The old ones count until %s (%s), so\n"
		       "nothing is refused meanwhile.\n",
		       cli_format_time(until_ms, time), units_format_duration(overlap_ms, overlap));
	printf("A running ntrvsta-fcgi takes the change from %s by itself.\n", source->secret_file);
}

static int rotate(const struct cli *cli, const struct conf_source *source, int64_t overlap_ms)
{
	int64_t until_ms = clock_wall_ms() + overlap_ms;
	char secret[CLI_SECRET_SIZE];
	struct buf err = BUF_INIT;
	int status = CLI_OK;

	if (conf_secret_from_environment(source))
		return cli_fail(cli, "the secret of source %s comes from $NTRVSTA_WEBHOOK_SECRET: change it there", source->name);
	cli_make_secret(secret);
	if (secrets_rotate(source->secret_file, secret, until_ms, &err))
		status = cli_fail(cli, "%s", buf_str(&err));
	else
		say_rotated(cli, source, secret, until_ms, overlap_ms);
	explicit_bzero(secret, sizeof secret);
	buf_free(&err);
	return status;
}

/* --- the command ---------------------------------------------------------------------------- */

static int run(struct cli *cli, int argc, char **argv)
{
	const char *overlap = NULL, *name = NULL;
	const struct cli_option options[] = { { "overlap", &overlap, NULL }, { "source", &name, NULL } };
	const struct conf_source *source = NULL;
	int64_t overlap_ms = DAY_MS;
	struct conf *conf;
	bool rotates;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	rotates = argc > 0 && strcmp(argv[0], "rotate") == 0;
	if (argc == 0)
		return cli_usage(cli, "wants a subcommand: rotate or list");
	if (!rotates && strcmp(argv[0], "list") != 0)
		return cli_usage(cli, "unknown subcommand '%s': there are rotate and list", argv[0]);
	if (argc > 1)
		return cli_usage(cli, "%s takes no operand, such as '%s'", argv[0], argv[1]);
	if (overlap && !rotates)
		return cli_usage(cli, "--overlap is for rotate, not for list");
	if (overlap && units_parse_duration(overlap, &overlap_ms))
		return cli_usage(cli, "--overlap wants a duration such as 24h, not '%s'", overlap);
	conf = cli_load_conf(cli);
	if (conf && (name || rotates))
		source = cli_source(cli, conf, name);
	if (conf && (source || (!name && !rotates)))
		status = rotates ? rotate(cli, source, overlap_ms) : list(cli, conf, source);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_secret = {
	.name = "secret",
	.summary = "rotate a signing secret, or list which ones count",
	.help =
		"Usage: ntrvsta secret rotate [--overlap DURATION] [--source NAME]\n"
		"       ntrvsta secret list [--source NAME]\n"
		"\n"
		"  rotate  make a new secret, put it first into the secret file and print it. Those before it\n"
		"          count until the overlap is over, so that no call is refused while the platform still\n"
		"          signs with the old one\n"
		"  list    which secrets there are, whether they count and until when; never the secrets\n"
		"\n"
		"  --overlap DURATION  how long the old ones still count (24h); 0 ends them at once\n"
		"  --source NAME       of [source NAME] (rotate: ntrvsta; list: all)\n"
		"\n"
		"Examples:\n"
		"  ntrvsta secret rotate --overlap 2h\n"
		"  ntrvsta secret list\n",
	.run = run,
};
