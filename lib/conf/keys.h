/* The table of all settings: the one place where a setting is described. */
#ifndef NTRVSTA_CONF_KEYS_H
#define NTRVSTA_CONF_KEYS_H

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/conf/values.h"

#define CONF_LABEL "NAME" /* in a fallback: stands for the section's label */

struct conf_section {
	const char *name;
	const char *label; /* an example of one; NULL where the section takes none */
	const char *help;  /* one line for the sample */
};

struct conf_key {
	const char *section;  /* "source", "store", ... without a label */
	const char *name;
	const char *fallback; /* default as it would stand in the file; NULL: that of [handlers] */
	const char *help;     /* one line for the sample; NULL: that of [handlers] */
	conf_parse_fn *parse;
	/* Of its field, in a struct conf_source in [source], in a struct conf_handler in [handler], in a struct conf
	 * elsewhere. */
	size_t offset;
};

/* Both in the order of the sample. */
extern const struct conf_section conf_sections[];
extern const size_t conf_nsections;
extern const struct conf_key conf_keys[];
extern const size_t conf_nkeys;

/* NULL where there is none. */
const struct conf_section *conf_section_find(const char *name);
const struct conf_key *conf_key_find(const char *section, const char *name);

/* The name that somebody who typed NAME may have meant, NULL where none is near. */
const char *conf_section_near(const char *name);
const char *conf_key_near(const char *section, const char *name);

/* KEY's default for a section [... LABEL] (NULL: without one). The caller frees it. */
char *conf_key_default(const struct conf_key *key, const char *label);

#endif
