#include "lib/api/session.h"

#include <openssl/crypto.h>
#include <string.h>

#include "lib/api/call.h"
#include "lib/base/clock.h"

#define TOKEN_BYTES ((SESSION_TOKEN_SIZE - 1) / 2)
#define CSRF_BYTES ((STORE_CSRF_SIZE - 1) / 2)

/* A call of one of the routes below. */
struct session_call {
	struct api_call call;
	const struct session *session;
	struct session_made *made;
};

/* --- tokens ---------------------------------------------------------------------------------- */

bool session_token_valid(const char *text, size_t len)
{
	return len == SESSION_TOKEN_SIZE - 1 && strspn(text, "0123456789abcdef") >= len;
}

static void make_token(char *out, size_t bytes)
{
	uint8_t random[TOKEN_BYTES];

	bytes_random(random, bytes);
	bytes_to_hex(random, bytes, out);
	OPENSSL_cleanse(random, sizeof random);
}

enum store_status session_find(struct store *s, const char *token, int64_t now_ms, struct session *out)
{
	uint8_t hash[SHA256_BYTES];
	enum store_status status;

	bytes_sha256(token, strlen(token), hash);
	status = store_get_session(s, hash, now_ms, &out->stored);
	return status == STORE_OK ? auth_find_prefix(s, out->stored.key_prefix, &out->who) : status;
}

bool session_csrf_matches(const struct session *session, const char *given)
{
	return given && strlen(given) == STORE_CSRF_SIZE - 1 &&
	       CRYPTO_memcmp(given, session->stored.csrf, STORE_CSRF_SIZE - 1) == 0;
}

/* --- routes ---------------------------------------------------------------------------------- */

static void show(struct api_call *c, const struct auth_who *who, const struct store_session *stored)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "org", who->org);
	json_add_text(o, "scope", auth_scope_name(who->scope));
	json_add_text(o, "csrf", stored->csrf);
	json_add_time(o, "expires_at", stored->expires_ms);
	call_answer(c, 200, "OK", o);
}

static void run_create(struct api_call *c)
{
	struct session_call *call = (struct session_call *)c;
	struct session_made *made = call->made;
	struct store_session stored = { .created_ms = c->now_ms, .expires_ms = c->now_ms + SESSION_LIFE_MS };
	enum store_status status = auth_find(c->store, c->in.key, &made->who);

	if (status == STORE_NOT_FOUND) {
		call_refuse(c, PROBLEM_UNAUTHORIZED, "There is no such API key, or it was revoked");
		return;
	}
	if (status == STORE_OK) {
		make_token(made->token, TOKEN_BYTES);
		make_token(stored.csrf, CSRF_BYTES);
		memcpy(stored.key_prefix, made->who.prefix, sizeof stored.key_prefix);
		bytes_sha256(made->token, strlen(made->token), stored.hash);
		status = store_put_session(c->store, &stored);
	}
	if (status == STORE_OK) {
		show(c, &made->who, &stored);
		return;
	}
	made->token[0] = '\0';
	call_store_failed(c, status);
}

static void run_show(struct api_call *c)
{
	const struct session *session = ((struct session_call *)c)->session;

	if (session)
		show(c, &session->who, &session->stored);
	else
		call_refuse(c, PROBLEM_UNAUTHORIZED, "There is no session, or it has ended");
}

static void run_delete(struct api_call *c)
{
	const struct session *session = ((struct session_call *)c)->session;
	enum store_status status = session ? store_delete_session(c->store, session->stored.hash) : STORE_OK;

	if (!session)
		call_refuse(c, PROBLEM_UNAUTHORIZED, "There is no session, or it has ended");
	else if (status == STORE_OK || status == STORE_NOT_FOUND) /* another request was first */
		call_answer(c, 204, "No Content", NULL);
	else
		call_store_failed(c, status);
}

static const struct field create_body[] = {
	{ .name = "key", .type = FIELD_TEXT, .offset = IN(key), .required = true, .min = 1, .max = 255 },
};

static const struct route routes[] = {
	{ "POST", "", AUTH_READ, NO_FIELDS, FIELDS(create_body), run_create },
	{ "GET", "", AUTH_READ, NO_FIELDS, NO_FIELDS, run_show },
	{ "DELETE", "", AUTH_READ, NO_FIELDS, NO_FIELDS, run_delete },
};

void session_handle(const struct api_request *r, const struct session *session, struct store *store,
                    struct session_made *out, struct api_answer *answer)
{
	struct session_call c = {
		.call = { .store = store, .now_ms = clock_wall_ms(), .answer = answer }, .session = session, .made = out,
	};
	const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
	size_t i;

	memset(out, 0, sizeof *out);
	if (session)
		out->who = session->who;
	for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].method, method) == 0) {
			call_run(&c.call, &routes[i], r->query, r->body, r->body_len);
			return;
		}
	}
	api_refuse(answer, PROBLEM_METHOD_NOT_ALLOWED, NULL);
	buf_adds(&answer->headers, "Allow: GET, HEAD, POST, DELETE\r\n");
}
