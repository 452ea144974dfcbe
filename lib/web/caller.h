/* Who calls, over HTTP: by an API key in a header, or by the cookie of a session of the dashboard. */
#ifndef NTRVSTA_WEB_CALLER_H
#define NTRVSTA_WEB_CALLER_H

#include <stdbool.h>

#include "lib/api/session.h"
#include "lib/web/request.h"

/* Is it a session, of now or before, that asks, and no key? */
bool caller_has_cookie(const struct request *r);

/* Who may call METHOD of the API; without SESSIONS only keys count. False where nobody may go on: OUT is the answer,
 * and WHO names the key that was tried. STORE NULL: it could not be opened. */
bool caller_find(const struct request *r, const char *method, bool sessions, struct store *store, struct auth_who *who,
                 struct api_answer *out);

/* Sign in and out, and who has: API.path is DASHBOARD_SESSION_PATH. */
void caller_serve_session(const struct request *r, const struct api_request *api, struct store *store,
                          struct auth_who *who, struct api_answer *out);

#endif
