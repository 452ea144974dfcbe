#include "lib/cli/chart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"

#define COLUMN_WIDTH_MAX 3

/* What a cell shows when it is filled up to so many parts. */
struct style {
	const char *levels[9]; /* the last one is full */
	int full;              /* parts of a full cell */
	const char *failed, *upright, *corner, *floor;
};

static const struct style unicode_style = {
	{ " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }, 8, "▒", " ┤", " └", "─",
};
static const struct style ascii_style = { { " ", ".", ":", "#" }, 3, "x", " |", " +", "-" };

static const struct style *style_of(bool unicode)
{
	return unicode ? &unicode_style : &ascii_style;
}

const char *chart_failed_mark(bool unicode)
{
	return style_of(unicode)->failed;
}

/* --- measures ---------------------------------------------------------------------------- */

/* Of the labels beside the chart. Whatever is grouped, no column is higher than the sum. */
static unsigned label_width(const struct chart *c)
{
	int64_t sum = 0;
	char text[24];
	size_t i;

	for (i = 0; i < c->n; i++)
		sum += c->columns[i].attempts;
	return (unsigned)snprintf(text, sizeof text, "%lld", (long long)sum);
}

static unsigned plot_width(const struct chart *c)
{
	unsigned width = c->width < CHART_WIDTH_MIN ? CHART_WIDTH_MIN : c->width, beside = label_width(c) + 2;

	return width > beside + 1 ? width - beside : 1;
}

size_t chart_group(const struct chart *c)
{
	size_t plot = plot_width(c), least = (c->n + plot - 1) / plot, size;

	if (least <= 1)
		return 1;
	for (size = least; size < 4 * least; size++)
		if (c->n % size == 0)
			return size;
	return least;
}

static size_t merge(const struct chart *c, struct chart_column *out, int64_t *max)
{
	size_t size = chart_group(c), n = (c->n + size - 1) / size, i;

	*max = 0;
	for (i = 0; i < c->n; i++) {
		out[i / size].attempts += c->columns[i].attempts;
		out[i / size].failed += c->columns[i].failed;
		if (out[i / size].attempts > *max)
			*max = out[i / size].attempts;
	}
	return n;
}

/* --- cells ------------------------------------------------------------------------------- */

struct bar { /* one column, measured in cells from its foot */
	int parts;  /* in all; style->full of them are a cell */
	int failed; /* whole cells */
};

/* Whatever happened is seen, however little it was beside the rest. */
static struct bar measure(const struct chart_column *column, int64_t max, int height, const struct style *style)
{
	struct bar bar = { 0, 0 };
	int cells;

	if (column->attempts <= 0 || max <= 0)
		return bar;
	bar.parts = (int)((double)column->attempts * height * style->full / (double)max + 0.5);
	if (bar.parts == 0)
		bar.parts = 1;
	cells = (bar.parts + style->full - 1) / style->full;
	if (column->failed <= 0)
		return bar;
	bar.failed = (int)((double)column->failed * cells / (double)column->attempts + 0.5);
	if (bar.failed == 0)
		bar.failed = 1;
	if (bar.failed == cells && column->failed < column->attempts && cells > 1)
		bar.failed--;
	return bar;
}

static const char *cell(const struct bar *bar, int row, const struct style *style)
{
	int left = bar->parts - row * style->full;

	if (row < bar->failed)
		return style->failed;
	return style->levels[left <= 0 ? 0 : left < style->full ? left : style->full];
}

static void add_row(struct buf *out, const struct chart *c, const struct bar *bars, size_t n, int row, unsigned column_width)
{
	const struct style *style = style_of(c->unicode);
	bool red = false, failed;
	unsigned k;
	size_t i;

	while (n > 0 && bars[n - 1].parts <= row * style->full && row >= bars[n - 1].failed)
		n--; /* no blanks at the end of a line */
	for (i = 0; i < n; i++) {
		failed = c->color && row < bars[i].failed;
		if (failed != red)
			buf_adds(out, failed ? "\033[31m" : "\033[0m");
		red = failed;
		for (k = 0; k < column_width; k++)
			buf_adds(out, cell(&bars[i], row, style));
	}
	buf_adds(out, red ? "\033[0m\n" : "\n");
}

/* --- the whole --------------------------------------------------------------------------- */

static void add_axis(struct buf *out, const struct chart *c, unsigned beside, unsigned columns)
{
	const struct style *style = style_of(c->unicode);
	unsigned from = (unsigned)strlen(c->from), to = (unsigned)strlen(c->to), i;

	buf_addf(out, "%*d%s", (int)beside, 0, style->corner);
	for (i = 0; i < columns; i++)
		buf_adds(out, style->floor);
	if (from + to + 1 <= columns)
		buf_addf(out, "\n%*s%s%*s%s\n", (int)beside + 2, "", c->from, (int)(columns - from - to), "", c->to);
	else
		buf_addf(out, "\n%*s%s\n%*s%s\n", (int)beside + 2, "", c->from, (int)beside + 2, "", c->to);
}

void chart_draw(struct buf *out, const struct chart *c)
{
	const struct style *style = style_of(c->unicode);
	struct chart_column *columns = xcalloc(c->n + 1, sizeof *columns);
	struct bar *bars = xcalloc(c->n + 1, sizeof *bars);
	unsigned beside = label_width(c), column_width;
	int64_t max;
	size_t n = merge(c, columns, &max), i;
	int row, height = (int)c->height;

	column_width = n ? plot_width(c) / (unsigned)n : 1;
	if (column_width > COLUMN_WIDTH_MAX)
		column_width = COLUMN_WIDTH_MAX;
	for (i = 0; i < n; i++)
		bars[i] = measure(&columns[i], max, height, style);
	for (row = height - 1; row >= 0; row--) {
		if (row == height - 1)
			buf_addf(out, "%*lld%s", (int)beside, (long long)max, style->upright);
		else
			buf_addf(out, "%*s%s", (int)beside, "", style->upright);
		add_row(out, c, bars, n, row, column_width);
	}
	add_axis(out, c, beside, (unsigned)n * column_width);
	free(columns);
	free(bars);
}
