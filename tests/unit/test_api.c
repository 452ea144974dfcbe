#include "lib/api/api.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/fields.h"
#include "lib/base/xalloc.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define EMAIL_SIZE 254 /* bytes of the longest address */

/* --- fields -------------------------------------------------------------------------------- */

static const char *const colours[] = { "red", "green", NULL };

static const struct field nest_fields[] = {
	{ .name = "email", .type = FIELD_EMAIL, .offset = offsetof(struct input, nested.email), .required = true },
	{ .name = "name", .type = FIELD_LINE, .offset = offsetof(struct input, nested.name), .max = 12 },
};
static const struct field all_fields[] = {
	{ .name = "text", .type = FIELD_TEXT, .offset = offsetof(struct input, description), .min = 1, .max = 3 },
	{ .name = "choice", .type = FIELD_CHOICE, .offset = offsetof(struct input, status), .choices = colours },
	{ .name = "event", .type = FIELD_EVENT, .offset = offsetof(struct input, event) },
	{ .name = "events", .type = FIELD_EVENTS, .offset = offsetof(struct input, events) },
	{ .name = "bool", .type = FIELD_BOOL, .offset = offsetof(struct input, active) },
	{ .name = "number", .type = FIELD_NUMBER, .offset = offsetof(struct input, limit), .min = -1, .max = 9 },
	{ .name = "time", .type = FIELD_TIME, .offset = offsetof(struct input, since_ms) },
	{ .name = "object", .type = FIELD_OBJECT, .offset = offsetof(struct input, test_data) },
	{ .name = "line", .type = FIELD_LINE, .offset = offsetof(struct input, title), .max = 12 },
	{ .name = "email", .type = FIELD_EMAIL, .offset = offsetof(struct input, email) },
	{ .name = "nest", .type = FIELD_OBJECT, .offset = offsetof(struct input, candidate), .members = { nest_fields, 2 } },
};
static const struct fields table = { all_fields, sizeof all_fields / sizeof all_fields[0] };

/* The names of the fields that are wrong, with commas between them. */
static char *names_of(struct json_object *errors)
{
	struct buf names = BUF_INIT;
	struct json_object *field;
	size_t i;

	for (i = 0; i < json_object_array_length(errors); i++) {
		json_object_object_get_ex(json_object_array_get_idx(errors, i), "field", &field);
		buf_addf(&names, "%s%s", i ? "," : "", json_object_get_string(field));
	}
	json_object_put(errors);
	buf_adds(&names, "");
	return names.data ? buf_detach(&names) : xstrdup("");
}

static void test_body_fields(void)
{
	static const struct {
		const char *body, *wrong;
	} rows[] = {
		{ "{}", "" },
		{ "{\"text\":\"abc\",\"choice\":\"green\",\"event\":\"a.b\",\"events\":[\"a\",\"b\"],\"bool\":true,\"number\":-1,"
		  "\"time\":\"2026-03-15T00:00:00+01:00\"}", "" },
		{ "{\"text\":\"\"}", "text" },
		{ "{\"text\":\"abcd\"}", "text" },
		{ "{\"text\":7}", "text" },
		{ "{\"choice\":\"blue\"}", "choice" },
		{ "{\"event\":\"A\"}", "event" },
		{ "{\"events\":[\"*\"]}", "" },
		{ "{\"events\":[]}", "events" },
		{ "{\"events\":[\"a\",\"a\"]}", "events" },
		{ "{\"events\":[\"a\",\"*\"]}", "events" },
		{ "{\"events\":\"a\"}", "events" },
		{ "{\"bool\":null}", "bool" },
		{ "{\"bool\":0}", "bool" },
		{ "{\"number\":10}", "number" },
		{ "{\"number\":1.0}", "number" },
		{ "{\"number\":99999999999999999999999}", "number" },
		{ "{\"time\":\"yesterday\"}", "time" },
		{ "{\"time\":\"2026-02-30T00:00:00Z\"}", "time" },
		{ "{\"object\":{\"a\":[1]}}", "" },
		{ "{\"object\":{\"a\":[9223372036854775807,-9223372036854775807,18446744073709551614,1e400,12345678901234567890123.5]}}", "" },
		{ "{\"object\":{\"a\":18446744073709551616}}", "object" },
		{ "{\"object\":{\"a\":{\"b\":[-9223372036854775809]}}}", "object" },
		{ "{\"object\":[]}", "object" },
		{ "{\"object\":null}", "object" },
		{ "{\"object\":\"{}\"}", "object" },
		{ "{\"line\":\"\"}", "" },
		{ "{\"line\":\"Zo\u00eb \u5c71\"}", "" },
		{ "{\"line\":\"a\\nb\"}", "line" },
		{ "{\"line\":\"a\\u202eb\"}", "line" },
		{ "{\"line\":\"1234567890123\"}", "line" },
		{ "{\"email\":7}", "email" },
		{ "{\"nest\":{\"email\":\"a@example.org\",\"name\":\"A\"}}", "" },
		{ "{\"nest\":{}}", "nest.email" },
		{ "{\"nest\":[]}", "nest" },
		{ "{\"nest\":{\"email\":\"a\",\"name\":1,\"other\":1}}", "nest.email,nest.name,nest.other" },
		{ "{\"other\":1,\"text\":1,\"Text\":1}", "other,text,Text" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct json_object *errors = json_object_new_array(), *body;
		struct buf err = BUF_INIT;
		struct input in;
		char *wrong;

		fields_init(&in);
		body = fields_parse(rows[i].body, strlen(rows[i].body), &err);
		fields_read_body(&table, body, &in, errors);
		wrong = names_of(errors);
		CHECK_STR(wrong, rows[i].wrong, "wrong in %s", rows[i].body);
		free(wrong);
		json_object_put(body);
		buf_free(&err);
	}
}

static void test_email(void)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{ "a@b", true }, { "mira@example.org", true }, { "Mira.Lindqvist+x@sub.example-site.org", true }, { "o'neil@example.org", true },
		{ "1234567890123456789012345678901234567890123456789012345678901234@example.org", true },
		{ "12345678901234567890123456789012345678901234567890123456789012345@example.org", false },
		{ "", false }, { "@", false }, { "a", false }, { "a@", false }, { "@b", false }, { "a@b@c", false }, { "a b@c", false },
		{ " a@b", false }, { "a@b ", false }, { "a@b\n", false }, { "a\r\nBcc: x@y", false }, { "a@b,c@d", false }, { "<a@b>", false },
		{ "\"a\"@b", false }, { "a;b@c", false }, { "a@[127.0.0.1]", false }, { "a@b..c", false }, { "a@.b", false }, { "a@b.", false },
		{ "a@-b", false }, { "a@b-", false }, { "a@b_c", false }, { "a\\@b", false }, { "j\xc3\xb6rg@example.org", false }, { "a@b\x7f", false },
	};
	char longest[EMAIL_SIZE + 2] = "a@";
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(fields_email_valid(rows[i].text) == rows[i].valid, "%zu: is %san address", i, rows[i].valid ? "" : "not ");
	memset(longest + 2, 'b', EMAIL_SIZE - 2);
	CHECK(fields_email_valid(longest), "one of 254 bytes is an address");
	longest[EMAIL_SIZE] = 'b';
	CHECK(!fields_email_valid(longest), "one of 255 bytes is none");
}

static void test_query_fields(void)
{
	static const struct {
		const char *query, *wrong;
	} rows[] = {
		{ "", "" },
		{ "&&", "" },
		{ "text=a%20c&choice=red&event=a.b&number=9&time=2026-03-15T00:00:00Z", "" },
		{ "t%65xt=abc", "" },
		{ "text", "text" },
		{ "text=a&text=b", "text" },
		{ "text=%", "text" },
		{ "text=%4", "text" },
		{ "text=%0g", "text" },
		{ "text=%00", "text" },
		{ "number=", "number" },
		{ "number=1x", "number" },
		{ "number=10", "number" },
		{ "number=9999999999999999999999", "number" },
		{ "a=1&b&=2", "a,b," },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct json_object *errors = json_object_new_array(), *texts;
		struct input in;
		char *wrong;

		fields_init(&in);
		fields_read_query(&table, rows[i].query, &in, &texts, errors);
		wrong = names_of(errors);
		CHECK_STR(wrong, rows[i].wrong, "wrong in ?%s", rows[i].query);
		free(wrong);
		json_object_put(texts);
	}
}

static void test_values(void)
{
	static const char text[] = "{\"text\":\"abc\",\"bool\":false,\"number\":7,\"time\":\"1970-01-01T00:00:01Z\"}";
	struct json_object *errors = json_object_new_array(), *texts, *body;
	struct buf err = BUF_INIT;
	struct input in;

	fields_init(&in);
	CHECK(in.active == -1 && in.preview == -1 && in.limit == 0 && !in.url, "nothing is said at first");
	body = fields_parse(text, strlen(text), &err);
	fields_read_body(&table, body, &in, errors);
	CHECK_STR(in.description, "abc", "text of a body");
	CHECK_INT(in.active, 0, "false");
	CHECK_INT(in.limit, 7, "number");
	CHECK_INT(in.since_ms, 1000, "time");
	fields_read_query(&table, "text=%61+%2B", &in, &texts, errors);
	CHECK_STR(in.description, "a +", "text of a query, decoded");
	json_object_put(texts);
	json_object_put(body);
	json_object_put(errors);
	buf_free(&err);
}

static void test_parse(void)
{
	static const struct {
		const char *body;
		bool good;
	} rows[] = {
		{ "{}", true }, { " {\"a\":{\"b\":[{\"c\":\":\\\":\"}]}}\r\n", true }, { "{\"a\":\"\\\\u0000\"}", true },
		{ "", false }, { "[]", false }, { "1", false }, { "{", false }, { "{}{}", false }, { "{\"a\":1,}", false },
		{ "{'a':1}", false }, { "{\"a\":NaN}", false }, { "{\"a\":01}", false }, { "{\"a\":\"\xff\"}", false },
		{ "{\"a\":1,\"a\":1}", false }, { "{\"a\":1,\"\\u0061\":1}", false }, { "{\"x\":[{\"a\":1,\"b\":2,\"a\":3}]}", false },
		{ "{\"a\":\"\\u0000\"}", false }, { "{\"a\\u0000b\":1}", false }, { "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", false },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf err = BUF_INIT;
		struct json_object *object = fields_parse(rows[i].body, strlen(rows[i].body), &err);

		CHECK(!object == !rows[i].good && (object || err.len > 0), "%s: %s", rows[i].good ? "taken" : "refused with a reason", rows[i].body);
		json_object_put(object);
		buf_free(&err);
	}
}

/* --- routes -------------------------------------------------------------------------------- */

static void test_routes(void)
{
	static const char since[] = "{\"since\":\"2026-01-01T00:00:00Z\"}";
	static const struct {
		const char *method, *path, *body;
		enum auth_scope scope;
		unsigned status;
	} rows[] = {
		{ "GET", "/v1/webhooks", "", AUTH_READ, 200 },
		{ "HEAD", "/v1/webhooks", "", AUTH_READ, 200 },
		{ "POST", "/v1/webhooks", "{}", AUTH_READ, 403 },
		{ "POST", "/v1/webhooks", "{}", AUTH_WRITE, 422 },
		{ "POST", "/v1/webhooks", "x", AUTH_ADMIN, 400 },
		{ "PUT", "/v1/webhooks", "", AUTH_ADMIN, 405 },
		{ "", "/v1/webhooks", "", AUTH_ADMIN, 405 },
		{ "GET", "/v1/webhooks/", "", AUTH_READ, 404 },
		{ "GET", "/v1/webhook", "", AUTH_READ, 404 },
		{ "GET", "/v1/webhooks/x", "", AUTH_READ, 404 },
		{ "GET", "/v1/webhooks/wh_00000000000000000000000000", "", AUTH_READ, 404 },
		{ "GET", "/v1/webhooks/x/rotate-secret", "", AUTH_ADMIN, 405 },
		{ "GET", "/v1/webhooks/x/recover", since, AUTH_ADMIN, 405 },
		{ "POST", "/v1/webhooks/x/recover", since, AUTH_READ, 403 },
		{ "POST", "/v1/webhooks/all/x/recover", since, AUTH_WRITE, 404 },
		{ "GET", "/v1/webhooks/all/x/logs", "", AUTH_READ, 404 },
		{ "POST", "/v1/webhooks/x/test", "{\"event\":\"a.b\"}", AUTH_READ, 403 },
		{ "POST", "/v1/webhooks/all/x/test", "{\"event\":\"a.b\"}", AUTH_WRITE, 404 },
		{ "POST", "/v1/webhooks/x/test", "{}", AUTH_WRITE, 422 },
		{ "GET", "/v1/webhooks/x/test", "", AUTH_ADMIN, 405 },
		{ "POST", "/v1/webhooks/x/test-connectivity", "", AUTH_READ, 403 },
		{ "POST", "/v1/webhooks/all/x/test-connectivity", "", AUTH_WRITE, 404 },
		{ "PATCH", "/v1/webhooks/all/x/logs", "{}", AUTH_WRITE, 405 },
		{ "GET", "/v1/events", "", AUTH_READ, 200 },
		{ "GET", "/v1/events", "{\"a\":1}", AUTH_READ, 422 },
		{ "DELETE", "/v1/events/x", "", AUTH_ADMIN, 405 },
		{ "GET", "/v1/event-types", "", AUTH_READ, 200 },
		{ "GET", "/v1/deliveries", "", AUTH_READ, 200 },
		{ "POST", "/v1/deliveries/retry", "{\"status\":\"failed\"}", AUTH_READ, 403 },
		{ "POST", "/v1/deliveries/retry", "{\"status\":\"failed\"}", AUTH_WRITE, 202 },
		{ "GET", "/v1/deliveries/retry", "", AUTH_WRITE, 405 },
		{ "POST", "/v1/deliveries/x/cancel", "", AUTH_READ, 403 },
		{ "POST", "/v1/deliveries/x/cancel", "", AUTH_WRITE, 404 },
		{ "GET", "/v1/deliveries/x/cancel", "", AUTH_WRITE, 405 },
		{ "GET", "/v1/deliveries/x", "", AUTH_READ, 404 },
		{ "GET", "/v1", "", AUTH_READ, 404 },
	};
	struct store *store = new_store();
	struct conf conf = { .handlers_dir = (char *)"/nonexistent" };
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct auth_who who = { .org = "acme", .scope = rows[i].scope };
		struct api_request r = {
			.method = rows[i].method, .path = rows[i].path, .query = "", .body = rows[i].body, .body_len = strlen(rows[i].body),
		};
		struct api_answer answer = { 0 };

		api_handle(&r, &who, &conf, store, &answer);
		CHECK_INT(answer.status, rows[i].status, "%s %s with scope %d", rows[i].method, rows[i].path, (int)rows[i].scope);
		CHECK((answer.status < 300) == !answer.code, "a code where it is refused, and only there");
		api_answer_free(&answer);
	}
	store_close(store);
}

int main(void)
{
	test_body_fields();
	test_email();
	test_query_fields();
	test_values();
	test_parse();
	test_routes();
	CHECK(api_owns("/v1") && api_owns("/v1/x") && !api_owns("/v1x") && !api_owns("/") && !api_owns(""), "what is the API's");
	return tap_done();
}
