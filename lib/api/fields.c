#include "lib/api/fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/event/envelope.h"

#define EVENTS_MAX 100 /* names of one webhook */
#define EMAIL_MAX 254
#define LOCAL_PART_MAX 64
#define NAME_SHOWN 64  /* bytes of a wrong name that go into the answer */

void fields_refuse(struct json_object *errors, const char *field, const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	struct buf name = BUF_INIT, message = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&message, fmt, ap);
	va_end(ap);
	buf_add_utf8(&name, field, strnlen(field, NAME_SHOWN));
	json_object_object_add(o, "field", json_object_new_string(buf_str(&name)));
	json_object_object_add(o, "message", json_object_new_string(buf_str(&message)));
	json_object_array_add(errors, o);
	buf_free(&name);
	buf_free(&message);
}

void fields_init(struct input *in)
{
	memset(in, 0, sizeof *in);
	in->active = in->debug = in->preview = -1;
	in->overlap_s = -1;
	in->timestamp_ms = INT64_MIN;
}

/* --- values -------------------------------------------------------------------------------- */

bool fields_line_valid(const char *text)
{
	struct buf shown = BUF_INIT;
	bool same;

	buf_add_printable(&shown, text, strlen(text), 0);
	same = strcmp(buf_str(&shown), text) == 0;
	buf_free(&shown);
	return same;
}

bool fields_email_valid(const char *text)
{
	static const char atom[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~.";
	static const char host[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
	size_t len = strlen(text), local = strspn(text, atom);
	const char *domain = text + local + 1;

	if (len > EMAIL_MAX || local == 0 || local > LOCAL_PART_MAX || text[local] != '@')
		return false;
	return domain[0] != '\0' && strspn(domain, host) == strlen(domain) && !strstr(domain, "..") &&
	       !strchr(".-", domain[0]) && !strchr(".-", text[len - 1]);
}

/* Text that is meant for one member. Of a query all values are such. */
static void set_text(const struct field *f, const char *text, void *to, struct json_object *errors)
{
	size_t i, len = strlen(text);

	switch (f->type) {
	case FIELD_TEXT:
	case FIELD_LINE:
		if (f->type == FIELD_LINE && !fields_line_valid(text))
			fields_refuse(errors, f->name, "wants one line, without control characters");
		if (len > (size_t)f->max || (int64_t)len < f->min)
			fields_refuse(errors, f->name, "wants %" PRId64 " to %" PRId64 " bytes", f->min, f->max);
		break;
	case FIELD_EVENT:
		if (!envelope_name_valid(text, len))
			fields_refuse(errors, f->name, "wants the name of an event such as session.completed");
		break;
	case FIELD_EMAIL:
		if (!fields_email_valid(text))
			fields_refuse(errors, f->name, "wants an address such as name@example.com");
		break;
	case FIELD_CHOICE:
		for (i = 0; f->choices[i] && strcmp(f->choices[i], text) != 0; i++)
			;
		if (!f->choices[i]) {
			struct buf all = BUF_INIT;

			for (i = 0; f->choices[i]; i++)
				buf_addf(&all, "%s%s", i ? ", " : "", f->choices[i]);
			fields_refuse(errors, f->name, "wants one of: %s", buf_str(&all));
			buf_free(&all);
		}
		break;
	default:
		break;
	}
	*(const char **)to = text;
}

static void set_time(const struct field *f, const char *text, void *to, struct json_object *errors)
{
	if (clock_parse(text, to) < 0)
		fields_refuse(errors, f->name, "wants a time in RFC 3339 such as 2026-03-15T00:00:00Z");
}

static void set_number(const struct field *f, int64_t value, void *to, struct json_object *errors)
{
	if (value < f->min || value > f->max)
		fields_refuse(errors, f->name, "wants a number from %" PRId64 " to %" PRId64, f->min, f->max);
	*(int64_t *)to = value;
}

/* What is wrong with item I of EVENTS; NULL where nothing is. */
static const char *check_event(struct json_object *events, size_t i, size_t n)
{
	struct json_object *item = json_object_array_get_idx(events, i);
	const char *name = json_object_get_string(item);
	size_t k;

	if (!json_object_is_type(item, json_type_string))
		return "wants strings";
	if (strcmp(name, "*") == 0)
		return n == 1 ? NULL : "wants \"*\" alone, or names without it";
	if (!envelope_name_valid(name, strlen(name)))
		return "wants names of events such as session.completed, or \"*\" for all";
	for (k = 0; k < i; k++)
		if (strcmp(json_object_get_string(json_object_array_get_idx(events, k)), name) == 0)
			return "wants no name twice";
	return NULL;
}

static void set_events(const struct field *f, struct json_object *value, void *to, struct json_object *errors)
{
	size_t n = json_object_array_length(value), i;
	const char *wrong = NULL;

	if (n == 0 || n > EVENTS_MAX) {
		fields_refuse(errors, f->name, "wants 1 to %d names", EVENTS_MAX);
		return;
	}
	for (i = 0; i < n && !wrong; i++)
		wrong = check_event(value, i, n);
	if (wrong)
		fields_refuse(errors, f->name, "%s", wrong);
	*(struct json_object **)to = value;
}

/* --- tables -------------------------------------------------------------------------------- */

static const struct field *find(const struct fields *f, const char *name)
{
	size_t i;

	for (i = 0; i < f->n; i++)
		if (strcmp(f->items[i].name, name) == 0)
			return &f->items[i];
	return NULL;
}

static void refuse_unknown(const struct fields *f, const char *name, struct json_object *errors)
{
	struct buf known = BUF_INIT;
	size_t i;

	for (i = 0; i < f->n; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", f->items[i].name);
	fields_refuse(errors, name, "is not known here; known: %s", f->n ? buf_str(&known) : "none");
	buf_free(&known);
}

static void *place(struct input *in, const struct field *f)
{
	return (char *)in + f->offset;
}

/* --- the body ------------------------------------------------------------------------------ */

static const struct {
	enum json_type type;
	const char *name;
} json_types[] = {
	[FIELD_TEXT] = { json_type_string, "a string" },    [FIELD_CHOICE] = { json_type_string, "a string" },
	[FIELD_LINE] = { json_type_string, "a string" },    [FIELD_EMAIL] = { json_type_string, "a string" },
	[FIELD_EVENT] = { json_type_string, "a string" },   [FIELD_EVENTS] = { json_type_array, "an array of strings" },
	[FIELD_BOOL] = { json_type_boolean, "true or false" }, [FIELD_NUMBER] = { json_type_int, "a whole number" },
	[FIELD_TIME] = { json_type_string, "a string" },    [FIELD_OBJECT] = { json_type_object, "an object" },
};

/* Of a whole number that it can't hold, json-c keeps the nearest that it can: one that is at the end of what it holds
 * may have been another. All other numbers are kept as they are written. */
static bool numbers_fit(struct json_object *value)
{
	bool fit = true;
	size_t i;

	if (json_object_is_type(value, json_type_int))
		return json_object_get_int64(value) != INT64_MIN && json_object_get_uint64(value) != UINT64_MAX;
	if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach(value, name, member) {
			(void)name;
			fit = fit && numbers_fit(member);
		}
	} else if (json_object_is_type(value, json_type_array)) {
		for (i = 0; fit && i < json_object_array_length(value); i++)
			fit = numbers_fit(json_object_array_get_idx(value, i));
	}
	return fit;
}

/* Those of an object in the body; what is wrong is told as "object.member". */
static void read_members(const struct field *f, struct json_object *value, struct input *in, struct json_object *errors)
{
	struct json_object *wrong = json_object_new_array(), *name, *message;
	struct buf path = BUF_INIT;
	size_t i;

	fields_read_body(&f->members, value, in, wrong);
	for (i = 0; i < json_object_array_length(wrong); i++) {
		json_object_object_get_ex(json_object_array_get_idx(wrong, i), "field", &name);
		json_object_object_get_ex(json_object_array_get_idx(wrong, i), "message", &message);
		buf_reset(&path);
		buf_addf(&path, "%s.%s", f->name, json_object_get_string(name));
		fields_refuse(errors, buf_str(&path), "%s", json_object_get_string(message));
	}
	buf_free(&path);
	json_object_put(wrong);
}

static void set_object(const struct field *f, struct json_object *value, struct input *in, struct json_object *errors)
{
	if (!numbers_fit(value))
		fields_refuse(errors, f->name, "holds a whole number of more than 64 bits");
	if (f->members.n > 0)
		read_members(f, value, in, errors);
	*(struct json_object **)place(in, f) = value;
}

static void read_member(const struct field *f, struct json_object *value, struct input *in, struct json_object *errors)
{
	void *to = place(in, f);

	if (!json_object_is_type(value, json_types[f->type].type))
		fields_refuse(errors, f->name, "wants %s", json_types[f->type].name);
	else if (f->type == FIELD_EVENTS)
		set_events(f, value, to, errors);
	else if (f->type == FIELD_OBJECT)
		set_object(f, value, in, errors);
	else if (f->type == FIELD_BOOL)
		*(int *)to = json_object_get_boolean(value);
	else if (f->type == FIELD_NUMBER)
		set_number(f, json_object_get_int64(value), to, errors);
	else if (f->type == FIELD_TIME)
		set_time(f, json_object_get_string(value), to, errors);
	else
		set_text(f, json_object_get_string(value), to, errors);
}

void fields_read_body(const struct fields *f, struct json_object *body, struct input *in, struct json_object *errors)
{
	size_t i;

	for (i = 0; i < f->n; i++)
		if (f->items[i].required && !json_object_object_get_ex(body, f->items[i].name, NULL))
			fields_refuse(errors, f->items[i].name, "is required");
	if (!body)
		return;
	json_object_object_foreach(body, name, value) {
		const struct field *field = find(f, name);

		if (field)
			read_member(field, value, in, errors);
		else
			refuse_unknown(f, name, errors);
	}
}

/* --- the query ----------------------------------------------------------------------------- */

/* LEN bytes of a query, decoded; -1 where a % has no two digits behind it, or for NUL. */
static int decode(const char *s, size_t len, struct buf *out)
{
	size_t i;
	char c;

	for (i = 0; i < len; i++) {
		if (s[i] != '%') {
			buf_addc(out, (char)(s[i] == '+' ? ' ' : s[i]));
			continue;
		}
		if (len - i < 3 || bytes_from_hex(s + i + 1, 2, &c, 1) < 0 || c == '\0')
			return -1;
		buf_addc(out, c);
		i += 2;
	}
	return 0;
}

static void read_value(const struct field *f, const char *text, struct input *in, struct json_object *errors)
{
	void *to = place(in, f);
	size_t len = strlen(text);

	if (f->type == FIELD_TIME)
		set_time(f, text, to, errors);
	else if (f->type != FIELD_NUMBER)
		set_text(f, text, to, errors);
	else if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
		fields_refuse(errors, f->name, "wants a whole number");
	else
		set_number(f, strtoll(text, NULL, 10), to, errors);
}

static void read_parameter(const struct fields *f, const char *s, size_t len, struct input *in, struct json_object *texts,
                           struct json_object *errors)
{
	const char *equals = memchr(s, '=', len);
	size_t name_len = equals ? (size_t)(equals - s) : len;
	struct buf name = BUF_INIT, value = BUF_INIT;
	int bad = decode(s, name_len, &name) || (equals && decode(equals + 1, len - name_len - 1, &value));
	const struct field *field = find(f, buf_str(&name));

	if (bad) {
		fields_refuse(errors, buf_str(&name), "is not well encoded");
	} else if (!field) {
		refuse_unknown(f, buf_str(&name), errors);
	} else if (json_object_object_get_ex(texts, field->name, NULL)) {
		fields_refuse(errors, field->name, "is there twice");
	} else {
		struct json_object *text = json_object_new_string(buf_str(&value));

		json_object_object_add(texts, field->name, text);
		read_value(field, json_object_get_string(text), in, errors);
	}
	buf_free(&name);
	buf_free(&value);
}

void fields_read_query(const struct fields *f, const char *query, struct input *in, struct json_object **texts,
                       struct json_object *errors)
{
	size_t len;

	*texts = json_object_new_object();
	while (query && *query) {
		len = strcspn(query, "&");
		if (len > 0)
			read_parameter(f, query, len, in, *texts, errors);
		query += len;
		query += *query == '&';
	}
}
