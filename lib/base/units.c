#include "lib/base/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {
	{ "ms", 1 },       { "s", 1000 },         { "m", 60 * 1000 },
	{ "h", 3600 * 1000 }, { "d", 86400 * 1000 }, { NULL, 0 },
};
static const struct unit sizes[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 },
};
static const struct unit rates[] = {
	{ "/s", 3600 }, { "/m", 60 }, { "/h", 1 }, { NULL, 0 },
};

#define TEN_YEARS_MS (INT64_C(3653) * 86400 * 1000)

/* A decimal number and one of UNITS behind it, at most MAX in all. */
static int parse(const char *s, const struct unit *units, int64_t max, int64_t *out)
{
	char *end;
	long long n;

	if (!isdigit((unsigned char)*s))
		return -1;
	if (strcmp(s, "0") == 0) {
		*out = 0;
		return 0;
	}
	errno = 0;
	n = strtoll(s, &end, 10);
	if (errno)
		return -1;
	for (; units->name; units++)
		if (strcmp(end, units->name) == 0)
			break;
	if (!units->name || n > max / units->factor)
		return -1;
	*out = n * units->factor;
	return 0;
}

int units_parse_duration(const char *s, int64_t *ms)
{
	return parse(s, durations, TEN_YEARS_MS, ms);
}

int units_parse_size(const char *s, size_t *bytes)
{
	int64_t n;

	if (parse(s, sizes, INT64_C(1) << 40, &n))
		return -1;
	*bytes = (size_t)n;
	return 0;
}

int units_parse_rate(const char *s, int64_t *per_hour)
{
	return parse(s, rates, INT64_C(1) << 40, per_hour);
}

char *units_format_duration(int64_t ms, char out[UNITS_SIZE])
{
	if (ms < 1000)
		snprintf(out, UNITS_SIZE, "%" PRId64 "ms", ms);
	else if (ms < 60 * 1000)
		snprintf(out, UNITS_SIZE, ms % 1000 ? "%.1fs" : "%.0fs", (double)ms / 1000);
	else if (ms < 3600 * 1000)
		snprintf(out, UNITS_SIZE, "%" PRId64 "m%02ds", ms / 60000, (int)(ms / 1000 % 60));
	else if (ms < 48 * 3600 * INT64_C(1000))
		snprintf(out, UNITS_SIZE, "%" PRId64 "h%02dm", ms / 3600000, (int)(ms / 60000 % 60));
	else
		snprintf(out, UNITS_SIZE, "%" PRId64 "d", ms / (86400 * INT64_C(1000)));
	return out;
}

char *units_format_size(size_t bytes, char out[UNITS_SIZE])
{
	static const char suffixes[] = "GMK";
	size_t i, unit = 1 << 30;

	for (i = 0; suffixes[i]; i++, unit >>= 10) {
		if (bytes >= unit && bytes % unit == 0) {
			snprintf(out, UNITS_SIZE, "%zu%c", bytes / unit, suffixes[i]);
			return out;
		}
	}
	snprintf(out, UNITS_SIZE, "%zu", bytes);
	return out;
}
