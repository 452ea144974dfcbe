/* What values in ntrvsta.conf look like, for the table of keys; what bounds a handler is in sandbox.h. */
#ifndef NTRVSTA_CONF_VALUES_H
#define NTRVSTA_CONF_VALUES_H

#include <stdbool.h>

#include "lib/base/buf.h"

struct conf;

/* Parse VALUE into FIELD, whose type is that of the member that the table names; what FIELD held is released. C is
 * being loaded: its dir is set. -1 with the reason in ERR ("wants a duration such as 30s or 5m, not '5x'") and FIELD
 * as it was. */
typedef int conf_parse_fn(const char *value, void *field, const struct conf *c, struct buf *err);

conf_parse_fn conf_parse_path, conf_parse_base, conf_parse_base_url, conf_parse_file, conf_parse_optional_file,
	conf_parse_store_url, conf_parse_log_target, conf_parse_duration, conf_parse_timeout, conf_parse_body_size,
	conf_parse_output_size, conf_parse_count, conf_parse_batch, conf_parse_rate, conf_parse_start,
	conf_parse_switch, conf_parse_level, conf_parse_schedule, conf_parse_blocks, conf_parse_names;

/* --- for those who write one --------------------------------------------------------------- */

/* "wants WANTED, not 'VALUE'". -1. */
int value_refuse(struct buf *err, const char *wanted, const char *value);

/* A whole number from MIN to MAX, or with OR_ZERO 0. -1 with the reason in ERR. */
int value_number(const char *value, unsigned long min, unsigned long max, bool or_zero, unsigned long *out, struct buf *err);

/* The next word of *LIST, which moves on behind it, the caller's to free; NULL at the end. */
char *value_next_word(const char **list);

/* LIST ends with NULL, and may be it. */
void value_free_list(char **list);

#endif
