#include "lib/api/auth.h"

#include <string.h>

#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

static enum store_status put(struct store *s, const char *text, const char *org, const char *scope)
{
	struct store_key key = { .org = org, .scope = scope, .created_ms = 1000 };

	auth_key_prefix(text, key.prefix);
	bytes_sha256(text, strlen(text), key.hash);
	return store_put_key(s, &key);
}

static void test_form(void)
{
	static const char *const no_keys[] = {
		"", "ntr_", "ntr_01234567", "ntr_01234567_", "ntr_01234567_0123456789012345678901234567890123456789x",
		"ntr_01234567_012345678901234567890123456789012345678", "NTR_01234567_0123456789012345678901234567890123456789",
		"ntr_0123456i_0123456789012345678901234567890123456789", "ntr_01234567-0123456789012345678901234567890123456789",
		"ntr_0123456%_0123456789012345678901234567890123456789",
	};
	char key[AUTH_KEY_SIZE], other[AUTH_KEY_SIZE], prefix[STORE_KEY_PREFIX_SIZE];
	size_t i;

	auth_make_key(key);
	auth_make_key(other);
	CHECK_INT((int64_t)strlen(key), AUTH_KEY_SIZE - 1, "a key has its length");
	CHECK(strcmp(key, other) != 0, "no two keys are the same");
	CHECK(auth_key_prefix(key, prefix), "a new key looks like one");
	CHECK(strncmp(key, prefix, 12) == 0 && strlen(prefix) == 12, "its prefix is ntr_ and 8 characters");
	CHECK(auth_prefix_valid(prefix), "which looks like a prefix");
	CHECK(!auth_prefix_valid(key) && !auth_prefix_valid("ntr_") && !auth_prefix_valid(""), "other words don't");
	for (i = 0; i < sizeof no_keys / sizeof no_keys[0]; i++)
		CHECK(!auth_key_prefix(no_keys[i], prefix), "'%s' is no key", no_keys[i]);
}

static void test_orgs(void)
{
	char long_org[AUTH_ORG_MAX + 2];

	memset(long_org, 'a', sizeof long_org);
	long_org[AUTH_ORG_MAX + 1] = '\0';
	CHECK(!auth_org_valid(long_org), "a label of %d characters is too long", AUTH_ORG_MAX + 1);
	CHECK(auth_org_valid(long_org + 1), "one of %d is not", AUTH_ORG_MAX);
	CHECK(auth_org_valid("Acme-1.x_y"), "letters, digits, dots, underscores and hyphens");
	CHECK(!auth_org_valid("") && !auth_org_valid("a b") && !auth_org_valid("a\n"), "nothing else");
}

static void test_find(void)
{
	struct store *s = new_store();
	char key[AUTH_KEY_SIZE], wrong[AUTH_KEY_SIZE];
	struct auth_who who;

	auth_make_key(key);
	memcpy(wrong, key, sizeof wrong);
	wrong[AUTH_KEY_SIZE - 2] = key[AUTH_KEY_SIZE - 2] == '0' ? '1' : '0';
	CHECK_INT(auth_find(s, key, &who), STORE_NOT_FOUND, "a key that nobody made");
	CHECK_INT(put(s, key, "acme", "write"), STORE_OK, "a key is stored");
	CHECK_INT(auth_find(s, key, &who), STORE_OK, "and found");
	CHECK_STR(who.org, "acme", "with its organisation");
	CHECK_INT(who.scope, AUTH_WRITE, "and its scope");
	CHECK(strncmp(key, who.prefix, 12) == 0, "and its prefix");
	CHECK_INT(auth_find(s, wrong, &who), STORE_NOT_FOUND, "not with another last character");
	CHECK_INT(auth_find(s, who.prefix, &who), STORE_NOT_FOUND, "not by its prefix alone");
	CHECK_INT(put(s, wrong, "evil", "admin"), STORE_NOT_FOUND, "a prefix is never given twice");
	CHECK_INT(auth_find(s, key, &who), STORE_OK, "the first one counts on");
	CHECK_STR(who.org, "acme", "as it was");
	CHECK_INT(store_revoke_key(s, who.prefix, 2000), STORE_OK, "revoked");
	CHECK_INT(store_revoke_key(s, who.prefix, 3000), STORE_NOT_FOUND, "once");
	CHECK_INT(auth_find(s, key, &who), STORE_NOT_FOUND, "it counts no more");
	store_close(s);
}

int main(void)
{
	test_form();
	test_orgs();
	test_find();
	return tap_done();
}
