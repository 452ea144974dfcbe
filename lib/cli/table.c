/* What the tool prints for people. */
#include "lib/cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "lib/base/xalloc.h"

#define GAP 2 /* spaces between columns */

struct cli_table {
	const char *const *headings;
	size_t ncolumns;
	char **cells; /* row by row */
	size_t ncells;
};

/* Columns that S takes on a terminal; S is printable, and the locale's encoding is UTF-8. */
static size_t display_width(const char *s)
{
	mbstate_t state = { 0 };
	size_t width = 0, n;
	wchar_t c;
	int w;

	while (*s) {
		n = mbrtowc(&c, s, strlen(s), &state);
		if (n == (size_t)-1 || n == (size_t)-2)
			return width + strlen(s);
		w = wcwidth(c);
		width += w < 0 ? 1 : (size_t)w;
		s += n;
	}
	return width;
}

struct cli_table *cli_table_new(const char *const *headings, size_t ncolumns)
{
	struct cli_table *t = xcalloc(1, sizeof *t);

	t->headings = headings;
	t->ncolumns = ncolumns;
	return t;
}

void cli_table_cell(struct cli_table *t, const char *text)
{
	struct buf cell = BUF_INIT;

	buf_add_printable(&cell, text, strlen(text), 0);
	/* Grows by a row at a time, doubling would only complicate what is listed by the hundred. */
	if (t->ncells % t->ncolumns == 0)
		t->cells = xreallocarray(t->cells, t->ncells + t->ncolumns, sizeof *t->cells);
	t->cells[t->ncells++] = buf_detach(&cell);
}

static void print_row(const struct cli_table *t, const char *const *cells, const size_t *widths)
{
	size_t i, last = t->ncolumns - 1;

	while (last > 0 && cells[last][0] == '\0') /* no blanks at the end of a line */
		last--;
	for (i = 0; i < last; i++)
		printf("%s%*s", cells[i], (int)(widths[i] - display_width(cells[i]) + GAP), "");
	printf("%s\n", cells[last]);
}

void cli_table_print(struct cli_table *t, const char *when_empty)
{
	size_t *widths = xcalloc(t->ncolumns, sizeof *widths);
	size_t i, width;

	for (i = 0; i < t->ncolumns; i++)
		widths[i] = display_width(t->headings[i]);
	for (i = 0; i < t->ncells; i++) {
		width = display_width(t->cells[i]);
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): each table has a column */
		if (width > widths[i % t->ncolumns])
			widths[i % t->ncolumns] = width;
	}
	if (t->ncells == 0)
		printf("%s\n", when_empty);
	else
		print_row(t, t->headings, widths);
	for (i = 0; i + t->ncolumns <= t->ncells; i += t->ncolumns)
		print_row(t, (const char *const *)t->cells + i, widths);
	free(widths);
	cli_table_free(t);
}

void cli_table_free(struct cli_table *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->ncells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void cli_print_text(const char *prefix, const char *text, size_t len)
{
	struct buf line = BUF_INIT;
	const char *end, *newline;

	if (len == 0)
		return;
	for (end = text + len; text < end; text = newline ? newline + 1 : end) {
		newline = memchr(text, '\n', (size_t)(end - text));
		buf_reset(&line);
		buf_add_printable(&line, text, (size_t)((newline ? newline : end) - text), 1);
		printf("%s%s\n", prefix, buf_str(&line));
	}
	buf_free(&line);
}

void cli_print_field(const char *name, const char *value)
{
	struct buf line = BUF_INIT;

	buf_add_printable(&line, value, strlen(value), 0);
	printf("%-16s %s\n", name, line.len ? line.data : "-");
	buf_free(&line);
}

void cli_print_exchange(const char *indent, const struct store_attempt_row *row)
{
	const struct {
		const char *mark, *text;
		size_t len;
	} parts[] = {
		{ "> ", row->request_head, strlen(row->request_head) },
		{ "< ", row->answer_head, strlen(row->answer_head) },
		{ "| ", row->output, row->output_len },
	};
	char prefix[16];
	size_t i;

	for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		snprintf(prefix, sizeof prefix, "%s%s", indent, parts[i].mark);
		cli_print_text(prefix, parts[i].text, parts[i].len);
	}
}

char *cli_format_time(int64_t wall_ms, char out[CLI_TIME_SIZE])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (wall_ms == 0 || !localtime_r(&seconds, &tm) || strftime(out, CLI_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		strcpy(out, "-");
	return out;
}

const char *cli_held(const struct store_delivery_row *row)
{
	return strcmp(row->state, "pending") == 0 ? row->held : "";
}

void cli_add_result(struct buf *out, const struct store_attempt_row *row)
{
	static const size_t longest = 100;
	const char *end, *start;

	buf_adds(out, row->error_message);
	if (row->output_len == 0)
		return;
	end = row->output + row->output_len;
	while (end > row->output && (unsigned char)end[-1] <= ' ')
		end--;
	for (start = end; start > row->output && start[-1] != '\n' && start[-1] != '\r'; start--)
		;
	if (start == end)
		return;
	if (out->len)
		buf_adds(out, ": ");
	buf_add(out, start, (size_t)(end - start) < longest ? (size_t)(end - start) : longest);
	if ((size_t)(end - start) > longest)
		buf_adds(out, "...");
}

const char *cli_format_rate(const struct store_stats *s, char out[UNITS_SIZE])
{
	int64_t ended = s->successful + s->failed, hundredths;

	out[0] = '\0';
	if (ended <= 0)
		return out;
	hundredths = (int64_t)((double)s->successful * 10000 / (double)ended);
	snprintf(out, UNITS_SIZE, "%lld.%02d", (long long)hundredths / 100, (int)(hundredths % 100));
	return out;
}

void cli_add_events(struct buf *out, const char *events, size_t max)
{
	size_t before = out->len, left = 0, len;

	if (strcmp(events, "*") == 0) {
		buf_adds(out, "all");
		return;
	}
	for (; *events; events += len + (events[len] == ' ')) {
		len = strcspn(events, " ");
		left += left > 0 || (out->len > before && out->len - before + len > max);
		if (left == 0) {
			buf_adds(out, out->len > before ? ", " : "");
			buf_add(out, events, len);
		}
	}
	if (left > 0)
		buf_addf(out, " and %zu more", left);
}

void cli_add_quoted(struct buf *out, const char *s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:,@%=";

	if (s[0] != '\0' && s[strspn(s, plain)] == '\0') {
		buf_adds(out, s);
		return;
	}
	buf_addc(out, '\'');
	for (; *s; s++) {
		if (*s == '\'')
			buf_adds(out, "'\\''");
		else
			buf_addc(out, *s);
	}
	buf_addc(out, '\'');
}
