#include "lib/event/signature.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/log.h"

#define PREFIX "sha256="

/* Looking up algorithms takes longer than the HMAC of a usual event. So it is looked up once,
 * and each thread keeps a context that has its digest and needs only a key. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MAC *hmac;

static void free_context(void *context)
{
	EVP_MAC_CTX_free(context);
}

static void set_up(void)
{
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!hmac || pthread_key_create(&context_key, free_context)) {
		log_error("libcrypto offers no HMAC");
		abort();
	}
}

static EVP_MAC_CTX *thread_context(void)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *context;

	pthread_once(&once, set_up);
	context = pthread_getspecific(context_key);
	if (context)
		return context;
	context = EVP_MAC_CTX_new(hmac);
	if (!context || !EVP_MAC_CTX_set_params(context, params) ||
	    pthread_setspecific(context_key, context)) {
		log_error("libcrypto offers no HMAC-SHA256");
		abort();
	}
	return context;
}

void signature_compute(const void *key, size_t key_len, const void *body, size_t body_len,
                       uint8_t out[SIGNATURE_BYTES])
{
	EVP_MAC_CTX *context = thread_context();
	size_t len = 0;

	/* A null key would mean "the one before"; an answer of any other kind must never be compared. */
	if (!EVP_MAC_init(context, key_len ? key : "", key_len, NULL) ||
	    !EVP_MAC_update(context, body, body_len) ||
	    !EVP_MAC_final(context, out, &len, SIGNATURE_BYTES) || len != SIGNATURE_BYTES) {
		log_error("libcrypto failed to compute an HMAC-SHA256");
		abort();
	}
}

void signature_sign(const void *key, size_t key_len, const void *body, size_t body_len,
                    char out[SIGNATURE_HEX_SIZE])
{
	uint8_t signature[SIGNATURE_BYTES];

	signature_compute(key, key_len, body, body_len, signature);
	bytes_to_hex(signature, sizeof signature, out);
}

enum signature_result signature_verify(const struct secrets *secrets, int64_t wall_ms,
                                       const void *body, size_t body_len, const char *header)
{
	uint8_t received[SIGNATURE_BYTES], expected[SIGNATURE_BYTES];
	bool valid = false;
	size_t i;

	if (!header || !*header)
		return SIGNATURE_MISSING;
	if (strncmp(header, PREFIX, sizeof PREFIX - 1) == 0)
		header += sizeof PREFIX - 1;
	if (bytes_from_hex(header, strlen(header), received, sizeof received))
		return SIGNATURE_INVALID;
	/* No early end: how long it takes must not tell which secret it was. */
	for (i = 0; i < secrets->n; i++) {
		if (!secret_live(&secrets->items[i], wall_ms))
			continue;
		signature_compute(secrets->items[i].bytes, secrets->items[i].len, body, body_len, expected);
		valid |= CRYPTO_memcmp(expected, received, sizeof expected) == 0;
	}
	OPENSSL_cleanse(expected, sizeof expected);
	return valid ? SIGNATURE_VALID : SIGNATURE_INVALID;
}
