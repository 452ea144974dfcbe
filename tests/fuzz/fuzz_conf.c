/* A configuration of any kind loads whole, or says in which line it is wrong. */
#include <string.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/conf/conf.h"
#include "tests/fuzz/fuzz.h"

static void check_loaded(const struct conf *c)
{
	size_t i;

	REQUIRE(c->nsources > 0 && c->store_path && c->state_dir && c->handlers_dir);
	REQUIRE(c->web_threads > 0 && c->dispatch_concurrency > 0);
	for (i = 0; i < c->nsources; i++)
		REQUIRE(c->sources[i].path[0] == '/' && c->sources[i].secrets && c->sources[i].max_body > 0);
	REQUIRE(conf_handler(c, "all/10-log")->timeout_ms > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = xasprintf("%s-fuzzed", fuzz_site());
	struct buf err = BUF_INIT;
	struct conf *c;

	unlink(path);
	REQUIRE(fdio_create_file(path, 0600, data, size) == 0);
	c = conf_load(path, &err);
	if (c)
		check_loaded(c);
	else
		REQUIRE(strncmp(buf_str(&err), path, strlen(path)) == 0);
	conf_unref(c);
	buf_free(&err);
	free(path);
	return 0;
}
