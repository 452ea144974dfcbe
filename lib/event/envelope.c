#include "lib/event/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"

/* The members that matter, wherever they stand; in the order in which an id is looked for. */
enum member {
	MEMBER_EVENT,
	MEMBER_TYPE,
	MEMBER_TIMESTAMP,
	MEMBER_ID,
	MEMBER_RESULT_ID,
	MEMBER_DATA,
	MEMBER_DATA_RESULT_ID, /* resultId in data */
	MEMBERS,
};

static const struct {
	const char *name;
	size_t len;
	size_t depth; /* 1: in the body's object; 2: in the object that is its `data` */
} members[MEMBERS] = {
	[MEMBER_EVENT] = { "event", 5, 1 },
	[MEMBER_TYPE] = { "type", 4, 1 },
	[MEMBER_TIMESTAMP] = { "timestamp", 9, 1 },
	[MEMBER_ID] = { "id", 2, 1 },
	[MEMBER_RESULT_ID] = { "resultId", 8, 1 },
	[MEMBER_DATA] = { "data", 4, 1 },
	[MEMBER_DATA_RESULT_ID] = { "resultId", 8, 2 },
};
#define MEMBER_NAME_MAX 9

enum kind { KIND_ABSENT, KIND_STRING, KIND_INTEGER, KIND_OTHER };

/* A value as it stands in the body: a string without its quotes, an integer with its sign. */
struct value {
	enum kind kind;
	bool escaped; /* there is a backslash in it */
	const unsigned char *text;
	size_t len;
};

/* What the grammar allows next. */
enum expect {
	EXPECT_VALUE,
	EXPECT_ITEM_OR_END,   /* behind [ */
	EXPECT_MEMBER,
	EXPECT_MEMBER_OR_END, /* behind { */
	EXPECT_COMMA_OR_END,
	DONE,
	REFUSED,
};

#define SHALLOW 512 /* levels of nesting without an allocation */

struct scan {
	const unsigned char *p, *start, *end;
	const char *error;
	unsigned char *is_object; /* one bit for each open level: { or [ */
	size_t depth;             /* levels that are open */
	size_t capacity;          /* levels that fit into is_object */
	enum member target;       /* whose value comes next; MEMBERS: nobody's */
	bool in_data;             /* inside the last `data` */
	struct value values[MEMBERS];
	unsigned char shallow[SHALLOW / 8];
};

/* The first reason stands. Returns false. */
static bool fail(struct scan *s, const char *error)
{
	if (!s->error)
		s->error = s->p == s->end ? "it ends too early" : error;
	return false;
}

static enum expect refuse(struct scan *s, const char *error)
{
	fail(s, error);
	return REFUSED;
}

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static int hex_value(unsigned char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* --- strings --- */

/* Eight bytes at once: is none of them a control, a quote, a backslash or beyond ASCII? */
static bool all_plain(const unsigned char *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
	uint64_t v, quote, backslash;

	memcpy(&v, p, sizeof v);
	quote = v ^ ones * '"';
	backslash = v ^ ones * '\\';
	/* x - ones sets the high bit of a byte that was zero, v - 32 that of one below 32; what a
	 * borrow adds lies above a byte that is reported anyway. */
	return ((v | ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) |
	         ((backslash - ones) & ~backslash)) & highs) == 0;
}

/* The length of the character at P, which is not ASCII; 0 where it is no valid UTF-8. RFC 3629,
 * section 4: the second byte rules out what is overlong, a surrogate or beyond U+10FFFF. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	size_t left = (size_t)(end - p), n, i;
	unsigned char low = 0x80, high = 0xbf;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (left < n || p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* The length of the escape at P, with its backslash; 0 where it is none. */
static size_t escape_length(const unsigned char *p, const unsigned char *end)
{
	size_t i;

	if (end - p < 2)
		return 0;
	if (p[1] != 'u')
		return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
	for (i = 2; i < 6; i++)
		if (p + i >= end || hex_value(p[i]) < 0)
			return 0;
	return 6;
}

/* The string at its opening quote to OUT. */
static bool scan_string(struct scan *s, struct value *out)
{
	const unsigned char *p = s->p + 1;
	size_t n;

	*out = (struct value){ .kind = KIND_STRING, .text = p };
	for (;;) {
		while (s->end - p >= 8 && all_plain(p))
			p += 8;
		s->p = p;
		if (p == s->end || *p < 0x20)
			return fail(s, "a control character in a string");
		if (*p == '"')
			break;
		if (*p == '\\') {
			out->escaped = true;
			n = escape_length(p, s->end);
		} else {
			n = *p < 0x80 ? 1 : utf8_length(p, s->end);
		}
		if (n == 0)
			return fail(s, *p == '\\' ? "no such escape" : "not UTF-8");
		p += n;
	}
	out->len = (size_t)(p - out->text);
	s->p = p + 1;
	return true;
}

static uint32_t read_hex4(const unsigned char *p)
{
	uint32_t v = 0;
	int i;

	for (i = 0; i < 4; i++)
		v = v << 4 | (uint32_t)hex_value(p[i]);
	return v;
}

/* The character that the escape at P stands for; *P moves behind it. Half a surrogate pair
 * stands for itself. */
static uint32_t decode_escape(const unsigned char **p, const unsigned char *end)
{
	static const char short_escapes[] = "b\bf\fn\nr\rt\t";
	const unsigned char *e = *p;
	const char *found;
	uint32_t high, low;

	if (e[1] != 'u') {
		*p += 2;
		found = strchr(short_escapes, e[1]);
		return found ? (uint32_t)found[1] : e[1];
	}
	*p += 6;
	high = read_hex4(e + 2);
	if (high < 0xd800 || high > 0xdbff || end - e < 12 || e[6] != '\\' || e[7] != 'u')
		return high;
	low = read_hex4(e + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return high;
	*p += 6;
	return 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
}

/* Lone surrogates too are written as the scheme has it, so that no two strings become one. */
static size_t encode_utf8(uint32_t c, unsigned char out[4])
{
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;

	for (i = n - 1; i > 0; i--) {
		out[i] = (unsigned char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	out[0] = n == 1 ? (unsigned char)c : (unsigned char)(lead[n] | c);
	return n;
}

/* The string V without its escapes, which is never longer than with them, as far as it fits
 * into SIZE bytes. Returns its length, or SIZE + 1 where it does not fit. */
static size_t decode_string(const struct value *v, char *out, size_t size)
{
	const unsigned char *p = v->text, *end = v->text + v->len;
	unsigned char c[4] = { 0 };
	size_t len = 0, n;

	if (!v->escaped) {
		if (v->len > size)
			return size + 1;
		memcpy(out, v->text, v->len);
		return v->len;
	}
	while (p < end) {
		n = 1;
		if (*p == '\\')
			n = encode_utf8(decode_escape(&p, end), c);
		else
			c[0] = *p++;
		if (n > size - len)
			return size + 1;
		memcpy(out + len, c, n);
		len += n;
	}
	return len;
}

/* --- the other scalars --- */

static bool scan_digits(struct scan *s)
{
	const unsigned char *from = s->p;

	while (s->p < s->end && is_digit(*s->p))
		s->p++;
	return s->p > from;
}

static bool scan_number(struct scan *s, struct value *out)
{
	*out = (struct value){ .kind = KIND_INTEGER, .text = s->p };
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++; /* no digit may follow: what comes next will not expect one */
	else if (!scan_digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		out->kind = KIND_OTHER;
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p | 0x20) == 'e') {
		out->kind = KIND_OTHER;
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s))
			return false;
	}
	out->len = (size_t)(s->p - out->text);
	return true;
}

static bool scan_word(struct scan *s, struct value *out)
{
	static const struct { const char *text; size_t len; } words[] = {
		{ "true", 4 }, { "false", 5 }, { "null", 4 },
	};
	size_t i;

	*out = (struct value){ .kind = KIND_OTHER, .text = s->p };
	for (i = 0; i < sizeof words / sizeof words[0]; i++) {
		if ((size_t)(s->end - s->p) >= words[i].len &&
		    memcmp(s->p, words[i].text, words[i].len) == 0) {
			s->p += words[i].len;
			return true;
		}
	}
	return false;
}

/* --- structure --- */

static void skip_blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

static bool top_is_object(const struct scan *s)
{
	size_t top = s->depth - 1;

	return s->is_object[top / 8] >> (top % 8) & 1;
}

static void grow(struct scan *s)
{
	bool moved = s->is_object != s->shallow;
	unsigned char *wider = xreallocarray(moved ? s->is_object : NULL, 2, s->capacity / 8);

	if (!moved)
		memcpy(wider, s->shallow, sizeof s->shallow);
	s->is_object = wider;
	s->capacity *= 2;
}

static enum expect open_level(struct scan *s, bool object)
{
	unsigned char bit = (unsigned char)(1U << (s->depth % 8));

	if (s->depth == s->capacity)
		grow(s);
	if (object)
		s->is_object[s->depth / 8] |= bit;
	else
		s->is_object[s->depth / 8] &= (unsigned char)~bit;
	s->depth++;
	s->p++;
	return object ? EXPECT_MEMBER_OR_END : EXPECT_ITEM_OR_END;
}

static enum expect close_level(struct scan *s)
{
	s->p++;
	s->depth--;
	if (s->depth == 1)
		s->in_data = false;
	return s->depth ? EXPECT_COMMA_OR_END : DONE;
}

static enum expect scan_value(struct scan *s)
{
	enum member target = s->target;
	struct value value = { .kind = KIND_OTHER, .text = s->p };
	enum expect next = EXPECT_COMMA_OR_END;
	bool good = true;

	s->target = MEMBERS;
	if (*s->p == '{' || *s->p == '[') {
		s->in_data |= target == MEMBER_DATA && *s->p == '{';
		next = open_level(s, *s->p == '{');
	} else if (*s->p == '"') {
		good = scan_string(s, &value);
	} else if (*s->p == '-' || is_digit(*s->p)) {
		good = scan_number(s, &value);
	} else {
		good = scan_word(s, &value);
	}
	if (!good)
		return refuse(s, "not a JSON value");
	if (target != MEMBERS)
		s->values[target] = value;
	return next;
}

/* Which member's value follows KEY. */
static enum member find_member(const struct scan *s, const struct value *key)
{
	char name[MEMBER_NAME_MAX];
	size_t len, i;

	if (s->depth > 2 || (s->depth == 2 && !s->in_data))
		return MEMBERS;
	len = decode_string(key, name, sizeof name);
	for (i = 0; i < MEMBERS; i++)
		if (members[i].depth == s->depth && members[i].len == len &&
		    memcmp(members[i].name, name, len) == 0)
			break;
	return (enum member)i;
}

static enum expect scan_key(struct scan *s)
{
	struct value key;

	if (*s->p != '"')
		return refuse(s, "the name of a member is expected");
	if (!scan_string(s, &key))
		return REFUSED;
	s->target = find_member(s, &key);
	/* A second `data` replaces the first one with all that was in it. */
	if (s->target == MEMBER_DATA)
		s->values[MEMBER_DATA_RESULT_ID].kind = KIND_ABSENT;
	skip_blanks(s);
	if (s->p == s->end || *s->p != ':')
		return refuse(s, "a colon is expected");
	s->p++;
	return EXPECT_VALUE;
}

static enum expect scan_comma(struct scan *s)
{
	bool object = top_is_object(s);

	if (*s->p == (object ? '}' : ']'))
		return close_level(s);
	if (*s->p != ',')
		return refuse(s, object ? "a comma or } is expected" : "a comma or ] is expected");
	s->p++;
	return object ? EXPECT_MEMBER : EXPECT_VALUE;
}

static enum expect step(struct scan *s, enum expect expect)
{
	skip_blanks(s);
	if (s->p == s->end)
		return refuse(s, "");
	switch (expect) {
	case EXPECT_ITEM_OR_END:
		return *s->p == ']' ? close_level(s) : scan_value(s);
	case EXPECT_VALUE:
		return scan_value(s);
	case EXPECT_MEMBER_OR_END:
		return *s->p == '}' ? close_level(s) : scan_key(s);
	case EXPECT_MEMBER:
		return scan_key(s);
	case EXPECT_COMMA_OR_END:
		return scan_comma(s);
	case DONE:
	case REFUSED:
		break;
	}
	return expect;
}

static bool scan_body(struct scan *s)
{
	enum expect expect = EXPECT_VALUE;

	skip_blanks(s);
	if (s->p == s->end || *s->p != '{')
		return fail(s, s->p < s->end && *s->p == 0xef ? "it begins with a byte order mark" :
		               "it is not a JSON object");
	while (expect < DONE)
		expect = step(s, expect);
	if (expect == REFUSED)
		return false;
	skip_blanks(s);
	return s->p == s->end || fail(s, "something follows the object");
}

/* --- what it says --- */

bool envelope_name_valid(const char *name, size_t len)
{
	bool in_word = false;
	size_t i;

	if (len > EVENT_NAME_MAX)
		return false;
	for (i = 0; i < len; i++) {
		if (name[i] == '.' && !in_word)
			return false;
		in_word = name[i] != '.';
		if (in_word && name[i] != '_' && !is_digit((unsigned char)name[i]) &&
		    !(name[i] >= 'a' && name[i] <= 'z'))
			return false;
	}
	return in_word;
}

static void take_timestamp(const struct value *v, struct envelope *out)
{
	size_t len;

	if (v->kind != KIND_STRING)
		return;
	len = decode_string(v, out->timestamp, EVENT_TIMESTAMP_MAX);
	if (len <= EVENT_TIMESTAMP_MAX && !memchr(out->timestamp, '\0', len)) {
		out->timestamp[len] = '\0';
		if (clock_parse(out->timestamp, &out->timestamp_ms) == 0)
			return;
	}
	memset(out->timestamp, 0, sizeof out->timestamp);
	out->timestamp_ms = 0;
}

static void take_id(const struct scan *s, struct envelope *out)
{
	static const enum member places[] = { MEMBER_ID, MEMBER_RESULT_ID, MEMBER_DATA_RESULT_ID };
	size_t i;

	for (i = 0; i < sizeof places / sizeof places[0]; i++) {
		const struct value *v = &s->values[places[i]];

		if (v->len == 0 || (v->kind != KIND_STRING && v->kind != KIND_INTEGER))
			continue;
		buf_reserve(&out->id, v->len);
		out->id.len = decode_string(v, out->id.data, v->len);
		out->id.data[out->id.len] = '\0';
		return;
	}
}

static enum envelope_result take_event(const struct scan *s, const char *header_event, struct envelope *out)
{
	const struct value *v = &s->values[MEMBER_EVENT];
	size_t len;

	if (v->kind == KIND_ABSENT)
		v = &s->values[MEMBER_TYPE];
	out->error_offset = v->text ? (size_t)(v->text - s->start) : 0;
	if (v->kind == KIND_STRING) {
		len = decode_string(v, out->event, EVENT_NAME_MAX);
	} else if (v->kind == KIND_ABSENT && header_event) {
		len = strnlen(header_event, EVENT_NAME_MAX + 1);
		memcpy(out->event, header_event, len > EVENT_NAME_MAX ? 0 : len);
	} else {
		out->error = v->kind == KIND_ABSENT ? "it names no event" : "the event's name is no string";
		return ENVELOPE_INVALID_EVENT;
	}
	if (envelope_name_valid(out->event, len)) {
		out->event[len] = '\0';
		return ENVELOPE_OK;
	}
	memset(out->event, 0, sizeof out->event);
	out->error = "the event's name is not of the form word.word, of a-z, 0-9 and _, within 64 bytes";
	return ENVELOPE_INVALID_EVENT;
}

enum envelope_result envelope_parse(const char *body, size_t len, const char *header_event,
                                    struct envelope *out)
{
	struct scan s = { .target = MEMBERS, .capacity = SHALLOW };
	enum envelope_result result = ENVELOPE_INVALID_JSON;

	memset(out, 0, sizeof *out);
	s.start = s.p = (const unsigned char *)(len ? body : "");
	s.end = s.start + len;
	s.is_object = s.shallow;
	if (scan_body(&s)) {
		result = take_event(&s, header_event, out);
		take_timestamp(&s.values[MEMBER_TIMESTAMP], out);
		take_id(&s, out);
	} else {
		out->error = s.error;
		out->error_offset = (size_t)(s.p - s.start);
	}
	if (s.is_object != s.shallow)
		free(s.is_object);
	return result;
}

void envelope_free(struct envelope *e)
{
	buf_free(&e->id);
}

void envelope_identity(const struct envelope *e, const char *source, const void *body, size_t len,
                       uint8_t out[SHA256_BYTES])
{
	struct buf text = BUF_INIT;

	/* Neither a source's nor an event's name holds a zero byte, so no two lists of parts make one
	 * text; "id" and "body" keep apart an id that looks like a hash and a hash. */
	buf_adds(&text, e->id.len ? "id" : "body");
	buf_add(&text, "", 1);
	buf_add(&text, source, strlen(source) + 1);
	if (e->id.len) {
		buf_add(&text, e->event, strlen(e->event) + 1);
		buf_add(&text, e->id.data, e->id.len);
	} else {
		bytes_sha256(body, len, out);
		buf_add(&text, out, SHA256_BYTES);
	}
	bytes_sha256(text.data, text.len, out);
	buf_free(&text);
}
