/* The events that the platform documents, with a sample of each: for tests, `ntrvsta send` and
 * `ntrvsta check`. Receiving does not depend on it: unknown events are kept as well. */
#ifndef NTRVSTA_EVENT_CATALOGUE_H
#define NTRVSTA_EVENT_CATALOGUE_H

#include <stddef.h>

struct catalogue_event {
	const char *name;        /* "session.completed" */
	const char *description; /* one sentence, for people */
	const char *data;        /* a sample of the envelope's `data`: one JSON object */
};

/* All of them, in the documentation's order; *N is how many. Static. */
const struct catalogue_event *catalogue_events(size_t *n);

/* NULL where NAME is not documented. */
const struct catalogue_event *catalogue_find(const char *name);

#endif
