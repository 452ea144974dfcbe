/* Signatures as Standard Webhooks has them: what receivers' libraries verify.
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md,
 * "Signature scheme". Any thread. */
#ifndef NTRVSTA_EVENT_STANDARD_H
#define NTRVSTA_EVENT_STANDARD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

#define STANDARD_PREFIX "whsec_"
#define STANDARD_SECRET_SIZE 64 /* of a generated one, with its NUL */
#define STANDARD_SECRET_MAX 256 /* characters of any */

/* A new secret: "whsec_" and 32 random bytes in base64. */
void standard_make_secret(char out[STANDARD_SECRET_SIZE]);

/* Append to OUT the value of `webhook-signature` for one secret, "v1,<base64>". Several stand in one header
 * with a blank between them. The key is what is behind "whsec_" in SECRET, decoded, else SECRET's bytes. */
void standard_sign(const char *secret, const char *id, int64_t timestamp_s, const void *body, size_t body_len,
                   struct buf *out);

/* Is SECRET usable: 1 to 256 printable ASCII characters, and base64 behind "whsec_"? -1 with a reason. */
int standard_check_secret(const char *secret, struct buf *err);

#endif
