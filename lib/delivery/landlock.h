/* Landlock, the kernel's way for a process without rights to take some from itself: here, to
 * change files anywhere but below listed paths. See landlock(7). What it does not bound, where files can be
 * written or not: their mode, owner, times and extended attributes. */
#ifndef NTRVSTA_DELIVERY_LANDLOCK_H
#define NTRVSTA_DELIVERY_LANDLOCK_H

#include "lib/base/buf.h"

/* From this version on files can't be cut by truncate(2), either: Linux 6.2. */
#define LANDLOCK_ABI_TRUNCATE 3

/* The version of the kernel's interface; 0: it has none, or was started without. */
int landlock_abi(void);

/* A descriptor for landlock_restrict_self(2), under which nothing but PATHS, what is below them, and /dev/null
 * can be written, made, renamed or removed. -1 with the reason in WHY. */
int landlock_open(char *const *paths, struct buf *why);

#endif
