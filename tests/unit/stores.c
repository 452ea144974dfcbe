#include "tests/unit/stores.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

struct store *must_open(const char *path, enum store_role role)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	struct store *s = store_open(path, role, &status, &err);

	if (!s) {
		printf("Bail out! %s\n", buf_str(&err));
		exit(99);
	}
	buf_free(&err);
	return s;
}

struct store *new_store(void)
{
	static int n;
	char *path = xasprintf("%s/new-%d.db", tap_tmpdir(), n++);
	struct store *s = must_open(path, STORE_TOOL);

	free(path);
	return s;
}
