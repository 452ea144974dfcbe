/* Whole sample events, with what somebody wants to be otherwise in them. Any thread. */
#ifndef NTRVSTA_EVENT_SAMPLE_H
#define NTRVSTA_EVENT_SAMPLE_H

#include <json-c/json.h>
#include <stdint.h>

#include "lib/base/buf.h"

/* Lay OVER over BASE, which must be an object: objects are merged member by member, all else is replaced. What
 * is taken from OVER is shared with it; neither is released. */
void sample_merge(struct json_object *base, struct json_object *over);

/* Append to OUT the body {"event", "timestamp", "data"} of EVENT at NOW_MS: the documented event's sample data,
 * {} where EVENT is not documented, with DATA (an object; NULL: nothing) laid over it. */
void sample_write(const char *event, struct json_object *data, int64_t now_ms, struct buf *out);

#endif
