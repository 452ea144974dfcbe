/* Private to lib/api: a request on its way through a route, and what the files of the resources share. */
#ifndef NTRVSTA_API_CALL_H
#define NTRVSTA_API_CALL_H

#include "lib/api/api.h"
#include "lib/api/fields.h"
#include "lib/store/webhooks.h"

struct api_call {
	const struct auth_who *who;
	const struct conf *conf;
	struct store *store;
	int64_t now_ms;
	char *id; /* of the path; "" where it has none */
	struct input in;
	struct json_object *errors; /* of fields; one that is not empty is the answer */
	struct api_answer *answer;
};

struct route {
	const char *method;
	const char *path; /* {id} stands for one or more segments: the names of handlers have slashes */
	enum auth_scope scope;
	struct fields query, body;
	void (*run)(struct api_call *c);
};

/* Each file's routes. */
extern const struct route webhook_routes[], delivery_routes[], event_routes[], test_routes[], recover_routes[],
	template_routes[], invitation_routes[], queue_routes[], bulk_routes[], stats_routes[], overview_routes[],
	replay_routes[], security_routes[];
extern const size_t webhook_nroutes, delivery_nroutes, event_nroutes, test_nroutes, recover_nroutes,
	template_nroutes, invitation_nroutes, queue_nroutes, bulk_nroutes, stats_nroutes, overview_nroutes,
	replay_nroutes, security_nroutes;

/* Read C->in as ROUTE has it, LEN bytes of TEXT being the body, and run ROUTE unless something in them is wrong. */
void call_run(struct api_call *c, const struct route *route, const char *query, const char *text, size_t len);

/* A route that has a file of its own. */
void call_metrics(struct api_call *c);

#define FIELDS(array) { array, sizeof(array) / sizeof((array)[0]) }
#define NO_FIELDS { NULL, 0 }
#define IN(member) offsetof(struct input, member)

/* Answers. DOC is taken over. */
void call_answer(struct api_call *c, unsigned status, const char *reason, struct json_object *doc);
/* FOUND, or where it is NULL that there is no such thing, or STATUS. */
void call_answer_found(struct api_call *c, struct json_object *found, enum store_status status);
void call_refuse(struct api_call *c, enum problem_code code, const char *detail);
void call_refuse_fields(struct api_call *c, enum problem_code code, struct json_object *errors); /* takes ERRORS over */
void call_store_failed(struct api_call *c, enum store_status status); /* also STORE_NOT_FOUND */

/* A delivery, or an attempt, as all answers show it. */
struct json_object *call_show_delivery(const struct store_delivery_row *row);
struct json_object *call_show_attempt(const struct store_attempt_row *row);

/* Members of objects. Text of others is made valid UTF-8; null for "" and for time 0. */
void json_add_text(struct json_object *o, const char *name, const char *text);
void json_add_bytes(struct json_object *o, const char *name, const char *text, size_t len);
void json_add_time(struct json_object *o, const char *name, int64_t wall_ms);
void json_add_number(struct json_object *o, const char *name, int64_t value);
void json_add_number_unless(struct json_object *o, const char *name, int64_t value, int64_t none); /* null for NONE */
void json_add_bool(struct json_object *o, const char *name, bool value);

/* --- lists ------------------------------------------------------------------------------- */

#define PAGE_LIMIT 50
#define PAGE_LIMIT_MAX 250
#define PAGE_FIELDS \
	{ .name = "limit", .type = FIELD_NUMBER, .offset = IN(limit), .min = 1, .max = PAGE_LIMIT_MAX }, \
	{ .name = "cursor", .type = FIELD_TEXT, .offset = IN(cursor), .min = 1, .max = 320 }

struct page {
	struct json_object *rows;
	int64_t limit;
	bool more;       /* there is a row beyond the limit */
	struct buf last; /* the cursor of the last row */
	bool searched;   /* it may end before it is full: scan.h */
	int64_t last_ms; /* then: how far back it goes, where there is more: when the last row came */
};

void page_begin(struct page *p, const struct api_call *c);

/* Is there room for one more row? Notes that there are more where there is none. */
bool page_has_room(struct page *p);

/* Add ROW (taken over); behind it the next page would begin at a cursor of this text. */
void page_add(struct page *p, struct json_object *row, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The answer of the call; or only release it, where STATUS is a failure. */
void page_end(struct page *p, struct api_call *c, enum store_status status);

/* Note that the cursor is none of ours. */
void page_refuse_cursor(struct api_call *c);

/* A cursor that is MARK and a number; 0 where there is none, -1 where it is none of ours, noted. */
int64_t page_cursor(struct api_call *c, char mark);

/* Is the cursor an id with PREFIX, or is there none? Else notes that it is none of ours. */
bool page_cursor_is_id(struct api_call *c, const char *prefix);

/* --- targets: webhooks and handlers -------------------------------------------------------- */

struct api_target {
	bool webhook;
	struct store_webhook registered; /* where it is one */
	const char *inactive;            /* of a handler: why it is not run; NULL */
};

/* What C->id names and C->who may see. False where that is nothing, or the store failed: answered. The caller
 * frees OUT. */
bool call_target(struct api_call *c, struct api_target *out);
void api_target_free(struct api_target *t);

#endif
