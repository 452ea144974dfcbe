/* Keys of the management API. The store has a key's public prefix and a SHA-256 of all of it, never the key. */
#ifndef NTRVSTA_STORE_KEYS_H
#define NTRVSTA_STORE_KEYS_H

#include "lib/base/bytes.h"
#include "lib/store/store.h"

#define STORE_KEY_PREFIX_SIZE 16 /* of "ntr_" and 8 characters, with its NUL */

struct store_key {
	char prefix[STORE_KEY_PREFIX_SIZE];
	uint8_t hash[SHA256_BYTES];
	const char *org;   /* whose it is: a label */
	const char *scope; /* "read", "write" or "admin" */
	int64_t created_ms;
	int64_t revoked_ms; /* 0: it counts */
};

/* STORE_NOT_FOUND where another key has this prefix: make another one. */
enum store_status store_put_key(struct store *s, const struct store_key *key);

/* Rows are valid during the call only. A callback that returns nonzero ends it. */
typedef int store_key_fn(void *ctx, const struct store_key *key);

/* Call FN with the key of PREFIX, revoked or not; with all of them, oldest first, where PREFIX is NULL.
 * STORE_OK also where there is none. */
enum store_status store_list_keys(struct store *s, const char *prefix, store_key_fn *fn, void *ctx);

/* It counts no more. STORE_NOT_FOUND where no key of PREFIX counts. */
enum store_status store_revoke_key(struct store *s, const char *prefix, int64_t now_ms);

#endif
