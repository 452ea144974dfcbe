/* Events of our own: made here for an organisation, and delivered to the handlers and to that organisation's
 * webhooks. Nobody else's keys see them. Any thread, with a store of its own. */
#ifndef NTRVSTA_API_PUBLISH_H
#define NTRVSTA_API_PUBLISH_H

#include <json-c/json.h>

#include "lib/store/store.h"

/* Store EVENT, a valid name, of ORG, with DATA (an object, left as it is). TIMESTAMP_MS is when it happened, NOW_MS when
 * it is published. Within the caller's transaction where store_begin() has begun one, else in one of its own. The new
 * event's id is in ID; the caller wakes the dispatcher once all is committed. */
enum store_status publish_event(struct store *s, const char *org, const char *event, struct json_object *data,
                                int64_t timestamp_ms, int64_t now_ms, char id[ID_SIZE]);

#endif
