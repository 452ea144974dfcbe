/* A small chart for a terminal: attempts over time, the failed ones at the foot of each column. */
#ifndef NTRVSTA_CLI_CHART_H
#define NTRVSTA_CLI_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct chart_column {
	int64_t attempts, failed; /* FAILED of ATTEMPTS */
};

struct chart {
	const struct chart_column *columns; /* from the oldest to the newest */
	size_t n;
	unsigned width;        /* of the terminal: no line is longer, but for one of less than CHART_WIDTH_MIN */
	unsigned height;       /* in lines, without the axis */
	bool unicode, color;
	const char *from, *to; /* labels of the ends of the axis */
};
#define CHART_WIDTH_MIN 30

/* How many neighbours go into one column of the chart, so that all fit: the least that leaves no
 * rest where there is such a number. */
size_t chart_group(const struct chart *c);

/* Lines, each with a newline: "MAX |", the columns, the axis, and its labels. */
void chart_draw(struct buf *out, const struct chart *c);

/* How a failed part looks, for a legend. */
const char *chart_failed_mark(bool unicode);

#endif
