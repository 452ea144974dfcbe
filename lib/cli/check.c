/* ntrvsta check: what an operator runs when something does not work. */
#include "lib/cli/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "lib/base/fdio.h"
#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/delivery/targets.h"
#include "lib/event/catalogue.h"

#define SECRET_SHORT_BYTES 16 /* below: can be guessed */
#define PLAN_LINES 20         /* of one event, for handlers and for webhooks; --json has all */
#define ENDS_SOON_MS DAY_MS

static const char *const level_names[CHECK_LEVELS] = { "ok", "note", "warning", "problem" };

void check_say(struct check *c, enum check_level level, const char *subject, const char *fmt, ...)
{
	struct json_object *finding = json_object_new_object();
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	json_object_object_add(finding, "level", json_object_new_string(level_names[level]));
	json_object_object_add(finding, "subject", cli_json_string(subject));
	json_object_object_add(finding, "message", cli_json_text(buf_str(&text), text.len));
	json_object_array_add(c->findings, finding);
	c->counts[level]++;
	buf_free(&text);
}

/* --- configuration ------------------------------------------------------------------------- */

static struct conf *check_conf(struct check *c)
{
	struct buf err = BUF_INIT;
	struct conf *conf = conf_load(c->cli->config_file, &err);
	char *line, *rest;

	if (conf) {
		check_say(c, CHECK_OK, "configuration", "%s", conf->path);
	} else {
		rest = buf_detach(&err);
		for (line = strtok(rest, "\n"); line; line = strtok(NULL, "\n"))
			check_say(c, CHECK_PROBLEM, "configuration", "%s", line);
		free(rest);
	}
	buf_free(&err);
	return conf;
}

/* A log that can't be opened keeps the dispatcher from starting. */
static void check_log(struct check *c, const char *path)
{
	char *dir = fdio_dirname(path);

	if (path[0] == '/' && access(path, W_OK) && (errno != ENOENT || access(dir, W_OK | X_OK)))
		check_say(c, CHECK_PROBLEM, "log", "%s: can't be written: %s", path, strerror(errno));
	free(dir);
}

/* --- sources and secrets ------------------------------------------------------------------- */

/* Root may let a group read what it owns, as PostgreSQL has it: the group can't change it. */
static void check_secret_file(struct check *c, const struct conf_source *source)
{
	struct stat st;
	mode_t mode;

	if (stat(source->secret_file, &st)) {
		check_say(c, CHECK_PROBLEM, "source", "%s: %s: %s", source->name, source->secret_file, strerror(errno));
		return;
	}
	mode = st.st_mode & 0777;
	if (mode & 0007)
		check_say(c, CHECK_PROBLEM, "source", "%s: everybody on this machine may use %s (mode %04o): chmod 600 it", source->name,
		    source->secret_file, (unsigned)mode);
	else if (mode & (st.st_uid == 0 ? 0030 : 0070))
		check_say(c, CHECK_PROBLEM, "source", "%s: its group may use %s (mode %04o): chmod 600 it", source->name, source->secret_file,
		    (unsigned)mode);
}

static void check_secrets(struct check *c, const struct conf_source *source)
{
	int64_t now_ms = clock_wall_ms(), last_ms = 0;
	size_t live = secrets_live(source->secrets, now_ms), i;
	char time[CLI_TIME_SIZE];

	for (i = 0; i < source->secrets->n; i++) {
		const struct secret *s = &source->secrets->items[i];

		if (!secret_live(s, now_ms))
			continue;
		if (s->until_ms > last_ms)
			last_ms = s->until_ms;
		if (s->len < SECRET_SHORT_BYTES)
			check_say(c, CHECK_WARNING, "source", "%s: a secret of %zu bytes can be guessed; 'ntrvsta secret rotate' makes a long one",
			    source->name, s->len);
	}
	if (live == 0)
		check_say(c, CHECK_PROBLEM, "source", "%s: every secret in %s has expired, so every call is refused: 'ntrvsta secret rotate'",
		    source->name, source->secret_file);
	else if (last_ms - now_ms < ENDS_SOON_MS)
		check_say(c, CHECK_WARNING, "source", "%s: its last secret ends at %s; afterwards every call is refused", source->name,
		    cli_format_time(last_ms, time));
	else
		check_say(c, CHECK_OK, "source", "%s receives at %s%s, with %zu live secret%s", source->name, c->conf->web_base, source->path,
		    live, live == 1 ? "" : "s");
}

/* An event that was removed is known no more, and whoever once heard its call could repeat it. */
static void check_replay(struct check *c, const struct conf_source *source)
{
	char age[UNITS_SIZE], kept[UNITS_SIZE];

	units_format_duration(source->max_age_ms, age);
	units_format_duration(c->conf->retain_events_ms, kept);
	if (source->max_age_ms == 0)
		check_say(c, CHECK_NOTE, "source", "%s: a call that somebody recorded could be repeated once its event was removed, after %s: a "
		          "max_age below that closes this for events with a timestamp", source->name, kept);
	else if (source->max_age_ms > c->conf->retain_events_ms)
		check_say(c, CHECK_WARNING, "source", "%s: max_age = %s is longer than [store] retain_events = %s: in between, a call that "
		          "somebody recorded could be repeated; make it shorter", source->name, age, kept);
}

/* With all of them as a proxy, every client says who he is. */
static void check_proxies(struct check *c)
{
	const struct address_blocks *proxies = &c->conf->web_trusted_proxies;
	size_t i;

	for (i = 0; i < proxies->n; i++)
		if (proxies->items[i].bits == 0 || (address_is_ipv4(&proxies->items[i].first) && proxies->items[i].bits == 96))
			check_say(c, CHECK_WARNING, "web", "[web] trusted_proxies has every address in it: each client can choose in "
			          "X-Forwarded-For which address its calls count for");
}

static void check_sources(struct check *c)
{
	size_t i;

	for (i = 0; i < c->conf->nsources; i++) {
		const struct conf_source *source = &c->conf->sources[i];

		if (conf_secret_from_environment(source))
			check_say(c, CHECK_NOTE, "source", "%s: its secret comes from $NTRVSTA_WEBHOOK_SECRET, not from %s; the web server's "
			    "environment may differ from yours", source->name, source->secret_file);
		else
			check_secret_file(c, source);
		check_secrets(c, source);
		check_replay(c, source);
	}
}

/* Who switched it off knows. */
static void check_dashboard(struct check *c)
{
	const char *why = cli_no_dashboard(c->conf), *path = c->conf->sources[0].path;

	if (why && c->conf->web_dashboard)
		check_say(c, CHECK_NOTE, "dashboard", "there is none: %s", why);
	else if (!why)
		check_say(c, CHECK_OK, "dashboard", "is at %s%.*s/dashboard/", c->conf->web_base, (int)(strrchr(path, '/') - path), path);
}

/* --- what would run ------------------------------------------------------------------------ */

static struct json_object *handlers_of(const struct conf *conf, const char *event)
{
	struct json_object *names = json_object_new_array();
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	size_t i;

	if (targets_find(conf->handlers_dir, event, &found, NULL, NULL, &err) == 0)
		for (i = 0; i < found.n; i++)
			json_object_array_add(names, cli_json_string(found.names[i]));
	targets_free(&found);
	buf_free(&err);
	return names;
}

static struct json_object *webhooks_of(struct store *store, const char *event)
{
	struct json_object *ids = json_object_new_array();
	struct targets found = { 0 };
	size_t i;

	if (store)
		store_webhooks_for(store, event, NULL, &found.names, &found.n);
	for (i = 0; i < found.n; i++)
		json_object_array_add(ids, cli_json_string(found.names[i]));
	targets_free(&found);
	return ids;
}

static struct json_object *plan(const struct check *c)
{
	struct json_object *rows = json_object_new_array(), *row;
	const struct catalogue_event *events;
	size_t n, i;

	events = catalogue_events(&n);
	for (i = 0; c->conf && i < n; i++) {
		row = json_object_new_object();
		json_object_object_add(row, "event", cli_json_string(events[i].name));
		json_object_object_add(row, "handlers", handlers_of(c->conf, events[i].name));
		json_object_object_add(row, "webhooks", webhooks_of(c->store, events[i].name));
		json_object_array_add(rows, row);
	}
	return rows;
}

/* The targets of ROW that MEMBER names, each on a line; a webhook with its URL. */
static size_t add_targets(const struct check *c, struct cli_table *table, struct json_object *row, const char *member,
                          const char *event)
{
	struct json_object *names = json_object_object_get(row, member);
	size_t i, n = json_object_array_length(names), shown = n > PLAN_LINES ? PLAN_LINES - 1 : n;
	struct buf text = BUF_INIT;

	for (i = 0; i < shown; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		const struct store_webhook *w = webhooks_find(&c->webhooks, name);

		buf_reset(&text);
		buf_addf(&text, "%s%s%s", name, w ? "  " : "", w ? w->url : "");
		cli_table_cell(table, i ? "" : event);
		cli_table_cell(table, text.data);
	}
	if (shown < n) {
		buf_reset(&text);
		buf_addf(&text, "... and %zu %s more", n - shown, member);
		cli_table_cell(table, "");
		cli_table_cell(table, text.data);
	}
	buf_free(&text);
	return n;
}

static void print_plan(const struct check *c, struct json_object *rows)
{
	static const char *const headings[] = { "EVENT", "GOES TO" };
	struct cli_table *table = cli_table_new(headings, 2);
	size_t i, n;

	for (i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *event = json_object_get_string(json_object_object_get(row, "event"));

		n = add_targets(c, table, row, "handlers", event);
		n += add_targets(c, table, row, "webhooks", n ? "" : event);
		if (n == 0) {
			cli_table_cell(table, event);
			cli_table_cell(table, "-");
		}
	}
	putchar('\n');
	cli_table_print(table, "");
}

/* --- the report ---------------------------------------------------------------------------- */

static const char *member(struct json_object *o, const char *name)
{
	const char *s = json_object_get_string(json_object_object_get(o, name));

	return s ? s : "";
}

static void print_findings(struct json_object *findings)
{
	struct buf line = BUF_INIT;
	size_t i;

	for (i = 0; i < json_object_array_length(findings); i++) {
		struct json_object *f = json_object_array_get_idx(findings, i);

		buf_reset(&line);
		buf_addf(&line, "%-8s %s: %s", member(f, "level"), member(f, "subject"), member(f, "message"));
		cli_print_text("", line.data, line.len);
	}
	buf_free(&line);
}

static void report(struct check *c)
{
	struct json_object *rows = plan(c), *doc;

	if (c->cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "ok", json_object_new_boolean(c->counts[CHECK_PROBLEM] == 0));
		json_object_object_add(doc, "config", c->conf ? cli_json_string(c->conf->path) : NULL);
		json_object_object_add(doc, "problems", json_object_new_int(c->counts[CHECK_PROBLEM]));
		json_object_object_add(doc, "warnings", json_object_new_int(c->counts[CHECK_WARNING]));
		json_object_object_add(doc, "findings", json_object_get(c->findings));
		json_object_object_add(doc, "events", json_object_get(rows));
		cli_print_json(doc);
	} else {
		print_findings(c->findings);
		if (c->conf)
			print_plan(c, rows);
		printf("\n%d problem%s, %d warning%s.\n", c->counts[CHECK_PROBLEM], c->counts[CHECK_PROBLEM] == 1 ? "" : "s",
		       c->counts[CHECK_WARNING], c->counts[CHECK_WARNING] == 1 ? "" : "s");
	}
	json_object_put(rows);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct check c = { .cli = cli };
	struct conf *conf;

	argc = cli_parse(cli, NULL, 0, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 0)
		return cli_usage(cli, "takes no operand, such as '%s'", argv[0]);
	c.findings = json_object_new_array();
	c.conf = conf = check_conf(&c);
	if (conf) {
		check_log(&c, conf->log_target);
		check_log(&c, conf->log_security);
		check_sources(&c);
		check_proxies(&c);
		check_dashboard(&c);
		check_state(&c);
		check_handlers(&c);
		check_sandbox(&c);
		check_webhooks(&c);
	}
	report(&c);
	webhooks_free(&c.webhooks);
	store_close(c.store);
	json_object_put(c.findings);
	conf_unref(conf);
	return c.counts[CHECK_PROBLEM] ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_check = {
	.name = "check",
	.summary = "find what is wrong with configuration, secrets, store, handlers and webhooks",
	.help =
		"Usage: ntrvsta check\n"
		"\n"
		"Reads the configuration and looks at all that it names: who may read the secrets and whether one\n"
		"is live, whether logs and state directory can be written, the database opened, and for how long its\n"
		"disk has room; whether a dispatcher runs where work is due, and whether it keeps up; whether each\n"
		"handler can be started (run bit, #! line, interpreter), as whom and within which bounds, and whether\n"
		"the kernel has those; whether each webhook is active and its URL one that may be called, and which of\n"
		"them have failed each time in the last 24 hours. Then it prints where each documented event goes to.\n"
		"\n"
		"A problem keeps events from being received or delivered, or secrets from being secret: exit\n"
		"status 1. A warning may be meant: 0. Run it as the user that runs ntrvsta-fcgi.\n"
		"\n"
		"Examples:\n"
		"  ntrvsta check --config /etc/ntrvsta/ntrvsta.conf\n"
		"  sudo -u www-data ntrvsta check\n"
		"  ntrvsta check --json | jq -r '.findings[] | select(.level == \"problem\") | .message'\n",
	.run = run,
};
