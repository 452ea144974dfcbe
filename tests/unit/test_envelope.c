#include "lib/event/envelope.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/event/catalogue.h"
#include "tests/unit/second.h"
#include "tests/unit/tap.h"

#define TEXT(s) s, sizeof s - 1

static enum envelope_result parse(const char *body, size_t len, const char *header, struct envelope *e)
{
	/* A block of exactly this size, so that the sanitizers see any look beyond the end. */
	char *copy = xmalloc(len ? len : 1);
	enum envelope_result result;

	memcpy(copy, body, len);
	result = envelope_parse(copy, len, header, e);
	free(copy);
	return result;
}

static enum envelope_result verdict(const char *body, size_t len, const char *header)
{
	struct envelope e;
	enum envelope_result result = parse(body, len, header, &e);

	envelope_free(&e);
	return result;
}

/* --- grammar --- */

struct document {
	const char *text;
	size_t len;
	const char *promise;
};

/* Each stands as a member's value, as an item of an array, and alone with blanks around. */
static const struct document good_values[] = {
	{ TEXT("null"), "null" },
	{ TEXT("true"), "true" },
	{ TEXT("false"), "false" },
	{ TEXT("0"), "zero" },
	{ TEXT("-0"), "minus zero" },
	{ TEXT("123"), "an integer" },
	{ TEXT("-1"), "a negative integer" },
	{ TEXT("0.5"), "a fraction" },
	{ TEXT("0e1"), "zero with an exponent" },
	{ TEXT("0e+1"), "an exponent with a plus" },
	{ TEXT("1E22"), "a capital E" },
	{ TEXT("1E-2"), "a negative exponent" },
	{ TEXT("-123.123e-45"), "all a number may have" },
	{ TEXT("1e400"), "a number beyond a double" },
	{ TEXT("-0.0000000000000000000000000000000000000000000000000000000000000000000000000001"), "a tiny one" },
	{ TEXT("123456789012345678901234567890"), "a number beyond 64 bits" },
	{ TEXT("\"\""), "an empty string" },
	{ TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "all short escapes" },
	{ TEXT("\"\\u0000\""), "an escaped zero byte" },
	{ TEXT("\"\\u0123\\u4567\\u89aB\\uCDEf\""), "\\u with digits of either case" },
	{ TEXT("\"\\uD83D\\ude00\""), "a surrogate pair" },
	{ TEXT("\"\\ud800\""), "a lone high surrogate" },
	{ TEXT("\"\\udc00\""), "a lone low surrogate" },
	{ TEXT("\"\\ude00\\ud83d\""), "surrogates in the wrong order" },
	{ TEXT("\"\\ud800\\n\""), "a high surrogate before another escape" },
	{ TEXT("\"\\ud800abc\""), "a high surrogate before letters" },
	{ TEXT("\"\\uFFFE\\uFFFF\""), "escaped noncharacters" },
	{ TEXT("\"\\\\u0000\""), "an escaped backslash before u" },
	{ TEXT("\"a/*b*/c//d\""), "what looks like a comment" },
	{ TEXT("\"\x7f\""), "DEL" },
	{ TEXT("\"\xc2\x80\""), "U+0080, the first of two bytes" },
	{ TEXT("\"\xdf\xbf\""), "U+07FF, the last of two bytes" },
	{ TEXT("\"\xe0\xa0\x80\""), "U+0800, the first of three bytes" },
	{ TEXT("\"\xed\x9f\xbf\""), "U+D7FF, the last before the surrogates" },
	{ TEXT("\"\xee\x80\x80\""), "U+E000, the first behind the surrogates" },
	{ TEXT("\"\xef\xbf\xbf\""), "U+FFFF, the last of three bytes" },
	{ TEXT("\"\xf0\x90\x80\x80\""), "U+10000, the first of four bytes" },
	{ TEXT("\"\xf4\x8f\xbf\xbf\""), "U+10FFFF, the last of all" },
	{ TEXT("\"\xef\xbb\xbf\""), "U+FEFF inside a string" },
	{ TEXT("\"\xe2\x80\xa8\xe2\x80\xa9\""), "the line separators of Unicode" },
	{ TEXT("\"Zo\xc3\xab \xe5\xb1\xb1\xe7\x94\xb0 \xf0\x9f\x98\x80 and more\""), "names of people" },
	{ TEXT("[]"), "an empty array" },
	{ TEXT("[ ]"), "an empty array with a blank" },
	{ TEXT("[1,null,\"a\",[],{}]"), "an array of everything" },
	{ TEXT("[[[[[]]]]]"), "arrays in arrays" },
	{ TEXT("{}"), "an empty object" },
	{ TEXT("{\n}"), "an empty object with a newline" },
	{ TEXT("{\"\":0}"), "an empty name" },
	{ TEXT("{\"a\":1,\"a\":2}"), "a name twice" },
	{ TEXT("{\"a\\u0000b\":1}"), "a zero byte in a name" },
	{ TEXT("{ \"a\" : [ 1 , 2 ] ,\t\r\n\"b\" : { } }"), "blanks wherever they may be" },
};

static const struct document bad_values[] = {
	{ TEXT(""), "nothing" },
	{ TEXT("nul"), "a word cut off" },
	{ TEXT("nulll"), "a word with one letter more" },
	{ TEXT("True"), "a word with a capital" },
	{ TEXT("undefined"), "another word" },
	{ TEXT("NaN"), "NaN" },
	{ TEXT("nan"), "nan" },
	{ TEXT("Infinity"), "Infinity" },
	{ TEXT("-Infinity"), "minus Infinity" },
	{ TEXT("+1"), "a plus" },
	{ TEXT("-"), "a lone minus" },
	{ TEXT("--1"), "two minuses" },
	{ TEXT("- 1"), "a blank behind the minus" },
	{ TEXT("01"), "a leading zero" },
	{ TEXT("-01"), "a leading zero behind a minus" },
	{ TEXT("00"), "two zeros" },
	{ TEXT("1."), "no digit behind the point" },
	{ TEXT(".5"), "no digit before the point" },
	{ TEXT("-.5"), "neither a digit behind the minus" },
	{ TEXT("1.e1"), "an exponent behind the point" },
	{ TEXT("1.2.3"), "two points" },
	{ TEXT("1e"), "an exponent without digits" },
	{ TEXT("1e+"), "an exponent of a sign only" },
	{ TEXT("1e1.5"), "a fraction in the exponent" },
	{ TEXT("1e1e1"), "two exponents" },
	{ TEXT("1eE2"), "two letters" },
	{ TEXT("0x1F"), "hexadecimal" },
	{ TEXT("1_000"), "an underscore in a number" },
	{ TEXT("1 000"), "a blank in a number" },
	{ TEXT("1a"), "a letter behind a number" },
	{ TEXT("\xef\xbc\x91"), "a digit of another script" },
	{ TEXT("\""), "a lone quote" },
	{ TEXT("\"a"), "a string without end" },
	{ TEXT("\"a\\\""), "a string whose end is escaped" },
	{ TEXT("'a'"), "single quotes" },
	{ TEXT("`a`"), "backticks" },
	{ TEXT("a"), "a bare word" },
	{ TEXT("\"\\x41\""), "an escape that is none" },
	{ TEXT("\"\\a\""), "another one" },
	{ TEXT("\"\\U0041\""), "\\U with a capital" },
	{ TEXT("\"\\'\""), "an escaped single quote" },
	{ TEXT("\"\\\0\""), "an escaped zero byte as it stands" },
	{ TEXT("\"\\\n\""), "an escaped newline" },
	{ TEXT("\"\\\xc3\xa9\""), "an escaped letter beyond ASCII" },
	{ TEXT("\"\\u\""), "\\u without digits" },
	{ TEXT("\"\\u12\""), "\\u with two digits" },
	{ TEXT("\"\\u123\""), "\\u with three digits" },
	{ TEXT("\"\\u123g\""), "\\u with a g" },
	{ TEXT("\"\\ud83d\\u\""), "half a pair and no digits" },
	{ TEXT("\"\\ud83d\\ude0\""), "half a pair and three digits" },
	{ TEXT("\"a\nb\""), "a newline in a string" },
	{ TEXT("\"a\tb\""), "a tab in a string" },
	{ TEXT("\"a\0b\""), "a zero byte in a string" },
	{ TEXT("\"\x1f\""), "the last control" },
	{ TEXT("\"aaaaaaaaaaaaaaa\x1f\""), "a control behind sixteen bytes" },
	{ TEXT("\"\x80\""), "a continuation byte alone" },
	{ TEXT("\"\xbf\""), "another one" },
	{ TEXT("\"\xc3\""), "a sequence of two cut off by the quote" },
	{ TEXT("\"\xe2\x82\""), "a sequence of three cut off" },
	{ TEXT("\"\xf0\x9f\x98\""), "a sequence of four cut off" },
	{ TEXT("\"\xc0\x80\""), "a zero byte of two bytes" },
	{ TEXT("\"\xc0\xaf\""), "an overlong slash" },
	{ TEXT("\"\xc1\xbf\""), "the last overlong of two bytes" },
	{ TEXT("\"\xe0\x9f\xbf\""), "the last overlong of three bytes" },
	{ TEXT("\"\xf0\x8f\xbf\xbf\""), "the last overlong of four bytes" },
	{ TEXT("\"\xed\xa0\x80\""), "the first surrogate" },
	{ TEXT("\"\xed\xbf\xbf\""), "the last surrogate" },
	{ TEXT("\"\xf4\x90\x80\x80\""), "U+110000" },
	{ TEXT("\"\xf5\x80\x80\x80\""), "a lead byte beyond Unicode" },
	{ TEXT("\"\xfc\x83\xbf\xbf\xbf\xbf\""), "six bytes" },
	{ TEXT("\"\xff\""), "FF" },
	{ TEXT("\"\xfe\""), "FE" },
	{ TEXT("\"\xe9\""), "Latin-1" },
	{ TEXT("\"\xe2\x28\xa1\""), "a second byte that is none" },
	{ TEXT("\"\xe2\x82\x28\""), "a third byte that is none" },
	{ TEXT("\"\xf0\x9f\x98\x28\""), "a fourth byte that is none" },
	{ TEXT("["), "an array without end" },
	{ TEXT("]"), "an end without array" },
	{ TEXT("[1"), "an array cut off" },
	{ TEXT("[1,"), "an array cut off behind a comma" },
	{ TEXT("[1,]"), "a comma before the end" },
	{ TEXT("[,1]"), "a comma at the beginning" },
	{ TEXT("[1,,2]"), "two commas" },
	{ TEXT("[1 2]"), "no comma" },
	{ TEXT("[1;2]"), "a semicolon" },
	{ TEXT("[1:2]"), "a colon in an array" },
	{ TEXT("[1}"), "the wrong end" },
	{ TEXT("[\"a\":1]"), "a member in an array" },
	{ TEXT("{"), "an object without end" },
	{ TEXT("{]"), "an object with an array's end" },
	{ TEXT("{\"a\""), "a member cut off behind its name" },
	{ TEXT("{\"a\":"), "a member cut off behind its colon" },
	{ TEXT("{\"a\":1"), "an object cut off" },
	{ TEXT("{\"a\":1,"), "an object cut off behind a comma" },
	{ TEXT("{\"a\":1,}"), "a comma before the end of an object" },
	{ TEXT("{,\"a\":1}"), "a comma at the beginning of an object" },
	{ TEXT("{\"a\":1,,\"b\":2}"), "two commas in an object" },
	{ TEXT("{\"a\" 1}"), "no colon" },
	{ TEXT("{\"a\"::1}"), "two colons" },
	{ TEXT("{\"a\":1:2}"), "two values" },
	{ TEXT("{\"a\":}"), "no value" },
	{ TEXT("{:1}"), "no name" },
	{ TEXT("{\"a\"}"), "a name only" },
	{ TEXT("{\"a\",1}"), "a comma for a colon" },
	{ TEXT("{a:1}"), "a name without quotes" },
	{ TEXT("{'a':1}"), "a name in single quotes" },
	{ TEXT("{1:1}"), "a number for a name" },
	{ TEXT("{null:1}"), "a word for a name" },
	{ TEXT("{[]:1}"), "an array for a name" },
	{ TEXT("{\"a\":1 \"b\":2}"), "no comma between members" },
	{ TEXT("{\"\xff\":1}"), "a name that is not UTF-8" },
	{ TEXT("{\"a\nb\":1}"), "a newline in a name" },
	{ TEXT("/**/1"), "a comment" },
	{ TEXT("1//x\n"), "a line comment" },
	{ TEXT("1#x\n"), "a shell comment" },
	{ TEXT("\v1"), "a vertical tab" },
	{ TEXT("\f1"), "a form feed" },
	{ TEXT("\xc2\xa0""1"), "a no-break space" },
	{ TEXT("\0""1"), "a zero byte before it" },
	{ TEXT("1\0"), "a zero byte behind it" },
	{ TEXT("\xef\xbb\xbf""1"), "a byte order mark inside" },
};

static const struct document bad_bodies[] = {
	{ TEXT(""), "nothing" },
	{ TEXT(" \r\n\t"), "blanks" },
	{ TEXT("[]"), "an array" },
	{ TEXT("[{\"event\":\"a.b\"}]"), "an object in an array" },
	{ TEXT("1"), "a number" },
	{ TEXT("\"event\""), "a string" },
	{ TEXT("null"), "null" },
	{ TEXT("true"), "true" },
	{ TEXT("}"), "an end" },
	{ TEXT("\xef\xbb\xbf{\"event\":\"a.b\"}"), "a byte order mark" },
	{ TEXT("\xff\xfe{\0}\0"), "UTF-16" },
	{ TEXT("{\"event\":\"a.b\"}x"), "a letter behind the object" },
	{ TEXT("{\"event\":\"a.b\"}}"), "an end too many" },
	{ TEXT("{\"event\":\"a.b\"}]"), "an end of another kind" },
	{ TEXT("{\"event\":\"a.b\"},"), "a comma behind the object" },
	{ TEXT("{\"event\":\"a.b\"}{}"), "two objects" },
	{ TEXT("{\"event\":\"a.b\"}\n{}"), "two objects on two lines" },
	{ TEXT("{\"event\":\"a.b\"}\0"), "a zero byte behind the object" },
	{ TEXT("{\"event\":\"a.b\"}\xff"), "a byte that is not UTF-8 behind the object" },
	{ TEXT("{\"event\":\"a.b\"}//"), "a comment behind the object" },
	{ TEXT("event=a.b"), "a form" },
	{ TEXT("<event>a.b</event>"), "XML" },
};

/* V as a member, as an item and among blanks: one event in each. */
static void check_value(const struct document *v, enum envelope_result want)
{
	static const struct { const char *before, *after; } frames[] = {
		{ "{\"event\":\"a.b\",\"x\":", "}" },
		{ "{\"x\":[", ",0],\"event\":\"a.b\"}" },
		{ " \n{\t\"x\" : {\"y\": ", " } , \"event\" : \"a.b\"\r\n} \n" },
	};
	struct buf body = BUF_INIT;
	size_t i, as_wanted = 0;

	for (i = 0; i < sizeof frames / sizeof frames[0]; i++) {
		buf_reset(&body);
		buf_adds(&body, frames[i].before);
		buf_add(&body, v->text, v->len);
		buf_adds(&body, frames[i].after);
		as_wanted += verdict(body.data, body.len, NULL) == want;
	}
	CHECK_INT((int64_t)as_wanted, (int64_t)i, "%s: %s", want == ENVELOPE_OK ? "JSON" : "no JSON", v->promise);
	buf_free(&body);
}

static void test_grammar(void)
{
	size_t i;

	for (i = 0; i < sizeof good_values / sizeof good_values[0]; i++)
		check_value(&good_values[i], ENVELOPE_OK);
	for (i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++)
		check_value(&bad_values[i], ENVELOPE_INVALID_JSON);
	for (i = 0; i < sizeof bad_bodies / sizeof bad_bodies[0]; i++)
		CHECK_INT(verdict(bad_bodies[i].text, bad_bodies[i].len, "a.b"), ENVELOPE_INVALID_JSON,
		          "no event: %s", bad_bodies[i].promise);
}

static const char documented[] =
	"{\"event\":\"session.completed\",\"timestamp\":\"2024-03-15T15:00:00Z\",\"data\":{\"session\":{"
	"\"id\":\"sess_9876543210\",\"interview_id\":\"int_1234567890\",\"candidate\":{"
	"\"id\":\"cand_555666777\",\"email\":\"candidate@example.com\",\"name\":\"Zo\xc3\xab \\u00e9\"},"
	"\"completed_at\":\"2024-03-15T15:00:00Z\",\"duration_minutes\":58,\"overall_score\":85.5e0,"
	"\"tags\":[true,false,null,-1],\"status\":\"completed\"}}}";

/* At every place once: cut off there, and the byte replaced by each that means something. */
static void test_every_place(void)
{
	static const char means[] = "\0\x1f\"\\{}[],:0-.eu\x80\xc3\xe2\xf0\xff";
	size_t len = sizeof documented - 1, i, j, cut_accepted = 0, others = 0;
	char copy[sizeof documented];

	CHECK_INT(verdict(documented, len, NULL), ENVELOPE_OK, "the documented event is one");
	for (i = 0; i < len; i++)
		cut_accepted += verdict(documented, i, "a.b") != ENVELOPE_INVALID_JSON;
	CHECK_INT((int64_t)cut_accepted, 0, "cut off at any byte it is none");
	for (i = 0; i < len; i++) {
		memcpy(copy, documented, sizeof copy);
		for (j = 0; j < sizeof means - 1; j++) {
			struct json_object *o;

			copy[i] = means[j];
			o = second_opinion(copy, len);
			others += (o != NULL) != (verdict(copy, len, NULL) != ENVELOPE_INVALID_JSON);
			json_object_put(o);
		}
	}
	CHECK_INT((int64_t)others, 0, "with any byte of it changed json-c says the same of it");
}

static void check_deep(const char *open, const char *close, size_t levels, bool whole)
{
	struct buf body = BUF_INIT;
	int64_t before;
	size_t i;

	buf_adds(&body, "{\"event\":\"a.b\",\"x\":");
	for (i = 0; i < levels; i++)
		buf_adds(&body, open);
	buf_adds(&body, "1");
	for (i = 0; whole && i < levels; i++)
		buf_adds(&body, close);
	buf_adds(&body, whole ? "}" : "");
	before = clock_mono_ms();
	CHECK_INT(verdict(body.data, body.len, NULL), whole ? ENVELOPE_OK : ENVELOPE_INVALID_JSON,
	          "%zu levels of %s, %s", levels, open, whole ? "closed" : "left open");
	CHECK(clock_mono_ms() - before < 1000, "within a second");
	buf_free(&body);
}

static void test_sizes(void)
{
	static const size_t levels[] = { 1, 510, 511, 512, 513, 10000, 1048576 };
	struct buf body = BUF_INIT;
	size_t i;

	for (i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		check_deep("[", "]", levels[i], true);
		check_deep("{\"a\":", "}", levels[i], true);
		check_deep("[{\"data\":", "}]", levels[i], true);
		check_deep("[", "]", levels[i], false);
	}
	buf_adds(&body, "{\"event\":\"a.b\",\"x\":");
	for (i = 0; i < 600; i++)
		buf_adds(&body, i % 3 ? "[" : "{\"a\":");
	buf_adds(&body, "1");
	while (i-- > 0)
		buf_adds(&body, i % 3 ? "]" : "}");
	buf_adds(&body, "}");
	CHECK_INT(verdict(body.data, body.len, NULL), ENVELOPE_OK, "600 levels of both kinds");
	body.data[body.len - 300] ^= ']' ^ '}';
	CHECK_INT(verdict(body.data, body.len, NULL), ENVELOPE_INVALID_JSON, "with one end of the wrong kind");
	buf_reset(&body);
	buf_adds(&body, "{\"event\":\"a.b\",\"x\":\"");
	for (i = 0; i < 1048576 / 16; i++)
		buf_adds(&body, "0123456789 \xc3\xa9 ab");
	buf_adds(&body, "\",\"y\":-");
	for (i = 0; i < 400; i++)
		buf_addc(&body, '7');
	buf_adds(&body, "}");
	CHECK_INT(verdict(body.data, body.len, NULL), ENVELOPE_OK, "a string of 1 MiB and a number of 400 digits");
	buf_free(&body);
}

static void test_errors(void)
{
	static const struct { const char *body; size_t offset; } cases[] = {
		{ "", 0 },
		{ " []", 1 },
		{ "{\"a\":tru}", 5 },
		{ "{\"a\":1,}", 7 },
		{ "{\"a\":\"0123456789\t\"}", 16 },
		{ "{\"a\":\"\xc3\"}", 6 },
		{ "{} x", 3 },
		{ "{\"a\":[1,2}", 9 },
		{ "{\"event\":\"A\"}", 10 },
		{ "{\"event\":7}", 9 },
	};
	struct envelope e;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		parse(cases[i].body, strlen(cases[i].body), NULL, &e);
		CHECK(e.error && *e.error, "there is a reason to refuse %s", cases[i].body);
		CHECK_INT((int64_t)e.error_offset, (int64_t)cases[i].offset, "and the place of it");
		CHECK_STR(e.event, "", "and no event's name");
		envelope_free(&e);
	}
}

/* --- the event's name --- */

static void test_names(void)
{
	static const struct { const char *name; size_t len; bool valid; } cases[] = {
		{ TEXT("session.completed"), true },
		{ TEXT("a"), true },
		{ TEXT("0"), true },
		{ TEXT("_"), true },
		{ TEXT("a.b.c.d"), true },
		{ TEXT("abc_1.2_x"), true },
		{ TEXT("aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaa"), true },
		{ TEXT("aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaa"), false },
		{ TEXT(""), false },
		{ TEXT("."), false },
		{ TEXT(".."), false },
		{ TEXT(".a"), false },
		{ TEXT("a."), false },
		{ TEXT("a..b"), false },
		{ TEXT("A.b"), false },
		{ TEXT("a b"), false },
		{ TEXT(" a"), false },
		{ TEXT("a "), false },
		{ TEXT("a-b"), false },
		{ TEXT("-rf"), false },
		{ TEXT("a/b"), false },
		{ TEXT("/a"), false },
		{ TEXT("../../etc/passwd"), false },
		{ TEXT("a\nb"), false },
		{ TEXT("a\n"), false },
		{ TEXT("a\0b"), false },
		{ TEXT("a\0"), false },
		{ TEXT("\0"), false },
		{ TEXT("\xc3\xa9"), false },
		{ TEXT("a*"), false },
		{ TEXT("$(id)"), false },
		{ TEXT("a;b"), false },
		{ TEXT("a\\b"), false },
		{ TEXT("a`"), false },
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK(envelope_name_valid(cases[i].name, cases[i].len) == cases[i].valid, "%s: \"%s\" (row %zu)",
		      cases[i].valid ? "a name" : "no name", strchr(cases[i].name, '\n') ? "with a newline" :
		      cases[i].name, i);
}

static void test_event(void)
{
	static const struct { const char *body, *header, *want; } cases[] = {
		{ "{\"event\":\"a.b\"}", NULL, "a.b" },
		{ "{\"type\":\"a.b\"}", NULL, "a.b" },
		{ "{}", "a.b", "a.b" },
		{ "{\"event\":\"a.b\",\"type\":\"c.d\"}", "e.f", "a.b" },
		{ "{\"type\":\"c.d\",\"event\":\"a.b\"}", "e.f", "a.b" },
		{ "{\"type\":\"c.d\"}", "e.f", "c.d" },
		{ "{\"event\":\"a.b\",\"type\":7}", "..", "a.b" },
		{ "{\"\\u0065vent\":\"a.b\"}", NULL, "a.b" },
		{ "{\"\\u0065\\u0076\\u0065\\u006e\\u0074\":\"a.b\"}", NULL, "a.b" },
		{ "{\"event\":\"\\u0061.\\u0062\"}", NULL, "a.b" },
		{ "{\"event\":\"a.b\",\"event\":\"c.d\"}", NULL, "c.d" },
		{ "{\"event\":\"a.b\",\"\\u0065vent\":\"c.d\"}", NULL, "c.d" },
		{ "{\"event\":null,\"event\":\"c.d\"}", NULL, "c.d" },
		{ "{\"data\":{\"event\":\"c.d\"},\"event\":\"a.b\"}", NULL, "a.b" },
		{ "{\"event\":\"a.b\",\"data\":{\"event\":\"c.d\"}}", NULL, "a.b" },
		{ "{\"x\":[{\"event\":\"c.d\"}],\"event\":\"a.b\"}", NULL, "a.b" },
		/* Present and unusable is an error, not a reason to look further. */
		{ "{\"event\":null}", "a.b", NULL },
		{ "{\"event\":\"\",\"type\":\"a.b\"}", "a.b", NULL },
		{ "{\"event\":7,\"type\":\"a.b\"}", NULL, NULL },
		{ "{\"event\":{},\"type\":\"a.b\"}", NULL, NULL },
		{ "{\"event\":[\"a.b\"]}", NULL, NULL },
		{ "{\"event\":true}", NULL, NULL },
		{ "{\"event\":\"a.b\",\"event\":7}", NULL, NULL },
		{ "{\"type\":null}", "a.b", NULL },
		{ "{\"event\":\"a.b\\u0000\"}", NULL, NULL },
		{ "{\"event\":\"\\ud800\"}", NULL, NULL },
		{ "{\"event\":\"..\\/..\\/etc\\/passwd\"}", NULL, NULL },
		{ "{}", NULL, NULL },
		{ "{}", "", NULL },
		{ "{}", "a/b", NULL },
		{ "{}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
		{ "{\"Event\":\"a.b\"}", NULL, NULL },
		{ "{\"event \":\"a.b\"}", NULL, NULL },
		{ "{\"event\\u0000\":\"a.b\"}", NULL, NULL },
		{ "{\"even\":\"a.b\",\"eventx\":\"a.b\"}", NULL, NULL },
		{ "{\"data\":{\"event\":\"a.b\"}}", NULL, NULL },
	};
	struct envelope e;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum envelope_result result = parse(cases[i].body, strlen(cases[i].body), cases[i].header, &e);

		CHECK_INT(result, cases[i].want ? ENVELOPE_OK : ENVELOPE_INVALID_EVENT, "%s with header %s is %s",
		          cases[i].body, cases[i].header ? cases[i].header : "absent",
		          cases[i].want ? "an event" : "no event");
		CHECK_STR(e.event, cases[i].want ? cases[i].want : "", "and this is its name");
		envelope_free(&e);
	}
}

/* --- its time --- */

static void test_timestamp(void)
{
	static const struct { const char *value, *want; int64_t ms; } cases[] = {
		{ "\"2024-03-15T15:00:00Z\"", "2024-03-15T15:00:00Z", INT64_C(1710514800000) },
		{ "\"2024-03-15T16:00:00.250+01:00\"", "2024-03-15T16:00:00.250+01:00", INT64_C(1710514800250) },
		{ "\"2024-03-15T15\\u003a00:00Z\"", "2024-03-15T15:00:00Z", INT64_C(1710514800000) },
		{ "\"2024-03-15\"", "", 0 },
		{ "\"yesterday\"", "", 0 },
		{ "\"\"", "", 0 },
		{ "\"2024-03-15T15:00:00Z\\u0000\"", "", 0 },
		{ "\"2024-03-15T15:00:00Z and more than fits in\"", "", 0 },
		{ "1710514800", "", 0 },
		{ "null", "", 0 },
		{ "{}", "", 0 },
		{ "\"2024-03-15T15:00:00Z\",\"timestamp\":1", "", 0 },
	};
	struct buf body = BUF_INIT;
	struct envelope e;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_reset(&body);
		buf_addf(&body, "{\"event\":\"a.b\",\"timestamp\":%s}", cases[i].value);
		CHECK_INT(parse(body.data, body.len, NULL, &e), ENVELOPE_OK, "an event with timestamp %s", cases[i].value);
		CHECK_STR(e.timestamp, cases[i].want, "its time as text");
		CHECK_INT(e.timestamp_ms, cases[i].ms, "its time");
		envelope_free(&e);
	}
	buf_free(&body);
}

/* --- what identifies it --- */

static void test_id(void)
{
	static const struct { const char *members; const char *want; size_t len; } cases[] = {
		{ "\"x\":1", TEXT("") },
		{ "\"id\":\"one\"", TEXT("one") },
		{ "\"resultId\":\"two\"", TEXT("two") },
		{ "\"data\":{\"resultId\":\"three\"}", TEXT("three") },
		{ "\"data\":{\"resultId\":\"three\"},\"resultId\":\"two\",\"id\":\"one\"", TEXT("one") },
		{ "\"data\":{\"resultId\":\"three\"},\"resultId\":\"two\"", TEXT("two") },
		{ "\"id\":7", TEXT("7") },
		{ "\"id\":-7", TEXT("-7") },
		{ "\"id\":0", TEXT("0") },
		{ "\"id\":123456789012345678901234567890", TEXT("123456789012345678901234567890") },
		{ "\"id\":7.0", TEXT("") },
		{ "\"id\":7e0", TEXT("") },
		{ "\"id\":\"\"", TEXT("") },
		{ "\"id\":null", TEXT("") },
		{ "\"id\":true", TEXT("") },
		{ "\"id\":{}", TEXT("") },
		{ "\"id\":{\"id\":\"x\"}", TEXT("") },
		{ "\"id\":[\"one\"]", TEXT("") },
		{ "\"id\":null,\"resultId\":\"two\"", TEXT("two") },
		{ "\"id\":\"\",\"resultId\":7.5,\"data\":{\"resultId\":3}", TEXT("3") },
		{ "\"id\":\"a\",\"id\":\"b\"", TEXT("b") },
		{ "\"id\":\"a\",\"id\":null", TEXT("") },
		{ "\"id\":\"a\",\"i\\u0064\":\"b\"", TEXT("b") },
		{ "\"data\":{\"resultId\":\"a\",\"resultId\":\"b\"}", TEXT("b") },
		{ "\"data\":{\"resultId\":\"a\"},\"data\":{\"resultId\":\"b\"}", TEXT("b") },
		{ "\"data\":{\"resultId\":\"a\"},\"data\":{}", TEXT("") },
		{ "\"data\":{\"resultId\":\"a\"},\"data\":1", TEXT("") },
		{ "\"data\":1,\"data\":{\"resultId\":\"a\"}", TEXT("a") },
		{ "\"d\\u0061ta\":{\"result\\u0049d\":\"a\"}", TEXT("a") },
		{ "\"data\":{\"id\":\"a\"}", TEXT("") },
		{ "\"data\":{\"x\":{\"resultId\":\"a\"}}", TEXT("") },
		{ "\"data\":{\"x\":{},\"resultId\":\"a\"}", TEXT("a") },
		{ "\"data\":{\"data\":{},\"resultId\":\"a\"}", TEXT("a") },
		{ "\"data\":{\"data\":{\"resultId\":\"a\"}}", TEXT("") },
		{ "\"data\":[{\"resultId\":\"a\"}]", TEXT("") },
		{ "\"data\":[],\"x\":{\"resultId\":\"a\"}", TEXT("") },
		{ "\"data\":{},\"x\":{\"resultId\":\"a\"}", TEXT("") },
		{ "\"other\":{\"resultId\":\"a\"}", TEXT("") },
		{ "\"resultid\":\"a\"", TEXT("") },
		{ "\"id\":\"a\\u0000b\"", TEXT("a\0b") },
		{ "\"id\":\"\\u0000\"", TEXT("\0") },
		{ "\"id\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t") },
		{ "\"id\":\"\\u00e9\\u20ac\\ud83d\\ude00\"", TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") },
		{ "\"id\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") },
		{ "\"id\":\"\\udbff\\udfff\"", TEXT("\xf4\x8f\xbf\xbf") },
		{ "\"id\":\"\\ud800\\ud800\\udc00\"", TEXT("\xed\xa0\x80\xf0\x90\x80\x80") },
		{ "\"id\":\"\\ud800\\u0041\"", TEXT("\xed\xa0\x80\x41") },
		{ "\"id\":\"\\ud800\"", TEXT("\xed\xa0\x80") },
		{ "\"id\":\"\\ud801\"", TEXT("\xed\xa0\x81") },
		{ "\"id\":\"\\udc00x\"", TEXT("\xed\xb0\x80x") },
	};
	struct buf body = BUF_INIT;
	struct envelope e;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_reset(&body);
		buf_addf(&body, "{\"event\":\"a.b\",%s}", cases[i].members);
		CHECK_INT(parse(body.data, body.len, NULL, &e), ENVELOPE_OK, "an event with %s", cases[i].members);
		CHECK(e.id.len == cases[i].len && memcmp(buf_str(&e.id), cases[i].want, cases[i].len) == 0,
		      "%s", cases[i].len ? "has this id" : "has no id");
		envelope_free(&e);
	}
	buf_free(&body);
}

static void test_long_id(void)
{
	struct buf body = BUF_INIT;
	struct envelope e;
	int i;

	buf_adds(&body, "{\"event\":\"a.b\",\"id\":\"");
	for (i = 0; i < 100000; i++)
		buf_adds(&body, "\\u0061");
	buf_adds(&body, "\"}");
	CHECK_INT(parse(body.data, body.len, NULL, &e), ENVELOPE_OK, "an id of 600 KB of escapes");
	CHECK_INT((int64_t)e.id.len, 100000, "is decoded whole");
	CHECK(e.id.cap <= body.len + 1, "in no more memory than the body has");
	envelope_free(&e);
	buf_free(&body);
}

static void identity_of(const char *source, const char *body, uint8_t out[SHA256_BYTES])
{
	struct envelope e;

	parse(body, strlen(body), NULL, &e);
	envelope_identity(&e, source, body, strlen(body), out);
	envelope_free(&e);
}

static void test_identity(void)
{
	static const struct { bool same; const char *source1, *body1, *source2, *body2, *promise; } cases[] = {
		{ true, "s", "{\"event\":\"a\"}", "s", "{\"event\":\"a\"}", "the same body again" },
		{ false, "s", "{\"event\":\"a\"}", "s", "{\"event\":\"a\" }", "a blank more, without an id" },
		{ false, "s", "{\"event\":\"a\"}", "t", "{\"event\":\"a\"}", "another source" },
		{ true, "s", "{\"event\":\"a\",\"id\":\"1\",\"x\":1}", "s", "{\"id\":\"1\",\"event\":\"a\"}",
		  "the same id in another body" },
		{ true, "s", "{\"event\":\"a\",\"id\":\"x\"}", "s", "{\"event\":\"a\",\"id\":\"\\u0078\"}",
		  "the same id, written otherwise" },
		{ true, "s", "{\"event\":\"a\",\"resultId\":\"1\"}", "s", "{\"event\":\"a\",\"data\":{\"resultId\":\"1\"}}",
		  "the same resultId in another place" },
		{ false, "s", "{\"event\":\"a\",\"id\":\"1\"}", "s", "{\"event\":\"b\",\"id\":\"1\"}",
		  "the same id of another event" },
		{ false, "s", "{\"event\":\"a\",\"id\":\"1\"}", "t", "{\"event\":\"a\",\"id\":\"1\"}",
		  "the same id of another source" },
		{ false, "s", "{\"event\":\"a\",\"id\":\"1\"}", "s", "{\"event\":\"a\",\"id\":\"2\"}", "another id" },
		{ false, "s", "{\"event\":\"a\",\"id\":\"\\ud800\"}", "s", "{\"event\":\"a\",\"id\":\"\\ud801\"}",
		  "ids that differ in half a surrogate pair" },
		{ false, "s", "{\"event\":\"a\",\"id\":\"x\"}", "s", "{\"event\":\"a\",\"id\":\"x\\u0000\"}",
		  "ids that differ in a zero byte at the end" },
		{ false, "sa", "{\"event\":\"b\",\"id\":\"1\"}", "s", "{\"event\":\"ab\",\"id\":\"1\"}",
		  "parts that only look the same in a row" },
		{ false, "s", "{\"event\":\"a\",\"id\":null}", "s", "{\"event\":\"a\",\"id\":null,\"x\":1}",
		  "an id that identifies nothing" },
	};
	uint8_t one[SHA256_BYTES], two[SHA256_BYTES];
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		identity_of(cases[i].source1, cases[i].body1, one);
		identity_of(cases[i].source2, cases[i].body2, two);
		CHECK((memcmp(one, two, sizeof one) == 0) == cases[i].same, "%s: %s",
		      cases[i].same ? "a duplicate" : "no duplicate", cases[i].promise);
	}
}

/* --- the catalogue --- */

static void test_catalogue(void)
{
	static const char *const names[] = {
		"interview.created", "interview.updated", "interview.deleted", "session.started",
		"session.completed", "session.abandoned", "candidate.invited", "candidate.reminded",
		"candidate.updated", "result.completed",
	};
	size_t n, i;
	const struct catalogue_event *events = catalogue_events(&n);

	CHECK_INT((int64_t)n, (int64_t)(sizeof names / sizeof names[0]), "ten events are documented");
	for (i = 0; i < n && i < sizeof names / sizeof names[0]; i++) {
		CHECK_STR(events[i].name, names[i], "in the documentation's order");
		CHECK_INT(verdict(events[i].data, strlen(events[i].data), names[i]), ENVELOPE_OK,
		          "the sample of %s is one JSON object", names[i]);
		CHECK(catalogue_find(names[i]) == &events[i], "and it is found");
	}
	CHECK(!catalogue_find("session") && !catalogue_find(""), "nothing else is");
}

/* --- beside json-c --- */

/* xorshift64*; the seed is fixed, so that a failure comes back. */
static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static size_t pick(size_t n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n;
}

#define PICK(array) (array)[pick(sizeof (array) / sizeof (array)[0])]

static void add_blanks(struct buf *b)
{
	static const char *const blanks[] = { "", "", "", "", "", " ", "\n", "\t", "\r\n" };

	buf_adds(b, PICK(blanks));
}

static void add_string(struct buf *b)
{
	static const char *const parts[] = {
		"a", "b.c", "x_1", " ", "/", "0123456789abcdef", "\\n", "\\\"", "\\\\", "\\/", "\\u0061", "\\u00e9",
		"\\u20AC", "\\ud83d\\ude00", "\\u0000", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f",
		"event", "session.completed",
	};
	size_t n = pick(5);

	buf_addc(b, '"');
	while (n-- > 0)
		buf_adds(b, PICK(parts));
	buf_addc(b, '"');
}

static void add_scalar(struct buf *b)
{
	static const char *const scalars[] = {
		"null", "true", "false", "0", "-0", "7", "-12", "1234567890123", "1.5", "-0.25", "1e3", "2E-7",
		"123456789012345678901234567890", "\"a.b\"", "\"session.completed\"", "\"\"", "\"A\"",
		"\"2024-03-15T15:00:00Z\"", "\"r-1\"", "\"\\u0061\"",
	};

	if (pick(3) == 0)
		add_string(b);
	else
		buf_adds(b, PICK(scalars));
}

static void add_object(struct buf *b, int levels);

static void add_value(struct buf *b, int levels)
{
	size_t n;

	if (levels == 0 || pick(3)) {
		add_scalar(b);
	} else if (pick(2)) {
		add_object(b, levels - 1);
	} else {
		buf_addc(b, '[');
		for (n = pick(4); n > 0; n--) {
			add_blanks(b);
			add_value(b, levels - 1);
			buf_adds(b, n > 1 ? "," : "");
		}
		add_blanks(b);
		buf_addc(b, ']');
	}
}

static void add_object(struct buf *b, int levels)
{
	static const char *const names[] = {
		"\"event\"", "\"event\"", "\"type\"", "\"timestamp\"", "\"id\"", "\"resultId\"", "\"data\"", "\"data\"",
		"\"\\u0065vent\"", "\"i\\u0064\"", "\"d\\u0061ta\"", "\"x\"", "\"\"", "\"event2\"",
	};
	size_t n;

	buf_addc(b, '{');
	for (n = pick(6); n > 0; n--) {
		add_blanks(b);
		buf_adds(b, PICK(names));
		add_blanks(b);
		buf_addc(b, ':');
		add_blanks(b);
		add_value(b, levels);
		add_blanks(b);
		buf_adds(b, n > 1 ? "," : "");
	}
	add_blanks(b);
	buf_addc(b, '}');
}

/* One small thing at one place: a byte replaced, left out or put in, or the rest cut off. */
static void mutate(struct buf *b)
{
	static const char bytes[] = "\"\\{}[],:0123456789-+.eEuntfxNI'/ \n\t\r\v\0\x01\x1f\x7f\x80\x9f\xa0\xbf\xc0\xc1"
	                            "\xc2\xe0\xed\xef\xf0\xf4\xf5\xff";
	size_t at = pick(b->len), rest = b->len - at;
	char byte = bytes[pick(sizeof bytes - 1)];

	switch (pick(8)) {
	case 0:
		b->len = at;
		break;
	case 1:
	case 2:
		memmove(b->data + at, b->data + at + 1, rest - 1);
		b->len--;
		break;
	case 3:
	case 4:
	case 5:
		buf_addc(b, ' ');
		memmove(b->data + at + 1, b->data + at, rest);
		b->data[at] = byte;
		break;
	default:
		b->data[at] = byte;
	}
	b->data[b->len] = '\0';
}

/* Whether O's name is a usable one, and this. By a regular expression. */
static bool same_event(struct json_object *o, enum envelope_result result, const struct envelope *e)
{
	static regex_t name;
	static bool compiled;
	struct json_object *v = NULL;
	const char *text;

	if (!compiled && regcomp(&name, "^[a-z0-9_]+(\\.[a-z0-9_]+)*$", REG_EXTENDED | REG_NOSUB))
		abort();
	compiled = true;
	if (!json_object_object_get_ex(o, "event", &v) && !json_object_object_get_ex(o, "type", &v))
		return result == ENVELOPE_OK && strcmp(e->event, "from.header") == 0;
	text = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
	if (strlen(text) > 64 || strlen(text) != (size_t)(*text ? json_object_get_string_len(v) : 0) ||
	    regexec(&name, text, 0, NULL, 0) != 0)
		return result == ENVELOPE_INVALID_EVENT && !*e->event;
	return result == ENVELOPE_OK && strcmp(e->event, text) == 0;
}

/* For a lone surrogate json-c writes U+FFFD; the envelope keeps which one it was. */
static bool same_text(const struct buf *id, struct json_object *string)
{
	size_t len = (size_t)json_object_get_string_len(string), i;
	const char *text = json_object_get_string(string);
	char *copy;
	bool same;

	if (id->len != len)
		return false;
	copy = xmalloc(len + 1);
	memcpy(copy, id->data, len);
	for (i = 0; i + 2 < len; i++)
		if (copy[i] == '\xed' && (unsigned char)copy[i + 1] >= 0xa0)
			memcpy(copy + i, "\xef\xbf\xbd", 3);
	same = memcmp(copy, text, len) == 0;
	free(copy);
	return same;
}

static bool same_id(struct json_object *o, const struct envelope *e)
{
	struct json_object *data = NULL, *found[3] = { NULL, NULL, NULL };
	char number[24];
	size_t i;

	json_object_object_get_ex(o, "id", &found[0]);
	json_object_object_get_ex(o, "resultId", &found[1]);
	if (json_object_object_get_ex(o, "data", &data) && json_object_is_type(data, json_type_object))
		json_object_object_get_ex(data, "resultId", &found[2]);
	for (i = 0; i < 3; i++) {
		if (json_object_is_type(found[i], json_type_string) && json_object_get_string_len(found[i]) > 0)
			return same_text(&e->id, found[i]);
		/* Beyond 64 bits json-c knows only the greatest number there is. */
		if (json_object_is_type(found[i], json_type_int) && e->id.len > 18)
			return strspn(e->id.data, "-0123456789") == e->id.len;
		snprintf(number, sizeof number, "%" PRId64, json_object_get_int64(found[i]));
		if (json_object_is_type(found[i], json_type_int))
			return strcmp(buf_str(&e->id), number) == 0 || strcmp(buf_str(&e->id), "-0") == 0;
	}
	return e->id.len == 0;
}

static void note(const char *what, const struct buf *text)
{
	struct buf shown = BUF_INIT;

	buf_add_printable(&shown, text->data, text->len, 0);
	printf("# %s: %s\n", what, shown.data);
	buf_free(&shown);
}

static void test_beside_json_c(void)
{
	int accepted = 0, refused = 0, other_verdicts = 0, other_events = 0, other_ids = 0, named = 0, identified = 0;
	struct buf text = BUF_INIT;
	size_t changes;
	int i;

	for (i = 0; i < 60000; i++) {
		struct json_object *o;
		struct envelope e;
		enum envelope_result result;

		buf_reset(&text);
		add_blanks(&text);
		add_object(&text, 4);
		add_blanks(&text);
		for (changes = pick(2) * pick(4); changes > 0 && text.len > 1; changes--)
			mutate(&text);
		o = second_opinion(text.data, text.len);
		result = parse(text.data, text.len, "from.header", &e);
		if ((o != NULL) != (result != ENVELOPE_INVALID_JSON)) {
			note(o ? "only json-c takes" : "json-c does not take", &text);
			other_verdicts++;
		} else if (o && !same_event(o, result, &e)) {
			note("another event", &text);
			other_events++;
		} else if (o && !same_id(o, &e)) {
			note("another id", &text);
			other_ids++;
		}
		accepted += o != NULL;
		refused += o == NULL;
		named += result == ENVELOPE_OK;
		identified += e.id.len > 0;
		json_object_put(o);
		envelope_free(&e);
	}
	CHECK_INT(other_verdicts, 0, "60000 documents: json-c takes the same ones");
	CHECK_INT(other_events, 0, "and finds the same events in them");
	CHECK_INT(other_ids, 0, "and the same ids");
	CHECK(accepted > 10000 && refused > 10000 && named > 5000 && identified > 5000,
	      "there were enough of each: %d accepted, %d refused, %d with a name, %d with an id", accepted,
	      refused, named, identified);
	buf_free(&text);
}

int main(void)
{
	test_grammar();
	test_every_place();
	test_sizes();
	test_errors();
	test_names();
	test_event();
	test_timestamp();
	test_id();
	test_long_id();
	test_identity();
	test_catalogue();
	test_beside_json_c();
	return tap_done();
}
