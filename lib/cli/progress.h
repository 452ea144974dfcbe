/* How far a long work has come: on a terminal one line that is redrawn at most ten times a second,
 * elsewhere a plain line every few seconds. Work that is soon done shows nothing. */
#ifndef NTRVSTA_CLI_PROGRESS_H
#define NTRVSTA_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

/* --- what a line says ------------------------------------------------------------------- */

struct progress_view {
	const char *label; /* what is done: "recover" */
	const char *unit;  /* what is counted: "events" */
	int64_t done;
	int64_t total;     /* 0: unknown */
	int64_t elapsed_ms;
	unsigned width;    /* at most so many columns */
	bool bar;          /* with a bar where there is room and a total */
	bool unicode;
};

/* The line, without anything behind it. What does not fit is left out, the least useful first. */
void progress_format(struct buf *out, const struct progress_view *v);

/* --- drawing it ------------------------------------------------------------------------- */

struct progress {
	struct progress_view view;
	bool silent;
	bool drawn; /* a line of a terminal is not ended yet */
	int64_t started_ms, drawn_ms;
};

/* LABEL and UNIT must last. SILENT: nothing is ever printed. */
void progress_start(struct progress *p, bool silent, const char *label, const char *unit, int64_t total);
void progress_set(struct progress *p, int64_t done);
void progress_end(struct progress *p); /* what is printed next has a line of its own */

#endif
