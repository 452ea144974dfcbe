/* Durations ("500ms 30s 5m 2h 7d"), sizes ("64K 1M 2G", powers of 1024) and rates ("200/s"). */
#ifndef NTRVSTA_BASE_UNITS_H
#define NTRVSTA_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_SIZE 24 /* room for any result of the two format functions */

/* Each returns 0, or -1 where S is malformed or out of range; nothing may follow the unit.
 * "0" needs no unit. A duration is at most 10 years. */
int units_parse_duration(const char *s, int64_t *ms);
int units_parse_size(const char *s, size_t *bytes);
/* "N/s", "N/m" or "N/h" to events in an hour; "0" is no limit. */
int units_parse_rate(const char *s, int64_t *per_hour);

/* For people: "1.5s", "340ms", "2h"; "64K", "1M", "1234". Returns OUT. */
char *units_format_duration(int64_t ms, char out[UNITS_SIZE]);
char *units_format_size(size_t bytes, char out[UNITS_SIZE]);

#endif
