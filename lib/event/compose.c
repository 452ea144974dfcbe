#include "lib/event/compose.h"

void compose_event(const char *event, const char *timestamp, struct json_object *data, struct buf *out)
{
	buf_adds(out, "{\"event\":");
	buf_add_json(out, event);
	buf_addf(out, ",\"timestamp\":\"%s\",\"data\":", timestamp);
	buf_adds(out, json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	buf_addc(out, '}');
}
