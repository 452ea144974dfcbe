/* The table of all settings: the one place where a setting is described. */
#ifndef NTRVSTA_CONF_KEYS_H
#define NTRVSTA_CONF_KEYS_H

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"

struct conf_key {
	const char *section;  /* "source", "store", ... without a label */
	const char *name;
	const char *fallback; /* default as it would stand in the file; NULL: see help */
	const char *help;     /* one line for sample and manual */
	/* Parse VALUE into TARGET (a struct conf, conf_source or conf_handler at OFFSET). -1 with
	 * the reason in ERR ("wants a duration such as 30s or 5m"). */
	int (*parse)(const char *value, void *field, const struct conf *c, struct buf *err);
	size_t offset;
};

extern const struct conf_key conf_keys[];
extern const size_t conf_nkeys;

#endif
