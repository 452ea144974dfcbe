/* Refusals of the management API: RFC 9457, with a `code` for programs and, for fields, `errors`. */
#ifndef NTRVSTA_API_PROBLEM_H
#define NTRVSTA_API_PROBLEM_H

#include <json-c/json.h>

enum problem_code {
	PROBLEM_INVALID_JSON,
	PROBLEM_UNAUTHORIZED,
	PROBLEM_FORBIDDEN,
	PROBLEM_CSRF,
	PROBLEM_NOT_FOUND,
	PROBLEM_METHOD_NOT_ALLOWED,
	PROBLEM_CONFLICT,
	PROBLEM_INVALID_FIELD,
	PROBLEM_IDEMPOTENCY_MISMATCH,
	PROBLEM_TOO_MANY_TESTS,
	PROBLEM_STORE_UNAVAILABLE,
	PROBLEM_STORE_FULL,
	PROBLEM_NO_DISPATCHER,
	PROBLEM_STOPPING,
	PROBLEM_DISPATCHER_TIMEOUT,
};

struct problem {
	unsigned status;
	const char *reason, *code, *title;
};

const struct problem *problem_find(enum problem_code code);

/* The document. DETAIL NULL: the title. ERRORS (an array of {field, message}, taken over) may be NULL. */
struct json_object *problem_json(const struct problem *p, const char *detail, struct json_object *errors);

#endif
