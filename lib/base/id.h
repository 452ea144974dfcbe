/* Public identifiers: a prefix and 26 characters that sort by time.
 *
 * The 26 are a ULID (https://github.com/ulid/spec): 48 bits of milliseconds and 80 random
 * bits in Crockford's base 32, in lower case. Within one process two ids of one millisecond
 * sort in the order in which they were made. */
#ifndef NTRVSTA_BASE_ID_H
#define NTRVSTA_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#define ID_SIZE 32 /* the longest prefix, 26 characters and the NUL */

#define ID_EVENT "evt_"
#define ID_DELIVERY "dlv_"
#define ID_WEBHOOK "wh_"
#define ID_TEMPLATE "tpl_"
#define ID_INVITATION "inv_"
#define ID_CANDIDATE "cand_"

/* Make a new id. Any thread. Returns OUT. */
char *id_make(const char *prefix, int64_t wall_ms, char out[ID_SIZE]);

/* Does S look like an id with PREFIX? */
bool id_valid(const char *prefix, const char *s);

#endif
