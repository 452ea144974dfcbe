#include "tests/unit/second.h"

#include <stdint.h>
#include <string.h>

/* UTF-8 by arithmetic rather than by table: the code point, and whether it needs that many bytes. */
static bool is_utf8(const char *text, size_t len)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	size_t i = 0, more, k;

	while (i < len) {
		unsigned char c = (unsigned char)text[i++];
		uint32_t point;

		if (c < 0x80)
			continue;
		more = (c & 0xe0) == 0xc0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : (c & 0xf8) == 0xf0 ? 3 : 0;
		if (more == 0 || more > len - i)
			return false;
		point = c & (0x3fU >> more);
		for (k = 0; k < more; k++, i++) {
			if ((text[i] & 0xc0) != 0x80)
				return false;
			point = point << 6 | (text[i] & 0x3f);
		}
		if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
			return false;
	}
	return true;
}

/* json-c 0.16, strict as it is, takes more than RFC 8259 allows: NaN, Infinity and -Infinity,
 * numbers such as "1.", "-.5", "00" and "-01", names in single quotes, control characters as
 * they stand in strings, and UTF-8 that is overlong, a surrogate or beyond U+10FFFF. Tells
 * whether TEXT has one of these. It need not be right about text that json-c refuses. */
static bool only_json_c_takes(const char *text, size_t len)
{
	bool in_string = false;
	size_t i;

	for (i = 0; i < len; i++) {
		char c = text[i], next = i + 1 < len ? text[i + 1] : '\0';
		bool digit_next = next >= '0' && next <= '9';
		bool number_begins = !(i > 0 && strchr("0123456789.eE+", text[i - 1])) &&
		                     !(i > 1 && text[i - 1] == '-' && strchr("eE", text[i - 2]));

		if (in_string) {
			if ((unsigned char)c < 0x20)
				return true;
			i += c == '\\';
			in_string = c != '"';
		} else if (c == '"') {
			in_string = true;
		} else if (c == '\'' || c == 'N' || c == 'I' || (c == '.' && !digit_next) ||
		           (c == '-' && next == '.') || (c == '0' && digit_next && number_begins)) {
			return true;
		}
	}
	return !is_utf8(text, len);
}

struct json_object *second_opinion(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(SECOND_DEPTH);
	struct json_object *o;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tokener, text, (int)len);
	/* Strict, it refuses what follows the object, but not the blanks behind it, nor a zero byte. */
	if (json_tokener_get_error(tokener) != json_tokener_success || memchr(text, '\0', len) ||
	    !json_object_is_type(o, json_type_object) || only_json_c_takes(text, len)) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tokener);
	return o;
}

bool second_gave_up(const char *text, size_t len)
{
	size_t i, open = 0;

	for (i = 0; i < len; i++)
		open += text[i] == '[' || text[i] == '{';
	return open >= SECOND_DEPTH;
}
