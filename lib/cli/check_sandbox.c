/* ntrvsta check: what handlers may do, and whether the kernel plays along. */
#include "lib/cli/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/delivery/landlock.h"
#include "lib/delivery/sandbox.h"

static void add_limits(struct buf *out, const struct conf_sandbox *s)
{
	char text[UNITS_SIZE];

	for (int i = 0; i < CONF_LIMITS; i++) {
		buf_addf(out, ", %s ", conf_limit_name(i));
		if (s->limits[i] == 0)
			buf_adds(out, "unlimited");
		else if (i == CONF_CPU_TIME)
			buf_adds(out, units_format_duration((int64_t)s->limits[i] * 1000, text));
		else if (i == CONF_PROCESSES || i == CONF_OPEN_FILES)
			buf_addf(out, "%llu", (unsigned long long)s->limits[i]);
		else
			buf_adds(out, units_format_size(s->limits[i], text));
	}
}

static void add_writable(struct buf *out, char *const *paths)
{
	buf_adds(out, ", writable ");
	if (!paths)
		buf_adds(out, "all");
	else if (!*paths)
		buf_adds(out, "none");
	for (size_t i = 0; paths && paths[i]; i++)
		buf_addf(out, "%s%s", i ? " " : "", paths[i]);
}

static void describe(struct buf *out, const struct conf_sandbox *s)
{
	buf_addf(out, "user %s, umask %03o, no_new_privs %s", s->user[0] ? s->user : "(the dispatcher's)", (unsigned)s->umask,
	         s->no_new_privs ? "on" : "off");
	add_limits(out, s);
	add_writable(out, s->writable);
	buf_addf(out, ", network %s", s->network ? "on" : "off");
}

/* Does the dispatcher run as who runs this check? Root leaves the state of other users alone. */
static bool is_dispatchers_user(const struct check *c)
{
	struct stat st;

	return stat(c->conf->state_dir, &st) != 0 || st.st_uid == geteuid();
}

/* NAME is what is meant: "handlers", or one of them. */
static void try_it(struct check *c, const struct conf_sandbox *s, const char *name, const char *cwd)
{
	struct buf why = BUF_INIT;

	if (sandbox_try(s, cwd, &why))
		check_say(c, CHECK_PROBLEM, "sandbox", "%s can't be started: %s", name, buf_str(&why));
	else if (s->writable && landlock_abi() < LANDLOCK_ABI_TRUNCATE)
		check_say(c, CHECK_WARNING, "sandbox", "%s: this kernel (older than Linux 6.2) keeps files outside of writable "
		          "from being written, but not from being cut by truncate(2)", name);
	else if (geteuid() == 0 && strcmp(s->user, "root") == 0)
		check_say(c, CHECK_NOTE, "sandbox", "%s run as root: who can change one owns this machine, and processes = %llu "
		          "is no limit to root", name, (unsigned long long)s->limits[CONF_PROCESSES]);
	buf_free(&why);
}

static void check_one(struct check *c, const struct conf_sandbox *s, const char *name, const char *cwd)
{
	struct buf text = BUF_INIT;

	describe(&text, s);
	check_say(c, CHECK_OK, "sandbox", "%s: %s", name, buf_str(&text));
	if (is_dispatchers_user(c))
		try_it(c, s, name, cwd);
	buf_free(&text);
}

void check_sandbox(struct check *c)
{
	const struct conf_sandbox *common = &c->conf->handler_defaults.sandbox;

	if (access(c->conf->handlers_dir, F_OK))
		return; /* which is said elsewhere */
	check_one(c, common, "handlers", c->conf->handlers_dir);
	for (size_t i = 0; i < c->conf->nhandlers; i++) {
		const struct conf_handler *h = &c->conf->handlers[i];
		char *path = fdio_resolve(c->conf->handlers_dir, h->name), *dir = fdio_dirname(path);

		if (access(path, F_OK) == 0 && !conf_sandbox_equal(common, &h->sandbox))
			check_one(c, &h->sandbox, h->name, dir);
		free(dir);
		free(path);
	}
}
