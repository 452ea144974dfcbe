#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/event/signature.h"
#include "lib/intake/client.h"
#include "lib/intake/committer.h"
#include "lib/intake/intake.h"
#include "tests/unit/tap.h"

static struct conf *conf;

static struct conf *load_conf(void)
{
	static const char text[] =
		"[source ntrvsta]\npath = /webhooks/ntrvsta\nmax_body = 100\nmax_age = 1h\n"
		"[source other]\npath = /ntrvsta\nsecret_file = other\n"
		"[web]\nbase = %s\nrate_limit = 10/s\n";
	static int n;
	char *dir = xasprintf("%s/intake-%d", tap_tmpdir(), n++), *path = xasprintf("%s/ntrvsta.conf", dir);
	char *command = xasprintf("mkdir -p -m 700 %s/state %s/handlers && cd %s && echo s3cret >secret && "
	                          "echo 0ther >other && chmod 600 secret other", dir, dir, dir);
	struct buf content = BUF_INIT, err = BUF_INIT;
	struct conf *c;

	if (system(command))
		exit(99);
	buf_addf(&content, text, n == 1 ? "" : "/hooks");
	fdio_create_file(path, 0600, content.data, content.len);
	c = conf_load(path, &err);
	if (!c) {
		printf("Bail out! %s\n", buf_str(&err));
		exit(99);
	}
	buf_free(&content);
	free(command);
	free(path);
	free(dir);
	return c;
}

static struct intake_head good_head(void)
{
	return (struct intake_head){
		.method = "POST", .path_info = "/webhooks/ntrvsta", .content_length = "20",
		.content_type = "application/json", .remote_addr = "192.0.2.1",
	};
}

static enum intake_code admit(const struct conf *c, struct limiter *l, const struct intake_head *head)
{
	struct intake in = { 0 };
	struct intake_verdict v;

	intake_admit(&in, c, l, head, &v);
	buf_free(&v.detail);
	intake_release(&in);
	return v.code;
}

static void test_paths(void)
{
	static const struct { const char *script, *info, *source; } rows[] = {
		{ NULL, "/webhooks/ntrvsta", "ntrvsta" },
		{ "", "/webhooks/ntrvsta", "ntrvsta" },
		{ "/webhooks/ntrvsta", NULL, "ntrvsta" },
		{ "/webhooks", "/ntrvsta", "ntrvsta" }, /* although /ntrvsta is the other's path */
		{ "/hooks", "/webhooks/ntrvsta", "ntrvsta" },
		{ "/~me/ntrvsta.cgi", "/webhooks/ntrvsta", "ntrvsta" },
		{ "/webhooks/ntrvsta", "", "ntrvsta" },
		{ NULL, "/webhooks/ntrvsta/", "ntrvsta" },
		{ "/cgi", "/ntrvsta", "other" },
		{ NULL, "/webhooks//ntrvsta", NULL },
		{ NULL, "//webhooks/ntrvsta", NULL },
		{ NULL, "/webhooks/ntrvsta//", NULL },
		{ NULL, "/webhooks/ntrvsta/x", NULL },
		{ NULL, "/webhooks/NTRVSTA", NULL },
		{ NULL, "/webhooks", NULL },
		{ NULL, "", NULL },
		{ NULL, NULL, NULL },
		{ NULL, "/", NULL },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct intake_head head = good_head();
		struct intake in = { 0 };
		struct intake_verdict v;

		head.script_name = rows[i].script;
		head.path_info = rows[i].info;
		intake_admit(&in, conf, NULL, &head, &v);
		CHECK_STR(v.code == INTAKE_NOT_FOUND ? NULL : in.source->name, rows[i].source, "SCRIPT_NAME %s PATH_INFO %s",
		          rows[i].script ? rows[i].script : "absent", rows[i].info ? rows[i].info : "absent");
		buf_free(&v.detail);
		intake_release(&in);
	}
}

static void test_base(void)
{
	struct conf *c = load_conf();
	struct intake_head head = good_head();

	head.script_name = "/hooks/webhooks/ntrvsta";
	head.path_info = NULL;
	CHECK_INT(admit(c, NULL, &head), INTAKE_ACCEPTED, "a base that the server leaves in the path");
	head.script_name = "/webhooks/ntrvsta";
	CHECK_INT(admit(c, NULL, &head), INTAKE_NOT_FOUND, "is needed where it is configured");
	head.script_name = "/hooksx/webhooks/ntrvsta";
	CHECK_INT(admit(c, NULL, &head), INTAKE_NOT_FOUND, "and must match whole");
	conf_unref(c);
}

/* One fault each, in the order of the contract: with all faults from a row on, that row's answers. */
static void test_order_before_the_body(void)
{
	struct intake_head head = good_head();

	head.content_type = "text/plain";
	CHECK_INT(admit(conf, NULL, &head), INTAKE_UNSUPPORTED_MEDIA_TYPE, "not JSON");
	head.content_length = "101";
	CHECK_INT(admit(conf, NULL, &head), INTAKE_BODY_TOO_LARGE, "too large comes before that");
	head.content_length = "-1";
	CHECK_INT(admit(conf, NULL, &head), INTAKE_BAD_LENGTH, "and a bad length before that");
	head.content_length = NULL;
	CHECK_INT(admit(conf, NULL, &head), INTAKE_LENGTH_REQUIRED, "or none");
	head.method = "GET";
	CHECK_INT(admit(conf, NULL, &head), INTAKE_METHOD_NOT_ALLOWED, "the method before that");
	head.path_info = "/x";
	CHECK_INT(admit(conf, NULL, &head), INTAKE_NOT_FOUND, "the path before all");
	CHECK_INT(admit(NULL, NULL, &head), INTAKE_NOT_CONFIGURED, "but without configuration nothing is decided");
}

static void test_lengths(void)
{
	static const struct { const char *text; enum intake_code want; } rows[] = {
		{ "0", INTAKE_ACCEPTED }, { "100", INTAKE_ACCEPTED }, { "101", INTAKE_BODY_TOO_LARGE },
		{ "007", INTAKE_ACCEPTED }, { "", INTAKE_LENGTH_REQUIRED }, { "1e3", INTAKE_BAD_LENGTH },
		{ " 5", INTAKE_BAD_LENGTH }, { "+5", INTAKE_BAD_LENGTH }, { "5,5", INTAKE_BAD_LENGTH },
		{ "0x10", INTAKE_BAD_LENGTH }, { "99999999999999999999", INTAKE_BAD_LENGTH },
		{ "18446744073709551616", INTAKE_BAD_LENGTH }, { "18446744073709551615", INTAKE_BODY_TOO_LARGE },
	};
	struct intake_head head = good_head();
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		head.content_length = rows[i].text;
		CHECK_INT(admit(conf, NULL, &head), rows[i].want, "CONTENT_LENGTH '%s'", rows[i].text);
	}
}

static void test_media_types(void)
{
	static const struct { const char *text; enum intake_code want; } rows[] = {
		{ "application/json", INTAKE_ACCEPTED }, { "application/json; charset=utf-8", INTAKE_ACCEPTED },
		{ "Application/JSON ;x=y", INTAKE_ACCEPTED }, { NULL, INTAKE_UNSUPPORTED_MEDIA_TYPE },
		{ "", INTAKE_UNSUPPORTED_MEDIA_TYPE }, { "application/jsonx", INTAKE_UNSUPPORTED_MEDIA_TYPE },
		{ "application/x-www-form-urlencoded", INTAKE_UNSUPPORTED_MEDIA_TYPE },
		{ "text/json", INTAKE_UNSUPPORTED_MEDIA_TYPE },
	};
	struct intake_head head = good_head();
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		head.content_type = rows[i].text;
		CHECK_INT(admit(conf, NULL, &head), rows[i].want, "CONTENT_TYPE '%s'", rows[i].text ? rows[i].text : "absent");
	}
}

/* BODY signed with SECRET, judged as if ANNOUNCED bytes had been announced. */
static struct intake_verdict judge(const char *body, const char *secret, size_t announced, int64_t now_ms)
{
	struct intake in = { .source = conf_source(conf, "ntrvsta"), .body_len = announced, .body = xstrdup(body) };
	struct intake_head head = good_head();
	char signature[SIGNATURE_HEX_SIZE];
	struct intake_verdict v;

	if (secret) {
		signature_sign(secret, strlen(secret), body, strlen(body), signature);
		head.signature = signature;
	}
	intake_accept(&in, &head, strlen(body), now_ms, &v);
	intake_release(&in);
	return v;
}

static void check_judged(const char *body, const char *secret, size_t announced, int64_t now_ms, enum intake_code want,
                         const char *promise)
{
	struct intake_verdict v = judge(body, secret, announced, now_ms);

	CHECK_INT(v.code, want, "%s", promise);
	buf_free(&v.detail);
}

static void test_body(void)
{
	static const char good[] = "{\"event\":\"a.b\"}", old[] = "{\"event\":\"a.b\",\"timestamp\":\"2024-03-15T15:00:00Z\"}";
	int64_t then = 1710514800000;

	check_judged(good, "s3cret", 15, then, INTAKE_ACCEPTED, "a signed event is accepted");
	check_judged(good, "s3cret", 16, then, INTAKE_SHORT_BODY, "a byte is missing");
	check_judged(good, NULL, 15, then, INTAKE_MISSING_SIGNATURE, "not signed");
	check_judged(good, "0ther", 15, then, INTAKE_INVALID_SIGNATURE, "signed with another source's secret");
	check_judged("[]", "0ther", 2, then, INTAKE_INVALID_SIGNATURE, "the signature comes before the content");
	check_judged("[]", "s3cret", 2, then, INTAKE_INVALID_JSON, "no object");
	check_judged("{}", "s3cret", 2, then, INTAKE_INVALID_EVENT, "no name");
	check_judged(old, "s3cret", strlen(old), then + 3600000, INTAKE_ACCEPTED, "as old as is allowed");
	check_judged(old, "s3cret", strlen(old), then + 3600001, INTAKE_TOO_OLD, "older");
	check_judged(old, "s3cret", strlen(old), then - 3600001, INTAKE_ACCEPTED, "from a sender whose clock is ahead");
	check_judged(good, "s3cret", 15, then + 3600001, INTAKE_ACCEPTED, "without a time of its own it has no age");
}

static void test_answers(void)
{
	struct intake in = { 0 };
	struct intake_verdict v = { .code = INTAKE_METHOD_NOT_ALLOWED };
	struct intake_answer a;

	intake_answer(&in, &v, &a);
	CHECK_INT(a.status, 405, "a refusal has its status");
	CHECK_STR(a.content_type, "application/problem+json", "as problem details");
	CHECK_STR(buf_str(&a.headers), "Allow: POST\r\n", "405 says what is allowed");
	CHECK_STR(buf_str(&a.body),
	          "{\"type\":\"about:blank\",\"title\":\"This path takes POST only\",\"status\":405,"
	          "\"detail\":\"This path takes POST only\",\"code\":\"method_not_allowed\"}\n", "with all members");
	intake_answer_free(&a);
	intake_stored(STORE_FULL, &v);
	intake_answer(&in, &v, &a);
	CHECK(a.status == 503 && strncmp(buf_str(&a.headers), "Retry-After: ", 13) == 0, "a full disk: call again");
	intake_answer_free(&a);
	snprintf(in.event.id, sizeof in.event.id, "evt_1");
	in.event.duplicate = true;
	intake_stored(STORE_OK, &v);
	intake_answer(&in, &v, &a);
	CHECK_STR(buf_str(&a.body), "{\"id\":\"evt_1\",\"status\":\"accepted\",\"duplicate\":true}\n", "a stored event");
	intake_answer_free(&a);
}

static unsigned count_passes(struct limiter *l, const char *address, int64_t per_hour, unsigned calls, int64_t ms)
{
	unsigned passes = 0;

	while (calls-- > 0)
		passes += limiter_check(l, LIMITER_CALLS, address, per_hour, ms) == 0;
	return passes;
}

static void test_limiter(void)
{
	struct limiter *l = limiter_open(conf->state_dir), *other = limiter_open(conf->state_dir);
	int64_t rate = 10 * 3600; /* 10/s */

	if (!CHECK(l && other, "a limiter opens"))
		return;
	CHECK_INT(count_passes(l, "192.0.2.1", rate, 100, 5000), 20, "a burst of twice the rate passes");
	CHECK_INT(limiter_check(l, LIMITER_CALLS, "192.0.2.1", rate, 5000), 1, "the next one is told to wait a second at most");
	CHECK_INT(count_passes(other, "192.0.2.1", rate, 100, 5000), 0, "another process counts the same");
	CHECK_INT(count_passes(l, "192.0.2.2", rate, 100, 5000), 20, "another address has its own");
	CHECK_INT(count_passes(l, "192.0.2.1", rate, 100, 6000), 10, "a second later the rate passes");
	CHECK_INT(count_passes(l, "192.0.2.1", rate, 100, 3600000), 20, "after a pause the burst again");
	CHECK_INT(count_passes(l, "192.0.2.1", rate, 100, 1000), 20, "a machine that was started anew forgets");
	count_passes(l, "2001:db8:1:2::1", rate, 100, 5000);
	CHECK_INT(count_passes(l, "2001:db8:1:2:ffff::9", rate, 100, 5000), 0, "one /64 is one client");
	CHECK_INT(count_passes(l, "2001:db8:1:3::1", rate, 100, 5000), 20, "another /64 is another");
	CHECK_INT(count_passes(l, "192.0.2.9", 1, 5, 5000), 2, "one an hour: two at once");
	CHECK_INT(limiter_check(l, LIMITER_CALLS, "192.0.2.9", 1, 5000), 3600, "then wait an hour");
	limiter_close(other);
	limiter_close(l);
}

static void test_limiter_kinds(void)
{
	struct limiter *l = limiter_open(conf->state_dir);
	int64_t rate = 3600;

	CHECK_INT(count_passes(l, "192.0.2.77", rate, 5, 5000), 2, "calls of an address have a limit");
	CHECK_INT(limiter_check(l, LIMITER_REFUSED, "192.0.2.77", rate, 5000), 0, "its refused ones are counted apart");
	limiter_close(l);
}

static void test_client_address(void)
{
	static const struct { const char *remote, *forwarded, *client; } rows[] = {
		{ "203.0.113.9", "192.0.2.1", "203.0.113.9" }, /* not from a proxy: anybody may write the header */
		{ "10.0.0.1", NULL, "10.0.0.1" },
		{ "10.0.0.1", "", "10.0.0.1" },
		{ "10.0.0.1", "192.0.2.1", "192.0.2.1" },
		{ "10.0.0.1", " 192.0.2.1\t", "192.0.2.1" },
		{ "10.0.0.1", "198.51.100.7, 192.0.2.1", "192.0.2.1" }, /* what stands before it is the client's own word */
		{ "10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1" },
		{ "10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3" },
		{ "10.0.0.1", "192.0.2.1,unknown", "10.0.0.1" },
		{ "10.0.0.1", "192.0.2.1, ,10.0.0.2", "10.0.0.2" },
		{ "10.0.0.1", ",", "10.0.0.1" },
		{ "10.0.0.1", "192.0.2.1:4711", "192.0.2.1" },
		{ "10.0.0.1", "[2001:db8::1]:443", "2001:db8::1" },
		{ "10.0.0.1", "[2001:db8::1]", "2001:db8::1" },
		{ "10.0.0.1", "2001:db8::1", "2001:db8::1" },
		{ "fd00::1", "2001:db8:0::2", "2001:db8::2" },
		{ "::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1" },
		{ "10.0.0.1", "0123456789012345678901234567890123456789012345678901234567890123456789", "10.0.0.1" },
		{ "unix:", "192.0.2.1", "unix:" },
		{ NULL, "192.0.2.1", NULL },
	};
	struct address_block blocks[2];
	struct address_blocks proxies = { blocks, 2 }, none = { NULL, 0 };
	char out[ADDRESS_TEXT_SIZE];
	size_t i;

	address_parse_block("10.0.0.0/8", &blocks[0]);
	address_parse_block("fd00::/8", &blocks[1]);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK_STR(client_address(&proxies, rows[i].remote, rows[i].forwarded, out), rows[i].client, "from %s, forwarded for '%s'",
		          rows[i].remote ? rows[i].remote : "nobody", rows[i].forwarded ? rows[i].forwarded : "nobody");
		CHECK_STR(client_address(&none, rows[i].remote, rows[i].forwarded, out), rows[i].remote, "... no proxy is trusted");
	}
}

static void test_limiter_is_bounded(void)
{
	struct limiter *l = limiter_open(conf->state_dir);
	char address[32];
	unsigned refused = 0, i;

	for (i = 0; i < 1000000; i++) {
		snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		refused += limiter_check(l, LIMITER_CALLS, address, 36000, 10000000) != 0;
	}
	CHECK_INT(refused, 0, "a million addresses at once, each of which calls once, are not refused");
	CHECK_INT(count_passes(l, "10.0.0.1", 36000, 100, 10000000) <= 20, true, "and the table still limits");
	limiter_close(l);
}

/* --- group commit -------------------------------------------------------------------------- */

struct call {
	struct commit_item item;
	struct intake intake;
	enum intake_code code;
};

static int commits;

static void on_done(struct commit_item *item, const struct intake_verdict *v)
{
	((struct call *)item)->code = v->code;
}

static void on_stored(void *ctx, const char *path)
{
	(void)ctx;
	commits += strcmp(path, conf->store_path) == 0;
}

static void prepare(struct call *c, int n)
{
	c->intake.body = xasprintf("{\"event\":\"a\",\"n\":%d}", n);
	c->intake.event = (struct store_event_in){
		.source = "ntrvsta", .event = "a", .timestamp = "", .idempotency_key = "", .body = c->intake.body,
		.body_len = strlen(c->intake.body), .received_ms = 1,
	};
	bytes_sha256(c->intake.body, c->intake.event.body_len, c->intake.event.identity);
	c->item = (struct commit_item){ NULL, &c->intake, conf->store_path, on_done };
	c->code = INTAKE_NOT_FOUND;
}

#define CALLS 2000

static void test_committer(void)
{
	struct call *calls = xcalloc(CALLS, sizeof *calls);
	struct committer *c = committer_start(NULL, on_stored, NULL);
	int i, accepted = 0, duplicates = 0;

	for (i = 0; i < CALLS; i++)
		prepare(&calls[i], i / 2);
	for (i = 0; i < CALLS; i++) {
		calls[i].item.next = i + 1 < CALLS ? &calls[i + 1].item : NULL;
	}
	committer_submit(c, &calls[0].item, &calls[CALLS - 1].item);
	committer_stop(c);
	for (i = 0; i < CALLS; i++) {
		accepted += calls[i].code == INTAKE_ACCEPTED;
		duplicates += calls[i].intake.event.duplicate;
		intake_release(&calls[i].intake);
	}
	CHECK_INT(accepted, CALLS, "what was handed over is stored before the committer ends");
	CHECK_INT(duplicates, CALLS / 2, "equal ones once");
	CHECK(commits > 0 && commits < CALLS / 100, "in few commits: %d", commits);
	free(calls);
}

static void test_commit_fails(void)
{
	struct call call = { 0 };
	struct committer *c = committer_start("/no/such/folder/db", on_stored, NULL);

	prepare(&call, 1);
	call.item.store_path = "/no/such/folder/db";
	committer_submit(c, &call.item, &call.item);
	committer_stop(c);
	CHECK_INT(call.code, INTAKE_STORE_UNAVAILABLE, "no store: the sender is told to call again");
	intake_release(&call.intake);
}

int main(void)
{
	conf = load_conf();
	test_paths();
	test_base();
	test_order_before_the_body();
	test_lengths();
	test_media_types();
	test_body();
	test_answers();
	test_limiter();
	test_limiter_kinds();
	test_client_address();
	test_limiter_is_bounded();
	test_committer();
	test_commit_fails();
	conf_unref(conf);
	return tap_done();
}
