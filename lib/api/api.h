/* The management API without HTTP: a request in, an answer out. The same behind the web server and for anybody else
 * in this program who asks. The route table in api.c names each route, the scope it takes and the fields it knows.
 * Blocks on the store. Any thread, with a store of its own. */
#ifndef NTRVSTA_API_API_H
#define NTRVSTA_API_API_H

#include <stddef.h>

#include "lib/api/auth.h"
#include "lib/api/problem.h"
#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/store/store.h"

#define API_BODY_MAX (256 * 1024) /* bytes */

struct api_request {
	const char *method;
	const char *path;  /* decoded, behind [web] base: "/v1/webhooks" */
	const char *query; /* as it came, without the "?"; NULL: none */
	const char *body;  /* JSON; NULL where there is none */
	size_t body_len;
	const char *idempotency_key; /* of a POST; NULL: none */
};

struct api_answer {
	unsigned status;
	const char *reason;       /* "Not Found" */
	const char *content_type; /* NULL: no body */
	struct buf headers;       /* further lines, each with CR LF */
	struct buf body;
	const char *code; /* of a problem that is to be logged and counted; else NULL */
	bool new_work;    /* the dispatcher is to be woken */
};

/* Is PATH one of the API's, whether there is such a route or not? */
bool api_owns(const char *path);

/* Answer R for WHO. A HEAD is answered like a GET: the caller leaves the body out. */
void api_handle(const struct api_request *r, const struct auth_who *who, const struct conf *conf, struct store *store,
                struct api_answer *out);

/* GET /healthz, which needs no key: can events be stored? STORE NULL: it could not be opened. */
void api_health(const char *method, struct store *store, struct api_answer *out);

/* Refuse, with more than the problem's title where DETAIL is not NULL. OUT is overwritten. */
void api_refuse(struct api_answer *out, enum problem_code code, const char *detail);

/* Any thread: the program ends. Calls that wait for the dispatcher, and those to come, are answered at once. */
void api_stop_waiting(void);

void api_answer_free(struct api_answer *a);

#endif
