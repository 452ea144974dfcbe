#include "lib/api/once.h"

#include <string.h>

#include "lib/base/log.h"
#include "lib/store/answers.h"

#define FIELD "Idempotency-Key"

/* How much longer than its target's time-out a call may be under way. */
#define MARGIN_MS (60 * 1000)

/* --- which call ------------------------------------------------------------------------------ */

static bool key_valid(const char *key)
{
	size_t len = 0;

	while (key[len] > ' ' && key[len] < 0x7f)
		len++;
	return key[len] == '\0' && len > 0 && len <= ONCE_KEY_MAX;
}

/* Each part with its length in front, so that none can be taken for two. */
static void add_part(struct buf *all, const char *part, size_t len)
{
	buf_addf(all, "%zu:", len);
	buf_add(all, part, len);
}

static void hash_request(const struct api_request *r, uint8_t out[SHA256_BYTES])
{
	struct buf all = BUF_INIT;
	const char *query = r->query ? r->query : "";

	add_part(&all, r->method, strlen(r->method));
	add_part(&all, r->path, strlen(r->path));
	add_part(&all, query, strlen(query));
	add_part(&all, r->body ? r->body : "", r->body_len);
	bytes_sha256(all.data, all.len, out);
	buf_free(&all);
}

/* --- the first answer ------------------------------------------------------------------------ */

static const struct {
	unsigned status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },       { 201, "Created" },   { 202, "Accepted" }, { 204, "No Content" },
	{ 400, "Bad Request" }, { 404, "Not Found" }, { 409, "Conflict" }, { 422, "Unprocessable Content" },
};

static bool is_kept(unsigned status)
{
	return status != 429 && status < 500;
}

static void repeat(struct api_call *c, const struct store_answer *a)
{
	struct api_answer *out = c->answer;
	size_t i;

	out->status = a->status;
	out->reason = "Answered Before";
	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == a->status)
			out->reason = reasons[i].reason;
	out->content_type = a->body_len == 0 ? NULL : a->status < 400 ? "application/json" : "application/problem+json";
	buf_adds(&out->headers, a->headers);
	buf_adds(&out->headers, "Idempotent-Replayed: true\r\n");
	buf_add(&out->body, a->body, a->body_len);
	out->new_work = a->status < 300; /* the first one may have died before it told the dispatcher */
}

static void refuse_key(struct api_call *c, enum problem_code code, const char *message)
{
	struct json_object *errors = json_object_new_array();

	fields_refuse(errors, FIELD, "%s", message);
	call_refuse_fields(c, code, errors);
}

/* False where the call is the first one with its key. */
static bool answer_again(struct api_call *c, const struct store_once *call)
{
	struct store_answer first;
	bool same = false;
	enum store_status status = store_find_answer(c->store, call, &same, &first);

	if (status == STORE_NOT_FOUND)
		return false;
	if (status != STORE_OK)
		call_store_failed(c, status);
	else if (!same)
		refuse_key(c, PROBLEM_IDEMPOTENCY_MISMATCH, "came with another request before");
	else if (first.status == 0)
		call_refuse(c, PROBLEM_CONFLICT, "The same call with this " FIELD " is under way");
	else
		repeat(c, &first);
	store_answer_free(&first);
	return true;
}

static enum store_status keep(struct api_call *c, const struct store_once *call)
{
	const struct store_answer first = {
		.status = c->answer->status, .headers = (char *)buf_str(&c->answer->headers), .body = c->answer->body.data,
		.body_len = c->answer->body.len,
	};

	return store_keep_answer(c->store, call, &first);
}

/* --- the call ---------------------------------------------------------------------------------- */

/* What it does is in the store: one transaction holds it and its answer. */
static void run_whole(struct api_call *c, const struct route *route, const struct api_request *r,
                      const struct store_once *call)
{
	enum store_status status = store_begin_around(c->store), end;
	bool commit = false;

	if (status == STORE_OK && !answer_again(c, call)) {
		call_run(c, route, r->query, r->body, r->body_len);
		commit = is_kept(c->answer->status);
		if (commit)
			status = keep(c, call);
	}
	end = store_end_around(c->store, commit && status == STORE_OK);
	if (status == STORE_OK)
		status = end;
	if (status == STORE_OK)
		return;
	c->answer->new_work = false;
	call_store_failed(c, status);
}

/* False where C is answered already. */
static bool reserve(struct api_call *c, const struct store_once *call)
{
	const struct conf_handler *settings = conf_handler(c->conf, c->id);
	enum store_status status = store_begin(c->store);
	bool first = false;

	if (status == STORE_OK) {
		first = !answer_again(c, call);
		if (first)
			status = store_reserve_answer(c->store, call, c->now_ms + settings->timeout_ms + settings->kill_grace_ms + MARGIN_MS);
		if (first && status == STORE_OK)
			status = store_commit(c->store);
		else
			store_rollback(c->store);
	}
	if (status != STORE_OK)
		call_store_failed(c, status);
	return first && status == STORE_OK;
}

/* It takes longer: nobody else may wait for the store meanwhile, and what is done is done. */
static void run_reserved(struct api_call *c, const struct route *route, const struct api_request *r,
                         const struct store_once *call)
{
	enum store_status status;

	if (!reserve(c, call))
		return;
	call_run(c, route, r->query, r->body, r->body_len);
	status = is_kept(c->answer->status) ? keep(c, call) : store_drop_answer(c->store, call);
	if (status != STORE_OK && status != STORE_NOT_FOUND)
		log_error("an answer is not kept, the same call would be made again: %s", store_error(c->store));
}

void once_run(struct api_call *c, const struct route *route, bool slow, const struct api_request *r)
{
	struct store_once call = { .org = c->who->org, .key = r->idempotency_key, .now_ms = c->now_ms };

	if (!key_valid(r->idempotency_key)) {
		refuse_key(c, PROBLEM_INVALID_FIELD, "wants 1 to 255 visible characters of ASCII");
		return;
	}
	hash_request(r, call.request);
	if (slow)
		run_reserved(c, route, r, &call);
	else
		run_whole(c, route, r, &call);
}
