/* A few lines of TAP (https://testanything.org) for unit tests: each check is one test point,
 * and the plan is printed at the end. */
#ifndef NTRVSTA_TESTS_TAP_H
#define NTRVSTA_TESTS_TAP_H

#include <stdbool.h>
#include <stdint.h>

/* CHECK(condition, "what it promises, with %s", ...) */
#define CHECK(cond, ...) tap_check((cond), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_STR(got, want, ...) tap_check_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_INT(got, want, ...) tap_check_int((got), (want), __FILE__, __LINE__, __VA_ARGS__)

bool tap_check(bool ok, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool tap_check_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool tap_check_int(int64_t got, int64_t want, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Prints the plan. Returns main()'s exit status. */
int tap_done(void);

/* A fresh temporary folder, removed with all that is in it by tap_done(). */
const char *tap_tmpdir(void);

/* PATH of a file of the test data, below tests/ in the source tree ($srcdir). Static buffer. */
const char *tap_data(const char *name);

#endif
