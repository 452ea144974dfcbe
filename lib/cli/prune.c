/* ntrvsta prune: remove now what retention would remove within the hour. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/cli/progress.h"
#include "lib/cli/terminal.h"

/* Events in one commit, and a gap in which others get at the store. */
#define STEP 50
#define PAUSE_MS 2

static enum store_status prune_all(const struct cli *cli, const struct conf *conf, struct store *store, int64_t *removed)
{
	int64_t now_ms = clock_wall_ms();
	struct store_retention retention = {
		.events_before_ms = now_ms - conf->retain_events_ms,
		.failed_before_ms = now_ms - conf->retain_failed_ms,
	};
	enum store_status status = STORE_OK;
	struct progress progress;
	size_t n;

	terminal_catch_interrupt();
	progress_start(&progress, cli->json, "prune", "events removed", 0);
	while (status == STORE_OK && !retention.done && !terminal_interrupted()) {
		status = store_prune(store, &retention, now_ms, STEP, &n);
		*removed += (int64_t)n;
		progress_set(&progress, *removed);
		if (!retention.done)
			terminal_pause(PAUSE_MS);
	}
	progress_end(&progress);
	return status;
}

static int64_t file_size(const char *path, const char *suffix)
{
	char *name = xasprintf("%s%s", path, suffix);
	struct stat st;
	int64_t size = stat(name, &st) == 0 ? (int64_t)st.st_size : 0;

	free(name);
	return size;
}

static void print_account(const struct cli *cli, const struct conf *conf, int64_t removed)
{
	int64_t bytes = file_size(conf->store_path, ""), journal_bytes = file_size(conf->store_path, "-wal");
	struct json_object *doc;
	char kept[UNITS_SIZE];

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "removed", json_object_new_int64(removed));
		json_object_object_add(doc, "file", cli_json_string(conf->store_path));
		json_object_object_add(doc, "file_bytes", json_object_new_int64(bytes));
		json_object_object_add(doc, "journal_bytes", json_object_new_int64(journal_bytes));
		cli_print_json(doc);
		return;
	}
	if (removed)
		printf("%lld %s removed.\n", (long long)removed, removed == 1 ? "event was" : "events were");
	else
		printf("No event that may go is older than %s.\n", units_format_duration(conf->retain_events_ms, kept));
	printf("%s: %.1f MiB, its journal %.1f MiB.\n", conf->store_path, (double)bytes / (1 << 20),
	       (double)journal_bytes / (1 << 20));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct conf *conf;
	struct store *store;
	enum store_status status;
	int64_t removed = 0;
	int result = CLI_FAILED;

	argc = cli_parse(cli, NULL, 0, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 0)
		return cli_usage(cli, "takes no operand, such as '%s'", argv[0]);
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store) {
		status = prune_all(cli, conf, store, &removed);
		print_account(cli, conf, removed);
		if (status != STORE_OK)
			cli_fail(cli, "%s", store_error(store));
		else if (terminal_interrupted())
			cli_fail(cli, "interrupted: there may be more to remove; the same command goes on");
		else
			result = CLI_OK;
	}
	store_close(store);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_prune = {
	.name = "prune",
	.summary = "remove events that are too old to keep, now",
	.help =
		"Usage: ntrvsta prune\n"
		"\n"
		"Removes events that are older than retain_events in [store], with their deliveries and attempts;\n"
		"those with a failed delivery stay until it failed retain_failed ago. Nothing that waits or runs is\n"
		"removed. The dispatcher does the same once an hour. Works in small steps, so that nobody waits.\n"
		"\n"
		"The database does not shrink: the space is used again by what comes next. To give it back to the\n"
		"file system, stop ntrvsta-fcgi and the dispatcher, and run: sqlite3 FILE VACUUM\n"
		"\n"
		"Examples:\n"
		"  ntrvsta prune\n"
		"  ntrvsta prune --json | jq .file_bytes\n",
	.run = run,
};
