/* Connections to the store for threads that take one at a time: opened when one is wanted, kept while the
 * configuration names the same store. Any thread. */
#ifndef NTRVSTA_WEB_STORES_H
#define NTRVSTA_WEB_STORES_H

#include "lib/store/store.h"

struct stores;

struct stores *stores_new(void);
void stores_free(struct stores *s); /* all were given back; NULL is allowed */

/* One that nobody else uses meanwhile. NULL, logged, where it can't be opened. */
struct store *stores_take(struct stores *s, const char *path);

/* STORE, which was opened for PATH, may be used by another; not if FAILED: a connection that failed once may be of
 * no use any more. */
void stores_give_back(struct stores *s, const char *path, struct store *store, bool failed);

#endif
