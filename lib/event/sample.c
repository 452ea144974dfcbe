#include "lib/event/sample.h"

#include "lib/base/clock.h"
#include "lib/event/catalogue.h"
#include "lib/event/compose.h"

void sample_merge(struct json_object *base, struct json_object *over)
{
	struct json_object_iterator at = json_object_iter_begin(over), end = json_object_iter_end(over);

	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		const char *name = json_object_iter_peek_name(&at);
		struct json_object *value = json_object_iter_peek_value(&at), *old = NULL;

		json_object_object_get_ex(base, name, &old);
		if (json_object_is_type(old, json_type_object) && json_object_is_type(value, json_type_object))
			sample_merge(old, value);
		else
			json_object_object_add(base, name, json_object_get(value));
	}
}

void sample_write(const char *event, struct json_object *data, int64_t now_ms, struct buf *out)
{
	const struct catalogue_event *known = catalogue_find(event);
	struct json_object *sample = known ? json_tokener_parse(known->data) : json_object_new_object();
	char time[CLOCK_RFC3339_SIZE];

	if (data)
		sample_merge(sample, data);
	compose_event(event, clock_format(now_ms, time), sample, out);
	json_object_put(sample);
}
