/* A header of any kind never verifies unless it is the signature; a secret file of any kind loads or says why. */
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/event/signature.h"
#include "lib/event/standard.h"
#include "tests/fuzz/fuzz.h"

static const char body[] = "{\"event\":\"session.completed\"}";

static void check_header(const char *header)
{
	static struct secrets *secrets;
	struct buf err = BUF_INIT;
	char right[SIGNATURE_HEX_SIZE];
	const char *hex = strncmp(header, "sha256=", 7) == 0 ? header + 7 : header;
	enum signature_result result;

	if (!secrets)
		secrets = secrets_from_value("0123456789abcdef", &err);
	signature_sign("0123456789abcdef", 16, body, strlen(body), right);
	result = signature_verify(secrets, 0, body, strlen(body), header);
	REQUIRE((result == SIGNATURE_VALID) == (strcasecmp(hex, right) == 0));
	REQUIRE((result == SIGNATURE_MISSING) == (*header == '\0'));
}

static void check_secret_file(const uint8_t *data, size_t size)
{
	char *path = xasprintf("%s-secret", fuzz_site());
	struct buf err = BUF_INIT;
	struct secrets *s;

	unlink(path);
	REQUIRE(fdio_create_file(path, 0600, data, size) == 0);
	s = secrets_load(path, &err);
	REQUIRE(!s == (err.len > 0));
	if (s)
		REQUIRE(s->n > 0 && s->n <= SECRETS_MAX && secrets_live(s, 0) <= s->n);
	secrets_free(s);
	buf_free(&err);
	free(path);
}

static void check_standard_secret(const char *secret)
{
	struct buf err = BUF_INIT, signature = BUF_INIT;

	if (standard_check_secret(secret, &err) == 0) {
		standard_sign(secret, "evt_1", 1, body, strlen(body), &signature);
		REQUIRE(signature.len == 47 && strncmp(signature.data, "v1,", 3) == 0);
	} else {
		REQUIRE(err.len > 0);
	}
	buf_free(&signature);
	buf_free(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size, 1);

	check_header(text);
	check_standard_secret(text);
	check_secret_file(data, size);
	free(text);
	return 0;
}
