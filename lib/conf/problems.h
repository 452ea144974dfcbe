/* What is wrong with a file: collected while it is read, told all at once in the order of its
 * lines. */
#ifndef NTRVSTA_CONF_PROBLEMS_H
#define NTRVSTA_CONF_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"

#define PROBLEMS_MAX 200 /* kept; of what comes after that only the number is told */

struct problem {
	int line; /* 0: of the file as a whole */
	char *text;
};

struct problems {
	struct problem *items;
	size_t n;
	size_t dropped;
};

/* The text may quote the file as it stands: problems_write() makes it printable. */
void problems_add(struct problems *p, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

bool problems_at(const struct problems *p, int line); /* is there one already? */

/* "PATH:LINE: TEXT" and a newline for each. */
void problems_write(struct problems *p, const char *path, struct buf *out);

void problems_free(struct problems *p);

#endif
