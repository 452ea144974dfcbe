#include "tests/unit/stores.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

struct store *new_store(void)
{
	static int n;
	char *path = xasprintf("%s/%d.db", tap_tmpdir(), n++);
	struct buf err = BUF_INIT;
	enum store_status status;
	struct store *s = store_open(path, STORE_TOOL, &status, &err);

	free(path);
	if (s)
		return s;
	printf("Bail out! %s\n", buf_str(&err));
	exit(99);
}
