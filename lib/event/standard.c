#include "lib/event/standard.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/xalloc.h"
#include "lib/event/signature.h"

#define SECRET_BYTES 32 /* of a generated one */

static void add_base64(struct buf *out, const uint8_t *data, size_t len)
{
	size_t size = 4 * ((len + 2) / 3);

	buf_reserve(out, size);
	EVP_EncodeBlock((unsigned char *)out->data + out->len, data, (int)len);
	out->len += size;
}

void standard_make_secret(char out[STANDARD_SECRET_SIZE])
{
	uint8_t random[SECRET_BYTES];
	struct buf text = BUF_INIT;

	bytes_random(random, sizeof random);
	buf_adds(&text, STANDARD_PREFIX);
	add_base64(&text, random, sizeof random);
	memcpy(out, text.data, text.len + 1);
	OPENSSL_cleanse(random, sizeof random);
	OPENSSL_cleanse(text.data, text.len);
	buf_free(&text);
}

/* What is behind the prefix as bytes, into KEY, which has room. -1 where it is no base64. */
static int decode(const char *base64, uint8_t *key, size_t *len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(base64), padding = 0;
	int size;

	while (padding < 2 && padding < n && base64[n - 1 - padding] == '=')
		padding++;
	/* OpenSSL takes '=' for a digit, and blanks at both ends for nothing. */
	if (strspn(base64, digits) != n - padding)
		return -1;
	size = n % 4 == 0 && n > 0 ? EVP_DecodeBlock(key, (const unsigned char *)base64, (int)n) : -1;
	if (size < 0 || (size_t)size <= padding)
		return -1;
	*len = (size_t)size - padding;
	return 0;
}

void standard_sign(const char *secret, const char *id, int64_t timestamp_s, const void *body, size_t body_len,
                   struct buf *out)
{
	uint8_t key[STANDARD_SECRET_MAX + 4], signature[SIGNATURE_BYTES];
	size_t prefix = strlen(STANDARD_PREFIX), len = 0;
	struct buf signed_content = BUF_INIT;

	buf_reserve(&signed_content, body_len + 64);
	buf_addf(&signed_content, "%s.%" PRId64 ".", id, timestamp_s);
	buf_add(&signed_content, body, body_len);
	if (strncmp(secret, STANDARD_PREFIX, prefix) == 0 && strlen(secret) <= STANDARD_SECRET_MAX &&
	    decode(secret + prefix, key, &len) == 0)
		signature_compute(key, len, signed_content.data, signed_content.len, signature);
	else
		signature_compute(secret, strlen(secret), signed_content.data, signed_content.len, signature);
	buf_adds(out, "v1,");
	add_base64(out, signature, sizeof signature);
	OPENSSL_cleanse(key, sizeof key);
	buf_free(&signed_content);
}

int standard_check_secret(const char *secret, struct buf *err)
{
	uint8_t key[STANDARD_SECRET_MAX + 4];
	size_t prefix = strlen(STANDARD_PREFIX), len = strlen(secret), i;
	int bad = 0;

	for (i = 0; i < len; i++)
		if (secret[i] <= ' ' || secret[i] > '~')
			break;
	if (len == 0 || len > STANDARD_SECRET_MAX || i < len) {
		buf_addf(err, "wants 1 to %d printable ASCII characters without blanks", STANDARD_SECRET_MAX);
		return -1;
	}
	if (strncmp(secret, STANDARD_PREFIX, prefix) == 0)
		bad = decode(secret + prefix, key, &i);
	OPENSSL_cleanse(key, sizeof key);
	if (bad)
		buf_adds(err, "wants base64 behind '" STANDARD_PREFIX "'");
	return bad;
}
