/* ntrvsta check: the handlers. */
#include "lib/cli/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/targets.h"
#include "lib/event/catalogue.h"

/* A script without its run bit was meant to run; a README beside the handlers was not. */
static void note_skipped(void *ctx, const char *name, enum targets_skip why)
{
	struct check *c = ctx;
	char *path = fdio_resolve(c->conf->handlers_dir, name);
	enum check_level level = CHECK_NOTE;

	if (why == TARGETS_NOT_EXECUTABLE && cli_is_script(path))
		level = CHECK_PROBLEM;
	else if (why == TARGETS_NOT_EXECUTABLE || why == TARGETS_NO_EVENT || why == TARGETS_BAD_NAME ||
	         why == TARGETS_WEBHOOK_ID)
		level = CHECK_WARNING;
	else if (why == TARGETS_UNREADABLE)
		level = CHECK_PROBLEM;
	check_say(c, level, "handlers", "%s is skipped: %s", name, targets_skip_text(why));
	free(path);
}

/* Handlers of an event that nobody documents: most likely a misspelt name. */
static void check_event_name(struct check *c, const char *handler)
{
	char *event = xstrndup(handler, strcspn(handler, "/"));
	const char *near = cli_near_event(event);

	if (strcmp(event, "all") == 0 || catalogue_find(event))
		;
	else if (near)
		check_say(c, CHECK_WARNING, "handlers", "%s waits for %s, which is not documented; did you mean %s?", handler, event, near);
	else
		check_say(c, CHECK_NOTE, "handlers", "%s waits for %s, which is not documented", handler, event);
	free(event);
}

/* Sections of the configuration that no handler reads: mistyped, or of one that was removed. */
static void check_overrides(struct check *c, const struct targets *found)
{
	size_t i, k;

	for (i = 0; i < c->conf->nhandlers; i++) {
		const struct conf_handler *section = &c->conf->handlers[i];

		for (k = 0; k < found->n && strcmp(found->names[k], section->name) != 0; k++)
			;
		if (k < found->n)
			continue;
		if (section->batch != c->conf->handler_defaults.batch)
			check_say(c, CHECK_WARNING, "handlers", "[handler %s] in the configuration: there is no such handler, so its "
			          "batch = %u is for nothing", section->name, section->batch);
		else
			check_say(c, CHECK_WARNING, "handlers", "[handler %s] in the configuration: there is no such handler",
			          section->name);
	}
}

/* Who can change a handler can run what they like as its user. */
static void check_writable(struct check *c, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		check_say(c, CHECK_WARNING, "handlers", "%s: everybody on this machine can change it (mode %04o): chmod o-w it",
		          path, (unsigned)st.st_mode & 07777);
}

static bool check_handler(struct check *c, const char *name)
{
	char *path = fdio_resolve(c->conf->handlers_dir, name);
	struct buf why = BUF_INIT;
	bool starts = cli_script_starts(path, &why);

	if (!starts)
		check_say(c, CHECK_PROBLEM, "handlers", "%s can't be started: %s", name, buf_str(&why));
	check_writable(c, path);
	check_event_name(c, name);
	free(path);
	buf_free(&why);
	return starts;
}

/* The folder that handler NAME is in, once for all in it: BEFORE is the handler before. */
static void check_folder(struct check *c, const char *name, const char *before)
{
	size_t len = strcspn(name, "/");
	char *path, *dir;

	if (before && strcspn(before, "/") == len && strncmp(before, name, len) == 0)
		return;
	path = fdio_resolve(c->conf->handlers_dir, name);
	dir = fdio_dirname(path);
	check_writable(c, dir);
	free(path);
	free(dir);
}

void check_handlers(struct check *c)
{
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	size_t i, good = 0;

	if (targets_find_all(c->conf->handlers_dir, &found, note_skipped, c, &err)) {
		check_say(c, CHECK_PROBLEM, "handlers", "%s: so no handler is started", buf_str(&err));
		buf_free(&err);
		return;
	}
	for (i = 0; i < found.n; i++) {
		check_folder(c, found.names[i], i ? found.names[i - 1] : NULL);
		good += check_handler(c, found.names[i]);
	}
	check_overrides(c, &found);
	if (found.n == 0)
		check_say(c, CHECK_WARNING, "handlers", "%s holds none: events are kept, and nothing runs for them", c->conf->handlers_dir);
	else
		check_say(c, CHECK_OK, "handlers", "%s: %zu of %zu can be started", c->conf->handlers_dir, good, found.n);
	targets_free(&found);
	buf_free(&err);
}
