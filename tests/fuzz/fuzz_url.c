/* A URL that passes is its own normal form, and passes again; an address is judged the same however it is written. */
#include <string.h>

#include "lib/delivery/guard.h"
#include "lib/delivery/url.h"
#include "lib/intake/client.h"
#include "tests/fuzz/fuzz.h"

static void check_url(const char *text)
{
	static const struct conf_webhooks strict = { .allow_http = false }, lenient = { .allow_http = true };
	struct buf err = BUF_INIT;
	char *url = url_check(text, &strict, &err), *again;

	REQUIRE(!url == (err.len > 0));
	if (url) {
		REQUIRE(strncmp(url, "https://", 8) == 0 && !strchr(url, '#') && strlen(url) <= URL_MAX);
		again = url_check(url, &strict, &err);
		REQUIRE(again && strcmp(again, url) == 0);
		free(again);
		again = url_check(url, &lenient, &err);
		REQUIRE(again);
		free(again);
	}
	free(url);
	buf_free(&err);
}

static void check_address(const char *text)
{
	static const struct conf_webhooks strict = { .allow_http = false };
	char shown[ADDRESS_TEXT_SIZE], client[ADDRESS_TEXT_SIZE];
	struct address_block block, everything[] = { { .bits = 0 } };
	const struct address_blocks all = { everything, 1 };
	struct address a, again;
	struct buf why = BUF_INIT;

	if (address_parse(text, &a) == 0) {
		REQUIRE(address_parse(address_format(&a, shown), &again) == 0 && memcmp(&a, &again, sizeof a) == 0);
		REQUIRE(guard_allows(&strict, &a, &why) == (why.len == 0));
	}
	if (address_parse_block(text, &block) == 0)
		REQUIRE(address_in(&block.first, &block) && block.bits <= 128);
	REQUIRE(client_address(&all, "192.0.2.1", text, client) == client && address_parse(client, &a) == 0);
	buf_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size, 1);

	check_url(text);
	check_address(text);
	free(text);
	return 0;
}
