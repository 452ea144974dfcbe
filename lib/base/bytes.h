/* Bytes as text and back: hex, and the hash that names things. */
#ifndef NTRVSTA_BASE_BYTES_H
#define NTRVSTA_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* Lower-case hex of LEN bytes and a NUL: OUT has 2 * LEN + 1 bytes. */
void bytes_to_hex(const void *data, size_t len, char *out);

/* Exactly 2 * LEN hex digits of either case, no more and no NUL needed behind them. 0 or -1. */
int bytes_from_hex(const char *hex, size_t hex_len, void *out, size_t len);

void bytes_random(void *out, size_t len); /* from the kernel; aborts where there is none */

void bytes_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES]);

#endif
