/* A store of its own for a test. */
#ifndef NTRVSTA_TESTS_STORES_H
#define NTRVSTA_TESTS_STORES_H

#include "lib/store/store.h"

/* A new, empty one in tap_tmpdir(), with the tool's role. Ends the program where that can't be. */
struct store *new_store(void);

#endif
