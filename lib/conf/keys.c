#include "lib/conf/keys.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"

#define BODY_MAX ((size_t)512 << 20)  /* SQLite takes values of less than 1 GB */
#define OUTPUT_MAX ((size_t)16 << 20) /* kept with each attempt */
#define BASE_URL_MAX 1000 /* bytes */
#define COUNT_MAX 1000
#define BATCH_MAX 10000
#define STEPS_MAX 100
#define NAMES_MAX 40 /* with what ntrvsta sets itself, less than environment.c has room for */
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static int refuse(struct buf *err, const char *wanted, const char *value)
{
	buf_addf(err, "wants %s, not '%.80s'", wanted, value);
	return -1;
}

static void set_string(void *field, char *s)
{
	char **to = field;

	free(*to);
	*to = s;
}

/* --- places ------------------------------------------------------------------------------ */

static bool has_odd_segment(const char *path)
{
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		if ((len == 0 && *path) || (len <= 2 && len > 0 && strspn(path, ".") == len))
			return true;
		path += len;
	}
	return false;
}

/* As the web server hands it over: decoded, without a query. The slash at the end goes. */
static int parse_url_path(const char *value, void *field, const char *wanted, struct buf *err)
{
	static const char allowed[] = LETTERS DIGITS "/-._~!$&'()*+,;=:@";
	size_t len = strlen(value);

	if (value[0] != '/' || strspn(value, allowed) != len || has_odd_segment(value))
		return refuse(err, wanted, value);
	if (len > 1 && value[len - 1] == '/')
		len--;
	set_string(field, xstrndup(value, len));
	return 0;
}

static int parse_path(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_url_path(value, field, "the path of a URL such as /webhooks/ntrvsta", err);
}

static int parse_base(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (value[0] == '\0' || strcmp(value, "/") == 0) {
		set_string(field, xstrdup(""));
		return 0;
	}
	return parse_url_path(value, field, "nothing or the path of a URL such as /hooks", err);
}

/* Something is put behind it: no query, no fragment; and everybody gets to see it: no user name, no password. */
static int parse_base_url(const char *value, void *field, const struct conf *c, struct buf *err)
{
	static const char allowed[] = LETTERS DIGITS "/-._~!$&'()*+,;=:%[]";
	static const char wanted[] = "nothing, or a URL such as https://interviews.example.com/i, without user name, query and fragment";
	size_t len = strlen(value), scheme = strncmp(value, "https://", 8) == 0 ? 8 : strncmp(value, "http://", 7) == 0 ? 7 : 0;

	(void)c;
	if (len > 0 && (scheme == 0 || len > BASE_URL_MAX || strspn(value, allowed) != len || strcspn(value + scheme, "/:") == 0))
		return refuse(err, wanted, value);
	while (len > 0 && value[len - 1] == '/')
		len--;
	set_string(field, xstrndup(value, len));
	return 0;
}

/* A file or folder, made absolute. */
static int parse_file(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (value[0] == '\0')
		return refuse(err, "the name of a file or folder", value);
	if (value[0] == '~' || value[0] == '$') {
		buf_addf(err, "wants the path in full: '%c' is not expanded", value[0]);
		return -1;
	}
	set_string(field, fdio_resolve(c->dir, value));
	return 0;
}

static int parse_optional_file(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (value[0] != '\0')
		return parse_file(value, field, c, err);
	set_string(field, xstrdup(""));
	return 0;
}

/* Says nothing of what follows the scheme: a URL may hold a password. */
static int parse_store_url(const char *value, void *field, const struct conf *c, struct buf *err)
{
	static const char scheme[] = "sqlite:";
	const char *path = value + sizeof scheme - 1;
	size_t len = strlen(value);

	if (strncmp(value, scheme, sizeof scheme - 1) != 0) {
		buf_adds(err, "wants sqlite:PATH; this version stores events in SQLite only");
		return -1;
	}
	if (path[0] == '\0' || path[0] == ':' || strncmp(path, "//", 2) == 0 ||
	    strncmp(path, "file:", 5) == 0 || value[len - 1] == '/') {
		buf_adds(err, "wants the path of a file behind 'sqlite:', such as sqlite:state/ntrvsta.db");
		return -1;
	}
	return parse_file(path, field, c, err);
}

/* A file is told from a misspelt word by its slash. */
static int parse_log_target(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (strcmp(value, "stderr") == 0 || strcmp(value, "syslog") == 0) {
		set_string(field, xstrdup(value));
		return 0;
	}
	if (!strchr(value, '/'))
		return refuse(err, "stderr, syslog or a file's path with a slash in it", value);
	return parse_file(value, field, c, err);
}

/* --- numbers ----------------------------------------------------------------------------- */

static int parse_duration(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (units_parse_duration(value, field) < 0)
		return refuse(err, "a duration such as 500ms, 30s, 5m, 2h or 7d", value);
	return 0;
}

static int parse_timeout(const char *value, void *field, const struct conf *c, struct buf *err)
{
	int64_t ms;

	(void)c;
	if (units_parse_duration(value, &ms) < 0 || ms == 0)
		return refuse(err, "a duration above 0 such as 500ms, 30s or 5m", value);
	*(int64_t *)field = ms;
	return 0;
}

static int parse_size(const char *value, size_t *field, size_t max, const char *wanted,
                      struct buf *err)
{
	size_t bytes;

	if (units_parse_size(value, &bytes) < 0 || bytes == 0 || bytes > max)
		return refuse(err, wanted, value);
	*field = bytes;
	return 0;
}

static int parse_body_size(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_size(value, field, BODY_MAX, "a size such as 64K or 1M, from 1 byte to 512M", err);
}

static int parse_output_size(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_size(value, field, OUTPUT_MAX, "a size such as 64K or 1M, from 1 byte to 16M", err);
}

static int parse_count(const char *value, void *field, const struct conf *c, struct buf *err)
{
	size_t len = strlen(value);
	unsigned long n;

	(void)c;
	if (len == 0 || len > 4 || strspn(value, DIGITS) != len)
		return refuse(err, "a number from 1 to 1000", value);
	n = strtoul(value, NULL, 10);
	if (n < 1 || n > COUNT_MAX)
		return refuse(err, "a number from 1 to 1000", value);
	*(unsigned *)field = (unsigned)n;
	return 0;
}

static int parse_batch(const char *value, void *field, const struct conf *c, struct buf *err)
{
	size_t len = strlen(value);
	unsigned long n;

	(void)c;
	if (len == 0 || len > 5 || strspn(value, DIGITS) != len)
		return refuse(err, "a number from 1 to 10000", value);
	n = strtoul(value, NULL, 10);
	if (n < 1 || n > BATCH_MAX)
		return refuse(err, "a number from 1 to 10000", value);
	*(unsigned *)field = (unsigned)n;
	return 0;
}

static int parse_rate(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (units_parse_rate(value, field) < 0)
		return refuse(err, "a rate such as 200/s, 50/m or 1000/h, or 0", value);
	return 0;
}

/* --- words and lists --------------------------------------------------------------------- */

static int parse_start(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (strcmp(value, "auto") != 0 && strcmp(value, "off") != 0)
		return refuse(err, "auto or off", value);
	*(bool *)field = value[0] == 'a';
	return 0;
}

static int parse_switch(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return refuse(err, "on or off", value);
	*(bool *)field = value[1] == 'n';
	return 0;
}

static int parse_level(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (log_level_parse(value, field) < 0)
		return refuse(err, "error, warn, info or debug", value);
	return 0;
}

/* The next word of *LIST, which moves on behind it; NULL at the end. */
static char *next_word(const char **list)
{
	size_t len;
	char *word;

	*list += strspn(*list, " \t");
	len = strcspn(*list, " \t");
	if (len == 0)
		return NULL;
	word = xstrndup(*list, len);
	*list += len;
	return word;
}

static int parse_schedule(const char *value, void *field, const struct conf *c, struct buf *err)
{
	struct conf_schedule *to = field, steps = { NULL, 0 };
	int result = 0;
	char *word;

	(void)c;
	while (result == 0 && (word = next_word(&value)) != NULL) {
		int64_t ms;

		if (units_parse_duration(word, &ms) < 0) {
			result = refuse(err, "durations with blanks between them such as 1s 5m 2h", word);
		} else if (steps.n == STEPS_MAX) {
			buf_addf(err, "wants at most %d steps", STEPS_MAX);
			result = -1;
		} else {
			steps.delay_ms = xreallocarray(steps.delay_ms, steps.n + 1, sizeof *steps.delay_ms);
			steps.delay_ms[steps.n++] = ms;
		}
		free(word);
	}
	free(result == 0 ? to->delay_ms : steps.delay_ms);
	if (result == 0)
		*to = steps;
	return result;
}

/* "off", or blocks of addresses. */
static int parse_blocks(const char *value, void *field, const struct conf *c, struct buf *err)
{
	struct address_blocks *to = field, blocks = { NULL, 0 };
	char *word;

	(void)c;
	if (strcmp(value, "off") == 0)
		value = "";
	while ((word = next_word(&value)) != NULL) {
		blocks.items = xreallocarray(blocks.items, blocks.n + 1, sizeof *blocks.items);
		if (address_parse_block(word, &blocks.items[blocks.n++]) < 0) {
			refuse(err, "off, or blocks of addresses with blanks between them such as 10.0.0.0/8 fd00::/8", word);
			free(word);
			free(blocks.items);
			return -1;
		}
		free(word);
	}
	free(to->items);
	*to = blocks;
	return 0;
}

/* What handlers are told by the program itself can't be passed through as well. */
static const char *env_name_refusal(const char *name, char *const *before, size_t n)
{
	static const char *const own[] = { "PATH", "HOME", "LANG" };

	if (strspn(name, LETTERS DIGITS "_") != strlen(name) || isdigit((unsigned char)name[0]))
		return "wants names of environment variables with blanks between them; wrong is";
	if (strncmp(name, "NTRVSTA_", 8) == 0)
		return "can't pass what ntrvsta sets or keeps to itself:";
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		if (strcmp(name, own[i]) == 0)
			return "can't pass what every handler gets from ntrvsta:";
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, before[i]) == 0)
			return "holds this name twice:";
	}
	if (n == NAMES_MAX)
		return "wants at most 40 names; too many is";
	return NULL;
}

static void free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

static int parse_names(const char *value, void *field, const struct conf *c, struct buf *err)
{
	char **names = xcalloc(1, sizeof *names), ***to = field, *word;
	size_t n = 0;

	(void)c;
	while ((word = next_word(&value)) != NULL) {
		const char *refusal = env_name_refusal(word, names, n);

		if (refusal) {
			buf_addf(err, "%s '%.80s'", refusal, word);
			free(word);
			free_names(names);
			return -1;
		}
		names = xreallocarray(names, n + 2, sizeof *names);
		names[n++] = word;
		names[n] = NULL;
	}
	free_names(*to);
	*to = names;
	return 0;
}

/* --- the table --------------------------------------------------------------------------- */

const struct conf_section conf_sections[] = {
	{ "source", "ntrvsta", "one section for each sender; the name is a label" },
	{ "store", NULL, "where events are kept" },
	{ "web", NULL, "how requests are taken" },
	{ "dispatch", NULL, "how events are delivered" },
	{ "handlers", NULL, "the scripts that events are delivered to" },
	{ "handler", "session.completed/20-warehouse", "overrides for one handler" },
	{ "webhooks", NULL, "the URLs that events are delivered to" },
	{ "invitations", NULL, "what candidates are invited with" },
	{ "log", NULL, "what the programs report" },
};
const size_t conf_nsections = sizeof conf_sections / sizeof conf_sections[0];

#define SOURCE(member) offsetof(struct conf_source, member)
#define CONF(member) offsetof(struct conf, member)
#define ALL_HANDLERS(member) offsetof(struct conf, handler_defaults.member)
#define CALLS(member) offsetof(struct conf, webhooks.call.member)
#define WEBHOOKS(member) offsetof(struct conf, webhooks.member)
#define ONE_HANDLER(member) offsetof(struct conf_handler, member)

const struct conf_key conf_keys[] = {
	{ "source", "path", "/webhooks/" CONF_LABEL, "where this sender POSTs",
	  parse_path, SOURCE(path) },
	{ "source", "secret_file", "secret", "relative to this file; one secret a line, newest first",
	  parse_file, SOURCE(secret_file) },
	{ "source", "max_body", "1M", "larger bodies are refused with 413",
	  parse_body_size, SOURCE(max_body) },
	{ "source", "max_age", "0", "refuse a signed body timestamp older than this; 0 = off",
	  parse_duration, SOURCE(max_age_ms) },

	{ "store", "url", "sqlite:state/ntrvsta.db", "a file, relative to this one",
	  parse_store_url, CONF(store_path) },

	{ "store", "retain_events", "30d", "how long events are kept, with all that belongs to them",
	  parse_timeout, CONF(retain_events_ms) },
	{ "store", "retain_failed", "90d", "the same for those with a failed delivery, since it failed",
	  parse_timeout, CONF(retain_failed_ms) },

	{ "web", "base", "", "URL prefix in front of every path, when the mount does not reveal it",
	  parse_base, CONF(web_base) },
	{ "web", "threads", "8", "workers for API, dashboard and requests that arrive slowly",
	  parse_count, CONF(web_threads) },
	{ "web", "api", "on", "off: no management API; it needs a key, see `ntrvsta keys`",
	  parse_switch, CONF(web_api) },
	{ "web", "dashboard", "on", "off: no dashboard; it works over the API",
	  parse_switch, CONF(web_dashboard) },
	{ "web", "rate_limit", "200/s", "for each client address; burst = twice that; 0 = off",
	  parse_rate, CONF(web_rate_per_hour) },
	{ "web", "refused_limit", "10/s", "the same for calls with a wrong signature or key; right ones pass; 0 = off",
	  parse_rate, CONF(web_refused_per_hour) },
	{ "web", "trusted_proxies", "off", "or blocks of addresses whose X-Forwarded-For tells the client",
	  parse_blocks, CONF(web_trusted_proxies) },

	{ "dispatch", "start", "auto",
	  "auto: ntrvsta-fcgi starts the dispatcher when none runs; off: cron or systemd does",
	  parse_start, CONF(dispatch_auto) },
	{ "dispatch", "concurrency", "4", "handlers and calls in flight, in all",
	  parse_count, CONF(dispatch_concurrency) },

	{ "handlers", "dir", "handlers", "relative to this file",
	  parse_file, CONF(handlers_dir) },
	{ "handlers", "timeout", "30s", "then SIGTERM to the handler and all that it started",
	  parse_timeout, ALL_HANDLERS(timeout_ms) },
	{ "handlers", "kill_grace", "5s", "after that SIGKILL",
	  parse_duration, ALL_HANDLERS(kill_grace_ms) },
	{ "handlers", "concurrency", "1", "of one handler; 1 keeps arrival order for first attempts",
	  parse_count, ALL_HANDLERS(concurrency) },
	{ "handlers", "retry_schedule", "1s 2s 4s 1m 5m 30m 2h 5h 10h",
	  "waits before the second, third, ... attempt",
	  parse_schedule, ALL_HANDLERS(retry_schedule) },
	{ "handlers", "output_limit", "64K", "kept of what an attempt printed: the end",
	  parse_output_size, ALL_HANDLERS(output_limit) },
	{ "handlers", "batch", "1", "events in one run, as JSON Lines; 1: one event, as it came",
	  parse_batch, ALL_HANDLERS(batch) },
	{ "handlers", "pass_env", "", "names of environment variables to pass through",
	  parse_names, CONF(pass_env) },
	{ "handlers", "user", "", "whom handlers run as where the dispatcher is root; empty: then none is run",
	  conf_parse_user, ALL_HANDLERS(sandbox.user) },
	{ "handlers", "umask", "077", "of files that handlers make; 077: for their user alone",
	  conf_parse_umask, ALL_HANDLERS(sandbox.umask) },
	{ "handlers", "no_new_privs", "on", "off: sudo, sendmail and the like may gain rights",
	  parse_switch, ALL_HANDLERS(sandbox.no_new_privs) },
	{ "handlers", "cpu_time", "1h", "of each process; then SIGXCPU; 0 = no limit",
	  conf_parse_cpu_time, ALL_HANDLERS(sandbox.limits[CONF_CPU_TIME]) },
	{ "handlers", "memory", "1G", "of each process: what it really uses; 0 = no limit",
	  conf_parse_bytes, ALL_HANDLERS(sandbox.limits[CONF_MEMORY]) },
	{ "handlers", "address_space", "0", "of each process: also what it only reserves; 0 = no limit",
	  conf_parse_bytes, ALL_HANDLERS(sandbox.limits[CONF_ADDRESS_SPACE]) },
	{ "handlers", "file_size", "1G", "a file that grows beyond ends its writer with SIGXFSZ; 0 = no limit",
	  conf_parse_bytes, ALL_HANDLERS(sandbox.limits[CONF_FILE_SIZE]) },
	{ "handlers", "processes", "256", "beside all that the machine runs already; 0 = no limit",
	  conf_parse_processes, ALL_HANDLERS(sandbox.limits[CONF_PROCESSES]) },
	{ "handlers", "open_files", "1024", "of each process; 0 = as the dispatcher has it",
	  conf_parse_open_files, ALL_HANDLERS(sandbox.limits[CONF_OPEN_FILES]) },
	{ "handlers", "writable", "all", "all, none, or the only paths that handlers can change (Landlock)",
	  conf_parse_writable, ALL_HANDLERS(sandbox.writable) },
	{ "handlers", "network", "on", "off: no addresses to call, not even this machine's",
	  parse_switch, ALL_HANDLERS(sandbox.network) },

	{ "handler", "timeout", NULL, NULL, parse_timeout, ONE_HANDLER(timeout_ms) },
	{ "handler", "kill_grace", NULL, NULL, parse_duration, ONE_HANDLER(kill_grace_ms) },
	{ "handler", "concurrency", NULL, NULL, parse_count, ONE_HANDLER(concurrency) },
	{ "handler", "retry_schedule", NULL, NULL, parse_schedule, ONE_HANDLER(retry_schedule) },
	{ "handler", "output_limit", NULL, NULL, parse_output_size, ONE_HANDLER(output_limit) },
	{ "handler", "batch", NULL, NULL, parse_batch, ONE_HANDLER(batch) },
	{ "handler", "user", NULL, NULL, conf_parse_user, ONE_HANDLER(sandbox.user) },
	{ "handler", "umask", NULL, NULL, conf_parse_umask, ONE_HANDLER(sandbox.umask) },
	{ "handler", "no_new_privs", NULL, NULL, parse_switch, ONE_HANDLER(sandbox.no_new_privs) },
	{ "handler", "cpu_time", NULL, NULL, conf_parse_cpu_time, ONE_HANDLER(sandbox.limits[CONF_CPU_TIME]) },
	{ "handler", "memory", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_MEMORY]) },
	{ "handler", "address_space", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_ADDRESS_SPACE]) },
	{ "handler", "file_size", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_FILE_SIZE]) },
	{ "handler", "processes", NULL, NULL, conf_parse_processes, ONE_HANDLER(sandbox.limits[CONF_PROCESSES]) },
	{ "handler", "open_files", NULL, NULL, conf_parse_open_files, ONE_HANDLER(sandbox.limits[CONF_OPEN_FILES]) },
	{ "handler", "writable", NULL, NULL, conf_parse_writable, ONE_HANDLER(sandbox.writable) },
	{ "handler", "network", NULL, NULL, parse_switch, ONE_HANDLER(sandbox.network) },

	{ "webhooks", "timeout", "15s", "for a call, from the look-up of the name to the end of the answer",
	  parse_timeout, CALLS(timeout_ms) },
	{ "webhooks", "connect_timeout", "5s", "of that, until the connection stands",
	  parse_timeout, WEBHOOKS(connect_timeout_ms) },
	{ "webhooks", "concurrency", "1", "calls to one webhook at once; 1 keeps arrival order for first attempts",
	  parse_count, CALLS(concurrency) },
	{ "webhooks", "retry_schedule", "5s 5m 30m 2h 5h 10h 14h 20h 24h", "waits before the second, third, ... attempt",
	  parse_schedule, CALLS(retry_schedule) },
	{ "webhooks", "allow_http", "off", "on: http:// may be called as well as https://",
	  parse_switch, WEBHOOKS(allow_http) },
	{ "webhooks", "allow_private", "off", "or blocks of addresses that may be called although they are not public",
	  parse_blocks, WEBHOOKS(allow_private) },
	{ "webhooks", "ca_file", "", "certificate authorities that count, in PEM; empty: the system's",
	  parse_optional_file, WEBHOOKS(ca_file) },

	{ "invitations", "base_url", "", "of the page that candidates open: their links are this, a slash and a token",
	  parse_base_url, CONF(invite_base_url) },

	{ "log", "level", "info", "error, warn, info or debug",
	  parse_level, CONF(log_level) },
	{ "log", "target", "stderr", "what the programs do: stderr, syslog or a file's path",
	  parse_log_target, CONF(log_target) },
	{ "log", "security", "stderr", "refused calls are reported here: stderr, syslog or a file's path",
	  parse_log_target, CONF(log_security) },
};
const size_t conf_nkeys = sizeof conf_keys / sizeof conf_keys[0];

/* --- looking things up ------------------------------------------------------------------- */

const struct conf_section *conf_section_find(const char *name)
{
	for (size_t i = 0; i < conf_nsections; i++) {
		if (strcmp(conf_sections[i].name, name) == 0)
			return &conf_sections[i];
	}
	return NULL;
}

const struct conf_key *conf_key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].section, section) == 0 && strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	}
	return NULL;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance, case ignored. Longer names than the table's are near to nothing. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], na = strlen(a), nb = strlen(b);

	if (na >= sizeof row / sizeof row[0] || nb >= sizeof row / sizeof row[0])
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t above = row[j];
			bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + !same);
			diagonal = above;
		}
	}
	return row[nb];
}

/* Is TYPED so near to NAME that it may be meant? Also "retrys" for "retry_schedule": the first
 * five letters are enough. */
static bool is_near(const char *typed, const char *name, size_t *best)
{
	size_t d = distance(typed, name);

	if (strlen(typed) >= 5 && strncmp(typed, name, 5) == 0 && d > 2)
		d = 2;
	if (d > 2 || d >= strlen(name) / 2 + 1 || d >= *best)
		return false;
	*best = d;
	return true;
}

const char *conf_section_near(const char *name)
{
	const char *near = NULL;
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < conf_nsections; i++) {
		if (is_near(name, conf_sections[i].name, &best))
			near = conf_sections[i].name;
	}
	return near;
}

const char *conf_key_near(const char *section, const char *name)
{
	const char *near = NULL;
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].section, section) == 0 && is_near(name, conf_keys[i].name, &best))
			near = conf_keys[i].name;
	}
	return near;
}

char *conf_key_default(const struct conf_key *key, const char *label)
{
	const char *at;

	if (!key->fallback)
		return conf_key_default(conf_key_find("handlers", key->name), NULL);
	at = label ? strstr(key->fallback, CONF_LABEL) : NULL;
	if (!at)
		return xstrdup(key->fallback);
	return xasprintf("%.*s%s%s", (int)(at - key->fallback), key->fallback, label,
	                 at + strlen(CONF_LABEL));
}
