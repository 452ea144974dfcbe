/* Stores for tests. A store that does not open ends the program: the suite fails. */
#ifndef NTRVSTA_TESTS_STORES_H
#define NTRVSTA_TESTS_STORES_H

#include "lib/store/store.h"

struct store *must_open(const char *path, enum store_role role);

/* A new, empty one of its own in tap_tmpdir(), with the tool's role. */
struct store *new_store(void);

#endif
