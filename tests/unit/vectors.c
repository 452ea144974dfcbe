#include "tests/unit/vectors.h"

#include <openssl/evp.h>
#include <string.h>

#include "lib/base/xalloc.h"

const char *vector_text(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(row, name, &value);
	return value ? json_object_get_string(value) : "";
}

unsigned char *vector_bytes(const char *text, size_t *len)
{
	size_t n = strlen(text), padding = 0;
	unsigned char *out = xmalloc(n + 1);

	while (padding < n && text[n - 1 - padding] == '=')
		padding++;
	*len = (size_t)EVP_DecodeBlock(out, (const unsigned char *)text, (int)n) - padding;
	return out;
}
