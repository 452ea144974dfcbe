/* ntrvsta send: sign an event as the platform would, and post it. */
#include "lib/cli/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/data.h"
#include "lib/cli/output.h"
#include "lib/event/catalogue.h"
#include "lib/event/envelope.h"
#include "lib/event/signature.h"

#define ANSWER_MAX_BYTES ((size_t)64 << 10)
#define COUNT_MAX 10000000
#define CONNECT_TIMEOUT_S 10L
#define TIMEOUT_S 60L
#define RETRIES_MAX 10      /* of one event, where the receiver asks for patience */
#define RETRY_AFTER_MAX_S 30

struct send {
	const struct cli *cli;
	const struct conf_source *source;
	const struct secret *secret;
	const char *event;
	char *data;      /* JSON */
	bool own_data;   /* from --data, else the catalogue's sample */
	const char *timestamp;
	int64_t timestamp_ms; /* 0: now */
	int64_t last_us; /* time of the last body */
	char *url;
	CURL *curl;
	/* what came of it */
	int64_t count, sent, accepted, duplicates, failed, duration_us;
};

struct answer {
	long status;
	curl_off_t retry_after_s;
	struct buf body;
	/* out of the body; "" where it is none of ours */
	char id[ID_SIZE], code[64], detail[512];
	bool duplicate;
};

/* --- the body ------------------------------------------------------------------------------ */

static int64_t wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void format_us(int64_t us, char out[CLOCK_RFC3339_SIZE + 3])
{
	char *z;

	clock_format(us / 1000, out);
	z = strchr(out, 'Z');
	sprintf(z, "%03dZ", (int)(us % 1000));
}

/* No two bodies of a run are equal, or all but one were duplicates: the time goes on by a
 * microsecond at least. */
static void add_timestamp(struct send *s, int64_t i, struct buf *out)
{
	char text[CLOCK_RFC3339_SIZE + 3];
	int64_t us = s->timestamp ? s->timestamp_ms * 1000 + i : wall_us(), exact_ms;

	if (s->timestamp && i == 0 && clock_parse(s->timestamp, &exact_ms) == 0) {
		buf_add_json(out, s->timestamp); /* as it was typed */
		return;
	}
	if (!s->timestamp && us <= s->last_us)
		us = s->last_us + 1;
	s->last_us = us;
	format_us(us, text);
	buf_add_json(out, text);
}

/* A `resultId` decides what is a duplicate, whatever the time: one of its own for each sample
 * and, of the operator's data, for each after the first. */
static void vary_result_id(const struct send *s, int64_t i, struct json_object *data)
{
	struct json_object *old, *fresh = NULL;
	char id[ID_SIZE], *text;

	if (!json_object_is_type(data, json_type_object) || !json_object_object_get_ex(data, "resultId", &old))
		return;
	if (!s->own_data) {
		fresh = json_object_new_string(id_make("res_", clock_wall_ms(), id));
	} else if (json_object_is_type(old, json_type_int)) {
		fresh = json_object_new_int64(json_object_get_int64(old) + i);
	} else if (json_object_is_type(old, json_type_string)) {
		text = xasprintf("%s-%lld", json_object_get_string(old), (long long)i + 1);
		fresh = json_object_new_string(text);
		free(text);
	}
	if (fresh)
		json_object_object_add(data, "resultId", fresh);
}

/* The operator's data goes out byte for byte, unless a `resultId` in it has to change. */
static void add_data(const struct send *s, int64_t i, struct buf *out)
{
	struct json_object *data;

	if ((s->own_data && i == 0) || !strstr(s->data, "resultId")) {
		buf_adds(out, s->data);
		return;
	}
	data = data_parse(s->data);
	vary_result_id(s, i, data);
	buf_adds(out, json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(data);
}

static void make_body(struct send *s, int64_t i, struct buf *out)
{
	buf_adds(out, "{\"event\":");
	buf_add_json(out, s->event);
	buf_adds(out, ",\"timestamp\":");
	add_timestamp(s, i, out);
	buf_adds(out, ",\"data\":");
	add_data(s, i, out);
	buf_addc(out, '}');
}

/* --- one call ------------------------------------------------------------------------------ */

static size_t keep_answer(char *data, size_t size, size_t n, void *ctx)
{
	struct buf *body = ctx;
	size_t len = size * n, room = ANSWER_MAX_BYTES - body->len;

	buf_add(body, data, len < room ? len : room);
	return len;
}

static void copy_member(struct json_object *o, const char *name, char *out, size_t size)
{
	struct json_object *value = json_object_object_get(o, name);

	snprintf(out, size, "%s", json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "");
}

static void read_answer(struct answer *a)
{
	struct json_object *o;

	data_trim(&a->body);
	o = data_parse(buf_str(&a->body));
	a->duplicate = false;
	a->id[0] = a->code[0] = a->detail[0] = '\0';
	if (json_object_is_type(o, json_type_object)) {
		copy_member(o, "id", a->id, sizeof a->id);
		copy_member(o, "code", a->code, sizeof a->code);
		copy_member(o, "detail", a->detail, sizeof a->detail);
		a->duplicate = json_object_get_boolean(json_object_object_get(o, "duplicate"));
	}
	json_object_put(o);
}

static struct curl_slist *make_headers(const struct send *s, const struct buf *body)
{
	char signature[SIGNATURE_HEX_SIZE], key[ID_SIZE], line[256];
	struct curl_slist *list = NULL;

	signature_sign(s->secret->bytes, s->secret->len, body->data, body->len, signature);
	list = curl_slist_append(list, "Content-Type: application/json");
	list = curl_slist_append(list, "Expect:"); /* else curl waits before it sends a large body */
	snprintf(line, sizeof line, "X-NTRVSTA-Signature: %s", signature);
	list = curl_slist_append(list, line);
	snprintf(line, sizeof line, "X-NTRVSTA-Event: %s", s->event);
	list = curl_slist_append(list, line);
	snprintf(line, sizeof line, "X-NTRVSTA-Idempotency-Key: %s", id_make("", clock_wall_ms(), key));
	return curl_slist_append(list, line);
}

/* -1 after it said why there is no answer. */
static int call(const struct send *s, const struct buf *body, struct answer *a)
{
	struct curl_slist *headers = make_headers(s, body);
	char error[CURL_ERROR_SIZE] = "";
	CURLcode code;

	buf_reset(&a->body);
	curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body->data);
	curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
	curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, &a->body);
	curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, error);
	code = curl_easy_perform(s->curl);
	curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	if (code == CURLE_OK) {
		curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &a->status);
		curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &a->retry_after_s);
		read_answer(a);
		return 0;
	}
	if (code == CURLE_COULDNT_CONNECT)
		cli_fail(s->cli, "nothing listens at %s (%s): start 'ntrvsta serve', or name your web server with --url",
		         s->url, error);
	else
		cli_fail(s->cli, "%s: %s", s->url, error[0] ? error : curl_easy_strerror(code));
	return -1;
}

/* Of many events, one that came too fast waits as the receiver asks; a single one is answered
 * at once. */
static int call_patiently(const struct send *s, const struct buf *body, struct answer *a)
{
	int retries = 0, result;
	curl_off_t wait_s;

	while ((result = call(s, body, a)) == 0 && s->count > 1 && retries < RETRIES_MAX &&
	       (a->status == 429 || a->status == 503)) {
		wait_s = a->retry_after_s < 1 ? 1 : a->retry_after_s;
		sleep((unsigned)(wait_s < RETRY_AFTER_MAX_S ? wait_s : RETRY_AFTER_MAX_S));
		retries++;
	}
	return result;
}

/* --- all calls ------------------------------------------------------------------------------- */

static void count_answer(struct send *s, const struct answer *a)
{
	s->sent++;
	if (a->status >= 200 && a->status < 300) {
		s->accepted += !a->duplicate;
		s->duplicates += a->duplicate;
		return;
	}
	if (s->failed++ == 0) /* the first speaks for the others */
		cli_fail(s->cli, "%ld from %s%s%s%s%s", a->status, s->url, a->code[0] ? ": " : "", a->code,
		         a->detail[0] ? ": " : "", a->detail);
}

static struct json_object *json_decimal(double value, int places)
{
	char text[64];

	snprintf(text, sizeof text, "%.*f", places, value);
	return json_object_new_double_s(value, text);
}

static void report_json(const struct send *s, const struct answer *a)
{
	struct json_object *doc = json_object_new_object();
	double seconds = (double)s->duration_us / 1e6;

	json_object_object_add(doc, "url", cli_json_string(s->url));
	json_object_object_add(doc, "event", cli_json_string(s->event));
	json_object_object_add(doc, "sent", json_object_new_int64(s->sent));
	json_object_object_add(doc, "accepted", json_object_new_int64(s->accepted));
	json_object_object_add(doc, "duplicates", json_object_new_int64(s->duplicates));
	json_object_object_add(doc, "failed", json_object_new_int64(s->failed));
	json_object_object_add(doc, "seconds", json_decimal(seconds, 3));
	json_object_object_add(doc, "per_second", seconds > 0 ? json_decimal((double)s->sent / seconds, 1) : NULL);
	/* of the last answer */
	json_object_object_add(doc, "status", a->status ? json_object_new_int64(a->status) : NULL);
	json_object_object_add(doc, "id", cli_json_string(a->id));
	json_object_object_add(doc, "duplicate", json_object_new_boolean(a->duplicate));
	json_object_object_add(doc, "code", cli_json_string(a->code));
	json_object_object_add(doc, "detail", cli_json_string(a->detail));
	cli_print_json(doc);
}

static void report(const struct send *s, const struct answer *a)
{
	double seconds = (double)s->duration_us / 1e6;
	char took[UNITS_SIZE];
	struct buf line = BUF_INIT;

	if (s->cli->json) {
		report_json(s, a);
		return;
	}
	if (s->count > 1)
		buf_addf(&line, "%lld sent in %.2f s (%.0f/s): %lld accepted, %lld duplicates, %lld failed", (long long)s->sent,
		         seconds, seconds > 0 ? (double)s->sent / seconds : 0, (long long)s->accepted,
		         (long long)s->duplicates, (long long)s->failed);
	else if (s->sent && !s->failed)
		buf_addf(&line, "%ld %s %s (%s, %s)", a->status, a->duplicate ? "duplicate of" : "accepted",
		         a->id[0] ? a->id : "by something else than ntrvsta-fcgi", s->url,
		         units_format_duration(s->duration_us / 1000, took));
	cli_print_text("", buf_str(&line), line.len);
	buf_free(&line);
}

static int send_all(struct send *s)
{
	struct answer answer = { .status = 0 };
	struct buf body = BUF_INIT;
	int64_t start_us = clock_mono_us(), i;
	bool reached = true;

	for (i = 0; i < s->count && reached; i++) {
		buf_reset(&body);
		make_body(s, i, &body);
		reached = call_patiently(s, &body, &answer) == 0;
		if (reached)
			count_answer(s, &answer);
	}
	s->duration_us = clock_mono_us() - start_us;
	if (!reached)
		s->failed++;
	report(s, &answer);
	buf_free(&body);
	buf_free(&answer.body);
	return s->failed ? CLI_FAILED : CLI_OK;
}

/* --- what to send, and where to ---------------------------------------------------------------- */

/* EVENT's data into S. False after it said what is wrong. */
static bool choose_data(struct send *s, const char *data)
{
	const struct catalogue_event *known = catalogue_find(s->event);
	struct buf text = BUF_INIT;
	struct json_object *parsed;

	s->own_data = data != NULL;
	if (data && !data_read(s->cli, data, &text)) {
		buf_free(&text);
		return false;
	}
	if (!data) {
		data_note_undocumented(s->cli, s->event);
		buf_adds(&text, known ? known->data : "{}");
	}
	s->data = buf_detach(&text);
	parsed = data_parse(s->data);
	if (!parsed && strcmp(s->data, "null") != 0) {
		data_refuse(s->cli);
		return false;
	}
	json_object_put(parsed);
	return true;
}

static bool choose_url(struct send *s, const struct conf *conf, const char *url)
{
	char *serving = url ? NULL : cli_serve_url(conf);
	const char *base = url ? url : serving ? serving : "http://127.0.0.1:8080";
	const char *host = strstr(base, "://");

	if (!host || (strncmp(base, "http://", 7) != 0 && strncmp(base, "https://", 8) != 0)) {
		cli_usage(s->cli, "--url wants http://... or https://..., not '%s'", base);
		return false;
	}
	if (strpbrk(host + 3, "/?#"))
		s->url = xstrdup(base);
	else
		s->url = xasprintf("%s%s%s", base, conf->web_base, s->source->path);
	free(serving);
	return true;
}

/* A proxy from the environment is for the outside, not for this machine. */
static bool is_loopback(const char *url)
{
	CURLU *parts = curl_url();
	char *host = NULL;
	bool loopback = false;

	if (curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		loopback = strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
	curl_free(host);
	curl_url_cleanup(parts);
	return loopback;
}

static int post(struct send *s)
{
	int status;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(s->curl = curl_easy_init()))
		return cli_fail(s->cli, "libcurl can't be set up");
	curl_easy_setopt(s->curl, CURLOPT_URL, s->url);
	curl_easy_setopt(s->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "ntrvsta-fcgi/" PACKAGE_VERSION);
	curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, keep_answer);
	if (is_loopback(s->url))
		curl_easy_setopt(s->curl, CURLOPT_PROXY, "");
	status = send_all(s);
	curl_easy_cleanup(s->curl);
	curl_global_cleanup();
	return status;
}

/* --- the command ---------------------------------------------------------------------------- */

struct send_options {
	const char *data, *url, *count, *source, *timestamp;
};

static int send_event(struct send *s, const struct conf *conf, const struct send_options *o)
{
	int status = CLI_FAILED;

	s->source = cli_source(s->cli, conf, o->source);
	if (!s->source)
		return CLI_FAILED;
	s->secret = cli_signing_secret(s->cli, s->source);
	if (!s->secret)
		return CLI_FAILED;
	if (!choose_url(s, conf, o->url))
		status = CLI_USAGE;
	else if (choose_data(s, o->data))
		status = post(s);
	free(s->data);
	free(s->url);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct send_options o = { 0 };
	const struct cli_option options[] = {
		{ "data", &o.data, NULL }, { "url", &o.url, NULL }, { "count", &o.count, NULL },
		{ "source", &o.source, NULL }, { "timestamp", &o.timestamp, NULL },
	};
	struct send s = { .cli = cli, .count = 1 };
	struct conf *conf;
	char *end;
	int status;

	argc = cli_parse(cli, options, 5, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1)
		return cli_usage(cli, "wants the name of one event, such as session.completed");
	if (!envelope_name_valid(argv[0], strlen(argv[0])))
		return cli_usage(cli, "'%s' can't be an event's name, such as session.completed", argv[0]);
	if (o.count) {
		s.count = strtoll(o.count, &end, 10);
		if (o.count[0] < '1' || o.count[0] > '9' || *end || s.count > COUNT_MAX)
			return cli_usage(cli, "--count wants a number from 1 to %d, not '%s'", COUNT_MAX, o.count);
	}
	if (!cli_parse_time(cli, "timestamp", o.timestamp, &s.timestamp_ms))
		return CLI_USAGE;
	s.event = argv[0];
	s.timestamp = o.timestamp;
	conf = cli_load_conf(cli);
	if (!conf)
		return CLI_FAILED;
	status = send_event(&s, conf, &o);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_send = {
	.name = "send",
	.summary = "sign an event as the platform would, and post it",
	.help =
		"Usage: ntrvsta send EVENT [--data JSON|@FILE] [--url URL] [--count N] [--source NAME]\n"
		"                    [--timestamp T]\n"
		"\n"
		"Posts {\"event\":EVENT,\"timestamp\":...,\"data\":...}, signed with the newest live secret, and prints\n"
		"what the receiver answered. Exit status 0 where all were accepted.\n"
		"\n"
		"  --data JSON      the event's data; @FILE reads it from a file, @- from standard input. Without\n"
		"                   it, a sample of the documented event\n"
		"  --url URL        where to; one without a path gets the source's. Without it, the address of\n"
		"                   a running 'ntrvsta serve', else http://127.0.0.1:8080, and the source's path\n"
		"  --count N        send N events (1), each with a time of its own (and, in its data, a resultId\n"
		"                   of its own), so that none is a duplicate. Waits where the receiver says so\n"
		"  --source NAME    as the sender of [source NAME] (ntrvsta)\n"
		"  --timestamp T    the event's time (now): 2026-12-31T00:00:00Z, or 2h (ago)\n"
		"\n"
		"Examples:\n"
		"  ntrvsta send session.completed\n"
		"  ntrvsta send result.completed --data '{\"resultId\":\"r-1\",\"score\":85}'\n"
		"  ntrvsta send session.started --url https://hooks.example.org --count 1000\n",
	.run = run,
};
