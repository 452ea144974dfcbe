#include "lib/api/invite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/call.h"
#include "lib/api/publish.h"
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/xalloc.h"

#define TOKEN_CHARS 22 /* of 62: 2^130 and more of them */

/* --- what is shown ------------------------------------------------------------------------- */

char *invite_url(const struct store_invitation *i, const char *base_url)
{
	return *base_url ? xasprintf("%s/%s", base_url, i->token) : NULL;
}

static void add_url(struct json_object *o, const char *name, const struct store_invitation *i, const char *base_url)
{
	char *url = invite_url(i, base_url);

	json_add_text(o, name, url ? url : "");
	free(url);
}

struct json_object *invite_show_template(const struct store_template *t)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "id", t->id);
	json_add_text(o, "title", t->title);
	json_add_text(o, "description", t->description);
	json_add_text(o, "externalPostingId", t->posting_id);
	json_add_number(o, "inviteUrlExpiresInDays", t->expires_days);
	json_add_time(o, "createdAt", t->created_ms);
	return o;
}

struct json_object *invite_show(const struct store_invitation *i, const char *base_url)
{
	struct json_object *o = json_object_new_object(), *candidate = json_object_new_object();

	json_add_text(candidate, "id", i->candidate_id);
	json_add_text(candidate, "email", i->email);
	json_add_text(candidate, "name", i->name);
	json_add_text(candidate, "firstName", i->first_name);
	json_add_text(candidate, "lastName", i->last_name);
	json_add_text(candidate, "externalId", i->external_id);
	json_add_text(o, "id", i->id);
	json_add_text(o, "templateId", i->template_id);
	json_object_object_add(o, "candidate", candidate);
	add_url(o, "inviteUrl", i, base_url);
	json_add_time(o, "createdAt", i->created_ms);
	json_add_time(o, "expiresAt", i->expires_ms);
	return o;
}

/* --- the event ----------------------------------------------------------------------------- */

static void add_known(struct json_object *o, const char *name, const char *text)
{
	if (*text)
		json_add_text(o, name, text);
}

/* The `data` of candidate.invited, as the catalogue's sample has it. */
static struct json_object *describe(const struct store_template *t, const struct store_invitation *i, const char *base_url)
{
	struct json_object *data = json_object_new_object(), *candidate = json_object_new_object(),
	                   *interview = json_object_new_object(), *invitation = json_object_new_object();

	json_add_text(candidate, "id", i->candidate_id);
	json_add_text(candidate, "email", i->email);
	json_add_text(candidate, "name", i->name);
	add_known(candidate, "external_id", i->external_id);
	json_add_text(interview, "title", t->title);
	json_add_text(invitation, "id", i->id);
	json_add_text(invitation, "template_id", i->template_id);
	add_known(invitation, "external_posting_id", t->posting_id);
	add_url(invitation, "invite_url", i, base_url);
	json_add_time(invitation, "invited_at", i->created_ms);
	json_add_time(invitation, "expires_at", i->expires_ms);
	json_object_object_add(data, "candidate", candidate);
	json_object_object_add(data, "interview", interview);
	json_object_object_add(data, "invitation", invitation);
	return data;
}

/* --- the invitation ------------------------------------------------------------------------ */

/* Of the 256 values of a byte, the first 4 * 62 stand for each character equally often. */
static char *make_token(void)
{
	static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char *token = xcalloc(1, TOKEN_CHARS + 1);
	size_t n = 0;
	uint8_t byte;

	while (n < TOKEN_CHARS) {
		bytes_random(&byte, 1);
		if (byte < 4 * 62)
			token[n++] = alphabet[byte % 62];
	}
	return token;
}

static char *copy(const char *text)
{
	return xstrdup(text ? text : "");
}

char *invite_lower_case(const char *email)
{
	char *lower = xstrdup(email), *at;

	for (at = lower; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	return lower;
}

/* What is said in one, else what its parts make. */
static char *whole_name(const struct input_candidate *whom)
{
	const char *first = whom->first_name ? whom->first_name : "", *last = whom->last_name ? whom->last_name : "";

	if (whom->name && *whom->name)
		return xstrdup(whom->name);
	return xasprintf("%s%s%s", first, *first && *last ? " " : "", last);
}

static void fill(const struct store_template *t, const struct input_candidate *whom, int64_t now_ms,
                 struct store_invitation *out)
{
	memset(out, 0, sizeof *out);
	memcpy(out->template_id, t->id, ID_SIZE);
	out->org = xstrdup(t->org);
	out->email = invite_lower_case(whom->email);
	out->name = whole_name(whom);
	out->first_name = copy(whom->first_name);
	out->last_name = copy(whom->last_name);
	out->external_id = copy(whom->external_id);
	out->token = make_token();
	out->created_ms = now_ms;
	out->expires_ms = now_ms + t->expires_days * DAY_MS;
}

static enum store_status put(struct store *s, const struct store_template *t, const char *base_url,
                             struct store_invitation *i)
{
	enum store_status status = store_put_invitation(s, i);
	char event_id[ID_SIZE];
	struct json_object *data;

	if (status != STORE_OK)
		return status;
	data = describe(t, i, base_url);
	status = publish_event(s, i->org, "candidate.invited", data, i->created_ms, i->created_ms, event_id);
	json_object_put(data);
	return status;
}

enum store_status invite_candidate(struct store *s, const struct store_template *t, const struct input_candidate *whom,
                                   const char *base_url, int64_t now_ms, struct store_invitation *out, bool *reused)
{
	enum store_status status = store_begin(s);

	fill(t, whom, now_ms, out);
	*reused = false;
	if (status != STORE_OK)
		return status;
	status = store_find_invitation(s, out, now_ms);
	*reused = status == STORE_OK;
	if (status == STORE_NOT_FOUND)
		status = put(s, t, base_url, out);
	if (status == STORE_OK)
		return store_commit(s);
	store_rollback(s);
	return status;
}
