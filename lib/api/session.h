/* Sessions of the dashboard. A key of the management API is exchanged for a token, which a browser keeps in a cookie
 * that no script reads; the session has the key's organisation and scope, ends with the key, and after
 * SESSION_LIFE_MS at the latest.
 *
 * Browsers send cookies by themselves, also where another site made them call: whoever changes something names the
 * session's csrf as well, which only this site's own pages can read. */
#ifndef NTRVSTA_API_SESSION_H
#define NTRVSTA_API_SESSION_H

#include "lib/api/api.h"
#include "lib/store/sessions.h"

#define SESSION_LIFE_MS INT64_C(43200000) /* 12 h */
#define SESSION_TOKEN_SIZE 65             /* 64 hex digits and a NUL */

struct session {
	struct auth_who who;
	struct store_session stored;
};

/* Does TEXT, of LEN characters, look like a token? */
bool session_token_valid(const char *text, size_t len);

/* The session of TOKEN. STORE_NOT_FOUND where there is none, it has expired, or its key was revoked. */
enum store_status session_find(struct store *s, const char *token, int64_t now_ms, struct session *out);

/* Is GIVEN (may be NULL) the session's csrf? Takes the same time wherever the first difference is. */
bool session_csrf_matches(const struct session *session, const char *given);

/* POST {"key"}, and GET and DELETE by who has a session. SESSION is that one, NULL where there is none; after a POST
 * that succeeded OUT->token is the new one's. OUT->who tells who asked. The caller has checked the csrf. */
struct session_made {
	struct auth_who who;
	char token[SESSION_TOKEN_SIZE]; /* "": none was made. The caller wipes it */
};
void session_handle(const struct api_request *r, const struct session *session, struct store *store,
                    struct session_made *out, struct api_answer *answer);

#endif
