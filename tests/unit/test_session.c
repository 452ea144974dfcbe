#include "lib/api/session.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

static void put_key(struct store *s, char key[AUTH_KEY_SIZE], const char *scope)
{
	struct store_key row = { .org = "acme", .scope = scope, .created_ms = 1000 };

	auth_make_key(key);
	auth_key_prefix(key, row.prefix);
	bytes_sha256(key, strlen(key), row.hash);
	CHECK(store_put_key(s, &row) == STORE_OK, "a key");
}

/* Sign in with KEY. The answer's status. */
static unsigned sign_in(struct store *s, const char *key, struct session_made *made)
{
	char *body = xasprintf("{\"key\":\"%s\"}", key);
	struct api_request r = { .method = "POST", .path = "/dashboard/session", .body = body, .body_len = strlen(body) };
	struct api_answer answer = { 0 };

	session_handle(&r, NULL, s, made, &answer);
	CHECK(!made->token[0] || !strstr(buf_str(&answer.body), made->token), "the answer has no token in it");
	api_answer_free(&answer);
	free(body);
	return answer.status;
}

static void test_tokens(void)
{
	static const char token[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	CHECK(session_token_valid(token, 64), "64 hex digits are a token");
	CHECK(!session_token_valid(token, 63), "fewer are not");
	CHECK(!session_token_valid("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeF", 64), "nor capitals");
	CHECK(!session_token_valid("", 0) && !session_token_valid("x", 64), "nor anything else");
}

static void test_life(void)
{
	struct store *s = new_store();
	char key[AUTH_KEY_SIZE];
	struct session_made made, second;
	struct session session;
	int64_t now_ms = clock_wall_ms();

	put_key(s, key, "write");
	CHECK_INT(sign_in(s, "ntr_01234567_0123456789012345678901234567890123456789", &made), 401, "a key that is nobody's signs nobody in");
	CHECK(made.token[0] == '\0', "and makes no token");
	CHECK_INT(sign_in(s, key, &made), 200, "a key signs in");
	CHECK(session_token_valid(made.token, strlen(made.token)), "and makes one");
	CHECK(strcmp(made.who.org, "acme") == 0 && made.who.scope == AUTH_WRITE, "of the key's organisation and scope");
	CHECK(session_find(s, made.token, now_ms, &session) == STORE_OK, "which finds the session");
	CHECK(strcmp(session.who.org, "acme") == 0 && session.who.scope == AUTH_WRITE && strncmp(session.who.prefix, key, 12) == 0,
	      "and says who has it");
	CHECK(session_find(s, made.token, session.stored.expires_ms - 1, &session) == STORE_OK, "until it expires");
	CHECK(session_find(s, made.token, session.stored.expires_ms, &session) == STORE_NOT_FOUND, "and no longer");
	CHECK(session.stored.expires_ms - session.stored.created_ms == SESSION_LIFE_MS, "after twelve hours");
	made.token[0] ^= 1;
	CHECK(session_find(s, made.token, now_ms, &session) == STORE_NOT_FOUND, "another token finds nothing");
	made.token[0] ^= 1;
	CHECK_INT(sign_in(s, key, &second), 200, "the same key signs in again");
	CHECK(strcmp(made.token, second.token) != 0, "with another token");
	store_revoke_key(s, session.stored.key_prefix, now_ms);
	CHECK(session_find(s, made.token, now_ms, &session) == STORE_NOT_FOUND &&
	      session_find(s, second.token, now_ms, &session) == STORE_NOT_FOUND, "a revoked key has no sessions");
	store_close(s);
}

static void test_csrf(void)
{
	struct session session = { .stored = { .csrf = "0123456789abcdef0123456789abcdef" } };

	CHECK(session_csrf_matches(&session, "0123456789abcdef0123456789abcdef"), "the session's own csrf");
	CHECK(!session_csrf_matches(&session, NULL), "none");
	CHECK(!session_csrf_matches(&session, ""), "an empty one");
	CHECK(!session_csrf_matches(&session, "0123456789abcdef0123456789abcdee"), "another one");
	CHECK(!session_csrf_matches(&session, "0123456789abcdef0123456789abcdef0"), "a longer one");
	CHECK(!session_csrf_matches(&session, "0123456789abcdef0123456789abcde"), "a shorter one");
	memset(&session, 0, sizeof session);
	CHECK(!session_csrf_matches(&session, ""), "nothing fits no session");
}

int main(void)
{
	test_tokens();
	test_life();
	test_csrf();
	return tap_done();
}
