/* Allocation that aborts when memory is out.
 *
 * For small things whose size the program chooses. A size that comes from the network is
 * capped by its reader before it gets here. */
#ifndef NTRVSTA_BASE_XALLOC_H
#define NTRVSTA_BASE_XALLOC_H

#include <stddef.h>

/* All return memory that the caller releases with free(); none returns NULL. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* Grow an array to hold COUNT items of SIZE bytes; aborts on overflow too. */
void *xreallocarray(void *ptr, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull, nonnull));
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull, nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

#endif
