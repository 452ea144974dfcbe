#include "tests/unit/tap.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int points, failures;
static char tmpdir[256];

static void __attribute__((format(printf, 2, 0))) print_point(bool ok, const char *fmt, va_list ap)
{
	printf("%sok %d - ", ok ? "" : "not ", ++points);
	vprintf(fmt, ap);
	putchar('\n');
	failures += !ok;
	fflush(stdout);
}

bool tap_check(bool ok, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_point(ok, fmt, ap);
	va_end(ap);
	if (!ok)
		printf("# at %s:%d\n", file, line);
	return ok;
}

bool tap_check_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
{
	bool ok = got && want ? strcmp(got, want) == 0 : got == want;
	va_list ap;

	va_start(ap, fmt);
	print_point(ok, fmt, ap);
	va_end(ap);
	if (!ok)
		printf("# at %s:%d\n#  got: %s\n# want: %s\n", file, line, got ? got : "(null)",
		       want ? want : "(null)");
	return ok;
}

bool tap_check_int(int64_t got, int64_t want, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_point(got == want, fmt, ap);
	va_end(ap);
	if (got != want)
		printf("# at %s:%d\n#  got: %" PRId64 "\n# want: %" PRId64 "\n", file, line, got, want);
	return got == want;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int tap_done(void)
{
	if (tmpdir[0])
		nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	printf("1..%d\n", points);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

const char *tap_tmpdir(void)
{
	const char *base = getenv("TMPDIR");

	if (!tmpdir[0]) {
		snprintf(tmpdir, sizeof tmpdir, "%s/ntrvsta-test.XXXXXX", base && *base ? base : "/tmp");
		if (!mkdtemp(tmpdir)) {
			printf("Bail out! no temporary folder\n");
			exit(99);
		}
	}
	return tmpdir;
}

const char *tap_data(const char *name)
{
	static char path[512];
	const char *srcdir = getenv("srcdir");

	snprintf(path, sizeof path, "%s/tests/%s", srcdir ? srcdir : ".", name);
	return path;
}
