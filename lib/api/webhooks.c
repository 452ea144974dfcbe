#include "lib/api/call.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/stats.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/targets.h"
#include "lib/delivery/url.h"
#include "lib/event/standard.h"

#define DESCRIPTION_MAX 500
#define DETAILED "detailed" /* what logLevel can be besides normal */
#define OVERLAP_S (24 * 60 * 60)
#define OVERLAP_MAX_S (30 * OVERLAP_S)

/* --- what is shown -------------------------------------------------------------------------- */

/* "a b c" as an array. */
static struct json_object *split_events(const char *events)
{
	struct json_object *names = json_object_new_array();
	size_t len;

	while (*events) {
		len = strcspn(events, " ");
		json_object_array_add(names, json_object_new_string_len(events, (int)len));
		events += len;
		events += *events == ' ';
	}
	return names;
}

/* Since when each secret signs and until when; never the secrets. */
static struct json_object *list_secrets(const struct store_webhook *w)
{
	struct json_object *secrets = json_object_new_array(), *o;
	size_t i;

	for (i = 0; i < w->nsecrets; i++) {
		o = json_object_new_object();
		json_add_time(o, "created_at", w->secrets[i].created_ms);
		json_add_time(o, "expires_at", w->secrets[i].until_ms);
		json_object_array_add(secrets, o);
	}
	return secrets;
}

/* Under the names that requests have for them. */
static void add_log_level(struct json_object *o, bool debug, bool detailed)
{
	json_add_bool(o, "debug", debug);
	json_add_text(o, "logLevel", detailed ? DETAILED : "normal");
}

static struct json_object *show_webhook(const struct store_webhook *w)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "id", w->id);
	json_add_text(o, "kind", "webhook");
	json_add_text(o, "url", w->url);
	json_object_object_add(o, "events", split_events(w->events));
	json_add_text(o, "description", w->description);
	json_add_bool(o, "active", w->active);
	json_add_text(o, "inactive_reason", w->inactive_reason);
	add_log_level(o, w->debug, w->detailed);
	json_object_object_add(o, "secrets", list_secrets(w));
	json_add_time(o, "created_at", w->created_ms);
	json_add_time(o, "updated_at", w->updated_ms);
	return o;
}

/* The same members, so that one list holds both. */
static struct json_object *show_handler(const char *name, const char *inactive)
{
	struct json_object *o = json_object_new_object(), *events = json_object_new_array();
	char *event = targets_event(name);

	json_object_array_add(events, json_object_new_string(event ? event : "*"));
	free(event);
	json_add_text(o, "id", name);
	json_add_text(o, "kind", "handler");
	json_add_text(o, "url", "");
	json_object_object_add(o, "events", events);
	json_add_text(o, "description", "");
	json_add_bool(o, "active", !inactive);
	json_add_text(o, "inactive_reason", inactive ? inactive : "");
	add_log_level(o, false, false);
	json_object_object_add(o, "secrets", json_object_new_array());
	json_add_time(o, "created_at", 0);
	json_add_time(o, "updated_at", 0);
	return o;
}

static void get(struct api_call *c)
{
	struct api_target t;

	if (!call_target(c, &t))
		return;
	call_answer(c, 200, "OK", t.webhook ? show_webhook(&t.registered) : show_handler(c->id, t.inactive));
	api_target_free(&t);
}

/* --- the list: handlers by name, then webhooks, oldest first --------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_handlers(const struct api_call *c, struct page *page)
{
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	size_t i;

	if (targets_find_all(c->conf->handlers_dir, &found, NULL, NULL, &err))
		log_warn("handlers are missing in a list: %s", buf_str(&err));
	if (found.n > 0)
		qsort(found.names, found.n, sizeof *found.names, compare_names);
	for (i = 0; i < found.n; i++) {
		if (c->in.cursor && strcmp(found.names[i], c->in.cursor) <= 0)
			continue;
		if (!page_has_room(page))
			break;
		page_add(page, show_handler(found.names[i], NULL), "%s", found.names[i]);
	}
	targets_free(&found);
	buf_free(&err);
}

static int add_webhook(void *ctx, const struct store_webhook *w)
{
	struct page *page = ctx;

	if (!page_has_room(page))
		return 1;
	page_add(page, show_webhook(w), "%s", w->id);
	return 0;
}

static void list(struct api_call *c)
{
	bool behind_webhook = c->in.cursor && id_valid(ID_WEBHOOK, c->in.cursor);
	enum store_status status = STORE_OK;
	struct page page;

	if (c->in.cursor && !behind_webhook && !targets_name_valid(c->in.cursor)) {
		page_refuse_cursor(c);
		return;
	}
	if (c->in.time_range && !c->in.include) {
		fields_refuse(c->errors, "timeRange", "wants include=stats beside it");
		return;
	}
	page_begin(&page, c);
	if (!behind_webhook)
		list_handlers(c, &page);
	if (!page.more)
		status = store_list_webhooks(c->store, c->who->org, behind_webhook ? c->in.cursor : NULL, c->now_ms, add_webhook, &page);
	if (status == STORE_OK && c->in.include)
		status = stats_add_to_rows(c, page.rows);
	page_end(&page, c, status);
}

/* --- create --------------------------------------------------------------------------------- */

static char *join_events(struct json_object *names)
{
	struct buf events = BUF_INIT;
	size_t i;

	for (i = 0; i < json_object_array_length(names); i++)
		buf_addf(&events, "%s%s", i ? " " : "", json_object_get_string(json_object_array_get_idx(names, i)));
	return buf_detach(&events);
}

static char *check_url(struct api_call *c)
{
	struct buf err = BUF_INIT;
	char *url = url_check(c->in.url, &c->conf->webhooks, &err);

	if (!url)
		fields_refuse(c->errors, "url", "%s", buf_str(&err));
	buf_free(&err);
	return url;
}

/* The secret that was given, or a new one, into OUT. */
static bool choose_secret(struct api_call *c, char out[STANDARD_SECRET_MAX + 1])
{
	struct buf err = BUF_INIT;
	bool good = true;

	if (!c->in.secret) {
		standard_make_secret(out);
	} else if (standard_check_secret(c->in.secret, &err) == 0) {
		memcpy(out, c->in.secret, strlen(c->in.secret) + 1);
	} else {
		fields_refuse(c->errors, "secret", "%s", buf_str(&err));
		good = false;
	}
	buf_free(&err);
	return good;
}

/* The one answer that holds a secret, and rotate's. */
static void answer_created(struct api_call *c, const char *id, const char *secret)
{
	struct store_webhook w;
	struct json_object *o;
	enum store_status status = store_get_webhook(c->store, c->who->org, id, c->now_ms, &w);

	if (status != STORE_OK) {
		call_store_failed(c, status);
		return;
	}
	o = show_webhook(&w);
	json_add_text(o, "secret", secret);
	call_answer(c, 201, "Created", o);
	store_webhook_free(&w);
}

static bool wants_detail(const struct api_call *c)
{
	return c->in.log_level && strcmp(c->in.log_level, DETAILED) == 0;
}

static void create(struct api_call *c)
{
	char secret[STANDARD_SECRET_MAX + 1];
	struct store_webhook w = { .active = c->in.active != 0, .debug = c->in.debug > 0, .detailed = wants_detail(c) };
	enum store_status status;
	bool good = choose_secret(c, secret);

	w.url = check_url(c);
	if (w.url && good) {
		w.org = xstrdup(c->who->org);
		w.description = xstrdup(c->in.description ? c->in.description : "");
		w.events = join_events(c->in.events);
		status = store_put_webhook(c->store, &w, secret, c->now_ms);
		if (status == STORE_OK)
			answer_created(c, w.id, secret);
		else
			call_store_failed(c, status);
	}
	OPENSSL_cleanse(secret, sizeof secret);
	store_webhook_free(&w);
}

/* --- change --------------------------------------------------------------------------------- */

/* The webhook that is to be changed: handlers are files. Like call_target(). */
static bool find_changeable(struct api_call *c, struct api_target *t)
{
	if (!call_target(c, t))
		return false;
	if (!t->webhook)
		call_refuse(c, PROBLEM_CONFLICT, "Handlers are files on the server: they can't be changed here");
	return t->webhook;
}

static void replace(char **text, char *with)
{
	free(*text);
	*text = with;
}

static bool lay_over(struct api_call *c, struct store_webhook *w)
{
	char *url = NULL;

	if (c->in.url && !(url = check_url(c)))
		return false;
	if (url)
		replace(&w->url, url);
	if (c->in.description)
		replace(&w->description, xstrdup(c->in.description));
	if (c->in.events)
		replace(&w->events, join_events(c->in.events));
	if (c->in.active >= 0)
		w->active = c->in.active;
	if (c->in.debug >= 0)
		w->debug = c->in.debug;
	if (c->in.log_level)
		w->detailed = wants_detail(c);
	return true;
}

/* Within one transaction, so that of two changes at once none undoes the other's fields. */
static void update(struct api_call *c)
{
	struct api_target t;
	enum store_status status = store_begin(c->store);
	bool changed = false;

	if (status != STORE_OK) {
		call_store_failed(c, status);
		return;
	}
	if (find_changeable(c, &t)) {
		if (lay_over(c, &t.registered)) {
			status = store_change_webhook(c->store, &t.registered, c->now_ms);
			if (status == STORE_OK)
				status = store_commit(c->store);
			changed = status == STORE_OK;
			if (!changed)
				call_store_failed(c, status);
		}
		api_target_free(&t);
	}
	store_rollback(c->store);
	if (!changed)
		return;
	c->answer->new_work = c->in.active > 0; /* what was held goes on */
	get(c);
}

static void delete(struct api_call *c)
{
	struct api_target t;
	int64_t canceled;
	enum store_status status;

	if (!find_changeable(c, &t))
		return;
	status = store_delete_webhook(c->store, t.registered.id, c->now_ms, &canceled);
	if (status == STORE_OK)
		call_answer(c, 204, "No Content", NULL);
	else
		call_store_failed(c, status);
	api_target_free(&t);
}

static void rotate(struct api_call *c)
{
	int64_t overlap_ms = (c->in.overlap_s < 0 ? OVERLAP_S : c->in.overlap_s) * 1000;
	char secret[STANDARD_SECRET_MAX + 1];
	struct api_target t;
	struct json_object *o;
	enum store_status status;

	if (!choose_secret(c, secret))
		return;
	if (find_changeable(c, &t)) {
		status = store_rotate_webhook(c->store, t.registered.id, secret, overlap_ms, c->now_ms);
		if (status == STORE_OK) {
			o = json_object_new_object();
			json_add_text(o, "id", t.registered.id);
			json_add_text(o, "secret", secret);
			json_add_time(o, "previous_until", c->now_ms + overlap_ms);
			call_answer(c, 200, "OK", o);
		} else {
			call_store_failed(c, status);
		}
		api_target_free(&t);
	}
	OPENSSL_cleanse(secret, sizeof secret);
}

/* --- routes --------------------------------------------------------------------------------- */

#define SECRET_FIELD \
	{ .name = "secret", .type = FIELD_TEXT, .offset = IN(secret), .min = 1, .max = STANDARD_SECRET_MAX }
static const char *const log_levels[] = { "normal", DETAILED, NULL };

#define WEBHOOK_FIELDS(must) \
	{ .name = "url", .type = FIELD_TEXT, .offset = IN(url), .required = must, .min = 1, .max = URL_MAX }, \
	{ .name = "events", .type = FIELD_EVENTS, .offset = IN(events), .required = must }, \
	{ .name = "active", .type = FIELD_BOOL, .offset = IN(active) }, \
	{ .name = "description", .type = FIELD_TEXT, .offset = IN(description), .max = DESCRIPTION_MAX }, \
	{ .name = "debug", .type = FIELD_BOOL, .offset = IN(debug) }, \
	{ .name = "logLevel", .type = FIELD_CHOICE, .offset = IN(log_level), .choices = log_levels }

static const char *const parts[] = { "stats", NULL };

static const struct field list_fields[] = {
	PAGE_FIELDS,
	{ .name = "include", .type = FIELD_CHOICE, .offset = IN(include), .choices = parts },
	TIME_RANGE_FIELD,
};
static const struct field create_fields[] = { WEBHOOK_FIELDS(true), SECRET_FIELD };
static const struct field update_fields[] = { WEBHOOK_FIELDS(false) };
static const struct field rotate_fields[] = {
	SECRET_FIELD,
	{ .name = "overlap_seconds", .type = FIELD_NUMBER, .offset = IN(overlap_s), .max = OVERLAP_MAX_S },
};

const struct route webhook_routes[] = {
	{ "GET", "/v1/webhooks", AUTH_READ, FIELDS(list_fields), NO_FIELDS, list },
	{ "POST", "/v1/webhooks", AUTH_WRITE, NO_FIELDS, FIELDS(create_fields), create },
	{ "POST", "/v1/webhooks/{id}/rotate-secret", AUTH_WRITE, NO_FIELDS, FIELDS(rotate_fields), rotate },
	{ "GET", "/v1/webhooks/{id}", AUTH_READ, NO_FIELDS, NO_FIELDS, get },
	{ "PATCH", "/v1/webhooks/{id}", AUTH_WRITE, NO_FIELDS, FIELDS(update_fields), update },
	{ "DELETE", "/v1/webhooks/{id}", AUTH_WRITE, NO_FIELDS, NO_FIELDS, delete },
};
const size_t webhook_nroutes = sizeof webhook_routes / sizeof webhook_routes[0];
