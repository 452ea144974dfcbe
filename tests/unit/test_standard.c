#include "lib/event/standard.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"
#include "tests/unit/vectors.h"

static void test_row(struct json_object *row)
{
	struct json_object *secrets = NULL, *timestamp = NULL;
	struct buf out = BUF_INIT;
	size_t len, i, n;
	unsigned char *body = vector_bytes(vector_text(row, "payload_base64"), &len);

	json_object_object_get_ex(row, "secrets", &secrets);
	json_object_object_get_ex(row, "timestamp", &timestamp);
	n = secrets ? json_object_array_length(secrets) : 0;
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(&out, ' ');
		standard_sign(json_object_get_string(json_object_array_get_idx(secrets, i)), vector_text(row, "id"),
		              json_object_get_int64(timestamp), body, len, &out);
	}
	CHECK_STR(buf_str(&out), vector_text(row, "signature"), "vector: %s", vector_text(row, "name"));
	buf_free(&out);
	free(body);
}

static void test_vectors(void)
{
	struct json_object *rows = json_object_from_file(tap_data("data/standard-webhooks.json"));
	size_t i, n = rows ? json_object_array_length(rows) : 0;

	CHECK(n >= 7, "the file of vectors is there and whole");
	for (i = 0; i < n; i++)
		test_row(json_object_array_get_idx(rows, i));
	json_object_put(rows);
}

static void test_made_secrets(void)
{
	char one[STANDARD_SECRET_SIZE], other[STANDARD_SECRET_SIZE];
	struct buf err = BUF_INIT;
	unsigned char *key;
	size_t len = 0;

	standard_make_secret(one);
	standard_make_secret(other);
	CHECK(strncmp(one, "whsec_", 6) == 0, "a secret that is made begins with whsec_");
	key = vector_bytes(one + 6, &len);
	CHECK_INT((int64_t)len, 32, "... and has 32 bytes in base64");
	CHECK(strcmp(one, other) != 0, "two are not the same");
	CHECK_INT(standard_check_secret(one, &err), 0, "it is usable");
	free(key);
	buf_free(&err);
}

static void test_given_secrets(void)
{
	char longest[257], longer[258];
	const struct {
		const char *secret;
		bool usable;
	} rows[] = {
		{ "x", true },
		{ "your_webhook_secret_here", true },
		{ "with~all!kinds$of(characters)", true },
		{ longest, true },
		{ longer, false },
		{ "", false },
		{ "two words", false },
		{ "line\n", false },
		{ "tab\t", false },
		{ "caf\xc3\xa9", false },
		{ "\x7f", false },
		{ "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true },
		{ "whsec_AA==", true },
		{ "whsec_AAA=", true },
		{ "whsec_AAAA", true },
		{ "whsec_", false },
		{ "whsec_A", false },
		{ "whsec_AAA", false },
		{ "whsec_====", false },
		{ "whsec_A===", false },
		{ "whsec_A=AA", false },
		{ "whsec_AA=A", false },
		{ "whsec_AAAA-_AA", false },
		{ "whsec_not base64", false },
		{ "whsec_n*tbase64", false },
		{ "WHSEC_n*tbase64", true }, /* no prefix: its bytes are the key */
	};
	size_t i;

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf err = BUF_INIT;
		int result = standard_check_secret(rows[i].secret, &err);

		CHECK_INT(result, rows[i].usable ? 0 : -1, "secret %zu is %s", i, rows[i].usable ? "usable" : "refused");
		CHECK((result == 0) == (err.len == 0), "... with a reason where it is refused");
		CHECK(strlen(rows[i].secret) <= strlen(STANDARD_PREFIX) || !strstr(buf_str(&err), rows[i].secret),
		      "... that does not hold it");
		buf_free(&err);
	}
}

/* Whoever got a secret into the store that would be refused: it signs as its bytes, and breaks nothing. */
static void test_odd_secrets(void)
{
	static const char *const secrets[] = { "", "whsec_", "whsec_n*tbase64", "whsec_AAA" };
	size_t i;

	for (i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		struct buf out = BUF_INIT;

		standard_sign(secrets[i], "id", 1, "", 0, &out);
		CHECK(strncmp(buf_str(&out), "v1,", 3) == 0 && out.len == 3 + 44, "'%s' signs all the same", secrets[i]);
		buf_free(&out);
	}
}

int main(void)
{
	test_vectors();
	test_made_secrets();
	test_given_secrets();
	test_odd_secrets();
	return tap_done();
}
