#include "lib/api/call.h"

#include "lib/api/invite.h"
#include "lib/base/xalloc.h"

static int add_template(void *ctx, const struct store_template *t)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, invite_show_template(t), "%s", t->id);
	return 0;
}

static void list(struct api_call *c)
{
	struct page page;

	if (!page_cursor_is_id(c, ID_TEMPLATE))
		return;
	page_begin(&page, c);
	page_end(&page, c, store_list_templates(c->store, c->who->org, c->in.cursor, add_template, &page));
}

static void get(struct api_call *c)
{
	struct store_template t;
	enum store_status status = store_get_template(c->store, c->who->org, c->id, &t);

	call_answer_found(c, status == STORE_OK ? invite_show_template(&t) : NULL, status);
	store_template_free(&t);
}

static void create(struct api_call *c)
{
	struct store_template t = {
		.org = xstrdup(c->who->org),
		.title = xstrdup(c->in.title),
		.description = xstrdup(c->in.description ? c->in.description : ""),
		.posting_id = xstrdup(c->in.posting_id ? c->in.posting_id : ""),
		.expires_days = c->in.expires_days ? c->in.expires_days : INVITE_DAYS,
	};
	bool reused;
	enum store_status status = store_put_template(c->store, &t, c->now_ms, &reused);

	if (status == STORE_OK)
		call_answer(c, reused ? 200 : 201, reused ? "OK" : "Created", invite_show_template(&t));
	else
		call_store_failed(c, status);
	store_template_free(&t);
}

static const struct field list_fields[] = { PAGE_FIELDS };
static const struct field create_fields[] = {
	{ .name = "title", .type = FIELD_LINE, .offset = IN(title), .required = true, .min = 1, .max = INVITE_TITLE_MAX },
	{ .name = "description", .type = FIELD_TEXT, .offset = IN(description), .max = INVITE_DESCRIPTION_MAX },
	{ .name = "externalPostingId", .type = FIELD_LINE, .offset = IN(posting_id), .min = 1, .max = INVITE_EXTERNAL_ID_MAX },
	{ .name = "inviteUrlExpiresInDays", .type = FIELD_NUMBER, .offset = IN(expires_days), .min = 1, .max = INVITE_DAYS_MAX },
};

const struct route template_routes[] = {
	{ "GET", "/v1/templates", AUTH_READ, FIELDS(list_fields), NO_FIELDS, list },
	{ "POST", "/v1/templates", AUTH_WRITE, NO_FIELDS, FIELDS(create_fields), create },
	{ "GET", "/v1/templates/{id}", AUTH_READ, NO_FIELDS, NO_FIELDS, get },
};
const size_t template_nroutes = sizeof template_routes / sizeof template_routes[0];
