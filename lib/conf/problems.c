#include "lib/conf/problems.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"

void problems_add(struct problems *p, int line, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	if (p->n == PROBLEMS_MAX) {
		p->dropped++;
		return;
	}
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	p->items = xreallocarray(p->items, p->n + 1, sizeof *p->items);
	p->items[p->n].line = line;
	p->items[p->n].text = buf_detach(&text);
	p->n++;
}

bool problems_at(const struct problems *p, int line)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].line == line)
			return true;
	}
	return false;
}

/* Stable and good for the few that there are: most come in order already. */
static void sort_by_line(struct problems *p)
{
	for (size_t i = 1; i < p->n; i++) {
		struct problem moved = p->items[i];
		size_t at = i;

		for (; at > 0 && p->items[at - 1].line > moved.line; at--)
			p->items[at] = p->items[at - 1];
		p->items[at] = moved;
	}
}

void problems_write(struct problems *p, const char *path, struct buf *out)
{
	sort_by_line(p);
	for (size_t i = 0; i < p->n; i++) {
		const struct problem *it = &p->items[i];

		buf_add_printable(out, path, strlen(path), 0);
		if (it->line > 0)
			buf_addf(out, ":%d", it->line);
		buf_adds(out, ": ");
		buf_add_printable(out, it->text, strlen(it->text), 0);
		buf_addc(out, '\n');
	}
	if (p->dropped > 0) {
		buf_add_printable(out, path, strlen(path), 0);
		buf_addf(out, ": %zu more errors are not shown\n", p->dropped);
	}
}

void problems_free(struct problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->items[i].text);
	free(p->items);
	*p = (struct problems){ NULL, 0, 0 };
}
