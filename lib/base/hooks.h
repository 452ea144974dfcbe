/* What tests need and a product must not have: compiled in with `configure --enable-test-hooks` only. */
#ifndef NTRVSTA_BASE_HOOKS_H
#define NTRVSTA_BASE_HOOKS_H

#include <stdint.h>

#ifdef NTRVSTA_TEST_HOOKS

/* Kill this process here, with SIGKILL, where $NTRVSTA_FAULT is "POINT" or "POINT:N" (the Nth time). */
void hooks_fault(const char *point);

/* Milliseconds to add to the wall clock: the number in the file $NTRVSTA_CLOCK_FILE, read each time. */
int64_t hooks_clock_offset_ms(void);

#define FAULT_POINT(point) hooks_fault(point)
#else
#define FAULT_POINT(point) ((void)0)
#endif

#endif
