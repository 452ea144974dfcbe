#include "lib/web/manage.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/api.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/web/caller.h"
#include "lib/web/dashboard.h"

static const char health_path[] = "/healthz";

#define SIGN_IN_MAX 4096 /* bytes of a body that holds a key */

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* --- the path ------------------------------------------------------------------------------ */

/* Is PATH, without LEN bytes of PREFIX in front, ours? One slash at the end makes no difference but to the dashboard. */
static bool behind(const struct conf *conf, const char *prefix, size_t len, const char *path, struct buf *out)
{
	buf_reset(out);
	if (strncmp(path, prefix, len) == 0)
		buf_adds(out, path + len);
	if (dashboard_owns(conf, buf_str(out)))
		return true;
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

/* --- the answer ---------------------------------------------------------------------------- */

static void log_answer(const struct exchange *x, const struct auth_who *who, const struct api_answer *a)
{
	const char *script = or_empty(x->head.script_name), *info = or_empty(x->head.path_info);

	if (a->code && (a->status == 401 || a->status == 403)) {
		refusals_count(x->refusals, a->code, x->head.remote_addr, clock_wall_ms());
		log_security("refused code=%s status=%u key=%s address=%s method=%s path=%s%s", a->code, a->status,
		             who->prefix[0] ? who->prefix : "-", or_empty(x->head.remote_addr), or_empty(x->head.method), script, info);
	} else {
		log_debug("api status=%u code=%s key=%s method=%s path=%s%s", a->status, a->code ? a->code : "-",
		          who->prefix[0] ? who->prefix : "-", or_empty(x->head.method), script, info);
	}
}

static void finish(struct exchange *x)
{
	intake_release(&x->intake);
	conf_unref(x->conf);
	x->conf = NULL;
}

static void respond(struct exchange *x, const struct auth_who *who, struct api_answer *a)
{
	bool head = strcmp(or_empty(x->head.method), "HEAD") == 0;

	request_respond(&x->request, a->status, a->reason, a->content_type, buf_str(&a->headers), head ? NULL : a->body.data,
	                a->body.len);
	log_answer(x, who, a);
	finish(x);
}

/* --- the request --------------------------------------------------------------------------- */

/* What is known of a request while it is served. */
struct call {
	struct exchange *x;
	const char *path; /* behind the mount */
	struct store *store; /* NULL: it could not be opened */
	void (*read)(void *ctx);
	void *ctx;
};

static void body_is_read(const struct call *c)
{
	if (c->read)
		c->read(c->ctx);
}

/* The body into X->intake, as an event's would be. False where it is refused: OUT is the answer. */
static bool read_body(struct exchange *x, size_t max, struct intake_verdict *out)
{
	size_t got;

	*out = (struct intake_verdict){ .code = INTAKE_ACCEPTED };
	intake_check_body(&x->head, max, &x->intake.body_len, out);
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

static struct api_request api_request(const struct call *c)
{
	return (struct api_request){
		.method = or_empty(c->x->head.method), .path = c->path, .query = request_param(&c->x->request, "QUERY_STRING"),
		.body = c->x->intake.body, .body_len = c->x->intake.body_len,
		.idempotency_key = request_param(&c->x->request, "HTTP_IDEMPOTENCY_KEY"),
	};
}

static bool serve_api(const struct call *c)
{
	struct exchange *x = c->x;
	struct api_answer answer = { 0 };
	struct auth_who who = { 0 };
	struct intake_verdict verdict = { 0 };
	bool sessions = dashboard_owns(x->conf, DASHBOARD_SESSION_PATH);
	bool known = caller_find(&x->request, or_empty(x->head.method), sessions, c->store, &who, &answer);
	bool is_read = known && read_body(x, API_BODY_MAX, &verdict), new_work;
	/* A page whose session has ended asks on until it is told so. */
	bool refused = known ? !is_read : !(sessions && caller_has_cookie(&x->request)) && too_many_wrong(x, &answer, &verdict);
	struct api_request r = api_request(c);

	body_is_read(c);
	if (refused) {
		exchange_answer(x, &verdict);
		api_answer_free(&answer);
		return false;
	}
	if (known)
		api_handle(&r, &who, x->conf, c->store, &answer);
	respond(x, &who, &answer);
	new_work = answer.new_work;
	api_answer_free(&answer);
	return new_work;
}

/* Its key comes in the body: that is read first, and is small. */
static bool serve_session(const struct call *c)
{
	struct exchange *x = c->x;
	struct api_answer answer = { 0 };
	struct auth_who who = { 0 };
	struct intake_verdict verdict;
	bool is_read = read_body(x, SIGN_IN_MAX, &verdict);
	struct api_request r = api_request(c);

	if (is_read)
		caller_serve_session(&x->request, &r, c->store, &who, &answer);
	body_is_read(c); /* not before: a CGI call forgets its cookie then */
	if (is_read && r.body_len > 0)
		OPENSSL_cleanse(x->intake.body, r.body_len);
	if (!is_read || (strcmp(r.method, "POST") == 0 && too_many_wrong(x, &answer, &verdict)))
		exchange_answer(x, &verdict);
	else
		respond(x, &who, &answer);
	api_answer_free(&answer);
	return false;
}

static bool serve_dashboard(const struct call *c)
{
	body_is_read(c);
	dashboard_serve(&c->x->request, or_empty(c->x->head.method), c->path);
	finish(c->x);
	return false;
}

static bool serve_health(const struct call *c)
{
	const struct auth_who nobody = { 0 };
	struct api_answer answer = { 0 };

	body_is_read(c);
	api_health(or_empty(c->x->head.method), c->store, &answer);
	respond(c->x, &nobody, &answer);
	api_answer_free(&answer);
	return false;
}

static bool serve_with_store(struct call *c, struct stores *stores, bool (*serve)(const struct call *c))
{
	char *path = xstrdup(c->x->conf->store_path);
	bool new_work;

	c->store = stores_take(stores, path);
	new_work = serve(c);
	if (c->store)
		stores_give_back(stores, path, c->store, store_error(c->store)[0] != '\0');
	free(path);
	return new_work;
}

bool manage_serve(struct exchange *x, struct stores *stores, void (*read)(void *ctx), void *ctx)
{
	struct call c = { .x = x, .read = read, .ctx = ctx };
	struct buf path = BUF_INIT;
	bool new_work;

	find_path(x, &path);
	c.path = buf_str(&path);
	if (strcmp(c.path, health_path) == 0)
		new_work = serve_with_store(&c, stores, serve_health);
	else if (strcmp(c.path, DASHBOARD_SESSION_PATH) == 0)
		new_work = serve_with_store(&c, stores, serve_session);
	else if (dashboard_owns(x->conf, c.path))
		new_work = serve_dashboard(&c);
	else
		new_work = serve_with_store(&c, stores, serve_api);
	buf_free(&path);
	return new_work;
}
