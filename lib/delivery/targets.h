/* Which handlers an event goes to: executable files below the handlers' folder, looked up anew
 * each time, so that adding, changing or removing one needs no restart.
 *
 * For session.completed, in this order, by name within each: HANDLERS/session.completed/x, the file
 * HANDLERS/session.completed where it is one, HANDLERS/all/x. A handler's name is its path below the folder. */
#ifndef NTRVSTA_DELIVERY_TARGETS_H
#define NTRVSTA_DELIVERY_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"

#define TARGET_NAME_MAX 255 /* bytes of a handler's name */

struct targets {
	char **names;
	size_t n;
};

/* Why a directory entry is no handler. */
enum targets_skip {
	TARGETS_HIDDEN,      /* .name */
	TARGETS_BACKUP,      /* name~, .bak, .dpkg-*, ... */
	TARGETS_BAD_NAME,    /* a character other than A-Z a-z 0-9 _ - and dots inside */
	TARGETS_NO_EVENT,    /* directly below the folder, but not named like an event */
	TARGETS_WEBHOOK_ID,  /* directly below the folder, and named as only a webhook is in the store */
	TARGETS_DIRECTORY,
	TARGETS_SPECIAL,     /* a FIFO, a socket, a device */
	TARGETS_NOT_EXECUTABLE,
	TARGETS_UNREADABLE,  /* can't be examined */
};

typedef void targets_skip_fn(void *ctx, const char *name, enum targets_skip why);

/* The handlers of EVENT. 0, or -1 with a reason in ERR where the folder, or one of its
 * subfolders, exists and can't be read (then nothing may be concluded: try again later). A
 * missing handlers' folder is such an error, a missing subfolder is not. SKIP may be NULL.
 * OUT is the caller's to free with targets_free(). */
int targets_find(const char *handlers_dir, const char *event, struct targets *out,
                 targets_skip_fn *skip, void *ctx, struct buf *err);
void targets_free(struct targets *t);

/* Every handler below the folder, whatever the event; for `ntrvsta check`. */
int targets_find_all(const char *handlers_dir, struct targets *out, targets_skip_fn *skip,
                     void *ctx, struct buf *err);

/* Is NAME ("all/10-log", "session.completed/20-x" or "session.completed") one that could be a
 * handler? Checked before it becomes part of a path. A webhook's id could not: to the store both are targets. */
bool targets_name_valid(const char *name);

/* The event that the handler NAME is called for, the caller's to free; NULL where that is each. */
char *targets_event(const char *name);

const char *targets_skip_text(enum targets_skip why); /* "not executable (chmod +x)" ... */

#endif
