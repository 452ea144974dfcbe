/* Memory that processes share through a small file, which stays when they end. */
#ifndef NTRVSTA_BASE_SHARED_H
#define NTRVSTA_BASE_SHARED_H

#include <stddef.h>

/* Map the file NAME in DIR, made where it is missing (mode 0600, all zero). NULL with errno. It is BYTES long and
 * allocated, not sparse: a full disk shows here, and not as a SIGBUS later. One of another length is of another
 * version, and made anew. */
void *shared_map(const char *dir, const char *name, size_t bytes);

void shared_unmap(void *map, size_t bytes); /* NULL is allowed */

#endif
