#include "lib/conf/keys.h"

#include <ctype.h>
#include <string.h>

#include "lib/base/xalloc.h"

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
	  conf_parse_path, SOURCE(path) },
	{ "source", "secret_file", "secret", "relative to this file; one secret a line, newest first",
	  conf_parse_file, SOURCE(secret_file) },
	{ "source", "max_body", "1M", "larger bodies are refused with 413",
	  conf_parse_body_size, SOURCE(max_body) },
	{ "source", "max_age", "0", "refuse a signed body timestamp older than this; 0 = off",
	  conf_parse_duration, SOURCE(max_age_ms) },

	{ "store", "url", "sqlite:state/ntrvsta.db", "a file, relative to this one",
	  conf_parse_store_url, CONF(store_path) },

	{ "store", "retain_events", "30d", "how long events are kept, with all that belongs to them",
	  conf_parse_timeout, CONF(retain_events_ms) },
	{ "store", "retain_failed", "90d", "the same for those with a failed delivery, since it failed",
	  conf_parse_timeout, CONF(retain_failed_ms) },

	{ "web", "base", "", "URL prefix in front of every path, when the mount does not reveal it",
	  conf_parse_base, CONF(web_base) },
	{ "web", "threads", "8", "workers for API, dashboard and requests that arrive slowly",
	  conf_parse_count, CONF(web_threads) },
	{ "web", "api", "on", "off: no management API; it needs a key, see `ntrvsta keys`",
	  conf_parse_switch, CONF(web_api) },
	{ "web", "dashboard", "on", "off: no dashboard; it works over the API",
	  conf_parse_switch, CONF(web_dashboard) },
	{ "web", "rate_limit", "200/s", "for each client address; burst = twice that; 0 = off",
	  conf_parse_rate, CONF(web_rate_per_hour) },
	{ "web", "refused_limit", "10/s", "the same for calls with a wrong signature or key; right ones pass; 0 = off",
	  conf_parse_rate, CONF(web_refused_per_hour) },
	{ "web", "trusted_proxies", "off", "or blocks of addresses whose X-Forwarded-For tells the client",
	  conf_parse_blocks, CONF(web_trusted_proxies) },

	{ "dispatch", "start", "auto",
	  "auto: ntrvsta-fcgi starts the dispatcher when none runs; off: cron or systemd does",
	  conf_parse_start, CONF(dispatch_auto) },
	{ "dispatch", "concurrency", "4", "handlers and calls in flight, in all",
	  conf_parse_count, CONF(dispatch_concurrency) },

	{ "handlers", "dir", "handlers", "relative to this file",
	  conf_parse_file, CONF(handlers_dir) },
	{ "handlers", "timeout", "30s", "then SIGTERM to the handler and all that it started",
	  conf_parse_timeout, ALL_HANDLERS(timeout_ms) },
	{ "handlers", "kill_grace", "5s", "after that SIGKILL",
	  conf_parse_duration, ALL_HANDLERS(kill_grace_ms) },
	{ "handlers", "concurrency", "1", "of one handler; 1 keeps arrival order for first attempts",
	  conf_parse_count, ALL_HANDLERS(concurrency) },
	{ "handlers", "retry_schedule", "1s 2s 4s 1m 5m 30m 2h 5h 10h",
	  "waits before the second, third, ... attempt",
	  conf_parse_schedule, ALL_HANDLERS(retry_schedule) },
	{ "handlers", "output_limit", "64K", "kept of what an attempt printed: the end",
	  conf_parse_output_size, ALL_HANDLERS(output_limit) },
	{ "handlers", "batch", "1", "events in one run, as JSON Lines; 1: one event, as it came",
	  conf_parse_batch, ALL_HANDLERS(batch) },
	{ "handlers", "pass_env", "", "names of environment variables to pass through",
	  conf_parse_names, CONF(pass_env) },
	{ "handlers", "user", "", "whom handlers run as where the dispatcher is root; empty: then none is run",
	  conf_parse_user, ALL_HANDLERS(sandbox.user) },
	{ "handlers", "umask", "077", "of files that handlers make; 077: for their user alone",
	  conf_parse_umask, ALL_HANDLERS(sandbox.umask) },
	{ "handlers", "no_new_privs", "on", "off: sudo, sendmail and the like may gain rights",
	  conf_parse_switch, ALL_HANDLERS(sandbox.no_new_privs) },
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
	  conf_parse_switch, ALL_HANDLERS(sandbox.network) },

	{ "handler", "timeout", NULL, NULL, conf_parse_timeout, ONE_HANDLER(timeout_ms) },
	{ "handler", "kill_grace", NULL, NULL, conf_parse_duration, ONE_HANDLER(kill_grace_ms) },
	{ "handler", "concurrency", NULL, NULL, conf_parse_count, ONE_HANDLER(concurrency) },
	{ "handler", "retry_schedule", NULL, NULL, conf_parse_schedule, ONE_HANDLER(retry_schedule) },
	{ "handler", "output_limit", NULL, NULL, conf_parse_output_size, ONE_HANDLER(output_limit) },
	{ "handler", "batch", NULL, NULL, conf_parse_batch, ONE_HANDLER(batch) },
	{ "handler", "user", NULL, NULL, conf_parse_user, ONE_HANDLER(sandbox.user) },
	{ "handler", "umask", NULL, NULL, conf_parse_umask, ONE_HANDLER(sandbox.umask) },
	{ "handler", "no_new_privs", NULL, NULL, conf_parse_switch, ONE_HANDLER(sandbox.no_new_privs) },
	{ "handler", "cpu_time", NULL, NULL, conf_parse_cpu_time, ONE_HANDLER(sandbox.limits[CONF_CPU_TIME]) },
	{ "handler", "memory", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_MEMORY]) },
	{ "handler", "address_space", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_ADDRESS_SPACE]) },
	{ "handler", "file_size", NULL, NULL, conf_parse_bytes, ONE_HANDLER(sandbox.limits[CONF_FILE_SIZE]) },
	{ "handler", "processes", NULL, NULL, conf_parse_processes, ONE_HANDLER(sandbox.limits[CONF_PROCESSES]) },
	{ "handler", "open_files", NULL, NULL, conf_parse_open_files, ONE_HANDLER(sandbox.limits[CONF_OPEN_FILES]) },
	{ "handler", "writable", NULL, NULL, conf_parse_writable, ONE_HANDLER(sandbox.writable) },
	{ "handler", "network", NULL, NULL, conf_parse_switch, ONE_HANDLER(sandbox.network) },

	{ "webhooks", "timeout", "15s", "for a call, from the look-up of the name to the end of the answer",
	  conf_parse_timeout, CALLS(timeout_ms) },
	{ "webhooks", "connect_timeout", "5s", "of that, until the connection stands",
	  conf_parse_timeout, WEBHOOKS(connect_timeout_ms) },
	{ "webhooks", "concurrency", "1", "calls to one webhook at once; 1 keeps arrival order for first attempts",
	  conf_parse_count, CALLS(concurrency) },
	{ "webhooks", "retry_schedule", "5s 5m 30m 2h 5h 10h 14h 20h 24h", "waits before the second, third, ... attempt",
	  conf_parse_schedule, CALLS(retry_schedule) },
	{ "webhooks", "allow_http", "off", "on: http:// may be called as well as https://",
	  conf_parse_switch, WEBHOOKS(allow_http) },
	{ "webhooks", "allow_private", "off", "or blocks of addresses that may be called although they are not public",
	  conf_parse_blocks, WEBHOOKS(allow_private) },
	{ "webhooks", "ca_file", "", "certificate authorities that count, in PEM; empty: the system's",
	  conf_parse_optional_file, WEBHOOKS(ca_file) },

	{ "invitations", "base_url", "", "of the page that candidates open: their links are this, a slash and a token",
	  conf_parse_base_url, CONF(invite_base_url) },

	{ "log", "level", "info", "error, warn, info or debug",
	  conf_parse_level, CONF(log_level) },
	{ "log", "target", "stderr", "what the programs do: stderr, syslog or a file's path",
	  conf_parse_log_target, CONF(log_target) },
	{ "log", "security", "stderr", "refused calls are reported here: stderr, syslog or a file's path",
	  conf_parse_log_target, CONF(log_security) },
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
