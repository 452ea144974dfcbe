#include "lib/base/bytes.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

void bytes_to_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int bytes_from_hex(const char *hex, size_t hex_len, void *out, size_t len)
{
	uint8_t *p = out;
	size_t i;

	if (hex_len != 2 * len)
		return -1;
	for (i = 0; i < len; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -1;
		p[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

void bytes_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		/* Up to 256 bytes are never interrupted once the pool is ready: getrandom(2). */
		size_t want = len < 256 ? len : 256;

		if (getrandom(p, want, 0) != (ssize_t)want)
			abort();
		p += want;
		len -= want;
	}
}

/* Looked up once: libcrypto 3 otherwise does so for each hash, at the price of a small one. */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void bytes_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	pthread_once(&sha256_once, fetch_sha256);
	if (!sha256 || !EVP_Digest(data, len, out, NULL, sha256, NULL))
		abort();
}
