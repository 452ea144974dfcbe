#include <stdlib.h>
#include <string.h>

#include "lib/event/catalogue.h"
#include "lib/event/envelope.h"
#include "lib/event/sample.h"
#include "tests/unit/tap.h"

static const struct {
	const char *base, *over, *merged, *promise;
} merges[] = {
	{ "{\"a\":1,\"b\":2}", "{}", "{\"a\":1,\"b\":2}", "nothing changes nothing" },
	{ "{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":4}", "{\"a\":1,\"b\":3,\"c\":4}", "members are replaced and added" },
	{ "{\"s\":{\"id\":\"x\",\"n\":{\"p\":1,\"q\":2}}}", "{\"s\":{\"n\":{\"q\":3}}}",
	  "{\"s\":{\"id\":\"x\",\"n\":{\"p\":1,\"q\":3}}}", "objects are merged at any depth" },
	{ "{\"a\":[1,2,3]}", "{\"a\":[9]}", "{\"a\":[9]}", "an array is replaced as a whole" },
	{ "{\"a\":{\"b\":1}}", "{\"a\":\"x\"}", "{\"a\":\"x\"}", "an object gives way to a string" },
	{ "{\"a\":\"x\"}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "and a string to an object" },
	{ "{\"a\":{\"b\":1}}", "{\"a\":null}", "{\"a\":null}", "null is a value like others" },
	{ "{\"a\":null}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "and gives way like others" },
	{ "{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":1}}", "an empty object takes nothing away" },
};

static const char *text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
}

static void test_merge(void)
{
	size_t i;

	for (i = 0; i < sizeof merges / sizeof merges[0]; i++) {
		struct json_object *base = json_tokener_parse(merges[i].base), *over = json_tokener_parse(merges[i].over);

		sample_merge(base, over);
		CHECK_STR(text(base), merges[i].merged, "%s", merges[i].promise);
		CHECK_STR(text(over), merges[i].over, "and what is laid over stays as it was");
		json_object_put(over);
		CHECK_STR(text(base), merges[i].merged, "which may go then");
		json_object_put(base);
	}
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(o, name, &value);
	return value;
}

/* Is each event of the catalogue whole? */
static void test_catalogue(void)
{
	const struct catalogue_event *events;
	struct buf body = BUF_INIT;
	size_t n, i;

	events = catalogue_events(&n);
	CHECK_INT((int64_t)n, 10, "ten events are documented");
	for (i = 0; i < n; i++) {
		struct envelope e;
		struct json_object *parsed;

		buf_reset(&body);
		sample_write(events[i].name, NULL, 1772000000123, &body);
		CHECK(envelope_parse(body.data, body.len, NULL, &e) == ENVELOPE_OK && strcmp(e.event, events[i].name) == 0,
		      "%s: a body that would be accepted", events[i].name);
		CHECK_INT(e.timestamp_ms, 1772000000123, "of that time");
		parsed = json_tokener_parse(body.data);
		CHECK(json_object_object_length(member(parsed, "data")) > 0, "with data");
		json_object_put(parsed);
		envelope_free(&e);
	}
	buf_free(&body);
}

static void test_body(void)
{
	struct json_object *data = json_tokener_parse("{\"session\":{\"overall_score\":92}}"), *body, *session;
	struct buf out = BUF_INIT;

	sample_write("session.completed", data, 0, &out);
	body = json_tokener_parse(out.data);
	session = member(member(body, "data"), "session");
	CHECK_INT(json_object_get_int(member(session, "overall_score")), 92, "the score is the one that was given");
	CHECK(member(member(session, "candidate"), "email") && member(session, "status"), "and all else of the sample is there");
	json_object_put(body);
	buf_reset(&out);
	sample_write("session.completed", NULL, 0, &out);
	CHECK(!strstr(out.data, "92"), "the next one has a score of its own again");
	buf_reset(&out);
	sample_write("x.y", data, 0, &out);
	CHECK_STR(out.data, "{\"event\":\"x.y\",\"timestamp\":\"1970-01-01T00:00:00.000Z\","
	          "\"data\":{\"session\":{\"overall_score\":92}}}", "an event that nobody documents has what was given alone");
	buf_free(&out);
	json_object_put(data);
}

int main(void)
{
	test_merge();
	test_catalogue();
	test_body();
	return tap_done();
}
