#include "lib/cli/handlers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/delivery/targets.h"

bool handlers_exists(const struct conf *conf, const char *name)
{
	char *path = fdio_resolve(conf->handlers_dir, name);
	bool exists = access(path, F_OK) == 0;

	free(path);
	return exists;
}

int handlers_unknown(const struct cli *cli, const struct conf *conf, const char *name)
{
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	struct cli_near near = { .word = name };
	size_t i;

	if (targets_find_all(conf->handlers_dir, &found, NULL, NULL, &err) == 0)
		for (i = 0; i < found.n; i++)
			cli_near_try(&near, found.names[i]);
	if (err.len)
		cli_fail(cli, "%s", err.data);
	else if (near.best)
		cli_fail(cli, "no handler %s below %s; did you mean %s?", name, conf->handlers_dir, near.best);
	else
		cli_fail(cli, "no handler %s below %s: 'ntrvsta check' names them all", name, conf->handlers_dir);
	targets_free(&found);
	buf_free(&err);
	return CLI_FAILED;
}

/* --- would it run? ------------------------------------------------------------------------- */

struct skipped {
	const char *name; /* that is looked for */
	const char *why;  /* NULL: not seen */
};

static void note_skipped(void *ctx, const char *name, enum targets_skip why)
{
	struct skipped *skipped = ctx;

	if (strcmp(name, skipped->name) == 0)
		skipped->why = targets_skip_text(why);
}

bool handlers_would_run(const struct cli *cli, const struct conf *conf, const char *name)
{
	struct skipped skipped = { .name = name };
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	bool runs = false;
	size_t i;

	if (targets_find_all(conf->handlers_dir, &found, note_skipped, &skipped, &err))
		cli_fail(cli, "%s: so no handler is started", buf_str(&err));
	for (i = 0; i < found.n && !runs; i++)
		runs = strcmp(found.names[i], name) == 0;
	if (!runs && skipped.why)
		cli_fail(cli, "%s/%s would not run: %s; mend that first", conf->handlers_dir, name, skipped.why);
	else if (!runs && !err.len)
		handlers_unknown(cli, conf, name);
	targets_free(&found);
	buf_free(&err);
	return runs;
}
