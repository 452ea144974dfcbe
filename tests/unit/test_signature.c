#include "lib/event/signature.h"

#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/bytes.h"
#include "tests/unit/tap.h"
#include "tests/unit/vectors.h"

#define NOW INT64_C(1770000000000)

/* Stands in for libcrypto's: it tells how many comparisons were made, and that they are made by
 * the function that takes constant time. */
int CRYPTO_memcmp(const void *a, const void *b, size_t len);

static __thread int comparisons;

int CRYPTO_memcmp(const void *a, const void *b, size_t len)
{
	comparisons++;
	return memcmp(a, b, len);
}

static struct secret secret_of(const char *text, int64_t until_ms)
{
	return (struct secret){ (char *)text, strlen(text), until_ms };
}

/* --- the vectors --- */

static void test_row(struct json_object *row)
{
	struct secret secret = secret_of(vector_text(row, "secret"), SECRETS_FOREVER);
	struct secrets secrets = { &secret, 1 };
	const char *signature = vector_text(row, "signature");
	struct json_object *accept = NULL;
	enum signature_result want;
	size_t len;
	unsigned char *body = vector_bytes(vector_text(row, "body_base64"), &len);

	json_object_object_get_ex(row, "accept", &accept);
	want = json_object_get_boolean(accept) ? SIGNATURE_VALID : *signature ? SIGNATURE_INVALID : SIGNATURE_MISSING;
	CHECK_INT(signature_verify(&secrets, NOW, body, len, signature), want, "vector: %s",
	          vector_text(row, "name"));
	free(body);
}

static void test_vectors(void)
{
	struct json_object *rows = json_object_from_file(tap_data("data/ntrvsta-signatures.json"));
	size_t i, n = rows ? json_object_array_length(rows) : 0;

	CHECK(n >= 23, "the file of vectors is there and whole");
	for (i = 0; i < n; i++)
		test_row(json_object_array_get_idx(rows, i));
	json_object_put(rows);
}

/* --- computing --- */

static void test_rfc4231(void)
{
	static const struct {
		const char *name, *key, *body, *want;
		size_t key_repeat, body_repeat; /* 0: the text as it stands, else its first byte so often */
	} cases[] = {
		{ "case 1", "\x0b", "Hi There",
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", 20, 0 },
		{ "case 2", "Jefe", "what do ya want for nothing?",
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", 0, 0 },
		{ "case 3", "\xaa", "\xdd",
		  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", 20, 50 },
		{ "case 6, a key longer than a block", "\xaa",
		  "Test Using Larger Than Block-Size Key - Hash Key First",
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", 131, 0 },
	};
	char key[256], body[256], got[SIGNATURE_HEX_SIZE];
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t key_len = cases[i].key_repeat ? cases[i].key_repeat : strlen(cases[i].key);
		size_t body_len = cases[i].body_repeat ? cases[i].body_repeat : strlen(cases[i].body);

		memset(key, cases[i].key[0], sizeof key);
		memset(body, cases[i].body[0], sizeof body);
		if (!cases[i].key_repeat)
			memcpy(key, cases[i].key, key_len);
		if (!cases[i].body_repeat)
			memcpy(body, cases[i].body, body_len);
		signature_sign(key, key_len, body, body_len, got);
		CHECK_STR(got, cases[i].want, "RFC 4231, %s", cases[i].name);
	}
	signature_sign(NULL, 0, NULL, 0, got);
	CHECK_STR(got, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
	          "no key and no body do not take over those of the call before");
}

/* --- several secrets --- */

static void test_secrets(void)
{
	struct secret items[] = {
		secret_of("newest", SECRETS_FOREVER),
		secret_of("older", NOW),
		secret_of("gone", NOW - 1),
	};
	struct secrets secrets = { items, 3 }, none = { items + 2, 1 };
	static const struct {
		const char *secret;
		enum signature_result want;
		const char *promise;
	} cases[] = {
		{ "newest", SIGNATURE_VALID, "the newest secret passes" },
		{ "older", SIGNATURE_VALID, "an older one passes up to its end" },
		{ "gone", SIGNATURE_INVALID, "one whose end is past fails" },
		{ "other", SIGNATURE_INVALID, "a secret that is not listed fails" },
	};
	char header[SIGNATURE_HEX_SIZE];
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		signature_sign(cases[i].secret, strlen(cases[i].secret), "{}", 2, header);
		comparisons = 0;
		CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, header), cases[i].want, "%s",
		          cases[i].promise);
		CHECK_INT(comparisons, 2, "each live secret is compared, in constant time (%s)",
		          cases[i].secret);
	}
	signature_sign("gone", 4, "{}", 2, header);
	CHECK_INT(signature_verify(&none, NOW, "{}", 2, header), SIGNATURE_INVALID,
	          "without a live secret nothing passes");
}

/* --- headers that no vector has --- */

static void test_headers(void)
{
	struct secret secret = secret_of("secret", SECRETS_FOREVER);
	struct secrets secrets = { &secret, 1 };
	static const struct { const char *format; enum signature_result want; } cases[] = {
		{ "%s", SIGNATURE_VALID },
		{ "sha256=%s", SIGNATURE_VALID },
		{ "sha256=", SIGNATURE_INVALID },
		{ "sha256=sha256=%s", SIGNATURE_INVALID },
		{ "sha256 =%s", SIGNATURE_INVALID },
		{ "sha512=%s", SIGNATURE_INVALID },
		{ "v1,%s", SIGNATURE_INVALID },
		{ " %s", SIGNATURE_INVALID },
		{ "%s ", SIGNATURE_INVALID },
		{ "%s\n", SIGNATURE_INVALID },
		{ "0x%s", SIGNATURE_INVALID },
		{ "%s00", SIGNATURE_INVALID },
	};
	char hex[SIGNATURE_HEX_SIZE];
	struct buf header = BUF_INIT;
	size_t i;

	signature_sign("secret", 6, "{}", 2, hex);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *at = strstr(cases[i].format, "%s");

		buf_reset(&header);
		buf_add(&header, cases[i].format, at ? (size_t)(at - cases[i].format) : strlen(cases[i].format));
		buf_adds(&header, at ? hex : "");
		buf_adds(&header, at ? at + 2 : "");
		CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, header.data), cases[i].want,
		          "header of the form \"%s\"", cases[i].format[2] == '\n' ? "%s and a newline" : cases[i].format);
	}
	CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, NULL), SIGNATURE_MISSING, "no header");
	CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, ""), SIGNATURE_MISSING, "an empty header");
	buf_reset(&header);
	while (header.len < 8192)
		buf_adds(&header, hex);
	CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, header.data), SIGNATURE_INVALID, "a header of 8 KB");
	buf_free(&header);
}

static void test_every_digit_counts(void)
{
	struct secret secret = secret_of("secret", SECRETS_FOREVER);
	struct secrets secrets = { &secret, 1 };
	char header[SIGNATURE_HEX_SIZE];
	int accepted = 0;
	size_t i;

	signature_sign("secret", 6, "{}", 2, header);
	for (i = 0; i < SIGNATURE_HEX_SIZE - 1; i++) {
		char right = header[i];

		header[i] = right == '0' ? '1' : '0';
		accepted += signature_verify(&secrets, NOW, "{}", 2, header) == SIGNATURE_VALID;
		header[i] = right;
	}
	CHECK_INT(accepted, 0, "any one digit wrong is refused");
	CHECK_INT(signature_verify(&secrets, NOW, "{}", 2, header), SIGNATURE_VALID, "and all right is accepted");
}

/* --- threads --- */

#define THREADS 8
#define ROUNDS 3000

static void *verify_many(void *arg)
{
	struct secret secret = secret_of(arg, SECRETS_FOREVER);
	struct secrets secrets = { &secret, 1 };
	char body[400], header[SIGNATURE_HEX_SIZE];
	intptr_t wrong = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		size_t len = (size_t)i % sizeof body;

		memset(body, i, sizeof body);
		signature_sign(secret.bytes, secret.len, body, len, header);
		wrong += signature_verify(&secrets, NOW, body, len, header) != SIGNATURE_VALID;
		header[i % 64] ^= 1;
		wrong += signature_verify(&secrets, NOW, body, len, header) == SIGNATURE_VALID;
	}
	return (void *)wrong;
}

static void test_threads(void)
{
	static char keys[THREADS][16] = { "a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "h" };
	pthread_t threads[THREADS];
	intptr_t wrong = 0;
	void *result;
	int i;

	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, verify_many, keys[i]))
			abort();
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		wrong += (intptr_t)result;
	}
	CHECK_INT(wrong, 0, "%d threads with a secret each do not disturb one another", THREADS);
}

int main(void)
{
	test_vectors();
	test_rfc4231();
	test_secrets();
	test_headers();
	test_every_digit_counts();
	test_threads();
	return tap_done();
}
