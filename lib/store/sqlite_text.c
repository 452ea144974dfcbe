#include "lib/store/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"

/* What is looked for, and for each of its beginnings how much of it can still be right where the next byte is wrong
 * (Knuth, Morris, Pratt, 1977). */
struct needle {
	size_t len;
	unsigned char *text; /* ASCII letters in lower case, as those that are compared with it */
	size_t borders[];
};

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
}

static size_t advance(const struct needle *n, size_t matched, unsigned char c)
{
	while (matched > 0 && n->text[matched] != c)
		matched = n->borders[matched - 1];
	return n->text[matched] == c ? matched + 1 : 0;
}

static struct needle *make_needle(const unsigned char *text, size_t len)
{
	struct needle *n = xmalloc(sizeof *n + len * (sizeof n->borders[0] + 1));
	size_t i;

	n->len = len;
	n->text = (unsigned char *)(n->borders + len);
	for (i = 0; i < len; i++)
		n->text[i] = lower(text[i]);
	for (i = 0; i < len; i++)
		n->borders[i] = i == 0 ? 0 : advance(n, n->borders[i - 1], n->text[i]);
	return n;
}

static bool find(const struct needle *n, const unsigned char *text, size_t len)
{
	size_t matched = 0, i;

	for (i = 0; matched < n->len && i < len; i++)
		matched = advance(n, matched, lower(text[i]));
	return matched == n->len;
}

/* holds(WHERE, WHAT) */
static void holds(sqlite3_context *context, int n, sqlite3_value **values)
{
	const unsigned char *where = sqlite3_value_blob(values[0]), *what = sqlite3_value_blob(values[1]);
	size_t where_len = (size_t)sqlite3_value_bytes(values[0]), what_len = (size_t)sqlite3_value_bytes(values[1]);
	struct needle *needle = sqlite3_get_auxdata(context, 1), *made = NULL;

	(void)n;
	if (!needle)
		needle = made = make_needle(what, what_len);
	sqlite3_result_int(context, find(needle, where, where_len));
	if (made)
		sqlite3_set_auxdata(context, 1, made, free);
}

int sqlite_register_text(sqlite3 *db)
{
	return sqlite3_create_function(db, "holds", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, holds, NULL, NULL);
}
