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

/* A digit's value plus one: 0 is no digit. */
static const uint8_t hex_values[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

int bytes_from_hex(const char *hex, size_t hex_len, void *out, size_t len)
{
	const uint8_t *in = (const uint8_t *)hex;
	uint8_t *p = out;
	size_t i;

	if (hex_len != 2 * len)
		return -1;
	for (i = 0; i < len; i++) {
		unsigned high = hex_values[in[2 * i]], low = hex_values[in[2 * i + 1]];

		if (high == 0 || low == 0)
			return -1;
		p[i] = (uint8_t)((high - 1) << 4 | (low - 1));
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
