#include "lib/delivery/environment.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/sandbox.h"

#define VARIABLES_MAX 64

struct environment {
	char **vars;
	size_t n;
};

static void add(struct environment *e, const char *name, const char *value)
{
	if (e->n < VARIABLES_MAX)
		e->vars[e->n++] = xasprintf("%s=%s", name, value);
}

/* Web servers start programs without $HOME. The password database is asked once, not for each run. */
static const char *home_folder(void)
{
	static char *found;
	const char *home = getenv("HOME");
	const struct passwd *pw;

	if (home && *home)
		return home;
	if (!found) {
		pw = getpwuid(geteuid());
		found = xstrdup(pw ? pw->pw_dir : "/");
	}
	return found;
}

/* The names that the operator chose to pass on. */
static void add_passed(struct environment *e, char *const *names)
{
	for (; names && *names; names++) {
		const char *value = getenv(*names);

		if (value)
			add(e, *names, value);
	}
}

char **environment_make(const struct conf *conf, const char *target, const struct store_claim *claim,
                        size_t batch)
{
	struct environment e = { xcalloc(VARIABLES_MAX + 1, sizeof *e.vars), 0 };
	char received[CLOCK_RFC3339_SIZE], attempt[16], count[24];
	const char *home = sandbox_home(&conf_handler(conf, target)->sandbox);

	clock_format(claim->received_ms, received);
	snprintf(attempt, sizeof attempt, "%d", claim->attempt);
	add(&e, "PATH", "/usr/local/bin:/usr/bin:/bin");
	add(&e, "HOME", home ? home : home_folder());
	add(&e, "LANG", "C.UTF-8");
	add(&e, "NTRVSTA_EVENT", claim->event);
	add(&e, "NTRVSTA_EVENT_ID", claim->event_id);
	add(&e, "NTRVSTA_TIMESTAMP", *claim->timestamp ? claim->timestamp : received);
	add(&e, "NTRVSTA_DELIVERY_ID", claim->delivery_id);
	add(&e, "NTRVSTA_ATTEMPT", attempt);
	add(&e, "NTRVSTA_SOURCE", claim->source);
	add(&e, "NTRVSTA_HANDLER", target);
	if (batch) {
		snprintf(count, sizeof count, "%zu", batch);
		add(&e, "NTRVSTA_BATCH", count);
	}
	if (claim->test)
		add(&e, "NTRVSTA_TEST", "1");
	add_passed(&e, conf->pass_env);
	return e.vars;
}

void environment_free(char **envp)
{
	char **p;

	for (p = envp; p && *p; p++)
		free(*p);
	free(envp);
}
