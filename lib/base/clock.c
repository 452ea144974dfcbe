#include "lib/base/clock.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/hooks.h"
#include "lib/base/units.h"

int64_t clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
#ifdef NTRVSTA_TEST_HOOKS
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + hooks_clock_offset_ms();
#else
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
#endif
}

int64_t clock_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

char *clock_format(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE])
{
	unsigned ms = (unsigned)((wall_ms % 1000 + 1000) % 1000); /* also before 1970 */
	time_t seconds = (time_t)((wall_ms - ms) / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(out, CLOCK_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
	         (unsigned)(tm.tm_year + 1900) % 10000U, (unsigned)(tm.tm_mon + 1) % 100U,
	         (unsigned)tm.tm_mday % 100U, (unsigned)tm.tm_hour % 100U, (unsigned)tm.tm_min % 100U,
	         (unsigned)tm.tm_sec % 100U, ms % 1000U);
	return out;
}

/* COUNT digits at *S, which moves behind them. -1 where they are not all digits. */
static int take_digits(const char **s, int count)
{
	int value = 0;

	while (count-- > 0) {
		if (!isdigit((unsigned char)**s))
			return -1;
		value = value * 10 + (*(*s)++ - '0');
	}
	return value;
}

static bool take_char(const char **s, const char *set)
{
	if (**s == '\0' || !strchr(set, **s))
		return false;
	(*s)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
}

/* "2026-12-31" at *S as midnight UTC. */
static int take_date(const char **s, int64_t *wall_ms)
{
	struct tm tm = { 0 };
	int year = take_digits(s, 4), month, day;

	if (year < 0 || !take_char(s, "-") || (month = take_digits(s, 2)) < 1 || month > 12 ||
	    !take_char(s, "-") || (day = take_digits(s, 2)) < 1 || day > days_in_month(year, month))
		return -1;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	*wall_ms = (int64_t)timegm(&tm) * 1000;
	return 0;
}

/* "13:05:09.250" at *S, in milliseconds since midnight. */
static int take_time(const char **s, int64_t *ms)
{
	int hour = take_digits(s, 2), minute, second, weight = 100;

	if (hour < 0 || hour > 23 || !take_char(s, ":") || (minute = take_digits(s, 2)) < 0 ||
	    minute > 59 || !take_char(s, ":") || (second = take_digits(s, 2)) < 0 || second > 60)
		return -1;
	*ms = ((hour * 60 + minute) * 60 + (second == 60 ? 59 : second)) * INT64_C(1000);
	if (!take_char(s, "."))
		return 0;
	if (!isdigit((unsigned char)**s))
		return -1;
	for (; isdigit((unsigned char)**s); (*s)++, weight /= 10)
		*ms += (**s - '0') * weight;
	return 0;
}

/* "Z" or "+02:00" at *S, in milliseconds to subtract. */
static int take_offset(const char **s, int64_t *ms)
{
	bool negative;
	int hour, minute;

	*ms = 0;
	if (take_char(s, "Zz"))
		return 0;
	negative = **s == '-';
	if (!take_char(s, "+-") || (hour = take_digits(s, 2)) < 0 || hour > 23 ||
	    !take_char(s, ":") || (minute = take_digits(s, 2)) < 0 || minute > 59)
		return -1;
	*ms = (hour * 60 + minute) * INT64_C(60000) * (negative ? -1 : 1);
	return 0;
}

int clock_parse(const char *s, int64_t *wall_ms)
{
	int64_t date, time, offset;

	if (take_date(&s, &date) || !take_char(&s, "Tt ") || take_time(&s, &time) ||
	    take_offset(&s, &offset) || *s)
		return -1;
	*wall_ms = date + time - offset;
	return 0;
}

int clock_parse_since(const char *s, int64_t now_ms, int64_t *wall_ms)
{
	const char *rest = s;
	int64_t ms;

	if (clock_parse(s, wall_ms) == 0)
		return 0;
	if (take_date(&rest, wall_ms) == 0 && *rest == '\0')
		return 0;
	if (units_parse_duration(s, &ms))
		return -1;
	*wall_ms = now_ms - ms;
	return 0;
}
