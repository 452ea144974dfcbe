/* What standard output is, and Ctrl-C for commands that take long. */
#ifndef NTRVSTA_CLI_TERMINAL_H
#define NTRVSTA_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

struct terminal {
	bool present;   /* standard output is a terminal */
	unsigned width; /* columns; that of $COLUMNS, or 80, where there is no terminal */
	bool unicode;   /* it shows more than ASCII: a terminal, in a UTF-8 locale */
	bool color;     /* it may be coloured: https://no-color.org */
};

/* Look anew: a window may have changed its size. */
void terminal_look(struct terminal *out);

/* Does LC_ALL, else LC_CTYPE, else LANG name UTF-8? Each may be NULL or empty. */
bool terminal_locale_utf8(const char *lc_all, const char *lc_ctype, const char *lang);

/* From here on the first SIGINT or SIGTERM only leaves a mark; a second one ends the program. */
void terminal_catch_interrupt(void);
bool terminal_interrupted(void);

/* Wait, until an interrupt at the longest. False where it came, or where nobody reads standard
 * output any more. */
bool terminal_pause(int64_t ms);

#endif
