/* More statistics, for who looks at the whole; as exact and quick as those of store.h. */
#ifndef NTRVSTA_STORE_OVERVIEW_H
#define NTRVSTA_STORE_OVERVIEW_H

#include "lib/store/store.h"

/* When the last attempt of TARGET ended, tests not counted; 0 where none has for more than a year. */
enum store_status store_last_attempt(struct store *s, const char *target, int64_t *ended_ms);

#endif
