#include "lib/cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/cli/terminal.h"

#define REDRAW_MS 100
#define PLAIN_MS 2000
#define RATE_AFTER_MS 500  /* earlier a rate, or what it foretells, means nothing */
#define LEFT_AFTER_MS 1000
#define BAR_MIN 10
#define BAR_MAX 40

/* --- what a line says ------------------------------------------------------------------- */

enum { LABEL = 1, PERCENT = 2, COUNT = 4, RATE = 8, LEFT = 16 };

/* From the richest line to the poorest. */
static const unsigned parts_to_try[] = {
	LABEL | PERCENT | COUNT | RATE | LEFT, LABEL | PERCENT | COUNT | LEFT, PERCENT | COUNT | LEFT, PERCENT | COUNT, PERCENT, 0,
};

static int64_t done_of_total(const struct progress_view *v)
{
	return v->done < v->total ? v->done : v->total;
}

static void add_rate(struct buf *out, const struct progress_view *v)
{
	double rate = (double)v->done * 1000 / (double)v->elapsed_ms;

	buf_addf(out, rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
}

static void add_left(struct buf *out, const struct progress_view *v)
{
	int64_t done = done_of_total(v), seconds;
	char text[UNITS_SIZE];

	if (done == 0 || v->elapsed_ms < LEFT_AFTER_MS)
		return;
	seconds = (int64_t)((double)(v->total - done) * (double)v->elapsed_ms / (double)done / 1000 + 0.999);
	buf_addf(out, "  %s left", units_format_duration(seconds * 1000, text));
}

/* The text behind the bar. */
static void add_numbers(struct buf *out, const struct progress_view *v, unsigned parts)
{
	if ((parts & PERCENT) && v->total)
		buf_addf(out, "  %3lld%%", (long long)((double)done_of_total(v) * 100 / (double)v->total));
	if ((parts & COUNT) && v->total)
		buf_addf(out, "  %lld/%lld %s", (long long)v->done, (long long)v->total, v->unit);
	else if (parts & COUNT)
		buf_addf(out, "  %lld %s", (long long)v->done, v->unit);
	if ((parts & RATE) && v->elapsed_ms >= RATE_AFTER_MS)
		add_rate(out, v);
	if ((parts & LEFT) && v->total)
		add_left(out, v);
}

/* WIDTH columns, brackets and all. */
static void add_bar(struct buf *out, const struct progress_view *v, unsigned width)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned cells = width - 2, i;
	unsigned filled = (unsigned)((double)done_of_total(v) * cells * 8 / (double)v->total);

	buf_adds(out, v->unicode ? "▕" : "[");
	for (i = 0; i < cells; i++) {
		if (i < filled / 8)
			buf_adds(out, v->unicode ? "█" : "#");
		else if (i == filled / 8 && v->unicode && filled % 8)
			buf_adds(out, eighths[filled % 8]);
		else
			buf_adds(out, v->unicode ? " " : "-");
	}
	buf_adds(out, v->unicode ? "▏" : "]");
}

void progress_format(struct buf *out, const struct progress_view *v)
{
	struct buf numbers = BUF_INIT;
	size_t i, label_len = strlen(v->label), used = 0;
	unsigned parts = 0, room;

	for (i = 0; i < sizeof parts_to_try / sizeof parts_to_try[0]; i++) {
		parts = parts_to_try[i];
		buf_reset(&numbers);
		add_numbers(&numbers, v, parts);
		used = (parts & LABEL ? label_len : 0) + numbers.len;
		if (used <= v->width)
			break;
	}
	if (parts & LABEL)
		buf_adds(out, v->label);
	room = v->width - (unsigned)used;
	if (v->bar && v->total && (parts & LABEL) && room >= BAR_MIN + 2) {
		buf_adds(out, "  ");
		add_bar(out, v, room - 2 < BAR_MAX ? room - 2 : BAR_MAX);
	}
	buf_adds(out, buf_str(&numbers));
	buf_free(&numbers);
}

/* --- drawing it ------------------------------------------------------------------------- */

void progress_start(struct progress *p, bool silent, const char *label, const char *unit, int64_t total)
{
	memset(p, 0, sizeof *p);
	p->silent = silent;
	p->view.label = label;
	p->view.unit = unit;
	p->view.total = total;
	p->started_ms = p->drawn_ms = clock_mono_ms();
}

static void draw(struct progress *p, const struct terminal *terminal)
{
	struct buf line = BUF_INIT;

	p->drawn_ms = clock_mono_ms();
	p->view.elapsed_ms = p->drawn_ms - p->started_ms;
	p->view.bar = terminal->present;
	p->view.unicode = terminal->unicode;
	/* The last column stays free: some terminals wrap as soon as it is written. */
	p->view.width = terminal->present ? terminal->width - 1 : 1000;
	progress_format(&line, &p->view);
	if (terminal->present)
		printf("\r%s\033[K", buf_str(&line));
	else
		printf("%s\n", buf_str(&line));
	p->drawn = terminal->present;
	fflush(stdout);
	buf_free(&line);
}

void progress_set(struct progress *p, int64_t done)
{
	struct terminal terminal;
	int64_t since_ms = clock_mono_ms() - p->drawn_ms;

	p->view.done = done;
	if (p->silent || since_ms < REDRAW_MS)
		return;
	terminal_look(&terminal);
	if (since_ms >= (terminal.present ? REDRAW_MS : PLAIN_MS))
		draw(p, &terminal);
}

void progress_end(struct progress *p)
{
	struct terminal terminal;

	if (!p->drawn)
		return;
	terminal_look(&terminal);
	draw(p, &terminal);
	putchar('\n');
	p->drawn = false;
}
