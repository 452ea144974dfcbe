/* The text of an INI file as sections and settings, each with its line.
 *
 * libinih splits the lines. What it would cut, misread or pass over in silence is refused
 * here: lines that are too long, control characters, DOS line ends, a byte order mark, lines that
 * are neither setting nor section, text behind a section's "]", "key: value", continued and quoted
 * values, comments that begin in the wrong way, and whatever stands there twice.
 * It knows nothing of which sections and keys exist. */
#ifndef NTRVSTA_CONF_INIFILE_H
#define NTRVSTA_CONF_INIFILE_H

#include <stddef.h>

#include "lib/conf/problems.h"

#define INIFILE_MAX (256 * 1024) /* bytes of a file */
#define INIFILE_LINE_MAX 8192    /* bytes of a line without its end */

struct inifile_entry {
	char *key;
	char *value; /* without the white space around it and the comment behind it */
	int line;
};

struct inifile_section { /* [TYPE] or [TYPE LABEL] */
	char *type;
	char *label; /* NULL where there is none */
	int line;
	struct inifile_entry *entries;
	size_t n;
};

struct inifile {
	struct inifile_section *sections;
	size_t n;
};

/* Read LEN bytes of TEXT into OUT, which the caller releases with inifile_free(). What is
 * refused goes to PROBLEMS and is left out of OUT. */
void inifile_read(const char *text, size_t len, struct inifile *out, struct problems *problems);
void inifile_free(struct inifile *f);

/* NULL where the section does not hold KEY. */
const struct inifile_entry *inifile_entry(const struct inifile_section *s, const char *key);

#endif
