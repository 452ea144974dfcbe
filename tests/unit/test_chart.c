#include "lib/cli/chart.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"

static char *draw(const struct chart *c)
{
	struct buf out = BUF_INIT;

	chart_draw(&out, c);
	return buf_detach(&out);
}

#define CHART(data, rows, blocks) \
	{ .columns = (data), .n = sizeof(data) / sizeof((data)[0]), .width = 80, .height = (rows), \
	  .unicode = (blocks), .from = "a", .to = "b" }

static void check_drawing(const struct chart *c, const char *want, const char *promise)
{
	char *got = draw(c);

	CHECK_STR(got, want, "%s", promise);
	free(got);
}

static void test_shapes(void)
{
	static const struct chart_column rising[] = { { 0, 0 }, { 1, 0 }, { 2, 0 }, { 3, 0 }, { 4, 0 } };
	static const struct chart_column failing[] = { { 8, 0 }, { 8, 1 }, { 8, 4 }, { 8, 7 }, { 8, 8 } };
	static const struct chart_column uneven[] = { { 1000000, 0 }, { 1, 0 }, { 1, 1 }, { 2, 1 }, { 0, 0 } };
	static const struct chart_column parts[] = { { 32, 0 }, { 15, 0 }, { 9, 0 }, { 1, 0 } };
	static const struct chart_column nothing[] = { { 0, 0 }, { 0, 0 } };
	const struct chart charts[] = {
		CHART(rising, 4, false), CHART(failing, 4, false), CHART(uneven, 4, false),
		CHART(rising, 4, true), CHART(failing, 4, true), CHART(parts, 4, true),
		CHART(nothing, 4, false),
	};
	static const struct {
		const char *want, *promise;
	} rows[] = {
		{ " 4 |            ###\n   |         ######\n   |      #########\n   |   ############\n"
		  " 0 +---------------\n    a             b\n", "columns in proportion to the highest, whose number stands beside it" },
		{ " 8 |############xxx\n   |#########xxxxxx\n   |######xxxxxxxxx\n   |###xxxxxxxxxxxx\n"
		  " 0 +---------------\n    a             b\n",
		  "failed attempts at the foot: a few are seen, and so is the one that did not fail" },
		{ "1000000 |###\n        |###\n        |###\n        |###...xxxxxx\n      0 +---------------\n"
		  "         a             b\n", "what is next to nothing is still seen, the failed before all" },
		{ " 4 ┤            ███\n   ┤         ██████\n   ┤      █████████\n   ┤   ████████████\n"
		  " 0 └───────────────\n    a             b\n", "the same with blocks" },
		{ " 8 ┤████████████▒▒▒\n   ┤█████████▒▒▒▒▒▒\n   ┤██████▒▒▒▒▒▒▒▒▒\n   ┤███▒▒▒▒▒▒▒▒▒▒▒▒\n"
		  " 0 └───────────────\n    a             b\n", "failed ones tell themselves apart without a colour" },
		{ "32 ┤███\n   ┤███\n   ┤███▇▇▇▁▁▁\n   ┤█████████▁▁▁\n 0 └────────────\n    a          b\n",
		  "eighths of a block" },
		{ "0 |\n  |\n  |\n  |\n0 +------\n   a    b\n", "nothing at all" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_drawing(&charts[i], rows[i].want, rows[i].promise);
}

static void test_color(void)
{
	static const struct chart_column data[] = { { 2, 1 }, { 2, 0 }, { 2, 2 } };
	struct chart c = CHART(data, 2, false);

	c.color = true;
	check_drawing(&c, "2 |######\033[31mxxx\033[0m\n  |\033[31mxxx\033[0m###\033[31mxxx\033[0m\n0 +---------\n"
	              "   a       b\n", "where colour may be, failed ones are red, and no line ends in it");
}

static void test_labels(void)
{
	static const struct chart_column data[] = { { 1, 0 }, { 1, 0 } };
	struct chart c = CHART(data, 1, false);

	c.from = "2026-12-30 00:00";
	c.to = "2026-12-31 00:00";
	check_drawing(&c, "1 |######\n0 +------\n   2026-12-30 00:00\n   2026-12-31 00:00\n",
	              "labels that do not fit below a short axis stand below each other");
}

static void test_groups(void)
{
	static const struct chart_column data[720] = { { 1, 0 } };
	static const struct {
		size_t n;
		unsigned width;
		size_t want;
	} rows[] = {
		{ 24, 80, 1 }, { 60, 80, 1 }, { 168, 80, 3 }, { 720, 80, 10 }, { 720, 40, 20 }, { 720, 1000, 1 },
		{ 24, 10, 1 },  /* a terminal of no width that anybody has counts as CHART_WIDTH_MIN */
		{ 719, 80, 10 }, /* a prime number: no size leaves no rest */
		{ 1, 80, 1 }, { 0, 80, 1 },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct chart c = { .columns = data, .n = rows[i].n, .width = rows[i].width };

		CHECK_INT((int64_t)chart_group(&c), (int64_t)rows[i].want, "%zu buckets on %u columns", rows[i].n, rows[i].width);
	}
}

/* Every width, every number of buckets. */
static void test_widths(void)
{
	struct chart_column data[720];
	unsigned width;
	size_t i, n;
	bool fits = true;

	for (i = 0; i < 720; i++)
		data[i] = (struct chart_column){ (int64_t)i, i % 7 == 0 ? (int64_t)i / 2 : 0 };
	for (width = CHART_WIDTH_MIN; width < 300; width += 3) {
		for (n = 1; n <= 720; n += 89) {
			const struct chart c = { data, n, width, 6, false, false, "2026-12-30 00:00", "2026-12-31 00:00" };
			char *text = draw(&c), *line;

			for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
				fits = fits && strlen(line) <= width;
			free(text);
		}
	}
	CHECK(fits, "no line is longer than the terminal is wide");
}

static void test_grouped(void)
{
	struct chart_column data[100] = { { 0, 0 } };
	const struct chart c = { data, 100, CHART_WIDTH_MIN, 2, false, false, "a", "b" };

	data[0] = (struct chart_column){ 21, 0 };
	data[98] = (struct chart_column){ 20, 0 };
	data[99] = (struct chart_column){ 22, 22 };
	check_drawing(&c, "42 |                        #\n   |#                       x\n 0 +-------------------------\n"
	              "    a                       b\n", "a column of several is as high as all of them together");
}

int main(void)
{
	test_shapes();
	test_color();
	test_labels();
	test_groups();
	test_widths();
	test_grouped();
	return tap_done();
}
