/* The body of an event that is made here, in the form in which the platform sends its own. Any thread. */
#ifndef NTRVSTA_EVENT_COMPOSE_H
#define NTRVSTA_EVENT_COMPOSE_H

#include <json-c/json.h>

#include "lib/base/buf.h"

#define COMPOSE_SOURCE "api" /* such an event's source; no [source NAME] may have this name */

/* Append to OUT the body {"event", "timestamp", "data"}: EVENT is a valid name, TIMESTAMP is RFC 3339. */
void compose_event(const char *event, const char *timestamp, struct json_object *data, struct buf *out);

#endif
