#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/xalloc.h"

char *fuzz_copy(const uint8_t *data, size_t size, int text)
{
	char *copy = malloc(size + (text ? 1 : 0) + (size == 0 && !text));

	REQUIRE(copy);
	if (size)
		memcpy(copy, data, size);
	if (text)
		copy[size] = '\0';
	return copy;
}

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_site(void)
{
	static char *path;
	char *command;

	if (path)
		return path;
	snprintf(folder, sizeof folder, "/tmp/ntrvsta-fuzz.XXXXXX");
	REQUIRE(mkdtemp(folder));
	atexit(clean_up);
	command = xasprintf("cd %s && mkdir -m 700 state handlers && umask 077 && echo 0123456789abcdef >secret && "
	                    "printf '[source ntrvsta]\\n[dispatch]\\nstart = off\\n[web]\\nrate_limit = 0\\n' >ntrvsta.conf",
	                    folder);
	REQUIRE(system(command) == 0);
	free(command);
	path = xasprintf("%s/ntrvsta.conf", folder);
	return path;
}

void fuzz_be_quiet(void)
{
	log_open("fuzz", LOG_LEVEL_ERROR, "/dev/null");
	log_open_security("/dev/null");
}
