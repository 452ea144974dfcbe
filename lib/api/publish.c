#include "lib/api/publish.h"

#include <string.h>

#include "lib/base/clock.h"
#include "lib/event/compose.h"

/* Whoever publishes the same thing twice means it twice: its identity is a random one. */
enum store_status publish_event(struct store *s, const char *org, const char *event, struct json_object *data,
                                int64_t timestamp_ms, int64_t now_ms, char id[ID_SIZE])
{
	char timestamp[CLOCK_RFC3339_SIZE];
	struct buf body = BUF_INIT;
	struct store_event_in e = {
		.source = COMPOSE_SOURCE, .org = org, .event = event, .timestamp = clock_format(timestamp_ms, timestamp),
		.idempotency_key = "", .received_ms = now_ms,
	}, *list = &e;
	enum store_status status;

	compose_event(event, timestamp, data, &body);
	e.body = body.data;
	e.body_len = body.len;
	bytes_random(e.identity, sizeof e.identity);
	status = store_put_events(s, &list, 1);
	memcpy(id, e.id, ID_SIZE);
	buf_free(&body);
	return status;
}
