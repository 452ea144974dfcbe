#include "lib/base/hooks.h"

#ifdef NTRVSTA_TEST_HOOKS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hooks_fault(const char *point)
{
	static _Atomic int passed;
	const char *wanted = getenv("NTRVSTA_FAULT");
	size_t len = strlen(point);
	int nth;

	if (!wanted || strncmp(wanted, point, len) != 0 || (wanted[len] && wanted[len] != ':'))
		return;
	nth = wanted[len] ? atoi(wanted + len + 1) : 1;
	if (++passed == nth)
		kill(getpid(), SIGKILL);
}

int64_t hooks_clock_offset_ms(void)
{
	const char *path = getenv("NTRVSTA_CLOCK_FILE");
	long long offset = 0;
	FILE *f = path ? fopen(path, "re") : NULL;

	if (!f)
		return 0;
	if (fscanf(f, "%lld", &offset) != 1)
		offset = 0;
	fclose(f);
	return offset;
}

#endif
