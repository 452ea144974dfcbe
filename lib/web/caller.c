#include "lib/web/caller.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/web/dashboard.h"

static const char cookie_name[] = "ntrvsta_session=";

/* --- what the request brings ------------------------------------------------------------------ */

/* Apache keeps Authorization from CGI programs unless told otherwise; the other header always comes. */
static const char *find_key(const struct request *r)
{
	static const char scheme[] = "Bearer ";
	const char *key = request_param(r, "HTTP_X_NTRVSTA_API_KEY"), *authorization = request_param(r, "HTTP_AUTHORIZATION");

	if (key && *key)
		return key;
	if (authorization && strncasecmp(authorization, scheme, sizeof scheme - 1) == 0)
		return authorization + sizeof scheme - 1 + strspn(authorization + sizeof scheme - 1, " ");
	return NULL;
}

/* The first cookie of ours that looks like a token: that of the longest path comes first (RFC 6265, section 5.4). */
static bool find_token(const struct request *r, char out[SESSION_TOKEN_SIZE])
{
	const char *cookies = request_param(r, "HTTP_COOKIE");
	size_t name_len = sizeof cookie_name - 1, len;

	for (; cookies && *cookies; cookies += len) {
		cookies += strspn(cookies, "; \t");
		len = strcspn(cookies, "; \t");
		if (strncmp(cookies, cookie_name, name_len) == 0 && session_token_valid(cookies + name_len, len - name_len)) {
			memcpy(out, cookies + name_len, len - name_len);
			out[len - name_len] = '\0';
			return true;
		}
	}
	return false;
}

bool caller_has_cookie(const struct request *r)
{
	char token[SESSION_TOKEN_SIZE];
	bool found = !find_key(r) && find_token(r, token);

	OPENSSL_cleanse(token, sizeof token);
	return found;
}

static bool changes_something(const char *method)
{
	return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

/* Browsers say where a call comes from (Fetch Metadata); others say nothing. */
static bool from_elsewhere(const struct request *r)
{
	const char *site = request_param(r, "HTTP_SEC_FETCH_SITE");

	return site && strcmp(site, "same-origin") != 0;
}

/* --- who -------------------------------------------------------------------------------------- */

/* OUT is zeroed by the caller, and stays so where there is no cookie. */
static enum store_status find_session(const struct request *r, struct store *store, struct session *out)
{
	char token[SESSION_TOKEN_SIZE];
	enum store_status status;

	if (!find_token(r, token))
		return STORE_NOT_FOUND;
	status = session_find(store, token, clock_wall_ms(), out);
	OPENSSL_cleanse(token, sizeof token);
	return status;
}

/* True where the search went well. Else OUT is the answer. */
static bool check(enum store_status status, struct store *store, const char *not_found, struct api_answer *out)
{
	if (status == STORE_OK)
		return true;
	if (status != STORE_NOT_FOUND)
		log_error("store: %s", store_error(store));
	api_refuse(out, status == STORE_NOT_FOUND ? PROBLEM_UNAUTHORIZED : PROBLEM_STORE_UNAVAILABLE,
	           status == STORE_NOT_FOUND ? not_found : NULL);
	return false;
}

/* May METHOD be called for the sake of a cookie, which browsers send by themselves? */
static bool check_origin(const struct request *r, const char *method, const struct session *session,
                         struct api_answer *out)
{
	if (!changes_something(method) ||
	    (!from_elsewhere(r) && session_csrf_matches(session, request_param(r, "HTTP_X_CSRF_TOKEN"))))
		return true;
	api_refuse(out, PROBLEM_CSRF, NULL);
	return false;
}

bool caller_find(const struct request *r, const char *method, bool sessions, struct store *store, struct auth_who *who,
                 struct api_answer *out)
{
	const char *key = find_key(r);
	struct session session = { 0 };
	enum store_status status;

	if (!store) {
		api_refuse(out, PROBLEM_STORE_UNAVAILABLE, NULL);
		return false;
	}
	if (key)
		return check(auth_find(store, key, who), store, "There is no such API key, or it was revoked", out);
	status = sessions ? find_session(r, store, &session) : STORE_NOT_FOUND;
	*who = session.who;
	return check(status, store, sessions && caller_has_cookie(r) ? "The session has ended" : NULL, out) &&
	       check_origin(r, method, &session, out);
}

/* --- signing in and out ------------------------------------------------------------------------ */

/* Where the browser sees the mount: what is in front of the session's path in the URL. The web server's word on it
 * is not SCRIPT_NAME, which may be what it was rewritten to. */
static void add_mount(struct buf *out, const struct request *r)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~!$&'()*+,=:@%";
	const char *uri = request_param(r, "REQUEST_URI");
	size_t len = uri ? strcspn(uri, "?") : 0, behind = sizeof DASHBOARD_SESSION_PATH - 1;

	if (len > behind && uri[0] == '/' && memcmp(uri + len - behind, DASHBOARD_SESSION_PATH, behind) == 0 &&
	    strspn(uri, allowed) >= len)
		buf_add(out, uri, len - behind);
	else
		buf_addc(out, '/');
}

static bool is_https(const struct request *r)
{
	const char *https = request_param(r, "HTTPS"), *scheme = request_param(r, "REQUEST_SCHEME");

	return (https && *https && strcasecmp(https, "off") != 0) || (scheme && strcmp(scheme, "https") == 0);
}

static void set_cookie(const struct request *r, const char *token, int64_t life_ms, struct api_answer *out)
{
	buf_addf(&out->headers, "Set-Cookie: %s%s; HttpOnly; SameSite=Strict; Path=", cookie_name, token);
	add_mount(&out->headers, r);
	buf_addf(&out->headers, "; Max-Age=%lld%s\r\n", (long long)(life_ms / 1000), is_https(r) ? "; Secure" : "");
}

/* The session of a request that does not sign in: *FOUND. False where it may not go on: OUT is the answer. */
static bool look_up(const struct request *r, const char *method, struct store *store, struct session *session, bool *found,
                    struct api_answer *out)
{
	enum store_status status = find_session(r, store, session);

	*found = status == STORE_OK;
	if (*found)
		return check_origin(r, method, session, out);
	return status == STORE_NOT_FOUND || check(status, store, NULL, out);
}

void caller_serve_session(const struct request *r, const struct api_request *api, struct store *store,
                          struct auth_who *who, struct api_answer *out)
{
	bool sign_in = strcmp(api->method, "POST") == 0, found = false, may;
	struct session session = { 0 };
	struct session_made made;

	if (!store) {
		api_refuse(out, PROBLEM_STORE_UNAVAILABLE, NULL);
		return;
	}
	if (sign_in && from_elsewhere(r)) {
		api_refuse(out, PROBLEM_CSRF, "Only a page of this origin signs in");
		return;
	}
	may = sign_in || look_up(r, api->method, store, &session, &found, out);
	*who = session.who;
	if (!may)
		return;
	session_handle(api, found ? &session : NULL, store, &made, out);
	*who = made.who;
	/* A page that asks who is signed in, and nobody is: no refusal that anybody wants to see counted. */
	if (out->status == 401 && !changes_something(api->method) && !caller_has_cookie(r))
		out->code = NULL;
	if (made.token[0])
		set_cookie(r, made.token, SESSION_LIFE_MS, out);
	else if (out->status == 204)
		set_cookie(r, "", 0, out);
	OPENSSL_cleanse(made.token, sizeof made.token);
}
