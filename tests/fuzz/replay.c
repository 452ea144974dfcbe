/* main() of a fuzz target that is run as a test: each file of its corpus, whole, cut off at each byte, and with each
 * byte changed in a few ways. What fuzzing once found stays found. */
#include <dirent.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/tap.h"

#define CHANGED_MAX 400 /* of a longer file only so many of its first bytes are changed */

static void run_variants(const struct buf *file)
{
	static const uint8_t flips[] = { 0x01, 0x20, 0x80, 0xff };
	uint8_t *bytes = (uint8_t *)file->data;
	size_t i, k;

	for (i = 0; i < file->len && i < CHANGED_MAX; i++) {
		LLVMFuzzerTestOneInput(bytes, i);
		for (k = 0; k < sizeof flips; k++) {
			bytes[i] ^= flips[k];
			LLVMFuzzerTestOneInput(bytes, file->len);
			bytes[i] ^= flips[k];
		}
	}
}

static void run_file(const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	struct buf file = BUF_INIT;

	if (CHECK(fdio_read_file(path, 1 << 20, &file) == 0, "%s can be read", name) && file.len > 0) {
		LLVMFuzzerTestOneInput((const uint8_t *)file.data, file.len);
		run_variants(&file);
	}
	CHECK(true, "%s, cut and changed", name);
	buf_free(&file);
	free(path);
}

int main(int argc, char **argv)
{
	const char *target = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	char *folder = xstrdup(argc > 1 ? argv[1] : "");
	struct dirent **entries;
	int n, i;

	if (!*folder) {
		free(folder);
		folder = xasprintf("%s/%s", tap_data("fuzz/corpus"), strncmp(target, "lt-", 3) == 0 ? target + 3 : target);
	}
	n = scandir(folder, &entries, NULL, alphasort);
	CHECK(n > 2, "the corpus is there: %s", folder);
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.')
			run_file(folder, entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	free(folder);
	return tap_done();
}
