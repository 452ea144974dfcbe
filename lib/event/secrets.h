/* The signing secrets of one source, newest first.
 *
 * A secret file has one secret a line; blank lines and lines whose first character that is no
 * blank is a # are skipped; a line may end in " until=2026-12-31T00:00:00Z", after which the
 * secret no longer counts. The bytes of a secret are those of its line, without line end (LF or
 * CR LF), `until` and the one blank before it.
 * Immutable once made, so any thread may read it. */
#ifndef NTRVSTA_EVENT_SECRETS_H
#define NTRVSTA_EVENT_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

#define SECRETS_MAX 16          /* in one file */
#define SECRETS_LINE_MAX 1024   /* bytes of one secret */
#define SECRETS_FOREVER INT64_MAX

struct secret {
	char *bytes; /* NUL-terminated, LEN counts without it */
	size_t len;
	int64_t until_ms; /* wall clock; SECRETS_FOREVER where it has no end */
};

struct secrets {
	struct secret *items;
	size_t n;
};

/* Read a secret file. NULL with a reason in ERR (it names PATH and never the content): the
 * file can't be read, has a malformed `until`, or holds no secret at all. One in which every
 * secret has expired loads: secrets_live() tells. Free with secrets_free(). */
struct secrets *secrets_load(const char *path, struct buf *err);

/* One secret that never expires, from its bytes. NULL with a reason where VALUE is empty. */
struct secrets *secrets_from_value(const char *value, struct buf *err);

/* Does this one count at WALL_MS? */
bool secret_live(const struct secret *secret, int64_t wall_ms);

/* How many count at WALL_MS. */
size_t secrets_live(const struct secrets *s, int64_t wall_ms);

/* Put NEW_SECRET first in the file at PATH and end the others at UNTIL_MS (those that end
 * earlier keep their end; comments stay). Where the file is full, secrets that have expired
 * give way. One atomic replacement that keeps mode and owner. -1 with a reason in ERR, and the
 * file as it was. */
int secrets_rotate(const char *path, const char *new_secret, int64_t until_ms, struct buf *err);

/* Wipes the bytes before it releases them. */
void secrets_free(struct secrets *s);

#endif
