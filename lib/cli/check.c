/* ntrvsta check: what an operator runs when something does not work. */
#include "lib/cli/cli.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/targets.h"
#include "lib/delivery/wake.h"
#include "lib/event/catalogue.h"

#define SECRET_SHORT_BYTES 16                    /* below: can be guessed */
#define SPACE_LOW_BYTES ((uint64_t)64 << 20)     /* below: soon 503 store_full */
#define WAITS_LONG_MS ((int64_t)60 * 60 * 1000)
#define ENDS_SOON_MS ((int64_t)24 * 60 * 60 * 1000)

enum level { OK, NOTE, WARNING, PROBLEM };
static const char *const level_names[] = { "ok", "note", "warning", "problem" };

struct check {
	const struct cli *cli;
	const struct conf *conf;
	struct json_object *findings;
	int counts[4]; /* by level */
};

static void __attribute__((format(printf, 4, 5)))
say(struct check *c, enum level level, const char *subject, const char *fmt, ...)
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
		say(c, OK, "configuration", "%s", conf->path);
	} else {
		rest = buf_detach(&err);
		for (line = strtok(rest, "\n"); line; line = strtok(NULL, "\n"))
			say(c, PROBLEM, "configuration", "%s", line);
		free(rest);
	}
	buf_free(&err);
	return conf;
}

/* A log that can't be opened keeps the dispatcher from starting. */
static void check_log(struct check *c)
{
	const char *path = c->conf->log_security;
	char *dir = fdio_dirname(path);

	if (path[0] == '/' && access(path, W_OK) && (errno != ENOENT || access(dir, W_OK | X_OK)))
		say(c, PROBLEM, "log", "%s: can't be written: %s", path, strerror(errno));
	free(dir);
}

/* --- sources and secrets ------------------------------------------------------------------- */

/* Root may let a group read what it owns, as PostgreSQL has it: the group can't change it. */
static void check_secret_file(struct check *c, const struct conf_source *source)
{
	struct stat st;
	mode_t mode;

	if (stat(source->secret_file, &st)) {
		say(c, PROBLEM, "source", "%s: %s: %s", source->name, source->secret_file, strerror(errno));
		return;
	}
	mode = st.st_mode & 0777;
	if (mode & 0007)
		say(c, PROBLEM, "source", "%s: everybody on this machine may use %s (mode %04o): chmod 600 it", source->name,
		    source->secret_file, (unsigned)mode);
	else if (mode & (st.st_uid == 0 ? 0030 : 0070))
		say(c, PROBLEM, "source", "%s: its group may use %s (mode %04o): chmod 600 it", source->name, source->secret_file,
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
			say(c, WARNING, "source", "%s: a secret of %zu bytes can be guessed; 'ntrvsta secret rotate' makes a long one",
			    source->name, s->len);
	}
	if (live == 0)
		say(c, PROBLEM, "source", "%s: every secret in %s has expired, so every call is refused: 'ntrvsta secret rotate'",
		    source->name, source->secret_file);
	else if (last_ms - now_ms < ENDS_SOON_MS)
		say(c, WARNING, "source", "%s: its last secret ends at %s; afterwards every call is refused", source->name,
		    cli_format_time(last_ms, time));
	else
		say(c, OK, "source", "%s receives at %s%s, with %zu live secret%s", source->name, c->conf->web_base, source->path,
		    live, live == 1 ? "" : "s");
}

static void check_sources(struct check *c)
{
	const char *variable = getenv("NTRVSTA_WEBHOOK_SECRET");
	size_t i;

	for (i = 0; i < c->conf->nsources; i++) {
		const struct conf_source *source = &c->conf->sources[i];

		if (variable && *variable && strcmp(source->name, "ntrvsta") == 0)
			say(c, NOTE, "source", "%s: its secret comes from $NTRVSTA_WEBHOOK_SECRET, not from %s; the web server's "
			    "environment may differ from yours", source->name, source->secret_file);
		else
			check_secret_file(c, source);
		check_secrets(c, source);
	}
}

/* --- state directory, store, dispatcher -------------------------------------------------------- */

static const char *user_name(uid_t uid, char out[64])
{
	struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(out, 64, "%s", user->pw_name);
	else
		snprintf(out, 64, "user id %u", (unsigned)uid);
	return out;
}

/* True where the store in it can be looked at. */
static bool check_state_dir(struct check *c)
{
	const char *dir = c->conf->state_dir;
	char owner[64];
	struct stat st;
	struct statvfs fs;

	if (stat(dir, &st)) {
		say(c, PROBLEM, "state", "%s: %s; make it with mkdir -m 700, as the user that runs ntrvsta-fcgi", dir,
		    strerror(errno));
		return false;
	}
	if (st.st_mode & 0077)
		say(c, PROBLEM, "state", "%s: others than its owner may use it (mode %04o), and it holds every event: "
		    "chmod 700 it", dir, (unsigned)st.st_mode & 0777);
	if (geteuid() != st.st_uid)
		say(c, WARNING, "state", "%s belongs to %s: only a check by that user finds what that user can't do "
		    "(sudo -u %s ntrvsta check)", dir, user_name(st.st_uid, owner), owner);
	if (access(dir, R_OK | W_OK | X_OK)) {
		say(c, PROBLEM, "state", "%s: can't be written: %s; so nothing is received", dir, strerror(errno));
		return false;
	}
	if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < SPACE_LOW_BYTES)
		say(c, WARNING, "state", "%s: %llu MiB are free on its file system", dir,
		    (unsigned long long)((uint64_t)fs.f_bavail * fs.f_frsize >> 20));
	return true;
}

static void report_counts(struct check *c, const struct store_counts *n, bool dispatcher_runs)
{
	int64_t waits_ms = n->oldest_waiting_ms ? clock_wall_ms() - n->oldest_waiting_ms : 0;
	char text[UNITS_SIZE];

	say(c, OK, "store", "%s: %lld new events, %lld deliveries waiting, %lld running, %lld failed", c->conf->store_path,
	    (long long)n->new_events, (long long)n->pending, (long long)n->running, (long long)n->failed);
	if (waits_ms > WAITS_LONG_MS)
		say(c, dispatcher_runs ? NOTE : WARNING, "store", "the oldest unfinished event came %s ago: see "
		    "'ntrvsta logs --status pending'", units_format_duration(waits_ms / 1000 * 1000, text));
	if (n->failed)
		say(c, NOTE, "store", "%lld deliveries were given up: see 'ntrvsta failed'", (long long)n->failed);
}

/* Opening would make the database; as root that would be root's, and closed to its user. */
static void check_store(struct check *c, bool dispatcher_runs)
{
	struct buf err = BUF_INIT;
	enum store_status status = STORE_OK;
	struct store_counts counts;
	struct store *store;

	if (access(c->conf->store_path, F_OK)) {
		say(c, OK, "store", "%s: will be made with the first event", c->conf->store_path);
		return;
	}
	if (access(c->conf->store_path, R_OK | W_OK)) {
		say(c, PROBLEM, "store", "%s: can't be written: %s; so nothing is received", c->conf->store_path, strerror(errno));
		return;
	}
	store = store_open(c->conf->store_path, STORE_TOOL, &status, &err);
	if (!store)
		say(c, PROBLEM, "store", "%s", buf_str(&err));
	else if (store_count(store, &counts) != STORE_OK)
		say(c, PROBLEM, "store", "%s: %s", c->conf->store_path, store_error(store));
	else
		report_counts(c, &counts, dispatcher_runs);
	store_close(store);
	buf_free(&err);
}

static bool check_dispatcher(struct check *c)
{
	char *program = fdio_find_program("ntrvsta");
	int fd = -1;
	bool runs = wake_is_read(c->conf->state_dir, &fd);

	if (fd >= 0)
		close(fd);
	if (runs)
		say(c, OK, "dispatcher", "runs");
	else if (!c->conf->dispatch_auto)
		say(c, NOTE, "dispatcher", "does not run, and [dispatch] start = off: systemd or cron has to run 'ntrvsta dispatch'");
	else if (!program)
		say(c, PROBLEM, "dispatcher", "does not run, and ntrvsta-fcgi can't start it: no program ntrvsta in %s", NTRVSTA_BINDIR);
	else
		say(c, OK, "dispatcher", "does not run; ntrvsta-fcgi starts it when an event comes");
	free(program);
	return runs;
}

/* --- handlers ------------------------------------------------------------------------------ */

/* A script without its run bit was meant to run; a README beside the handlers was not. */
static void note_skipped(void *ctx, const char *name, enum targets_skip why)
{
	struct check *c = ctx;
	char *path = fdio_resolve(c->conf->handlers_dir, name);
	enum level level = NOTE;

	if (why == TARGETS_NOT_EXECUTABLE && cli_is_script(path))
		level = PROBLEM;
	else if (why == TARGETS_NOT_EXECUTABLE || why == TARGETS_NO_EVENT || why == TARGETS_BAD_NAME)
		level = WARNING;
	else if (why == TARGETS_UNREADABLE)
		level = PROBLEM;
	say(c, level, "handlers", "%s is skipped: %s", name, targets_skip_text(why));
	free(path);
}

/* Handlers of an event that nobody documents: most likely a misspelt name. */
static void check_event_name(struct check *c, const char *handler)
{
	char *event = xstrndup(handler, strcspn(handler, "/"));
	struct cli_near near = { .word = event };
	const struct catalogue_event *events;
	size_t n, i;

	events = catalogue_events(&n);
	for (i = 0; i < n; i++)
		cli_near_try(&near, events[i].name);
	if (strcmp(event, "all") == 0 || catalogue_find(event))
		;
	else if (near.best)
		say(c, WARNING, "handlers", "%s waits for %s, which is not documented; did you mean %s?", handler, event, near.best);
	else
		say(c, NOTE, "handlers", "%s waits for %s, which is not documented", handler, event);
	free(event);
}

static void check_overrides(struct check *c, const struct targets *found)
{
	size_t i, k;

	for (i = 0; i < c->conf->nhandlers; i++) {
		const char *name = c->conf->handlers[i].name;

		for (k = 0; k < found->n && strcmp(found->names[k], name) != 0; k++)
			;
		if (k == found->n)
			say(c, WARNING, "handlers", "[handler %s] in the configuration: there is no such handler", name);
	}
}

/* Who can change a handler can run what they like as its user. */
static void check_writable(struct check *c, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		say(c, WARNING, "handlers", "%s: everybody on this machine can change it (mode %04o): chmod o-w it", path,
		    (unsigned)st.st_mode & 07777);
}

static bool check_handler(struct check *c, const char *name)
{
	char *path = fdio_resolve(c->conf->handlers_dir, name);
	struct buf why = BUF_INIT;
	bool starts = cli_script_starts(path, &why);

	if (!starts)
		say(c, PROBLEM, "handlers", "%s can't be started: %s", name, buf_str(&why));
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

static void check_handlers(struct check *c)
{
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	size_t i, good = 0;

	if (targets_find_all(c->conf->handlers_dir, &found, note_skipped, c, &err)) {
		say(c, PROBLEM, "handlers", "%s: so no handler is started", buf_str(&err));
		buf_free(&err);
		return;
	}
	for (i = 0; i < found.n; i++) {
		check_folder(c, found.names[i], i ? found.names[i - 1] : NULL);
		good += check_handler(c, found.names[i]);
	}
	check_overrides(c, &found);
	if (found.n == 0)
		say(c, WARNING, "handlers", "%s holds none: events are kept, and nothing runs for them", c->conf->handlers_dir);
	else
		say(c, OK, "handlers", "%s: %zu of %zu can be started", c->conf->handlers_dir, good, found.n);
	targets_free(&found);
	buf_free(&err);
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

static struct json_object *plan(const struct conf *conf)
{
	struct json_object *rows = json_object_new_array(), *row;
	const struct catalogue_event *events;
	size_t n, i;

	events = catalogue_events(&n);
	for (i = 0; conf && i < n; i++) {
		row = json_object_new_object();
		json_object_object_add(row, "event", cli_json_string(events[i].name));
		json_object_object_add(row, "handlers", handlers_of(conf, events[i].name));
		json_object_array_add(rows, row);
	}
	return rows;
}

static void print_plan(struct json_object *rows)
{
	static const char *const headings[] = { "EVENT", "RUNS" };
	struct cli_table *table = cli_table_new(headings, 2);
	size_t i, k, n;

	for (i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		struct json_object *names = json_object_object_get(row, "handlers");

		n = json_object_array_length(names);
		for (k = 0; k < n || k == 0; k++) {
			cli_table_cell(table, k ? "" : json_object_get_string(json_object_object_get(row, "event")));
			cli_table_cell(table, n ? json_object_get_string(json_object_array_get_idx(names, k)) : "-");
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
	struct json_object *rows = plan(c->conf), *doc;

	if (c->cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "ok", json_object_new_boolean(c->counts[PROBLEM] == 0));
		json_object_object_add(doc, "config", c->conf ? cli_json_string(c->conf->path) : NULL);
		json_object_object_add(doc, "problems", json_object_new_int(c->counts[PROBLEM]));
		json_object_object_add(doc, "warnings", json_object_new_int(c->counts[WARNING]));
		json_object_object_add(doc, "findings", json_object_get(c->findings));
		json_object_object_add(doc, "events", json_object_get(rows));
		cli_print_json(doc);
	} else {
		print_findings(c->findings);
		if (c->conf)
			print_plan(rows);
		printf("\n%d problem%s, %d warning%s.\n", c->counts[PROBLEM], c->counts[PROBLEM] == 1 ? "" : "s",
		       c->counts[WARNING], c->counts[WARNING] == 1 ? "" : "s");
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
		check_log(&c);
		check_sources(&c);
		if (check_state_dir(&c))
			check_store(&c, check_dispatcher(&c));
		check_handlers(&c);
	}
	report(&c);
	json_object_put(c.findings);
	conf_unref(conf);
	return c.counts[PROBLEM] ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_check = {
	.name = "check",
	.summary = "find what is wrong with configuration, secrets, store and handlers",
	.help =
		"Usage: ntrvsta check\n"
		"\n"
		"Reads the configuration and looks at all that it names: who may read the secrets and whether one\n"
		"is live, whether the log and the state directory can be written and the database opened, whether a\n"
		"dispatcher runs, and whether each handler can be started (run bit, #! line, interpreter). Then it\n"
		"prints what would run for each documented event.\n"
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
