/* Who asks: keys of the management API, "ntr_<8 characters>_<40 characters>". The first part is public and finds
 * the key in the store, which has a SHA-256 of the whole. */
#ifndef NTRVSTA_API_AUTH_H
#define NTRVSTA_API_AUTH_H

#include <stdbool.h>

#include "lib/store/keys.h"

#define AUTH_KEY_SIZE 54   /* with its NUL */
#define AUTH_ORG_MAX 64    /* characters of an organisation's label */

enum auth_scope { AUTH_READ, AUTH_WRITE, AUTH_ADMIN }; /* each may do what those before it may */

struct auth_who {
	char org[AUTH_ORG_MAX + 1];
	enum auth_scope scope;
	char prefix[STORE_KEY_PREFIX_SIZE]; /* for logs; "" where it is no key that asks */
};

/* A new key. The caller wipes it. */
void auth_make_key(char out[AUTH_KEY_SIZE]);

/* "ntr_<8 characters>" of KEY into OUT; false where KEY doesn't look like one. */
bool auth_key_prefix(const char *key, char out[STORE_KEY_PREFIX_SIZE]);

bool auth_prefix_valid(const char *prefix);

/* Whose KEY is. STORE_NOT_FOUND where it is nobody's, or revoked; the comparison takes the same time wherever
 * the first difference is. */
enum store_status auth_find(struct store *s, const char *key, struct auth_who *out);

/* The same by its public prefix alone, for who has shown the whole key before. */
enum store_status auth_find_prefix(struct store *s, const char *prefix, struct auth_who *out);

int auth_scope_parse(const char *name, enum auth_scope *out); /* "read" "write" "admin"; 0 or -1 */
const char *auth_scope_name(enum auth_scope scope);

/* A label that can be shown and typed: [A-Za-z0-9._-], 1 to AUTH_ORG_MAX. */
bool auth_org_valid(const char *org);

#endif
