#include "lib/cli/progress.h"

#include <string.h>

#include "lib/cli/terminal.h"
#include "tests/unit/tap.h"

/* Columns of UTF-8 text that has nothing wide in it. */
static unsigned columns(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void test_lines(void)
{
	static const struct {
		struct progress_view view; /* label and unit are filled in */
		const char *want, *promise;
	} rows[] = {
		{ { .done = 450, .total = 1000, .elapsed_ms = 2000, .width = 200 },
		  "recover   45%  450/1000 events  225/s  3s left", "all there is to say" },
		{ { .done = 450, .total = 1000, .elapsed_ms = 2000, .width = 35 },
		  "   45%  450/1000 events  3s left", "only what fits: first the rate goes, and the label" },
		{ { .done = 450, .total = 1000, .elapsed_ms = 2000, .width = 20 }, "   45%", "then the count" },
		{ { .done = 450, .total = 1000, .elapsed_ms = 2000, .width = 3 }, "", "then all" },
		{ { .done = 4, .total = 1000, .elapsed_ms = 2000, .width = 200 },
		  "recover    0%  4/1000 events  2.0/s  8m18s left", "a slow rate with its fraction" },
		{ { .done = 450, .total = 1000, .elapsed_ms = 400, .width = 200 },
		  "recover   45%  450/1000 events", "no rate after a moment: it would mean nothing" },
		{ { .done = 0, .total = 1000, .elapsed_ms = 60000, .width = 200 },
		  "recover    0%  0/1000 events  0.0/s", "no time left where nothing was done yet" },
		{ { .done = 999, .total = 1000, .elapsed_ms = 500, .width = 200 },
		  "recover   99%  999/1000 events  1998/s", "100% is said of nothing but the end" },
		{ { .done = 1000, .total = 1000, .elapsed_ms = 4000, .width = 200 },
		  "recover  100%  1000/1000 events  250/s  0ms left", "the end" },
		{ { .done = 1200, .total = 1000, .elapsed_ms = 400, .width = 200 },
		  "recover  100%  1200/1000 events", "more than was foreseen" },
		{ { .done = 7000, .total = 0, .elapsed_ms = 2000, .width = 200, .bar = true },
		  "recover  7000 events  3500/s", "without a total, no bar and no percentage" },
		{ { .done = INT64_MAX / 4, .total = INT64_MAX / 2, .elapsed_ms = 1, .width = 200 },
		  "recover   50%  2305843009213693951/4611686018427387903 events", "numbers of any size" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct progress_view view = rows[i].view;
		struct buf line = BUF_INIT;

		view.label = "recover";
		view.unit = "events";
		progress_format(&line, &view);
		CHECK_STR(buf_str(&line), rows[i].want, "%s", rows[i].promise);
		buf_free(&line);
	}
}

static void test_bar(void)
{
	static const struct {
		int64_t done;
		unsigned width;
		bool unicode;
		const char *want;
	} rows[] = {
		{ 0, 39, false, "recover  [--------]    0%  0/100 events" },
		{ 50, 40, false, "recover  [####----]   50%  50/100 events" },
		{ 99, 40, false, "recover  [#######-]   99%  99/100 events" },
		{ 100, 41, false, "recover  [########]  100%  100/100 events" },
		{ 50, 40, true, "recover  ▕████    ▏   50%  50/100 events" },
		{ 55, 40, true, "recover  ▕████▍   ▏   55%  55/100 events" },
		{ 100, 41, true, "recover  ▕████████▏  100%  100/100 events" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct progress_view view = {
			.label = "recover", .unit = "events", .done = rows[i].done, .total = 100,
			.width = rows[i].width, .bar = true, .unicode = rows[i].unicode,
		};
		struct buf line = BUF_INIT;

		progress_format(&line, &view);
		CHECK_STR(buf_str(&line), rows[i].want, "a bar of what is left of %u columns", rows[i].width);
		buf_free(&line);
	}
}

static void test_width(void)
{
	unsigned width, longest = 0;
	bool fits = true, ascii = true;

	for (width = 0; width < 250; width++) {
		struct progress_view view = {
			.label = "recover", .unit = "events", .done = 123, .total = 4567, .elapsed_ms = 9999,
			.width = width, .bar = true, .unicode = width % 2,
		};
		struct buf line = BUF_INIT;

		progress_format(&line, &view);
		fits = fits && columns(buf_str(&line)) <= width;
		ascii = ascii && (view.unicode || columns(buf_str(&line)) == line.len);
		longest = columns(buf_str(&line));
		buf_free(&line);
	}
	CHECK(fits, "no line is longer than the terminal is wide, however wide that is");
	CHECK(ascii, "where nothing but ASCII is shown, nothing else is written");
	CHECK(longest > 60 && longest < 120, "a wide terminal is not filled with bar");
}

static void test_locale(void)
{
	static const struct {
		const char *lc_all, *lc_ctype, *lang;
		bool want;
	} rows[] = {
		{ NULL, NULL, NULL, false },
		{ NULL, NULL, "C", false },
		{ NULL, NULL, "POSIX", false },
		{ NULL, NULL, "C.UTF-8", true },
		{ NULL, NULL, "de_DE.utf8", true },
		{ NULL, NULL, "de_DE.UTF-8@euro", true },
		{ NULL, NULL, "de_DE.ISO-8859-1", false },
		{ "C", NULL, "en_US.UTF-8", false },
		{ "", "", "en_US.UTF-8", true },
		{ "", "C", "en_US.UTF-8", false },
		{ "en_US.UTF-8", "C", "C", true },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(terminal_locale_utf8(rows[i].lc_all, rows[i].lc_ctype, rows[i].lang) == rows[i].want,
		      "LC_ALL '%s', LC_CTYPE '%s', LANG '%s' %s UTF-8", rows[i].lc_all ? rows[i].lc_all : "-",
		      rows[i].lc_ctype ? rows[i].lc_ctype : "-", rows[i].lang ? rows[i].lang : "-",
		      rows[i].want ? "mean" : "do not mean");
}

int main(void)
{
	test_lines();
	test_bar();
	test_width();
	test_locale();
	return tap_done();
}
