#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/once.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"

#define RETRY_STORE_S 10 /* how long to wait before another try, in seconds */

/* --- answers ------------------------------------------------------------------------------- */

static void write_json(struct api_answer *a, struct json_object *doc)
{
	buf_reset(&a->body);
	buf_adds(&a->body, json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	buf_addc(&a->body, '\n');
	json_object_put(doc);
}

static void refuse(struct api_answer *a, enum problem_code code, const char *detail, struct json_object *errors)
{
	const struct problem *p = problem_find(code);

	a->status = p->status;
	a->reason = p->reason;
	a->code = p->code;
	a->content_type = "application/problem+json";
	buf_reset(&a->headers);
	if (p->status == 401)
		buf_adds(&a->headers, "WWW-Authenticate: Bearer\r\n");
	if (p->status == 429 || p->status == 503)
		buf_addf(&a->headers, "Retry-After: %d\r\n", RETRY_STORE_S);
	write_json(a, problem_json(p, detail, errors));
}

void api_refuse(struct api_answer *out, enum problem_code code, const char *detail)
{
	refuse(out, code, detail, NULL);
}

void call_refuse(struct api_call *c, enum problem_code code, const char *detail)
{
	refuse(c->answer, code, detail, NULL);
}

void call_refuse_fields(struct api_call *c, enum problem_code code, struct json_object *errors)
{
	refuse(c->answer, code, NULL, errors);
}

void call_answer(struct api_call *c, unsigned status, const char *reason, struct json_object *doc)
{
	c->answer->status = status;
	c->answer->reason = reason;
	c->answer->content_type = doc ? "application/json" : NULL;
	if (doc)
		write_json(c->answer, doc);
}

void call_store_failed(struct api_call *c, enum store_status status)
{
	if (status == STORE_NOT_FOUND) {
		call_refuse(c, PROBLEM_NOT_FOUND, NULL);
		return;
	}
	log_error("store: %s", store_error(c->store));
	call_refuse(c, status == STORE_FULL ? PROBLEM_STORE_FULL : PROBLEM_STORE_UNAVAILABLE, NULL);
}

void call_answer_found(struct api_call *c, struct json_object *found, enum store_status status)
{
	if (found)
		call_answer(c, 200, "OK", found);
	else
		call_store_failed(c, status == STORE_OK ? STORE_NOT_FOUND : status);
}

void api_answer_free(struct api_answer *a)
{
	buf_free(&a->headers);
	buf_free(&a->body);
}

/* --- routes -------------------------------------------------------------------------------- */

static const struct route other_routes[] = {
	{ "GET", "/metrics", AUTH_READ, NO_FIELDS, NO_FIELDS, call_metrics },
};
static const size_t other_nroutes = sizeof other_routes / sizeof other_routes[0];

static const struct {
	const struct route *routes;
	const size_t *n;
	bool slow; /* they wait for others, or commit in steps: none can be one transaction */
} tables[] = {
	{ test_routes, &test_nroutes, true },
	{ security_routes, &security_nroutes, false },
	{ bulk_routes, &bulk_nroutes, true },
	{ overview_routes, &overview_nroutes, false },
	{ replay_routes, &replay_nroutes, false },
	{ stats_routes, &stats_nroutes, false },
	{ queue_routes, &queue_nroutes, false },
	{ recover_routes, &recover_nroutes, true },
	{ delivery_routes, &delivery_nroutes, false },
	{ webhook_routes, &webhook_nroutes, false },
	{ event_routes, &event_nroutes, false },
	{ template_routes, &template_nroutes, false },
	{ invitation_routes, &invitation_nroutes, false },
	{ other_routes, &other_nroutes, false },
};
#define NTABLES (sizeof tables / sizeof tables[0])

bool api_owns(const char *path)
{
	return strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/v1") == 0 || strcmp(path, "/metrics") == 0;
}

/* Does PATH have the form of PATTERN? What stands for {id} is in *ID, of *LEN bytes. */
static bool matches(const char *pattern, const char *path, const char **id, size_t *len)
{
	const char *brace = strchr(pattern, '{'), *end;
	size_t before = brace ? (size_t)(brace - pattern) : 0, path_len = strlen(path), after;

	*len = 0;
	if (!brace)
		return strcmp(pattern, path) == 0;
	end = strchr(brace, '}') + 1;
	after = strlen(end);
	if (path_len <= before + after || strncmp(pattern, path, before) != 0 || strcmp(path + path_len - after, end) != 0)
		return false;
	*id = path + before;
	*len = path_len - before - after;
	return true;
}

struct choice {
	const struct route *route;
	bool slow;
	const char *path;  /* of the first route that matches the path, whatever the method */
	struct buf allow;
	const char *id;
	size_t id_len;
};

/* The first pattern that fits the path decides; tables have those with more text behind {id} first. */
static void choose(const char *method, const char *path, struct choice *out)
{
	size_t t, i;

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (t = 0; t < NTABLES; t++) {
		for (i = 0; i < *tables[t].n; i++) {
			const struct route *r = &tables[t].routes[i];

			if (out->path ? strcmp(out->path, r->path) != 0 : !matches(r->path, path, &out->id, &out->id_len))
				continue;
			out->path = r->path;
			buf_addf(&out->allow, "%s%s", out->allow.len ? ", " : "",
			         strcmp(r->method, "GET") == 0 ? "GET, HEAD" : r->method);
			if (strcmp(r->method, method) != 0)
				continue;
			out->route = r;
			out->slow = tables[t].slow;
		}
	}
}

/* --- a call -------------------------------------------------------------------------------- */

void call_run(struct api_call *c, const struct route *route, const char *query, const char *text, size_t len)
{
	struct json_object *body = NULL, *texts = NULL;
	struct buf err = BUF_INIT;

	if (len > 0 && !(body = fields_parse(text, len, &err))) {
		call_refuse(c, PROBLEM_INVALID_JSON, err.len ? buf_str(&err) : NULL);
		buf_free(&err);
		return;
	}
	c->errors = json_object_new_array();
	fields_init(&c->in);
	fields_read_query(&route->query, query, &c->in, &texts, c->errors);
	fields_read_body(&route->body, body, &c->in, c->errors);
	if (json_object_array_length(c->errors) == 0)
		route->run(c);
	if (json_object_array_length(c->errors) > 0)
		call_refuse_fields(c, PROBLEM_INVALID_FIELD, json_object_get(c->errors));
	json_object_put(c->errors);
	json_object_put(texts);
	json_object_put(body);
}

void api_handle(const struct api_request *r, const struct auth_who *who, const struct conf *conf, struct store *store,
                struct api_answer *out)
{
	struct choice choice = { 0 };
	struct api_call c = { .who = who, .conf = conf, .store = store, .now_ms = clock_wall_ms(), .answer = out };

	choose(r->method, r->path, &choice);
	if (!choice.path) {
		api_refuse(out, PROBLEM_NOT_FOUND, "The API has no such path");
	} else if (!choice.route) {
		api_refuse(out, PROBLEM_METHOD_NOT_ALLOWED, NULL);
		buf_addf(&out->headers, "Allow: %s\r\n", buf_str(&choice.allow));
	} else if (who->scope < choice.route->scope) {
		api_refuse(out, PROBLEM_FORBIDDEN, NULL);
	} else {
		c.id = xstrndup(choice.id ? choice.id : "", choice.id_len);
		if (r->idempotency_key && strcmp(r->method, "POST") == 0)
			once_run(&c, choice.route, choice.slow, r);
		else
			call_run(&c, choice.route, r->query, r->body, r->body_len);
		free(c.id);
	}
	buf_free(&choice.allow);
}

void api_health(const char *method, struct store *store, struct api_answer *out)
{
	struct api_call c = { .store = store, .answer = out };
	struct json_object *doc;
	enum store_status status;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		api_refuse(out, PROBLEM_METHOD_NOT_ALLOWED, NULL);
		buf_adds(&out->headers, "Allow: GET, HEAD\r\n");
	} else if (!store) {
		api_refuse(out, PROBLEM_STORE_UNAVAILABLE, NULL);
	} else if ((status = store_begin(store)) != STORE_OK) { /* as intake would */
		call_store_failed(&c, status);
	} else {
		store_rollback(store);
		doc = json_object_new_object();
		json_add_text(doc, "status", "ok");
		call_answer(&c, 200, "OK", doc);
	}
}
