#include "lib/api/auth.h"

#include <openssl/crypto.h>
#include <string.h>

#define MARK "ntr_"
#define PREFIX_CHARS 8
#define SECRET_CHARS 40
#define PREFIX_LEN (sizeof MARK - 1 + PREFIX_CHARS)
#define KEY_LEN (PREFIX_LEN + 1 + SECRET_CHARS)

_Static_assert(KEY_LEN + 1 == AUTH_KEY_SIZE, "a key fits");
_Static_assert(PREFIX_LEN < STORE_KEY_PREFIX_SIZE, "a prefix fits");

/* Crockford's base 32, as in ids: five bits a character, 200 of them secret. */
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void add_random(char *out, size_t n)
{
	unsigned char random[SECRET_CHARS];
	size_t i;

	bytes_random(random, n);
	for (i = 0; i < n; i++)
		out[i] = alphabet[random[i] % 32];
	OPENSSL_cleanse(random, sizeof random);
}

void auth_make_key(char out[AUTH_KEY_SIZE])
{
	memcpy(out, MARK, sizeof MARK - 1);
	add_random(out + sizeof MARK - 1, PREFIX_CHARS);
	out[PREFIX_LEN] = '_';
	add_random(out + PREFIX_LEN + 1, SECRET_CHARS);
	out[KEY_LEN] = '\0';
}

static bool has_prefix(const char *s)
{
	return strncmp(s, MARK, sizeof MARK - 1) == 0 && strspn(s + sizeof MARK - 1, alphabet) == PREFIX_CHARS;
}

bool auth_prefix_valid(const char *prefix)
{
	return has_prefix(prefix) && prefix[PREFIX_LEN] == '\0';
}

bool auth_key_prefix(const char *key, char out[STORE_KEY_PREFIX_SIZE])
{
	if (strlen(key) != KEY_LEN || !has_prefix(key) || key[PREFIX_LEN] != '_')
		return false;
	memcpy(out, key, PREFIX_LEN);
	out[PREFIX_LEN] = '\0';
	return true;
}

static const char *const scopes[] = { [AUTH_READ] = "read", [AUTH_WRITE] = "write", [AUTH_ADMIN] = "admin" };

int auth_scope_parse(const char *name, enum auth_scope *out)
{
	size_t i;

	for (i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
		if (strcmp(name, scopes[i]) == 0) {
			*out = (enum auth_scope)i;
			return 0;
		}
	}
	return -1;
}

const char *auth_scope_name(enum auth_scope scope)
{
	return scopes[scope];
}

bool auth_org_valid(const char *org)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(org);

	return len > 0 && len <= AUTH_ORG_MAX && strspn(org, allowed) == len;
}

struct search {
	const uint8_t *hash; /* NULL: the prefix is enough */
	struct auth_who *who;
	bool found;
};

static bool is_meant(const struct search *search, const struct store_key *key)
{
	return !search->hash || CRYPTO_memcmp(key->hash, search->hash, SHA256_BYTES) == 0;
}

static int compare(void *ctx, const struct store_key *key)
{
	struct search *search = ctx;

	if (key->revoked_ms == 0 && is_meant(search, key) && auth_org_valid(key->org) &&
	    auth_scope_parse(key->scope, &search->who->scope) == 0) {
		memcpy(search->who->org, key->org, strlen(key->org) + 1);
		search->found = true;
	}
	return 0;
}

static enum store_status find(struct store *s, const uint8_t *hash, struct auth_who *out)
{
	struct search search = { .hash = hash, .who = out };
	enum store_status status = store_list_keys(s, out->prefix, compare, &search);

	return status == STORE_OK && !search.found ? STORE_NOT_FOUND : status;
}

enum store_status auth_find(struct store *s, const char *key, struct auth_who *out)
{
	uint8_t hash[SHA256_BYTES];

	memset(out, 0, sizeof *out);
	if (!auth_key_prefix(key, out->prefix))
		return STORE_NOT_FOUND;
	bytes_sha256(key, strlen(key), hash);
	return find(s, hash, out);
}

enum store_status auth_find_prefix(struct store *s, const char *prefix, struct auth_who *out)
{
	memset(out, 0, sizeof *out);
	if (!auth_prefix_valid(prefix))
		return STORE_NOT_FOUND;
	memcpy(out->prefix, prefix, strlen(prefix));
	return find(s, NULL, out);
}
