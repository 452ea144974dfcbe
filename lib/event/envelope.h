/* What the program needs to know of an event's body: that it is one JSON object in valid
 * UTF-8, its name, its own time and what identifies it.
 *
 * One pass over the bytes (RFC 8259), without building a tree: no recursion and so no limit of
 * depth, no allocation but for the identifying id and, in a body nested deeper than any honest
 * one, one bit a level. Everything else in the body is the sender's affair: an authentic event is
 * kept whatever it holds. Any thread. */
#ifndef NTRVSTA_EVENT_ENVELOPE_H
#define NTRVSTA_EVENT_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/bytes.h"

#define EVENT_NAME_MAX 64
#define EVENT_TIMESTAMP_MAX 40

enum envelope_result { ENVELOPE_OK, ENVELOPE_INVALID_JSON, ENVELOPE_INVALID_EVENT };

struct envelope {
	char event[EVENT_NAME_MAX + 1];
	char timestamp[EVENT_TIMESTAMP_MAX + 1]; /* the body's string, where it is RFC 3339; else "" */
	int64_t timestamp_ms;                    /* the same on the wall clock; 0 where absent */
	struct buf id;                           /* what identifies it, decoded; empty: its bytes do */
	const char *error;                       /* static text: what is wrong, where refused */
	size_t error_offset;                     /* byte offset of it in the body */
};

/* Parse BODY into OUT, which the caller releases with envelope_free() whatever the result.
 * The name is the body's `event`, else its `type`, else HEADER_EVENT (may be NULL); a member
 * that is present but is no usable name is an error, not a reason to look further. `id` is a
 * non-empty string or an integer: top-level `id`, else top-level `resultId`, else `resultId`
 * in `data`. Of duplicate keys the last counts. */
enum envelope_result envelope_parse(const char *body, size_t len, const char *header_event,
                                    struct envelope *out);
void envelope_free(struct envelope *e);

/* [a-z0-9_]+(\.[a-z0-9_]+)*, at most EVENT_NAME_MAX bytes. */
bool envelope_name_valid(const char *name, size_t len);

/* The identity under which SOURCE's second call counts as a duplicate of its first: a SHA-256
 * over source and raw body, or over source, event name and id where there is one. */
void envelope_identity(const struct envelope *e, const char *source, const void *body, size_t len,
                       uint8_t out[SHA256_BYTES]);

#endif
