#include "lib/api/call.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

void json_add_bytes(struct json_object *o, const char *name, const char *text, size_t len)
{
	struct buf valid = BUF_INIT;

	buf_add_utf8(&valid, text ? text : "", len);
	json_object_object_add(o, name, json_object_new_string_len(buf_str(&valid), (int)valid.len));
	buf_free(&valid);
}

void json_add_text(struct json_object *o, const char *name, const char *text)
{
	if (*text)
		json_add_bytes(o, name, text, strlen(text));
	else
		json_object_object_add(o, name, NULL);
}

void json_add_time(struct json_object *o, const char *name, int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	json_object_object_add(o, name, wall_ms ? json_object_new_string(clock_format(wall_ms, text)) : NULL);
}

void json_add_number(struct json_object *o, const char *name, int64_t value)
{
	json_object_object_add(o, name, json_object_new_int64(value));
}

void json_add_number_unless(struct json_object *o, const char *name, int64_t value, int64_t none)
{
	json_object_object_add(o, name, value == none ? NULL : json_object_new_int64(value));
}

void json_add_bool(struct json_object *o, const char *name, bool value)
{
	json_object_object_add(o, name, json_object_new_boolean(value));
}

/* --- pages --------------------------------------------------------------------------------- */

void page_begin(struct page *p, const struct api_call *c)
{
	memset(p, 0, sizeof *p);
	p->rows = json_object_new_array();
	p->limit = c->in.limit ? c->in.limit : PAGE_LIMIT;
}

bool page_has_room(struct page *p)
{
	p->more = (int64_t)json_object_array_length(p->rows) >= p->limit;
	return !p->more;
}

void page_add(struct page *p, struct json_object *row, const char *fmt, ...)
{
	va_list ap;

	json_object_array_add(p->rows, row);
	buf_reset(&p->last);
	va_start(ap, fmt);
	buf_vaddf(&p->last, fmt, ap);
	va_end(ap);
}

void page_end(struct page *p, struct api_call *c, enum store_status status)
{
	struct json_object *doc;

	if (status == STORE_OK) {
		doc = json_object_new_object();
		json_object_object_add(doc, "data", p->rows);
		json_add_text(doc, "next_cursor", p->more ? buf_str(&p->last) : "");
		json_add_bool(doc, "has_more", p->more);
		if (p->searched)
			json_add_time(doc, "searched_until", p->more ? p->last_ms : 0);
		call_answer(c, 200, "OK", doc);
	} else {
		json_object_put(p->rows);
		call_store_failed(c, status);
	}
	buf_free(&p->last);
}

void page_refuse_cursor(struct api_call *c)
{
	fields_refuse(c->errors, "cursor", "wants the next_cursor of the page before");
}

int64_t page_cursor(struct api_call *c, char mark)
{
	const char *digits = c->in.cursor ? c->in.cursor + 1 : NULL;
	size_t len = digits ? strlen(digits) : 0;

	if (!c->in.cursor)
		return 0;
	if (c->in.cursor[0] == mark && len > 0 && len < 19 && strspn(digits, "0123456789") == len && digits[0] != '0')
		return strtoll(digits, NULL, 10);
	page_refuse_cursor(c);
	return -1;
}

bool page_cursor_is_id(struct api_call *c, const char *prefix)
{
	if (!c->in.cursor || id_valid(prefix, c->in.cursor))
		return true;
	page_refuse_cursor(c);
	return false;
}
