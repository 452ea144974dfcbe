#include "lib/api/problem.h"

static const struct problem problems[] = {
	[PROBLEM_INVALID_JSON] = { 400, "Bad Request", "invalid_json", "The body is not one JSON object" },
	[PROBLEM_UNAUTHORIZED] = { 401, "Unauthorized", "unauthorized",
	                           "This needs an API key, as X-Ntrvsta-Api-Key or Authorization: Bearer" },
	[PROBLEM_FORBIDDEN] = { 403, "Forbidden", "forbidden", "The scope of this API key is too small" },
	[PROBLEM_CSRF] = { 403, "Forbidden", "csrf", "This needs the session's csrf as X-CSRF-Token, and a page of this origin" },
	[PROBLEM_NOT_FOUND] = { 404, "Not Found", "not_found", "There is nothing here by this name" },
	[PROBLEM_METHOD_NOT_ALLOWED] = { 405, "Method Not Allowed", "method_not_allowed",
	                                 "This path does not take this method" },
	[PROBLEM_CONFLICT] = { 409, "Conflict", "conflict", "This can't be done in its present state" },
	[PROBLEM_INVALID_FIELD] = { 422, "Unprocessable Content", "invalid_field", "A field or parameter is not usable" },
	[PROBLEM_IDEMPOTENCY_MISMATCH] = { 422, "Unprocessable Content", "idempotency_mismatch",
	                                   "This Idempotency-Key came with another request before" },
	[PROBLEM_TOO_MANY_TESTS] = { 429, "Too Many Requests", "too_many_tests",
	                             "As many tests as may wait at a time are being made" },
	[PROBLEM_STORE_UNAVAILABLE] = { 503, "Service Unavailable", "store_unavailable", "The store can't be used now" },
	[PROBLEM_STORE_FULL] = { 503, "Service Unavailable", "store_full", "There is no space left to store anything" },
	[PROBLEM_NO_DISPATCHER] = { 503, "Service Unavailable", "dispatcher_not_running",
	                            "No dispatcher runs, and none may be started from here" },
	[PROBLEM_STOPPING] = { 503, "Service Unavailable", "stopping", "The program ends; nobody waits for the result any more" },
	[PROBLEM_DISPATCHER_TIMEOUT] = { 504, "Gateway Timeout", "dispatcher_timeout", "There was no result in time" },
};

const struct problem *problem_find(enum problem_code code)
{
	return &problems[code];
}

struct json_object *problem_json(const struct problem *p, const char *detail, struct json_object *errors)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "type", json_object_new_string("about:blank"));
	json_object_object_add(o, "title", json_object_new_string(p->title));
	json_object_object_add(o, "status", json_object_new_int((int)p->status));
	json_object_object_add(o, "detail", json_object_new_string(detail ? detail : p->title));
	json_object_object_add(o, "code", json_object_new_string(p->code));
	if (errors)
		json_object_object_add(o, "errors", errors);
	return o;
}
