/* A call of the management API, "METHOD PATH?QUERY\nBODY", by a key that may do all: an answer, whatever it is. */
#include <string.h>

#include "lib/api/api.h"
#include "tests/fuzz/fuzz.h"

static struct conf *conf;
static struct store *store;

static void set_up(void)
{
	enum store_status status;
	struct buf err = BUF_INIT;

	fuzz_be_quiet();
	conf = conf_load(fuzz_site(), &err);
	REQUIRE(conf);
	store = store_open(conf->store_path, STORE_TOOL, &status, &err);
	REQUIRE(store);
}

static void call(char *method, char *path, const char *body, size_t len)
{
	static const struct auth_who who = { .org = "default", .scope = AUTH_ADMIN, .prefix = "ntr_fuzzfuzz" };
	char *query = strchr(path, '?');
	struct api_answer answer = { 0 };
	struct api_request request = { .method = method, .path = path, .body = len ? body : NULL, .body_len = len };
	struct json_object *o;

	if (query) {
		*query = '\0';
		request.query = query + 1;
	}
	api_handle(&request, &who, conf, store, &answer);
	REQUIRE(answer.status >= 200 && answer.status < 600 && answer.reason);
	if (answer.content_type && strstr(answer.content_type, "json") && answer.status != 200) {
		o = json_tokener_parse(buf_str(&answer.body));
		REQUIRE(o);
		json_object_put(o);
	}
	REQUIRE(!answer.headers.len || memcmp(answer.headers.data + answer.headers.len - 2, "\r\n", 2) == 0);
	api_answer_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	size_t head = end ? (size_t)(end - data) : size, skip = end ? head + 1 : size;
	char *line = fuzz_copy(data, head, 1), *body = fuzz_copy(data + skip, size - skip, 0), *path = strchr(line, ' ');

	if (!conf)
		set_up();
	if (path) {
		*path++ = '\0';
		call(line, path, body, size - skip);
	}
	free(body);
	free(line);
	return 0;
}
