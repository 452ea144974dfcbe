#include "lib/api/exchanges.h"

#include <string.h>

#include "lib/api/call.h"

static struct json_object *show_header(const char *line, size_t len)
{
	struct json_object *o = json_object_new_object();
	size_t name_len = strcspn(line, ":\n"), start = name_len < len ? name_len + 1 : len;

	start += strspn(line + start, " \t");
	json_add_bytes(o, "name", line, name_len);
	json_add_bytes(o, "value", line + start, start < len ? len - start : 0);
	return o;
}

/* {NAME: the first line, headers}; NULL for no head. */
static struct json_object *show_head(const char *name, const char *head)
{
	struct json_object *o, *headers;
	size_t len;

	if (!head || !*head)
		return NULL;
	o = json_object_new_object();
	headers = json_object_new_array();
	len = strcspn(head, "\n");
	json_add_bytes(o, name, head, len);
	for (head += len; *head && head[1]; head += len) {
		head++;
		len = strcspn(head, "\n");
		json_object_array_add(headers, show_header(head, len));
	}
	json_object_object_add(o, "headers", headers);
	return o;
}

void exchange_add_json(struct json_object *o, const struct store_attempt_row *row)
{
	struct json_object *answer = show_head("status_line", row->answer_head);

	if (answer) {
		json_add_bool(answer, "headers_cut", row->answer_head_cut);
		json_add_bytes(answer, "body", row->output, row->output_len);
		json_add_bool(answer, "body_cut", row->output_cut);
	}
	json_object_object_add(o, "request", show_head("request_line", row->request_head));
	json_object_object_add(o, "response", answer);
}
