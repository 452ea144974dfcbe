/* ntrvsta.conf: what it may hold, what it means, and what is said about everything else. */
#include "lib/conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/conf/inifile.h"
#include "lib/conf/keys.h"
#include "lib/conf/problems.h"
#include "tests/unit/tap.h"

#define SOURCE "[source ntrvsta]\n"

static char dir[PATH_MAX];       /* holds the file and its secret */
static char conf_path[PATH_MAX]; /* dir/ntrvsta.conf */
static struct buf err;

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static void write_bytes(const char *name, const void *data, size_t len)
{
	char *path = in_dir(name);

	if (fdio_replace_file(path, 0600, data, len) < 0) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(99);
	}
	free(path);
}

static void write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

static struct conf *load_bytes(const void *data, size_t len)
{
	write_bytes("ntrvsta.conf", data, len);
	buf_reset(&err);
	return conf_load(conf_path, &err);
}

static struct conf *load(const char *text)
{
	return load_bytes(text, strlen(text));
}

/* load() of what must load: says why where it doesn't. */
static struct conf *load_good(const char *text)
{
	struct conf *c = load(text);

	if (!CHECK(c && err.len == 0, "loads without a word"))
		printf("# %s", buf_str(&err));
	return c;
}

/* --- defaults ---------------------------------------------------------------------------- */

static void check_schedule(const struct conf_schedule *s, const int64_t *want, size_t n,
                           const char *what)
{
	bool same = s->n == n;

	for (size_t i = 0; same && i < n; i++)
		same = s->delay_ms[i] == want[i];
	CHECK(same, "%s: the schedule has the %zu steps expected", what, n);
}

static void check_path(const char *got, const char *below_dir, const char *what)
{
	char *want = in_dir(below_dir);

	CHECK_STR(got, want, "%s", what);
	free(want);
}

static const int64_t default_steps[] = {
	1000, 2000, 4000, 60000, 300000, 1800000, 7200000, 18000000, 36000000,
};

static void check_defaults(const struct conf *c, const char *what)
{
	const struct conf_source *s = &c->sources[0];
	const struct conf_handler *h = &c->handler_defaults;

	CHECK_STR(c->path, conf_path, "%s: the file knows its path", what);
	CHECK_STR(c->dir, dir, "%s: and its folder", what);
	CHECK_INT(c->nsources, 1, "%s: one source", what);
	CHECK_STR(s->name, "ntrvsta", "%s: source name", what);
	CHECK_STR(s->path, "/webhooks/ntrvsta", "%s: path", what);
	check_path(s->secret_file, "secret", "secret_file");
	CHECK_INT(s->max_body, 1 << 20, "%s: max_body 1M", what);
	CHECK_INT(s->max_age_ms, 0, "%s: max_age off", what);
	CHECK(s->secrets && s->secrets->n == 1, "%s: the secret is loaded", what);
	check_path(c->store_path, "state/ntrvsta.db", "store url");
	check_path(c->state_dir, "state", "state directory");
	CHECK_STR(c->web_base, "", "%s: base", what);
	CHECK_INT(c->web_threads, 8, "%s: threads", what);
	CHECK(c->web_api, "%s: api on", what);
	CHECK_INT(c->web_rate_per_hour, 200 * 3600, "%s: rate_limit 200/s", what);
	CHECK(c->dispatch_auto, "%s: start auto", what);
	CHECK_INT(c->dispatch_concurrency, 4, "%s: [dispatch] concurrency", what);
	check_path(c->handlers_dir, "handlers", "handlers dir");
	CHECK(h->name == NULL, "%s: the defaults have no name", what);
	CHECK_INT(h->timeout_ms, 30000, "%s: timeout 30s", what);
	CHECK_INT(h->kill_grace_ms, 5000, "%s: kill_grace 5s", what);
	CHECK_INT(h->concurrency, 1, "%s: [handlers] concurrency", what);
	check_schedule(&h->retry_schedule, default_steps, 9, what);
	CHECK_INT(h->output_limit, 65536, "%s: output_limit 64K", what);
	CHECK_INT(h->batch, 1, "%s: batch 1", what);
	CHECK_INT(c->retain_events_ms, INT64_C(30) * 86400000, "%s: retain_events 30d", what);
	CHECK_INT(c->retain_failed_ms, INT64_C(90) * 86400000, "%s: retain_failed 90d", what);
	CHECK(c->pass_env && !c->pass_env[0], "%s: pass_env is an empty list", what);
	CHECK_INT(c->nhandlers, 0, "%s: no overrides", what);
	CHECK_INT(c->log_level, LOG_LEVEL_INFO, "%s: level info", what);
	CHECK_STR(c->log_target, "stderr", "%s: target stderr", what);
	CHECK_STR(c->log_security, "stderr", "%s: security stderr", what);
}

static void test_defaults(void)
{
	struct conf *c = load_good(SOURCE);

	if (c)
		check_defaults(c, "one bare source");
	conf_unref(c);
}

/* --- the sample -------------------------------------------------------------------------- */

static void test_sample(void)
{
	struct buf sample = BUF_INIT;
	struct conf *c;

	conf_write_sample(&sample);
	c = load_good(buf_str(&sample));
	if (c)
		check_defaults(c, "sample");
	conf_unref(c);
	for (size_t i = 0; i < conf_nkeys; i++) {
		char *line = xasprintf("\n%s%s =", conf_keys[i].fallback ? "" : ";", conf_keys[i].name);

		CHECK(strstr(buf_str(&sample), line), "the sample has %s of [%s]", conf_keys[i].name,
		      conf_keys[i].section);
		free(line);
	}
	buf_free(&sample);
}

/* Somebody takes the marks off the override in the sample. */
static void test_sample_override(void)
{
	struct buf sample = BUF_INIT, plain = BUF_INIT;
	struct conf *c;

	conf_write_sample(&sample);
	for (const char *s = buf_str(&sample); *s; s++) {
		if (!(*s == ';' && s > sample.data && s[-1] == '\n' && s[1] != ' '))
			buf_addc(&plain, *s);
	}
	c = load_good(buf_str(&plain));
	if (c && CHECK_INT(c->nhandlers, 1, "the sample's override is a section that works")) {
		CHECK_STR(c->handlers[0].name, "session.completed/20-warehouse", "for one handler");
		CHECK_INT(c->handlers[0].timeout_ms, 30000, "with the defaults");
		check_schedule(&c->handlers[0].retry_schedule, default_steps, 9, "its override");
	}
	conf_unref(c);
	buf_free(&sample);
	buf_free(&plain);
}

/* --- values ------------------------------------------------------------------------------ */

static void test_every_value(void)
{
	static const char text[] =
		"# a comment\n"
		"; another\n"
		"[log]\n"
		"level=debug\n"
		"target = /var/log/ntrvsta.log\n"
		"security = log/security.log\n"
		"\n"
		"[source other] ; behind a header\n"
		"path = /in/\n"
		"secret_file = keys/other\n"
		"max_body = 64K\n"
		"max_age = 5m ; behind a value\n"
		"[ source \t second-1.x ]\n"
		"secret_file = ./keys/../secret\n"
		"[store]\n"
		"url = sqlite:/var/lib/ntrvsta/events.db\n"
		"retain_events = 12h\n"
		"retain_failed = 2d\n"
		"[web]\n"
		"base = /hooks/ntrvsta/\n"
		"  threads = 3\n"
		"rate_limit = 30/m\n"
		"api = off\n"
		"[dispatch]\n"
		"start = off\n"
		"concurrency = 1000\n"
		"[handlers]\n"
		"dir = /srv/handlers\n"
		"timeout = 500ms\n"
		"kill_grace = 0\n"
		"concurrency = 2\n"
		"retry_schedule =\t5s  10m\t2h\n"
		"output_limit = 1K\n"
		"batch = 10000\n"
		"pass_env = SLACK_URL  _x9\n";
	static const int64_t steps[] = { 5000, 600000, 7200000 };
	struct conf *c;

	write_text("keys/other", "s3cret\n");
	c = load_good(text);
	if (!c)
		return;
	CHECK_INT(c->log_level, LOG_LEVEL_DEBUG, "level");
	CHECK_STR(c->log_target, "/var/log/ntrvsta.log", "target in a file");
	check_path(c->log_security, "log/security.log", "security in a file, relative to the folder");
	CHECK_INT(c->nsources, 2, "two sources");
	CHECK_STR(c->sources[0].name, "other", "in the order of the file");
	CHECK_STR(c->sources[0].path, "/in", "path, without the slash at its end");
	check_path(c->sources[0].secret_file, "keys/other", "secret_file");
	CHECK_STR(c->sources[0].secrets->items[0].bytes, "s3cret", "with the secret of that file");
	CHECK_INT(c->sources[0].max_body, 65536, "max_body");
	CHECK_INT(c->sources[0].max_age_ms, 300000, "max_age");
	CHECK_STR(c->sources[1].name, "second-1.x", "white space in a header does not matter");
	CHECK_STR(c->sources[1].path, "/webhooks/second-1.x", "the default path has the label");
	CHECK_STR(c->store_path, "/var/lib/ntrvsta/events.db", "url with an absolute path");
	CHECK_STR(c->state_dir, "/var/lib/ntrvsta", "the state directory is the store's folder");
	CHECK_INT(c->retain_events_ms, INT64_C(12) * 3600000, "retain_events");
	CHECK_INT(c->retain_failed_ms, INT64_C(2) * 86400000, "retain_failed");
	CHECK_STR(c->web_base, "/hooks/ntrvsta", "base, without the slash at its end");
	CHECK_INT(c->web_threads, 3, "threads, on an indented line");
	CHECK_INT(c->web_rate_per_hour, 1800, "rate_limit");
	CHECK(!c->web_api, "api off");
	CHECK(!c->dispatch_auto, "start off");
	CHECK_INT(c->dispatch_concurrency, 1000, "[dispatch] concurrency");
	CHECK_STR(c->handlers_dir, "/srv/handlers", "absolute dir");
	CHECK_INT(c->handler_defaults.timeout_ms, 500, "timeout");
	CHECK_INT(c->handler_defaults.kill_grace_ms, 0, "kill_grace");
	CHECK_INT(c->handler_defaults.concurrency, 2, "[handlers] concurrency");
	check_schedule(&c->handler_defaults.retry_schedule, steps, 3, "retry_schedule");
	CHECK_INT(c->handler_defaults.output_limit, 1024, "output_limit");
	CHECK_INT(c->handler_defaults.batch, 10000, "batch");
	CHECK_STR(c->pass_env[0], "SLACK_URL", "pass_env, first");
	CHECK_STR(c->pass_env[1], "_x9", "pass_env, second");
	CHECK(c->pass_env[2] == NULL, "pass_env, end");
	conf_unref(c);
}

static void test_small_values(void)
{
	static const struct {
		const char *value, *base;
	} bases[] = { { "", "" }, { "/", "" }, { "/a", "/a" }, { "/a/", "/a" }, { "/a/b.c", "/a/b.c" } };
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	struct conf *c;
	char text[256];

	for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
		snprintf(text, sizeof text, SOURCE "[web]\nbase = %s ; comment\n", bases[i].value);
		c = load_good(text);
		CHECK_STR(c ? c->web_base : NULL, bases[i].base, "base = '%s'", bases[i].value);
		conf_unref(c);
	}
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		snprintf(text, sizeof text, SOURCE "[log]\nlevel = %s\nsecurity = syslog", levels[i]);
		c = load_good(text);
		CHECK_INT(c ? (int)c->log_level : -1, (int)i, "level = %s", levels[i]);
		CHECK_STR(c ? c->log_security : NULL, "syslog", "the last line needs no line end");
		conf_unref(c);
	}
	c = load_good(SOURCE "path = /\n[web]\nrate_limit = 0\n[handlers]\nretry_schedule =\n");
	CHECK_STR(c ? c->sources[0].path : NULL, "/", "a source may be the root");
	CHECK_INT(c ? c->web_rate_per_hour : -1, 0, "rate_limit = 0 is off");
	CHECK_INT(c ? (int64_t)c->handler_defaults.retry_schedule.n : -1, 0,
	          "an empty retry_schedule is no retry");
	conf_unref(c);
}

/* As long as a line may be: nothing of it is cut, and the next line is a line of its own. */
static void test_long_values(void)
{
	static const size_t lengths[] = {
		150, 180, 195, 196, 197, 198, 199, 200, 201, 255, 256, 1000, 4096, INIFILE_LINE_MAX - 6,
	};

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct buf text = BUF_INIT;
		struct conf *c;

		buf_adds(&text, SOURCE "[handlers]\ndir = /");
		for (size_t k = 1; k < lengths[i]; k++)
			buf_addc(&text, (char)('a' + k % 26));
		buf_adds(&text, "\ntimeout = 1s\n");
		c = load_good(buf_str(&text));
		CHECK(c && strlen(c->handlers_dir) == lengths[i] &&
		      strncmp(c->handlers_dir, strchr(buf_str(&text), '/'), lengths[i]) == 0,
		      "a value of %zu bytes arrives whole", lengths[i]);
		CHECK_INT(c ? c->handler_defaults.timeout_ms : 0, 1000, "and so does the next line");
		conf_unref(c);
		buf_free(&text);
	}
}

static void test_overrides(void)
{
	static const char long_name[] =
		"candidate.invited/20-a-name-that-goes-on-and-on-for-much-longer-than-fifty-bytes.sh";
	static const int64_t steps[] = { 9000 };
	struct conf *c;
	char text[1024];

	/* Both before [handlers]: the order in the file does not matter. */
	snprintf(text, sizeof text,
	         SOURCE "[handler session.completed/20-warehouse]\ntimeout = 2m\nconcurrency = 4\n"
	                "[handler %s]\nretry_schedule = 9s\nkill_grace = 1s\noutput_limit = 2K\nbatch = 500\n"
	                "[handler session.completed]\n"
	                "[handlers]\ntimeout = 7s\noutput_limit = 8K\nretry_schedule = 1s 2s\n",
	         long_name);
	c = load_good(text);
	if (!c)
		return;
	CHECK_INT(c->nhandlers, 3, "three overrides");
	CHECK_INT(conf_handler(c, "session.completed/20-warehouse")->timeout_ms, 120000, "an override counts");
	CHECK_INT(conf_handler(c, "session.completed/20-warehouse")->concurrency, 4, "each of them");
	CHECK_INT(conf_handler(c, "session.completed/20-warehouse")->output_limit, 8192,
	          "what it leaves out comes from [handlers]");
	CHECK_INT(conf_handler(c, "session.completed/20-warehouse")->kill_grace_ms, 5000,
	          "or is the default");
	CHECK_STR(conf_handler(c, long_name)->name, long_name, "a long name is not cut");
	CHECK_INT(conf_handler(c, long_name)->timeout_ms, 7000, "its timeout");
	CHECK_INT(conf_handler(c, long_name)->kill_grace_ms, 1000, "its kill_grace");
	CHECK_INT(conf_handler(c, long_name)->output_limit, 2048, "its output_limit");
	CHECK_INT(conf_handler(c, long_name)->batch, 500, "its batch");
	check_schedule(&conf_handler(c, long_name)->retry_schedule, steps, 1, "override");
	CHECK_INT((int64_t)conf_handler(c, "session.completed")->retry_schedule.n, 2,
	          "an empty override is as [handlers]");
	CHECK(conf_handler(c, "all/10-log") == &c->handler_defaults, "others have the defaults");
	conf_unref(c);
}

/* --- what is refused --------------------------------------------------------------------- */

struct refusal {
	const char *text;
	const char *errors; /* "LINE:words LINE:words": all of them, separated by '|' */
};

static const struct refusal refusals[] = {
	/* sections */
	{ "", "1:no [source NAME]" },
	{ "# nothing\n\n", "1:no [source NAME]" },
	{ "[web]\nthreads = 2\n", "1:no [source NAME]" },
	{ "[source]\npath = /x\n", "1:such as [source ntrvsta]" },
	{ SOURCE "[store main]\n", "2:[store] takes no name" },
	{ SOURCE "[handlers all/x]\n", "2:did you mean [handler ...]?" },
	{ SOURCE "[handler]\n", "2:such as [handler session.completed/20-warehouse]" },
	{ SOURCE "[handlres]\n", "2:unknown section [handlres]; did you mean [handlers]?" },
	{ SOURCE "[Web]\n", "2:did you mean [web]?" },
	{ SOURCE "[webhooks]\nallow_http = yes\n", "3:allow_http wants on or off, not 'yes'" },
	{ SOURCE "[webhooks]\nallow_http = ON\n", "3:not 'ON'" },
	{ SOURCE "[webhooks]\nallow_private = on\n", "3:allow_private wants off, or blocks of addresses" },
	{ SOURCE "[webhooks]\nallow_private = 10.0.0.0/8 10.0.0.1/8\n", "3:not '10.0.0.1/8'" },
	{ SOURCE "[webhooks]\nallow_private = 10.0.0.0/8, ::1\n", "3:not '10.0.0.0/8,'" },
	{ SOURCE "[webhooks]\nallow_private = localhost\n", "3:not 'localhost'" },
	{ SOURCE "[webhooks]\nallow_private = off 10.0.0.0/8\n", "3:not 'off'" },
	{ SOURCE "[webhooks]\ntimeout = 0\n", "3:timeout wants" },
	{ SOURCE "[webhooks]\nconnect_timeout = 0\n", "3:connect_timeout wants" },
	{ SOURCE "[webhooks]\nconcurrency = 0\n", "3:concurrency wants" },
	{ SOURCE "[webhooks]\nretry_schedule = soon\n", "3:not 'soon'" },
	{ SOURCE "[webhooks]\nkill_grace = 1s\n", "3:unknown key 'kill_grace' in [webhooks]" },
	{ SOURCE "[webhooks]\nallow_privat = off\n", "3:did you mean 'allow_private'?" },
	{ SOURCE "[webhook]\n", "2:did you mean [webhooks]?" },
	{ SOURCE "[invitations]\nbase_url = interviews.example.com\n", "3:base_url wants nothing, or a URL such as" },
	{ SOURCE "[invitations]\nbase_url = /i\n", "3:not '/i'" },
	{ SOURCE "[invitations]\nbase_url = ftp://example.com\n", "3:not 'ftp://example.com'" },
	{ SOURCE "[invitations]\nbase_url = https://\n", "3:not 'https://'" },
	{ SOURCE "[invitations]\nbase_url = https:///i\n", "3:not 'https:///i'" },
	{ SOURCE "[invitations]\nbase_url = https://:443/i\n", "3:not 'https://:443/i'" },
	{ SOURCE "[invitations]\nbase_url = https://u:p@example.com/i\n", "3:base_url wants" },
	{ SOURCE "[invitations]\nbase_url = https://example.com/i?t=\n", "3:base_url wants" },
	{ SOURCE "[invitations]\nbase_url = https://example.com/a b\n", "3:base_url wants" },
	{ SOURCE "[invitations]\nurl = https://example.com/i\n", "3:it belongs to [store]" },
	{ SOURCE "[invitation]\n", "2:did you mean [invitations]?" },
	{ SOURCE "[]\n", "2:a section wants a name" },
	{ SOURCE "[web\nthreads = 2\n", "2:']' of this section is missing" },
	{ SOURCE "[web] threads = 2\n", "2:may follow the ']'" },
	{ SOURCE "[web] # note\n", "2:may follow the ']'" },
	{ SOURCE "[web]\n[log]\n[web]\nthreads = 2\n", "4:begun at line 2 already" },
	{ SOURCE "[web]\nthreads = 2\n[log]\n[web]\nthreads = 3\n", "5:begun at line 2|6:'threads' is set at line 3" },
	{ SOURCE SOURCE, "2:begun at line 1" },
	{ SOURCE "[handler all/a]\n[handler all/a]\n", "3:begun at line 2" },
	{ "[source a b]\n", "1:a source is named with" },
	{ "[source api]\n", "1:this is the source of what is published" },
	{ "[source ../x]\n", "1:a source is named with" },
	{ "[source \"ntrvsta\"]\n", "1:a source is named with" },
	{ SOURCE "[handler 20-warehouse]\n", "2:named by its path below" },
	{ SOURCE "[handler ../x]\n", "2:named by its path below" },
	{ SOURCE "[handler all/x/y]\n", "2:named by its path below" },
	{ SOURCE "[handler all/]\n", "2:named by its path below" },
	{ "threads = 2\n" SOURCE, "1:'threads' stands in front of the first [section]" },

	/* keys */
	{ SOURCE "[handlers]\nretrys = 1s\n", "3:unknown key 'retrys' in [handlers]; did you mean 'retry_schedule'?" },
	{ SOURCE "[web]\nthread = 1\n", "3:did you mean 'threads'?" },
	{ SOURCE "[web]\nThreads = 1\n", "3:did you mean 'threads'?" },
	{ SOURCE "[web]\nxyzzy = 1\n", "3:unknown key 'xyzzy' in [web]; ntrvsta.conf(5)" },
	{ SOURCE "[web]\ntimeout = 1s\n", "3:it belongs to [handlers]" },
	{ SOURCE "[handler all/a]\ndir = x\npass_env = A\n", "3:belongs to [handlers]|4:belongs to [handlers]" },
	{ SOURCE "[web]\ndashboard = yes\n", "3:wants on or off" },
	{ SOURCE "[store]\nretain = 30d\n", "3:unknown key 'retain'" },
	{ SOURCE "[web]\nthreads = 2\n\nthreads = 2\n", "5:'threads' is set at line 3 already" },

	/* lines */
	{ SOURCE "[web]\nthreads\n", "3:neither 'key = value'" },
	{ SOURCE "[web]\nthreads ; = 2\n", "3:neither 'key = value'" },
	{ SOURCE "[web]\nthreads: 2\n", "3:with '=' and not ':'" },
	{ SOURCE "[web]\nthreads : 2 = 3\n", "3:with '=' and not ':'" },
	{ SOURCE "[web]\n = 2\n", "3:the key in front of the '=' is missing" },
	{ SOURCE "[handlers]\nretry_schedule = 1s\n  2s 4s\ntimeout = 1s\n", "4:neither 'key = value'" },
	{ SOURCE "[handlers]\ndir = x \\\n", "3:can't go on in the next line" },
	{ SOURCE "[handlers]\ndir = \"my handlers\"\n", "3:dir: values are written without quotes" },
	{ SOURCE "[handlers]\ndir = x # note\n", "3:begins with ';', not with '#'" },
	{ SOURCE "[web]\nbase = # note\n", "3:begins with ';', not with '#'" },
	{ SOURCE "[web]\nbase =;note\n", "3:wants a blank in front" },
	{ "\xef\xbb\xbf" SOURCE, "1:byte order mark" },
	{ "\xef\xbb\xbf" SOURCE "[web]\nx = 1\n", "1:byte order mark|3:unknown key 'x'" },
	{ "[source ntrvsta]\r\npath = /x\r\n", "1:ends in CR LF" },
	{ SOURCE "[web]\nthreads = 2\r\nbase = /x\r\n", "3:ends in CR LF" },
	{ "[source ntrvsta]\rpath = /x\r", "1:ends in CR LF|1:control character 0x0d|1:no [source NAME]" },
	{ SOURCE "[handlers]\ndir = a\033[31mb\n", "3:control character 0x1b" },
	{ SOURCE "[web]\nba\033se = /x\n", "3:control character 0x1b" },

	/* values */
	{ SOURCE "path = webhooks\n", "2:path wants the path of a URL such as /webhooks/ntrvsta, not 'webhooks'" },
	{ SOURCE "path =\n", "2:path wants the path" },
	{ SOURCE "path = https://example.org/x\n", "2:path wants the path" },
	{ SOURCE "path = /a//b\n", "2:path wants the path" },
	{ SOURCE "path = /a/../b\n", "2:path wants the path" },
	{ SOURCE "path = /a/..\n", "2:path wants the path" },
	{ SOURCE "path = /a?b\n", "2:path wants the path" },
	{ SOURCE "path = /a b\n", "2:path wants the path" },
	{ SOURCE "path = /%61\n", "2:path wants the path" },
	{ SOURCE "max_body = 0\n", "2:max_body wants a size" },
	{ SOURCE "max_body = 1MB\n", "2:not '1MB'" },
	{ SOURCE "max_body = -1\n", "2:max_body wants a size" },
	{ SOURCE "max_body = 513M\n", "2:to 512M" },
	{ SOURCE "max_body = 99999999999999999999\n", "2:max_body wants a size" },
	{ SOURCE "max_age = 5\n", "2:max_age wants a duration such as 500ms, 30s, 5m, 2h or 7d, not '5'" },
	{ SOURCE "max_age = 5 m\n", "2:max_age wants a duration" },
	{ SOURCE "secret_file =\n", "2:secret_file wants the name of a file" },
	{ SOURCE "secret_file = ~/secret\n", "2:'~' is not expanded" },
	{ SOURCE "secret_file = $HOME/secret\n", "2:'$' is not expanded" },
	{ SOURCE "[store]\nurl = postgresql://joe:hunter2@db/x\n", "3:wants sqlite:PATH; this version stores events in SQLite only" },
	{ SOURCE "[store]\nurl = state/ntrvsta.db\n", "3:wants sqlite:PATH" },
	{ SOURCE "[store]\nurl =\n", "3:wants sqlite:PATH" },
	{ SOURCE "[store]\nurl = sqlite:\n", "3:wants the path of a file" },
	{ SOURCE "[store]\nurl = sqlite::memory:\n", "3:wants the path of a file" },
	{ SOURCE "[store]\nurl = sqlite:///state/x.db\n", "3:wants the path of a file" },
	{ SOURCE "[store]\nurl = sqlite:state/\n", "3:wants the path of a file" },
	{ SOURCE "[store]\nurl = sqlite:~/x.db\n", "3:'~' is not expanded" },
	{ SOURCE "[web]\nbase = hooks\n", "3:base wants nothing or the path of a URL" },
	{ SOURCE "[web]\nbase = //\n", "3:base wants nothing or" },
	{ SOURCE "[web]\nthreads = 0\n", "3:threads wants a number from 1 to 1000, not '0'" },
	{ SOURCE "[web]\nthreads = 1001\n", "3:threads wants a number" },
	{ SOURCE "[web]\nthreads = 4294967297\n", "3:threads wants a number" },
	{ SOURCE "[web]\nthreads = +4\n", "3:threads wants a number" },
	{ SOURCE "[web]\nthreads = 4 5\n", "3:threads wants a number" },
	{ SOURCE "[web]\nthreads =\n", "3:threads wants a number" },
	{ SOURCE "[web]\nrate_limit = 200\n", "3:rate_limit wants a rate such as 200/s" },
	{ SOURCE "[web]\nrate_limit = off\n", "3:rate_limit wants a rate" },
	{ SOURCE "[dispatch]\nstart = on\n", "3:start wants auto or off, not 'on'" },
	{ SOURCE "[dispatch]\nconcurrency = many\n", "3:concurrency wants a number" },
	{ SOURCE "[handlers]\ndir =\n", "3:dir wants the name" },
	{ SOURCE "[handlers]\ntimeout = 0\n", "3:timeout wants a duration above 0" },
	{ SOURCE "[handlers]\ntimeout = 30\n", "3:timeout wants a duration above 0" },
	{ SOURCE "[handlers]\nkill_grace = soon\n", "3:kill_grace wants a duration" },
	{ SOURCE "[handlers]\nretry_schedule = 1s, 2s\n", "3:not '1s,'" },
	{ SOURCE "[handlers]\nretry_schedule = 1s 2\n", "3:not '2'" },
	{ SOURCE "[handlers]\noutput_limit = 17M\n", "3:to 16M" },
	{ SOURCE "[handlers]\npass_env = A,B\n", "3:wrong is 'A,B'" },
	{ SOURCE "[handlers]\npass_env = A 9B\n", "3:wrong is '9B'" },
	{ SOURCE "[handlers]\npass_env = A B A\n", "3:holds this name twice: 'A'" },
	{ SOURCE "[handlers]\npass_env = NTRVSTA_WEBHOOK_SECRET\n", "3:can't pass what ntrvsta sets" },
	{ SOURCE "[handlers]\npass_env = PATH\n", "3:can't pass what every handler gets" },
	{ SOURCE "[handler all/a]\ntimeout = x\n", "3:timeout wants a duration" },
	{ SOURCE "[log]\nlevel = verbose\n", "3:level wants error, warn, info or debug, not 'verbose'" },
	{ SOURCE "[log]\nlevel = INFO\n", "3:level wants error" },
	{ SOURCE "[handlers]\nbatch = 0\n", "3:wants a number from 1 to 10000, not '0'" },
	{ SOURCE "[handler all/a]\nbatch = 10001\n", "3:from 1 to 10000" },
	{ SOURCE "[handler all/a]\nbatch = 1e3\n", "3:from 1 to 10000" },
	{ SOURCE "[store]\nretain_events = 0\n", "3:a duration above 0" },
	{ SOURCE "[store]\nretain_failed = forever\n", "3:a duration above 0" },
	{ SOURCE "[log]\ntarget = stdout\n", "3:stderr, syslog or a file's path with a slash in it" },
	{ SOURCE "[log]\nsecurity = sylsog\n", "3:stderr, syslog or a file's path with a slash in it" },
	{ SOURCE "[log]\nsecurity =\n", "3:stderr, syslog or" },

	/* what holds between settings */
	{ "[source a]\npath = /x\n[source b]\npath = /x/\n", "4:[source b] has the path of [source a], /x" },
	{ "[source a]\npath = /webhooks/b\n[source b]\n", "3:[source b] has the path of [source a]" },
	{ SOURCE "\nsecret_file = missing\n", "3:missing: can't be read: No such file" },
	{ SOURCE "secret_file = empty\n", "2:empty: holds no secret" },
	{ SOURCE "secret_file = comments\n", "2:comments: holds no secret" },
	{ SOURCE "secret_file = keys\n", "2:keys: can't be read: Is a directory" },
	{ "[web]\nthreads = 1\n[source b]\nsecret_file = missing\n" SOURCE, "4:missing: can't be read" },

	/* all at once, in the order of the lines */
	{ "[source ntrvsta]\nsecret_file = missing\nmax_body = x\n[web]\nthreads = 0\nbad line\nbase = x\n"
	  "[nowhere]\n[log]\nlevel = x\n",
	  "2:missing|3:max_body|5:threads|6:neither|7:base|8:unknown section [nowhere]|10:level" },
};

/* Is the next line of *GOT "conf_path:WANT", where WANT is "LINE:words", and the words are
 * somewhere behind the number? Moves *GOT on. */
static bool next_error_is(const char **got, const char *want, size_t want_len)
{
	const char *end = strchr(*got, '\n'), *colon = memchr(want, ':', want_len);
	char *line, *start, *words;
	bool same;

	if (!end)
		return false;
	line = xstrndup(*got, (size_t)(end - *got));
	start = xasprintf("%s:%.*s: ", conf_path, (int)(colon - want), want);
	words = xstrndup(colon + 1, want_len - (size_t)(colon + 1 - want));
	same = strncmp(line, start, strlen(start)) == 0 && strstr(line + strlen(start), words) != NULL;
	free(line);
	free(start);
	free(words);
	*got = end + 1;
	return same;
}

static bool errors_are(const char *got, const char *want)
{
	while (*want) {
		size_t len = strcspn(want, "|");

		if (!next_error_is(&got, want, len))
			return false;
		want += len + (want[len] == '|');
	}
	return *got == '\0';
}

static void test_refusals(void)
{
	write_text("empty", "");
	write_text("comments", "# nothing\n\n");
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		const struct refusal *r = &refusals[i];
		struct conf *c = load(r->text);

		if (!CHECK(!c && errors_are(buf_str(&err), r->errors), "refused: %s", r->errors))
			printf("# got: %s", buf_str(&err));
		conf_unref(c);
	}
}

static void test_no_password_in_errors(void)
{
	struct conf *c = load(SOURCE "[store]\nurl = postgresql://joe:hunter2@db/x\n");

	CHECK(!c && !strstr(buf_str(&err), "hunter2"), "a refused url is not repeated: it may hold a password");
	conf_unref(c);
}

static void test_bytes(void)
{
	static const char nul[] = SOURCE "[web]\nthreads = 2\0003\n";
	struct buf text = BUF_INIT;
	struct conf *c = load_bytes(nul, sizeof nul - 1);

	CHECK(!c && errors_are(buf_str(&err), "3:control character 0x00"), "a zero byte does not end a line");
	conf_unref(c);

	buf_adds(&text, SOURCE "\n[handlers]\n\ndir = /");
	while (text.len < INIFILE_LINE_MAX + sizeof SOURCE + 13)
		buf_addc(&text, 'x');
	buf_adds(&text, "xxxxxxxx\ntimeout = x\n");
	c = load(buf_str(&text));
	CHECK(!c && errors_are(buf_str(&err), "5:longer than 8192 bytes|6:timeout"), "a line that is too long");
	conf_unref(c);

	buf_reset(&text);
	while (text.len <= INIFILE_MAX)
		buf_adds(&text, "; comment\n");
	c = load(buf_str(&text));
	CHECK(!c && strstr(buf_str(&err), "ntrvsta.conf: can't be read: File too large"), "a file that is too large");
	conf_unref(c);

	/* U+009B begins a control sequence as ESC [ does, U+202E turns the text around. */
	c = load("[source a\xc2\x9b\xe2\x80\xae]\n");
	CHECK(!c && strstr(buf_str(&err), "a source is named") && !strchr(buf_str(&err), '\xc2') &&
	      !strchr(buf_str(&err), '\xe2'),
	      "an error holds no control sequence");
	conf_unref(c);
	buf_free(&text);
}

/* The lists that have an end: the last that fits, and one more. */
static void test_list_limits(void)
{
	static const struct {
		const char *key, *before, *behind, *refusal;
		int most;
	} lists[] = {
		{ "retry_schedule", "", "s", "3:wants at most 100 steps", 100 },
		{ "pass_env", "V", "", "3:wants at most 40 names; too many is 'V40'", 40 },
	};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		for (int more = 0; more <= 1; more++) {
			struct buf text = BUF_INIT;
			struct conf *c;

			buf_addf(&text, SOURCE "[handlers]\n%s =", lists[i].key);
			for (int k = 0; k < lists[i].most + more; k++)
				buf_addf(&text, " %s%d%s", lists[i].before, k, lists[i].behind);
			c = load(buf_str(&text));
			CHECK(more ? !c && errors_are(buf_str(&err), lists[i].refusal) : c != NULL,
			      "%s of %d words is %s", lists[i].key, lists[i].most + more, more ? "refused" : "taken");
			conf_unref(c);
			buf_free(&text);
		}
	}
}

/* --- webhooks ---------------------------------------------------------------------------- */

static void test_webhooks(void)
{
	static const int64_t by_default[] = { 5000, 300000, 1800000, 7200000, 18000000, 36000000, 50400000, 72000000, 86400000 };
	static const int64_t given[] = { 1000, 2000 };
	struct conf *c = load_good(SOURCE);
	char *ca_file = in_dir("own-ca.pem"), *hook = xasprintf("wh_%026d", 7);

	if (c) {
		CHECK_INT(c->webhooks.call.timeout_ms, 15000, "by default a call may take 15 s");
		CHECK_INT(c->webhooks.connect_timeout_ms, 5000, "... of that 5 to connect");
		CHECK_INT(c->webhooks.call.concurrency, 1, "... one at a time to a webhook");
		CHECK(!c->webhooks.allow_http && c->webhooks.allow_private.n == 0, "... with HTTPS, to public addresses only");
		CHECK_STR(c->webhooks.ca_file, "", "... and the system's authorities");
		CHECK_INT((int64_t)c->webhooks.call.output_limit, 8192, "8 KiB of an answer are kept");
		check_schedule(&c->webhooks.call.retry_schedule, by_default, 9, "the default");
	}
	conf_unref(c);
	c = load_good(SOURCE "[webhooks]\ntimeout = 3s\nconnect_timeout = 500ms\nconcurrency = 9\nretry_schedule = 1s 2s\n"
	                     "allow_http = on\nallow_private = 10.0.0.0/8  ::1\nca_file = own-ca.pem\n");
	if (c) {
		CHECK(conf_handler(c, hook) == &c->webhooks.call, "a webhook's id names these settings");
		CHECK(conf_handler(c, "session.completed") == &c->handler_defaults, "and a handler's name others");
		CHECK_INT(c->webhooks.call.timeout_ms, 3000, "timeout");
		CHECK_INT(c->webhooks.connect_timeout_ms, 500, "connect_timeout");
		CHECK_INT(c->webhooks.call.concurrency, 9, "concurrency");
		CHECK(c->webhooks.allow_http, "allow_http");
		CHECK_INT((int64_t)c->webhooks.allow_private.n, 2, "two blocks");
		CHECK_INT(c->webhooks.allow_private.items[0].bits, 96 + 8, "... 10.0.0.0/8");
		CHECK_INT(c->webhooks.allow_private.items[1].bits, 128, "... and an address alone");
		CHECK_STR(c->webhooks.ca_file, ca_file, "ca_file is relative to the file");
		check_schedule(&c->webhooks.call.retry_schedule, given, 2, "what is given");
	}
	conf_unref(c);
	c = load_good(SOURCE "[webhooks]\nallow_private = off\nca_file =\n");
	CHECK(c && c->webhooks.allow_private.n == 0 && !c->webhooks.ca_file[0], "off, and no file, are the defaults");
	conf_unref(c);
	free(hook);
	free(ca_file);
}

/* --- invitations ------------------------------------------------------------------------- */

static void test_invitations(void)
{
	static const struct {
		const char *value, *want;
	} rows[] = {
		{ "", "" },
		{ "https://interviews.example.com/i", "https://interviews.example.com/i" },
		{ "https://interviews.example.com/i/", "https://interviews.example.com/i" },
		{ "https://interviews.example.com//", "https://interviews.example.com" },
		{ "http://127.0.0.1:8080/a%20b", "http://127.0.0.1:8080/a%20b" },
		{ "https://[2001:db8::1]:8443/i", "https://[2001:db8::1]:8443/i" },
	};
	struct conf *c = load_good(SOURCE);

	CHECK(c && strcmp(c->invite_base_url, "") == 0, "by default invitations have no page");
	conf_unref(c);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf text = BUF_INIT;

		buf_addf(&text, SOURCE "[invitations]\nbase_url = %s\n", rows[i].value);
		c = load_good(buf_str(&text));
		if (c)
			CHECK_STR(c->invite_base_url, rows[i].want, "base_url '%s'", rows[i].value);
		conf_unref(c);
		buf_free(&text);
	}
}

static void test_flood(void)
{
	struct buf text = BUF_INIT;
	struct conf *c;

	for (int i = 0; i < 1000; i++)
		buf_adds(&text, "nonsense\n");
	c = load(buf_str(&text));
	CHECK(!c && strstr(buf_str(&err), "ntrvsta.conf: 801 more errors are not shown\n"),
	      "a file of nonsense does not make a report without end");
	conf_unref(c);
	buf_free(&text);
}

static void test_unreadable(void)
{
	char *missing = in_dir("no/such.conf"), *want;

	buf_reset(&err);
	want = xasprintf("%s: can't be read: No such file or directory\n", missing);
	CHECK(conf_load(missing, &err) == NULL, "a missing file does not load");
	CHECK_STR(buf_str(&err), want, "and is named");
	buf_reset(&err);
	CHECK(!conf_load(dir, &err) && strstr(buf_str(&err), "can't be read: Is a directory"),
	      "nor does a folder");
	free(want);
	free(missing);
}

/* A few thousand files of noise: none may load, none may do harm (run it under the sanitizers). */
static void test_garbage(void)
{
	static const char *const words[] = {
		"[", "]", "=", ";", "#", " ", "\t", "\n", "\r\n", "source", "handler", "web", "path", "threads",
		"\\", "\"", ":", "1s", "\xff", "\xef\xbb\xbf", "\001", "timeout", "/", "sqlite:", "ntrvsta", "64K",
	};
	struct problems problems = { NULL, 0, 0 };
	struct inifile file;
	uint32_t state = 1;
	int refused = 0;

	for (int i = 0; i < 3000; i++) {
		struct buf text = BUF_INIT;

		for (int k = 0; k < 60; k++) {
			state = state * 1664525 + 1013904223;
			if (i % 2)
				buf_adds(&text, words[(state >> 16) % (sizeof words / sizeof words[0])]);
			else
				buf_addc(&text, (char)(state >> 24));
		}
		inifile_read(buf_str(&text), text.len, &file, &problems);
		refused += problems.n > 0;
		inifile_free(&file);
		problems_free(&problems);
		buf_free(&text);
	}
	CHECK(refused > 2900, "%d of 3000 files of noise are refused", refused);
}

/* --- secrets ----------------------------------------------------------------------------- */

/* Not that the default one is missing as well. */
static void test_refused_secret_file(void)
{
	struct conf *c;
	char *path = in_dir("secret");

	CHECK_INT(unlink(path), 0, "(no secret)");
	c = load(SOURCE "secret_file = ~/mine\n");
	CHECK(!c && errors_are(buf_str(&err), "2:'~' is not expanded"), "a wrong secret_file is one error");
	conf_unref(c);
	write_text("secret", "of the file\n");
	free(path);
}

static void test_secret_variable(void)
{
	struct conf *c;

	setenv("NTRVSTA_WEBHOOK_SECRET", "from the environment", 1);
	c = load_good("[source other]\n[source ntrvsta]\nsecret_file = missing\n");
	CHECK_STR(c ? c->sources[1].secrets->items[0].bytes : NULL, "from the environment",
	          "$NTRVSTA_WEBHOOK_SECRET replaces the file of the source ntrvsta, which is not read");
	CHECK_STR(c ? c->sources[0].secrets->items[0].bytes : NULL, "of the file", "and of no other");
	CHECK(c && !conf_changed(c), "a file that was not read has not changed");
	conf_unref(c);

	setenv("NTRVSTA_WEBHOOK_SECRET", "", 1);
	c = load("\n" SOURCE);
	CHECK(!c && errors_are(buf_str(&err), "2:$NTRVSTA_WEBHOOK_SECRET is empty"),
	      "set but empty it is an error");
	conf_unref(c);
	c = load_good("[source other]\n");
	CHECK(c != NULL, "unless there is no source of that name");
	conf_unref(c);
	unsetenv("NTRVSTA_WEBHOOK_SECRET");
}

/* --- has it changed? --------------------------------------------------------------------- */

static void set_mtime(const char *name, time_t when)
{
	struct timespec times[2] = { { when, 0 }, { when, 5 } };
	char *path = in_dir(name);

	CHECK_INT(utimensat(AT_FDCWD, path, times, 0), 0, "(set a time)");
	free(path);
}

static void remove_file(const char *name)
{
	char *path = in_dir(name);

	CHECK_INT(unlink(path), 0, "(remove %s)", name);
	free(path);
}

static void check_change(const char *what, void (*change)(void), bool changed)
{
	struct conf *c;

	write_text("secret", "of the file\n");
	write_text("second", "another\n");
	c = load_good("[source ntrvsta]\n[source b]\nsecret_file = second\n");
	if (!c)
		return;
	CHECK(!conf_changed(c), "fresh: not changed");
	change();
	CHECK(conf_changed(c) == changed, "%s: %s", what, changed ? "changed" : "not changed");
	conf_unref(c);
}

static void change_nothing(void)
{
	write_text("unrelated", "x");
}

static void replace_conf(void)
{
	write_text("ntrvsta.conf", SOURCE);
}

static void touch_conf(void)
{
	set_mtime("ntrvsta.conf", 1000000000);
}

static void remove_conf(void)
{
	remove_file("ntrvsta.conf");
}

static void replace_secret(void)
{
	write_text("secret", "of the file\n");
}

static void touch_second(void)
{
	set_mtime("second", 1000000000);
}

static void remove_second(void)
{
	remove_file("second");
}

static void append_secret(void)
{
	char *path = in_dir("secret");
	FILE *f = fopen(path, "a");

	CHECK(f && fputs("more\n", f) >= 0 && fclose(f) == 0, "(append to a secret)");
	free(path);
}

static void test_changed(void)
{
	check_change("another file of the folder", change_nothing, false);
	check_change("the configuration, replaced", replace_conf, true);
	check_change("the configuration, touched", touch_conf, true);
	check_change("the configuration, gone", remove_conf, true);
	check_change("a secret, replaced by an equal one", replace_secret, true);
	check_change("a secret, longer", append_secret, true);
	check_change("the second secret, touched", touch_second, true);
	check_change("the second secret, gone", remove_second, true);
	write_text("secret", "of the file\n");
}

/* --- where it is ------------------------------------------------------------------------- */

static void check_found(const char *want, const char *what)
{
	char *found;

	buf_reset(&err);
	found = conf_find(&err);
	CHECK_STR(found, want, "%s", what);
	free(found);
}

/* Nothing found, or found elsewhere than at a path that begins with START. */
static void check_not_found(const char *start, const char *what)
{
	char *found;

	buf_reset(&err);
	found = conf_find(&err);
	CHECK(found ? strncmp(found, start, strlen(start)) != 0 : !strstr(buf_str(&err), start), "%s", what);
	free(found);
}

static void make_dirs(const char *a, const char *b)
{
	char *outer = in_dir(a), *inner = in_dir(b);

	CHECK(mkdir(outer, 0700) == 0 && mkdir(inner, 0700) == 0, "(make %s)", b);
	free(outer);
	free(inner);
}

static void test_find(void)
{
	char *of_home = in_dir(".config/ntrvsta/ntrvsta.conf");
	struct passwd *me = getpwuid(getuid());
	struct conf *c;

	setenv("NTRVSTA_CONF", "/named/by/variable.conf", 1);
	check_found("/named/by/variable.conf", "$NTRVSTA_CONF comes first, there or not");
	buf_reset(&err);
	CHECK(!conf_load(NULL, &err) && strstr(buf_str(&err), "/named/by/variable.conf: can't be read"),
	      "and nothing else is taken instead of it");
	setenv("NTRVSTA_CONF", "", 1);
	setenv("HOME", dir, 1);
	if (access(NTRVSTA_SYSCONFDIR "/ntrvsta/ntrvsta.conf", F_OK) != 0) {
		check_found(NULL, "nothing anywhere");
		CHECK(strstr(buf_str(&err), of_home) && strstr(buf_str(&err), NTRVSTA_SYSCONFDIR "/ntrvsta/ntrvsta.conf") &&
		      strstr(buf_str(&err), "ntrvsta init"), "the places looked at are named");
	}
	setenv("HOME", "not/absolute", 1);
	check_not_found("not/absolute", "a relative $HOME is none");
	setenv("HOME", dir, 1);
	make_dirs(".config", ".config/ntrvsta");
	write_text(".config/ntrvsta/ntrvsta.conf", SOURCE);
	write_text(".config/ntrvsta/secret", "of the home\n");
	check_found(of_home, "an empty $NTRVSTA_CONF is none; then the one of the home directory");
	c = conf_load(NULL, &err);
	CHECK_STR(c ? c->path : NULL, of_home, "which conf_load(NULL) takes");
	CHECK_STR(c ? c->sources[0].secrets->items[0].bytes : NULL, "of the home", "with what is beside it");
	conf_unref(c);

	unsetenv("HOME");
	buf_reset(&err);
	c = conf_load(NULL, &err);
	if (me && access(me->pw_dir, X_OK) == 0 && !c)
		CHECK(strstr(buf_str(&err), me->pw_dir) != NULL,
		      "without $HOME the password database says where to look");
	conf_unref(c);
	unsetenv("NTRVSTA_CONF");
	free(of_home);
}

static void test_relative_path(void)
{
	struct conf *c;

	write_text("ntrvsta.conf", SOURCE);
	buf_reset(&err);
	CHECK_INT(chdir(dir), 0, "(go there)");
	c = conf_load("ntrvsta.conf", &err);
	CHECK_STR(c ? c->path : NULL, conf_path, "a relative path becomes absolute");
	CHECK_INT(chdir("/"), 0, "(go away)");
	CHECK(c && !conf_changed(c), "and the file is found from elsewhere");
	conf_unref(c);
}

/* --- asking ------------------------------------------------------------------------------ */

static void test_sources(void)
{
	struct conf *c = load_good("[source first]\n[source ntrvsta]\n[source third]\n"), *again;

	if (c) {
		CHECK_STR(conf_source(c, "third")->name, "third", "a source by its name");
		CHECK_STR(conf_source(c, NULL)->name, "ntrvsta", "without a name the one called ntrvsta");
		CHECK(conf_source(c, "x") == NULL, "a name that no source has");
		again = conf_ref(c);
		conf_unref(c);
		CHECK_STR(conf_source(again, NULL)->name, "ntrvsta", "a reference keeps it");
		conf_unref(again);
	}
	c = load_good("[source first]\n[source second]\n");
	CHECK_STR(c ? conf_source(c, NULL)->name : NULL, "first", "or else the first");
	conf_unref(c);
	conf_unref(NULL);
}

/* --- the manual -------------------------------------------------------------------------- */

/* The manual's text on KEY: from its .It to the next one. The caller frees it. */
static char *manual_entry(const char *manual, const struct conf_key *key)
{
	char *heading = xasprintf("\n.Ss [%s", key->section), *item = xasprintf("\n.It Ic %s\n", key->name);
	const char *section = strstr(manual, heading), *start, *end;
	size_t len = strlen(heading);
	char *entry = NULL;

	/* "[handler" begins "[handlers]" as well. */
	while (section && section[len] != ']' && section[len] != ' ')
		section = strstr(section + 1, heading);
	start = section ? strstr(section, item) : NULL;
	end = section ? strstr(section, "\n.El\n") : NULL;
	if (start && end && start < end) {
		const char *next = strstr(start + 1, "\n.It ");

		entry = xstrndup(start, (size_t)((next && next < end ? next : end) - start));
	}
	free(heading);
	free(item);
	return entry;
}

static void test_manual(void)
{
	struct buf manual = BUF_INIT;

	if (!CHECK(fdio_read_file(tap_data("../man/ntrvsta.conf.5"), 1 << 20, &manual) == 0,
	           "the manual page is there"))
		return;
	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *key = &conf_keys[i];
		char *entry = manual_entry(buf_str(&manual), key), *want;

		CHECK(entry, "the manual has %s of [%s]", key->name, key->section);
		if (entry && key->fallback) {
			want = *key->fallback ? xasprintf("\nDefault:\n.Li %s .", key->fallback)
			                      : xstrdup("\nDefault: empty.");
			CHECK(strstr(entry, want), "and its default '%s'", key->fallback);
			free(want);
		}
		free(entry);
	}
	buf_free(&manual);
}

int main(void)
{
	char *keys;

	/* The folder's name without links, as getcwd() will say it. */
	if (!realpath(tap_tmpdir(), dir))
		return 99;
	snprintf(conf_path, sizeof conf_path, "%.*s/ntrvsta.conf", PATH_MAX - 20, dir);
	keys = in_dir("keys");
	if (mkdir(keys, 0700) < 0)
		return 99;
	free(keys);
	unsetenv("NTRVSTA_CONF");
	unsetenv("NTRVSTA_WEBHOOK_SECRET");
	write_text("secret", "of the file\n");

	test_manual(); /* before the current directory changes: $srcdir may be relative */
	test_defaults();
	test_sample();
	test_sample_override();
	test_every_value();
	test_small_values();
	test_long_values();
	test_overrides();
	test_refusals();
	test_no_password_in_errors();
	test_bytes();
	test_list_limits();
	test_webhooks();
	test_invitations();
	test_flood();
	test_unreadable();
	test_garbage();
	test_refused_secret_file();
	test_secret_variable();
	test_changed();
	test_find();
	test_relative_path();
	test_sources();
	buf_free(&err);
	return tap_done();
}
