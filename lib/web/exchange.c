#include "lib/web/exchange.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/intake/client.h"

static const struct request_wanted head_params[] = {
	REQUEST_WANTED("REQUEST_METHOD", struct intake_head, method),
	REQUEST_WANTED("PATH_INFO", struct intake_head, path_info),
	REQUEST_WANTED("SCRIPT_NAME", struct intake_head, script_name),
	REQUEST_WANTED("CONTENT_LENGTH", struct intake_head, content_length),
	REQUEST_WANTED("CONTENT_TYPE", struct intake_head, content_type),
	REQUEST_WANTED("HTTP_X_NTRVSTA_SIGNATURE", struct intake_head, signature),
	REQUEST_WANTED("HTTP_X_NTRVSTA_EVENT", struct intake_head, event),
	REQUEST_WANTED("HTTP_X_NTRVSTA_IDEMPOTENCY_KEY", struct intake_head, idempotency_key),
	REQUEST_WANTED("REMOTE_ADDR", struct intake_head, remote_addr),
	REQUEST_WANTED("HTTP_X_FORWARDED_FOR", struct intake_head, forwarded_for),
};

void exchange_receive(struct exchange *x, struct conf *conf, struct limiter *limiter, struct intake_verdict *out)
{
	size_t got;

	x->conf = conf ? conf_ref(conf) : NULL;
	x->limiter = limiter;
	request_params(&x->request, head_params, sizeof head_params / sizeof head_params[0], &x->head);
	if (conf)
		x->head.remote_addr = client_address(&conf->web_trusted_proxies, x->head.remote_addr, x->head.forwarded_for, x->client);
	intake_admit(&x->intake, x->conf, limiter, &x->head, out);
	if (out->code != INTAKE_ACCEPTED)
		return;
	x->intake.body = xmalloc(x->intake.body_len);
	got = request_read(&x->request, x->intake.body, x->intake.body_len);
	x->body_read = got == x->intake.body_len;
	intake_accept(&x->intake, &x->head, got, clock_wall_ms(), out);
	intake_limit_refused(x->conf, limiter, &x->head, out);
}

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

static void log_verdict(const struct exchange *x, const struct intake_verdict *v)
{
	const char *source = x->intake.source ? x->intake.source->name : "-";
	unsigned status = intake_code_status(v->code);

	if (status >= 400 && status < 500) {
		refusals_count(x->refusals, intake_code_name(v->code), x->head.remote_addr, clock_wall_ms());
		log_security("refused code=%s status=%u source=%s address=%s method=%s path=%s%s",
		             intake_code_name(v->code), status, source, or_dash(x->head.remote_addr),
		             or_dash(x->head.method), x->head.script_name ? x->head.script_name : "",
		             x->head.path_info ? x->head.path_info : "");
	} else if (v->code == INTAKE_ACCEPTED) {
		log_debug("accepted id=%s event=%s source=%s duplicate=%s bytes=%zu", x->intake.event.id,
		          x->intake.event.event, source, x->intake.event.duplicate ? "yes" : "no",
		          x->intake.event.body_len);
	} else {
		log_error("not accepted code=%s status=%u source=%s address=%s", intake_code_name(v->code), status,
		          source, or_dash(x->head.remote_addr));
	}
}

void exchange_answer(struct exchange *x, struct intake_verdict *v)
{
	struct intake_answer answer;

	intake_answer(&x->intake, v, &answer);
	request_respond(&x->request, answer.status, answer.reason, answer.content_type, buf_str(&answer.headers),
	                answer.body.data, answer.body.len);
	log_verdict(x, v);
	intake_answer_free(&answer);
	buf_free(&v->detail);
	intake_release(&x->intake);
	conf_unref(x->conf);
	x->conf = NULL;
}
