/* How much lies in the store, in which state: for who watches the program. */
#ifndef NTRVSTA_STORE_DEPTH_H
#define NTRVSTA_STORE_DEPTH_H

#include "lib/store/store.h"

struct store_depth {
	int64_t new_events;               /* not looked at by the dispatcher yet */
	int64_t pending, running, failed; /* deliveries; failed ones stay until retention removes them */
};

/* Tests aside. Counted: a million in 100 ms or so. */
enum store_status store_depth(struct store *s, struct store_depth *out);

#endif
