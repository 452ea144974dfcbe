/* Inviting candidates to interviews: what the management API and the tool do alike. */
#ifndef NTRVSTA_API_INVITE_H
#define NTRVSTA_API_INVITE_H

#include <json-c/json.h>
#include <stdbool.h>

#include "lib/api/fields.h"
#include "lib/store/invitations.h"

#define INVITE_DAYS 30 /* until an invitation expires, unless its template says otherwise */
#define INVITE_DAYS_MAX 365
#define INVITE_TITLE_MAX 200 /* bytes, as all of these */
#define INVITE_DESCRIPTION_MAX 2000
#define INVITE_NAME_MAX 200
#define INVITE_EXTERNAL_ID_MAX 200

/* Why nobody can be invited where [invitations] base_url is empty. */
#define INVITE_NO_PAGE "[invitations] base_url is not set: an invitation would lead nowhere"

/* Invite WHOM, with an address that is valid, as T says: candidate.invited is published in the transaction that makes
 * the invitation. Or find the one that has not expired: *REUSED, as it was made, whatever else is said of WHOM. However
 * many do this at once, there is one. BASE_URL is [invitations] base_url, not empty. OUT is the caller's to free. */
enum store_status invite_candidate(struct store *s, const struct store_template *t, const struct input_candidate *whom,
                                   const char *base_url, int64_t now_ms, struct store_invitation *out, bool *reused);

/* EMAIL as the store has it, the caller's to free. */
char *invite_lower_case(const char *email);

/* The link that leads I's candidate to the interview, the caller's to free; NULL where BASE_URL is empty. */
char *invite_url(const struct store_invitation *i, const char *base_url);

/* As all answers show them. */
struct json_object *invite_show_template(const struct store_template *t);
struct json_object *invite_show(const struct store_invitation *i, const char *base_url);

#endif
