#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/invite.h"

/* --- list and get -------------------------------------------------------------------------- */

struct listing {
	struct page page;
	const char *base_url;
};

static int add_invitation(void *ctx, const struct store_invitation *i)
{
	struct listing *l = ctx;

	if (!page_has_room(&l->page))
		return 1;
	page_add(&l->page, invite_show(i, l->base_url), "%s", i->id);
	return 0;
}

static void list(struct api_call *c)
{
	struct listing l = { .base_url = c->conf->invite_base_url };
	char *email = c->in.email ? invite_lower_case(c->in.email) : NULL;
	struct store_invitation_filter f = {
		.org = c->who->org, .template_id = c->in.template_id, .email = email, .before_id = c->in.cursor,
	};

	if (page_cursor_is_id(c, ID_INVITATION)) {
		page_begin(&l.page, c);
		page_end(&l.page, c, store_list_invitations(c->store, &f, add_invitation, &l));
	}
	free(email);
}

static void get(struct api_call *c)
{
	struct store_invitation i;
	enum store_status status = store_get_invitation(c->store, c->who->org, c->id, &i);

	call_answer_found(c, status == STORE_OK ? invite_show(&i, c->conf->invite_base_url) : NULL, status);
	store_invitation_free(&i);
}

/* --- create -------------------------------------------------------------------------------- */

/* What is said of a candidate by members of the invitation itself: an older form, in two spellings. */
static const struct {
	const char *prefixed, *plain;
	size_t offset; /* in struct input_candidate */
} legacy[] = {
	{ "candidateEmail", "email", offsetof(struct input_candidate, email) },
	{ "candidateName", "name", offsetof(struct input_candidate, name) },
	{ "candidateFirstName", "firstName", offsetof(struct input_candidate, first_name) },
	{ "candidateLastName", "lastName", offsetof(struct input_candidate, last_name) },
};

static const char **member(struct input_candidate *whom, size_t i)
{
	return (const char **)((char *)whom + legacy[i].offset);
}

/* One candidate, whichever way it is said; what is said in two ways must be the same. */
static void gather_candidate(struct api_call *c, struct input_candidate *out)
{
	size_t i;

	*out = c->in.nested;
	for (i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
		const char *prefixed = *member(&c->in.prefixed, i), *plain = *member(&c->in.plain, i);

		if (!prefixed && !plain)
			continue;
		if (c->in.candidate)
			fields_refuse(c->errors, prefixed ? legacy[i].prefixed : legacy[i].plain, "does not go with candidate");
		else if (prefixed && plain && strcmp(prefixed, plain) != 0)
			fields_refuse(c->errors, legacy[i].plain, "says another thing than %s", legacy[i].prefixed);
		*member(out, i) = prefixed ? prefixed : plain;
	}
	if (!c->in.candidate && !out->email)
		fields_refuse(c->errors, "candidate", "is required");
}

static void invite(struct api_call *c, const struct store_template *t, const struct input_candidate *whom)
{
	struct store_invitation i;
	bool reused;
	enum store_status status = invite_candidate(c->store, t, whom, c->conf->invite_base_url, c->now_ms, &i, &reused);

	if (status == STORE_OK) {
		c->answer->new_work = !reused;
		call_answer(c, reused ? 200 : 201, reused ? "OK" : "Created", invite_show(&i, c->conf->invite_base_url));
	} else {
		call_store_failed(c, status);
	}
	store_invitation_free(&i);
}

static void create(struct api_call *c)
{
	struct input_candidate whom;
	struct store_template t;
	enum store_status status;

	gather_candidate(c, &whom);
	if (json_object_array_length(c->errors) > 0)
		return;
	status = store_get_template(c->store, c->who->org, c->in.template_id, &t);
	if (status != STORE_OK)
		call_store_failed(c, status);
	else if (!*c->conf->invite_base_url)
		call_refuse(c, PROBLEM_CONFLICT, INVITE_NO_PAGE);
	else
		invite(c, &t, &whom);
	store_template_free(&t);
}

/* --- routes -------------------------------------------------------------------------------- */

#define EMAIL(field, where) { .name = field, .type = FIELD_EMAIL, .offset = IN(where.email) }
#define NAME(field, where) { .name = field, .type = FIELD_LINE, .offset = IN(where), .max = INVITE_NAME_MAX }
#define TEMPLATE_ID .name = "templateId", .type = FIELD_TEXT, .offset = IN(template_id), .min = 1, .max = ID_SIZE

static const struct field candidate_fields[] = {
	{ .name = "email", .type = FIELD_EMAIL, .offset = IN(nested.email), .required = true },
	NAME("firstName", nested.first_name),
	NAME("lastName", nested.last_name),
	NAME("name", nested.name),
	{ .name = "externalId", .type = FIELD_LINE, .offset = IN(nested.external_id), .min = 1, .max = INVITE_EXTERNAL_ID_MAX },
};
static const struct field create_fields[] = {
	{ TEMPLATE_ID, .required = true },
	{ .name = "candidate", .type = FIELD_OBJECT, .offset = IN(candidate), .members = FIELDS(candidate_fields) },
	EMAIL("candidateEmail", prefixed),
	NAME("candidateName", prefixed.name),
	NAME("candidateFirstName", prefixed.first_name),
	NAME("candidateLastName", prefixed.last_name),
	EMAIL("email", plain),
	NAME("firstName", plain.first_name),
	NAME("lastName", plain.last_name),
	NAME("name", plain.name),
};
static const struct field list_fields[] = {
	PAGE_FIELDS,
	{ TEMPLATE_ID },
	{ .name = "email", .type = FIELD_EMAIL, .offset = IN(email) },
};

const struct route invitation_routes[] = {
	{ "GET", "/v1/interview-invitations", AUTH_READ, FIELDS(list_fields), NO_FIELDS, list },
	{ "POST", "/v1/interview-invitations", AUTH_WRITE, NO_FIELDS, FIELDS(create_fields), create },
	{ "GET", "/v1/interview-invitations/{id}", AUTH_READ, NO_FIELDS, NO_FIELDS, get },
};
const size_t invitation_nroutes = sizeof invitation_routes / sizeof invitation_routes[0];
