/* Files of test vectors: arrays of objects in JSON, bytes in base64. */
#ifndef NTRVSTA_TESTS_VECTORS_H
#define NTRVSTA_TESTS_VECTORS_H

#include <json-c/json.h>
#include <stddef.h>

const char *vector_text(struct json_object *row, const char *name); /* "" where it is missing */

/* base64 TEXT as bytes; the caller frees them. */
unsigned char *vector_bytes(const char *text, size_t *len);

#endif
