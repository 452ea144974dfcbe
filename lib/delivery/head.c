#include "lib/delivery/head.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define MASK "***"
#define END_SHOWN 4    /* characters of a signature: enough to tell two of them apart */
#define LONG_ENOUGH 16 /* of which that is not too much */

/* --- what is hidden ------------------------------------------------------------------------ */

/* By a part of the header's name. */
static const struct {
	const char *part;
	bool end_shown;
} hidden[] = {
	{ "signature", true },
	{ "authorization", false },
	{ "cookie", false },
	{ "token", false },
	{ "secret", false },
	{ "password", false },
	{ "api-key", false },
	{ "apikey", false },
};
#define NHIDDEN (sizeof hidden / sizeof hidden[0])

static bool contains(const char *s, size_t len, const char *part)
{
	size_t part_len = strlen(part), i;

	for (i = 0; i + part_len <= len; i++)
		if (strncasecmp(s + i, part, part_len) == 0)
			return true;
	return false;
}

static size_t find_hidden(const char *name, size_t len)
{
	size_t i = 0;

	while (i < NHIDDEN && !contains(name, len, hidden[i].part))
		i++;
	return i;
}

static void add_masked(struct buf *out, const char *value, size_t len, bool end_shown)
{
	buf_adds(out, MASK);
	if (end_shown && len >= LONG_ENOUGH)
		buf_add(out, value + len - END_SHOWN, END_SHOWN);
}

/* A value with a URL in it, such as that of Location, may name a user and a password. */
static void add_value(struct buf *out, const char *value, size_t len)
{
	const char *end = value + len, *at, *p;

	while ((at = memmem(value, (size_t)(end - value), "://", 3)) != NULL) {
		at += 3;
		buf_add(out, value, (size_t)(at - value));
		value = at;
		for (p = at; p < end && !strchr("/?# \t\"<>,", *p); p++)
			if (*p == '@')
				value = p;
		if (value > at)
			buf_adds(out, MASK);
	}
	buf_add(out, value, (size_t)(end - value));
}

/* --- keeping -------------------------------------------------------------------------------- */

/* False where the value is hidden: so is what a line that goes on with it says. */
static bool add_header(struct buf *out, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t name_len = colon ? (size_t)(colon - line) : 0, i = find_hidden(line, name_len), start;

	if (i == NHIDDEN) {
		add_value(out, line, len);
		return true;
	}
	for (start = name_len + 1; start < len && (line[start] == ' ' || line[start] == '\t'); start++)
		;
	buf_add(out, line, name_len);
	buf_adds(out, ": ");
	add_masked(out, line + start, len - start, hidden[i].end_shown);
	return false;
}

void head_mask(const struct buf *head, struct buf *out)
{
	const char *line = buf_str(head), *end = line + head->len, *next;
	bool shown = true, first = true;
	size_t len;

	for (; line < end; line = next, first = false) {
		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next + 1 : end;
		for (len = (size_t)(next - line); len > 0 && strchr("\r\n \t", line[len - 1]); len--)
			;
		if (len == 0)
			return;
		if (first)
			buf_add(out, line, len);
		else if (*line != ' ' && *line != '\t')
			shown = add_header(out, line, len);
		else if (shown)
			add_value(out, line, len);
		else
			continue;
		buf_addc(out, '\n');
	}
}
