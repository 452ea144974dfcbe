#include "lib/web/manage.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/api/api.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"

static const char health_path[] = "/healthz";

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* --- the path ------------------------------------------------------------------------------ */

/* Is PATH, without LEN bytes of PREFIX in front and one slash at the end, ours? */
static bool behind(const struct conf *conf, const char *prefix, size_t len, const char *path, struct buf *out)
{
	buf_reset(out);
	if (strncmp(path, prefix, len) == 0)
		buf_adds(out, path + len);
	if (out->len > 1 && out->data[out->len - 1] == '/')
		out->data[--out->len] = '\0';
	return strcmp(buf_str(out), health_path) == 0 || (conf->web_api && api_owns(buf_str(out)));
}

/* Below the base; or beside a source, so that a mount at /webhooks has /webhooks/v1, whether its web server tells
 * where it ends or not. */
static bool is_ours(const struct conf *conf, const char *path, struct buf *out)
{
	size_t base_len = strlen(conf->web_base), i;

	if (behind(conf, conf->web_base, base_len, path, out))
		return true;
	if (strncmp(path, conf->web_base, base_len) != 0)
		return false;
	for (i = 0; i < conf->nsources; i++) {
		const char *source = conf->sources[i].path;

		if (behind(conf, source, (size_t)(strrchr(source, '/') - source), path + base_len, out))
			return true;
	}
	return false;
}

/* As for sources: the whole path counts first, then what is behind the mount. */
static bool find_path(const struct exchange *x, struct buf *out)
{
	struct buf whole = BUF_INIT;
	bool ours;

	buf_adds(&whole, or_empty(x->head.script_name));
	buf_adds(&whole, or_empty(x->head.path_info));
	ours = is_ours(x->conf, buf_str(&whole), out) || is_ours(x->conf, or_empty(x->head.path_info), out);
	buf_free(&whole);
	return ours;
}

bool manage_admit(const struct exchange *x, struct intake_verdict *out)
{
	struct buf path = BUF_INIT;
	bool ours = out->code == INTAKE_NOT_FOUND && find_path(x, &path);

	buf_free(&path);
	return ours && intake_check_rate(x->conf, x->limiter, &x->head, out);
}

/* --- who asks ------------------------------------------------------------------------------ */

/* Apache keeps Authorization from CGI programs unless told otherwise; the other header always comes. */
static const char *find_key(const struct request *r)
{
	static const char scheme[] = "Bearer ";
	const char *key = request_param(r, "HTTP_X_NTRVSTA_API_KEY"), *authorization = request_param(r, "HTTP_AUTHORIZATION");

	if (key && *key)
		return key;
	if (authorization && strncasecmp(authorization, scheme, sizeof scheme - 1) == 0)
		return authorization + sizeof scheme - 1 + strspn(authorization + sizeof scheme - 1, " ");
	return NULL;
}

/* False where nobody may go on: OUT is the answer. */
static bool find_out_who(const struct exchange *x, struct store *store, struct auth_who *who, struct api_answer *out)
{
	const char *key = find_key(&x->request);
	enum store_status status;

	if (!store) {
		api_refuse(out, PROBLEM_STORE_UNAVAILABLE, NULL);
		return false;
	}
	status = key ? auth_find(store, key, who) : STORE_NOT_FOUND;
	if (status == STORE_OK)
		return true;
	if (status != STORE_NOT_FOUND)
		log_error("store: %s", store_error(store));
	api_refuse(out, status == STORE_NOT_FOUND ? PROBLEM_UNAUTHORIZED : PROBLEM_STORE_UNAVAILABLE,
	           key && status == STORE_NOT_FOUND ? "There is no such API key, or it was revoked" : NULL);
	return false;
}

/* --- the answer ---------------------------------------------------------------------------- */

static void log_answer(const struct exchange *x, const struct auth_who *who, const struct api_answer *a)
{
	const char *script = or_empty(x->head.script_name), *info = or_empty(x->head.path_info);

	if (a->status == 401 || a->status == 403)
		log_security("refused code=%s status=%u key=%s address=%s method=%s path=%s%s", a->code, a->status,
		             who->prefix[0] ? who->prefix : "-", or_empty(x->head.remote_addr), or_empty(x->head.method), script, info);
	else
		log_debug("api status=%u code=%s key=%s method=%s path=%s%s", a->status, a->code ? a->code : "-",
		          who->prefix[0] ? who->prefix : "-", or_empty(x->head.method), script, info);
}

static void respond(struct exchange *x, const struct auth_who *who, struct api_answer *a)
{
	bool head = strcmp(or_empty(x->head.method), "HEAD") == 0;

	request_respond(&x->request, a->status, a->reason, a->content_type, buf_str(&a->headers), head ? NULL : a->body.data,
	                a->body.len);
	log_answer(x, who, a);
	intake_release(&x->intake);
	conf_unref(x->conf);
	x->conf = NULL;
}

/* --- the request --------------------------------------------------------------------------- */

/* The body into X->intake, as an event's would be. False where it is refused: OUT is the answer. */
static bool read_body(struct exchange *x, struct intake_verdict *out)
{
	size_t got;

	*out = (struct intake_verdict){ .code = INTAKE_ACCEPTED };
	intake_check_body(&x->head, API_BODY_MAX, &x->intake.body_len, out);
	if (out->code != INTAKE_ACCEPTED)
		return false;
	x->intake.body = xmalloc(x->intake.body_len + 1);
	got = request_read(&x->request, x->intake.body, x->intake.body_len);
	x->body_read = got == x->intake.body_len;
	if (!x->body_read)
		out->code = INTAKE_SHORT_BODY;
	return x->body_read;
}

/* Too many wrong keys from this address? Then OUT is the answer, not that this one is wrong. */
static bool too_many_wrong(const struct exchange *x, const struct api_answer *a, struct intake_verdict *out)
{
	if (a->status != 401)
		return false;
	out->code = INTAKE_INVALID_SIGNATURE;
	intake_limit_refused(x->conf, x->limiter, &x->head, out);
	return out->code == INTAKE_RATE_LIMITED;
}

static bool serve_api(struct exchange *x, const char *path, struct store *store, void (*read)(void *ctx), void *ctx)
{
	struct api_answer answer = { 0 };
	struct auth_who who = { 0 };
	struct intake_verdict verdict = { 0 };
	bool known = find_out_who(x, store, &who, &answer), is_read = known && read_body(x, &verdict), new_work;
	struct api_request r = {
		.method = or_empty(x->head.method), .path = path, .query = request_param(&x->request, "QUERY_STRING"),
		.body = x->intake.body, .body_len = x->intake.body_len,
		.idempotency_key = request_param(&x->request, "HTTP_IDEMPOTENCY_KEY"),
	};

	if (read)
		read(ctx);
	if (known ? !is_read : too_many_wrong(x, &answer, &verdict)) {
		exchange_answer(x, &verdict);
		api_answer_free(&answer);
		return false;
	}
	if (known)
		api_handle(&r, &who, x->conf, store, &answer);
	respond(x, &who, &answer);
	new_work = answer.new_work;
	api_answer_free(&answer);
	return new_work;
}

static bool serve_health(struct exchange *x, struct store *store, void (*read)(void *ctx), void *ctx)
{
	const struct auth_who nobody = { 0 };
	struct api_answer answer = { 0 };

	if (read)
		read(ctx);
	api_health(or_empty(x->head.method), store, &answer);
	respond(x, &nobody, &answer);
	api_answer_free(&answer);
	return false;
}

bool manage_serve(struct exchange *x, struct stores *stores, void (*read)(void *ctx), void *ctx)
{
	char *store_path = xstrdup(x->conf->store_path);
	struct store *store = stores_take(stores, store_path);
	struct buf path = BUF_INIT;
	bool new_work;

	find_path(x, &path);
	new_work = strcmp(buf_str(&path), health_path) == 0 ? serve_health(x, store, read, ctx)
	                                                    : serve_api(x, buf_str(&path), store, read, ctx);
	if (store)
		stores_give_back(stores, store_path, store, store_error(store)[0] != '\0');
	buf_free(&path);
	free(store_path);
	return new_work;
}
