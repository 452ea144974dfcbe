#include "lib/api/fields.h"

#include <string.h>

#include "lib/event/envelope.h"

#define DEPTH_MAX 16

/* Members of all objects in valid JSON: each has one colon outside of strings. -1 for a NUL in a string. */
static long count_colons(const char *json, size_t len)
{
	bool in_string = false;
	long n = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (json[i] == '"')
			in_string = !in_string;
		else if (!in_string)
			n += json[i] == ':';
		else if (json[i] == '\\' && len - ++i > 4 && memcmp(json + i, "u0000", 5) == 0)
			return -1;
	}
	return n;
}

/* The same in what json-c made of it, where a name that came twice counts once. */
static long count_members(struct json_object *value)
{
	long n = 0;
	size_t i;

	if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach(value, name, member) {
			(void)name;
			n += 1 + count_members(member);
		}
	} else if (json_object_is_type(value, json_type_array)) {
		for (i = 0; i < json_object_array_length(value); i++)
			n += count_members(json_object_array_get_idx(value, i));
	}
	return n;
}

static struct json_object *build(const char *body, size_t len, struct buf *err)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *object;

	if (!tokener)
		return NULL;
	object = json_tokener_parse_ex(tokener, body, (int)len);
	if (!object)
		buf_adds(err, json_tokener_get_error(tokener) == json_tokener_error_depth
		              ? "The body is nested too deeply" : "The body is not one JSON object");
	json_tokener_free(tokener);
	return object;
}

struct json_object *fields_parse(const char *body, size_t len, struct buf *err)
{
	struct envelope e;
	struct json_object *object = NULL;
	long members = -1;

	/* json-c takes more than JSON; the parser of events does not. */
	if (envelope_parse(body, len, NULL, &e) == ENVELOPE_INVALID_JSON)
		buf_addf(err, "The body is not one JSON object: %s at byte %zu", e.error, e.error_offset);
	else if ((members = count_colons(body, len)) < 0)
		buf_adds(err, "A string of the body holds a NUL");
	else
		object = build(body, len, err);
	envelope_free(&e);
	if (object && count_members(object) != members) {
		buf_adds(err, "A name is there twice in one object of the body");
		json_object_put(object);
		object = NULL;
	}
	return object;
}
