/* Time: the wall clock for what is shown and stored, the monotonic one for every wait. */
#ifndef NTRVSTA_BASE_CLOCK_H
#define NTRVSTA_BASE_CLOCK_H

#include <stdint.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

#define CLOCK_RFC3339_SIZE 25 /* "2026-12-31T00:00:00.000Z" and the NUL */

int64_t clock_wall_ms(void); /* milliseconds since 1970-01-01T00:00:00Z */
int64_t clock_mono_ms(void); /* milliseconds; never goes back, counts suspended time too */
int64_t clock_mono_us(void); /* the same in microseconds, to measure with */

/* WALL_MS as RFC 3339 in UTC with milliseconds. Returns OUT. */
char *clock_format(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

/* An RFC 3339 date-time (any offset, fraction optional) to milliseconds. 0, or -1 where S is
 * no valid date-time; a leap second counts as the second before. */
int clock_parse(const char *s, int64_t *wall_ms);

/* A point in time as people type it on a command line: RFC 3339, a date (midnight UTC), or a
 * duration such as "2h", which means that long before NOW_MS. 0 or -1. */
int clock_parse_since(const char *s, int64_t now_ms, int64_t *wall_ms);

#endif
