/* HMAC-SHA256 signatures of raw bodies, as NTRVSTA sends them in X-NTRVSTA-Signature.
 * Source: shared reference, "Signature Verification"; RFC 2104. Any thread. */
#ifndef NTRVSTA_EVENT_SIGNATURE_H
#define NTRVSTA_EVENT_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/event/secrets.h"

#define SIGNATURE_BYTES 32
#define SIGNATURE_HEX_SIZE (2 * SIGNATURE_BYTES + 1)

enum signature_result { SIGNATURE_VALID, SIGNATURE_MISSING, SIGNATURE_INVALID };

void signature_compute(const void *key, size_t key_len, const void *body, size_t body_len,
                       uint8_t out[SIGNATURE_BYTES]);

/* The same as 64 lower-case hex digits and a NUL. */
void signature_sign(const void *key, size_t key_len, const void *body, size_t body_len,
                    char out[SIGNATURE_HEX_SIZE]);

/* Check HEADER (NULL or empty: missing) against every secret that is live at WALL_MS. 64 hex
 * digits of either case, with an optional "sha256=" in front, and nothing else. The comparison
 * takes the same time wherever the first difference is. */
enum signature_result signature_verify(const struct secrets *secrets, int64_t wall_ms,
                                       const void *body, size_t body_len, const char *header);

#endif
