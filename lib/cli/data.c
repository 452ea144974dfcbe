#include "lib/cli/data.h"

#include <string.h>

#include "lib/event/catalogue.h"

#define DATA_DEPTH_MAX 1000

void data_trim(struct buf *text)
{
	while (text->len > 0 && strchr(" \t\r\n", text->data[text->len - 1]))
		text->data[--text->len] = '\0';
}

struct json_object *data_parse(const char *text)
{
	struct json_tokener *tokener = json_tokener_new_ex(DATA_DEPTH_MAX);
	struct json_object *value;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	value = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		json_object_put(value);
		value = NULL;
	}
	json_tokener_free(tokener);
	return value;
}

bool data_read(const struct cli *cli, const char *option, struct buf *out)
{
	if (option[0] != '@')
		buf_adds(out, option);
	else if (!cli_read_input(cli, option + 1, out))
		return false;
	data_trim(out); /* json-c's strict parser wants nothing behind the value */
	return true;
}

void data_note_undocumented(const struct cli *cli, const char *event)
{
	const char *near = cli_near_event(event);

	if (!catalogue_find(event))
		cli_note(cli, "%s is not documented, so its data is {}%s%s%s", event, near ? "; did you mean " : "",
		         near ? near : "", near ? "?" : "");
}

void data_refuse(const struct cli *cli)
{
	cli_fail(cli, "--data is not JSON; a file's content is meant by @FILE");
}
