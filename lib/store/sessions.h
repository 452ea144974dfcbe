/* Sessions of the dashboard: who has shown a key of the management API, and needs not show it again for a while.
 * The store has a SHA-256 of a session's token, never the token. */
#ifndef NTRVSTA_STORE_SESSIONS_H
#define NTRVSTA_STORE_SESSIONS_H

#include "lib/store/keys.h"

#define STORE_CSRF_SIZE 33       /* 32 hex digits and a NUL */
#define STORE_SESSIONS_OF_KEY 100 /* the newest of a key; older ones go */

struct store_session {
	uint8_t hash[SHA256_BYTES];
	char key_prefix[STORE_KEY_PREFIX_SIZE]; /* of the key that was shown; see keys.h whether it still counts */
	char csrf[STORE_CSRF_SIZE];             /* what requests that change something have to name */
	int64_t created_ms, expires_ms;
};

/* Those that have expired by SESSION->created_ms are removed. */
enum store_status store_put_session(struct store *s, const struct store_session *session);

/* STORE_NOT_FOUND where there is none, or it has expired. */
enum store_status store_get_session(struct store *s, const uint8_t hash[SHA256_BYTES], int64_t now_ms,
                                    struct store_session *out);

enum store_status store_delete_session(struct store *s, const uint8_t hash[SHA256_BYTES]);

#endif
