#include "lib/intake/intake.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/event/signature.h"

/* How long a sender should wait before it calls again, in seconds. */
#define RETRY_STORE_S 10
#define RETRY_CONFIG_S 60

/* Longer ones are cut: it is shown, and decides nothing. */
#define IDEMPOTENCY_KEY_MAX 255

#define ACCEPTED_SIZE 96 /* the answer to an accepted event is not longer */

static const struct {
	unsigned status;
	const char *reason, *name, *title;
} codes[] = {
	[INTAKE_ACCEPTED] = { 200, "OK", "accepted", "Accepted" },
	[INTAKE_NOT_FOUND] = { 404, "Not Found", "not_found", "No webhook is received at this path" },
	[INTAKE_METHOD_NOT_ALLOWED] = { 405, "Method Not Allowed", "method_not_allowed",
	                                "This path takes POST only" },
	[INTAKE_RATE_LIMITED] = { 429, "Too Many Requests", "rate_limited", "Too many requests from this address" },
	[INTAKE_LENGTH_REQUIRED] = { 411, "Length Required", "length_required", "The request has no Content-Length" },
	[INTAKE_BAD_LENGTH] = { 400, "Bad Request", "bad_length", "Content-Length is not a usable number" },
	[INTAKE_BODY_TOO_LARGE] = { 413, "Payload Too Large", "body_too_large", "The body is too large" },
	[INTAKE_UNSUPPORTED_MEDIA_TYPE] = { 415, "Unsupported Media Type", "unsupported_media_type",
	                                    "The body must be application/json" },
	[INTAKE_SHORT_BODY] = { 400, "Bad Request", "short_body", "The body is shorter than announced" },
	[INTAKE_MISSING_SIGNATURE] = { 401, "Unauthorized", "missing_signature", "The request is not signed" },
	[INTAKE_INVALID_SIGNATURE] = { 401, "Unauthorized", "invalid_signature",
	                               "The signature does not match the body" },
	[INTAKE_INVALID_JSON] = { 400, "Bad Request", "invalid_json", "The body is not one JSON object" },
	[INTAKE_INVALID_EVENT] = { 400, "Bad Request", "invalid_event", "The body has no usable event name" },
	[INTAKE_TOO_OLD] = { 400, "Bad Request", "too_old", "The event is too old" },
	[INTAKE_NOT_CONFIGURED] = { 503, "Service Unavailable", "not_configured",
	                            "The receiver is not configured" },
	[INTAKE_STORE_UNAVAILABLE] = { 503, "Service Unavailable", "store_unavailable",
	                               "The event could not be stored" },
	[INTAKE_STORE_FULL] = { 503, "Service Unavailable", "store_full", "There is no space to store the event" },
};

unsigned intake_code_status(enum intake_code code)
{
	return codes[code].status;
}

const char *intake_code_name(enum intake_code code)
{
	return codes[code].name;
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* --- before the body --------------------------------------------------------------------- */

/* Is A followed by B the path at which SOURCE listens? One slash at the end does not matter. */
static bool path_matches(const struct conf *conf, const struct conf_source *source, const char *a, const char *b)
{
	size_t a_len = strlen(a), len = a_len + strlen(b), base_len = strlen(conf->web_base), i;

	/* Where that is the length, A or B ends in something. NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	if (len == base_len + strlen(source->path) + 1 && *(b[0] ? b + len - a_len - 1 : a + len - 1) == '/')
		len--;
	if (len != base_len + strlen(source->path))
		return false;
	for (i = 0; i < len; i++)
		if ((i < a_len ? a[i] : b[i - a_len]) != (i < base_len ? conf->web_base[i] : source->path[i - base_len]))
			return false;
	return true;
}

/* Servers split the path differently: lighttpd and Apache at the mount, nginx not at all. So the
 * whole path counts first, then what is behind the mount. */
static const struct conf_source *find_source(const struct conf *conf, const struct intake_head *head)
{
	const char *script = or_empty(head->script_name), *info = or_empty(head->path_info);
	size_t i;

	for (i = 0; i < conf->nsources; i++)
		if (path_matches(conf, &conf->sources[i], script, info))
			return &conf->sources[i];
	for (i = 0; i < conf->nsources; i++)
		if (*info && path_matches(conf, &conf->sources[i], info, ""))
			return &conf->sources[i];
	return NULL;
}

/* CONTENT_LENGTH as RFC 9110, section 8.6, has it: digits, nothing else. */
static enum intake_code parse_length(const char *text, size_t *len)
{
	const char *p;
	size_t value = 0;

	if (!text || !*text)
		return INTAKE_LENGTH_REQUIRED;
	for (p = text; *p; p++) {
		if (!isdigit((unsigned char)*p) || __builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (size_t)(*p - '0'), &value))
			return INTAKE_BAD_LENGTH;
	}
	*len = value;
	return INTAKE_ACCEPTED;
}

static bool is_json(const char *content_type)
{
	static const char json[] = "application/json";
	const char *rest;

	if (!content_type || strncasecmp(content_type, json, sizeof json - 1) != 0)
		return false;
	rest = content_type + sizeof json - 1;
	rest += strspn(rest, " \t");
	return *rest == '\0' || *rest == ';';
}

static void refuse(struct intake_verdict *out, enum intake_code code, unsigned retry_after_s)
{
	out->code = code;
	out->retry_after_s = retry_after_s;
}

static enum intake_code check_length(const struct intake_head *head, size_t max, size_t *len, struct intake_verdict *out)
{
	enum intake_code code = parse_length(head->content_length, len);

	if (code == INTAKE_ACCEPTED && *len > max) {
		code = INTAKE_BODY_TOO_LARGE;
		buf_addf(&out->detail, "%zu bytes were announced, %zu are allowed here", *len, max);
	}
	return code;
}

static bool check_limit(struct limiter *limiter, enum limiter_kind kind, const struct intake_head *head, int64_t per_hour,
                        struct intake_verdict *out)
{
	unsigned wait_s = 0;

	if (limiter && per_hour > 0 && head->remote_addr)
		wait_s = limiter_check(limiter, kind, head->remote_addr, per_hour, clock_mono_ms());
	if (wait_s > 0)
		refuse(out, INTAKE_RATE_LIMITED, wait_s);
	return wait_s == 0;
}

bool intake_check_rate(const struct conf *conf, struct limiter *limiter, const struct intake_head *head,
                       struct intake_verdict *out)
{
	return check_limit(limiter, LIMITER_CALLS, head, conf->web_rate_per_hour, out);
}

void intake_limit_refused(const struct conf *conf, struct limiter *limiter, const struct intake_head *head,
                          struct intake_verdict *out)
{
	if (out->code != INTAKE_MISSING_SIGNATURE && out->code != INTAKE_INVALID_SIGNATURE)
		return;
	if (!check_limit(limiter, LIMITER_REFUSED, head, conf->web_refused_per_hour, out))
		buf_adds(&out->detail, "Too many requests with a wrong signature or key from this address");
}

void intake_check_body(const struct intake_head *head, size_t max, size_t *len, struct intake_verdict *out)
{
	enum intake_code code = check_length(head, max, len, out);

	if (code == INTAKE_LENGTH_REQUIRED) {
		*len = 0;
		code = INTAKE_ACCEPTED;
	}
	if (code == INTAKE_ACCEPTED && *len > 0 && !is_json(head->content_type))
		code = INTAKE_UNSUPPORTED_MEDIA_TYPE;
	refuse(out, code, 0);
}

void intake_admit(struct intake *in, const struct conf *conf, struct limiter *limiter,
                  const struct intake_head *head, struct intake_verdict *out)
{
	enum intake_code code;

	*out = (struct intake_verdict){ .code = INTAKE_ACCEPTED };
	if (!conf) {
		refuse(out, INTAKE_NOT_CONFIGURED, RETRY_CONFIG_S);
		return;
	}
	in->source = find_source(conf, head);
	if (!in->source) {
		refuse(out, INTAKE_NOT_FOUND, 0);
		return;
	}
	if (strcmp(or_empty(head->method), "POST") != 0) {
		refuse(out, INTAKE_METHOD_NOT_ALLOWED, 0);
		return;
	}
	if (!intake_check_rate(conf, limiter, head, out))
		return;
	code = check_length(head, in->source->max_body, &in->body_len, out);
	if (code == INTAKE_ACCEPTED && !is_json(head->content_type))
		code = INTAKE_UNSUPPORTED_MEDIA_TYPE;
	refuse(out, code, 0);
}

/* --- with the body ----------------------------------------------------------------------- */

/* Secrets that have all expired leave nothing to verify with: closed, like a missing file. */
static enum intake_code verify(const struct intake *in, const struct intake_head *head, size_t got,
                               int64_t now_ms, struct intake_verdict *out)
{
	if (secrets_live(in->source->secrets, now_ms) == 0) {
		out->retry_after_s = RETRY_CONFIG_S;
		return INTAKE_NOT_CONFIGURED;
	}
	switch (signature_verify(in->source->secrets, now_ms, in->body, got, head->signature)) {
	case SIGNATURE_VALID:
		return INTAKE_ACCEPTED;
	case SIGNATURE_MISSING:
		return INTAKE_MISSING_SIGNATURE;
	case SIGNATURE_INVALID:
		break;
	}
	return INTAKE_INVALID_SIGNATURE;
}

static enum intake_code parse(struct intake *in, const struct intake_head *head, size_t got, struct intake_verdict *out)
{
	enum envelope_result result = envelope_parse(in->body, got, head->event, &in->envelope);

	if (result == ENVELOPE_OK)
		return INTAKE_ACCEPTED;
	if (in->envelope.error)
		buf_addf(&out->detail, "%s, at byte %zu", in->envelope.error, in->envelope.error_offset);
	return result == ENVELOPE_INVALID_JSON ? INTAKE_INVALID_JSON : INTAKE_INVALID_EVENT;
}

static enum intake_code check_age(const struct intake *in, int64_t now_ms, struct intake_verdict *out)
{
	int64_t max_ms = in->source->max_age_ms, age_ms = now_ms - in->envelope.timestamp_ms;

	if (max_ms == 0 || in->envelope.timestamp_ms == 0 || age_ms <= max_ms)
		return INTAKE_ACCEPTED;
	buf_addf(&out->detail, "it is %" PRId64 " s old, %" PRId64 " s are allowed here", age_ms / 1000, max_ms / 1000);
	return INTAKE_TOO_OLD;
}

static void fill_event(struct intake *in, const struct intake_head *head, size_t got, int64_t now_ms)
{
	struct store_event_in *e = &in->event;

	in->idempotency_key = xstrndup(or_empty(head->idempotency_key), IDEMPOTENCY_KEY_MAX);
	e->source = in->source->name;
	e->event = in->envelope.event;
	e->timestamp = in->envelope.timestamp;
	e->idempotency_key = in->idempotency_key;
	e->body = in->body;
	e->body_len = got;
	e->received_ms = now_ms;
	envelope_identity(&in->envelope, in->source->name, in->body, got, e->identity);
}

void intake_accept(struct intake *in, const struct intake_head *head, size_t got, int64_t now_ms,
                   struct intake_verdict *out)
{
	enum intake_code code = INTAKE_ACCEPTED;

	*out = (struct intake_verdict){ .code = INTAKE_ACCEPTED };
	if (got < in->body_len) {
		buf_addf(&out->detail, "%zu bytes were announced, %zu came", in->body_len, got);
		code = INTAKE_SHORT_BODY;
	}
	if (code == INTAKE_ACCEPTED)
		code = verify(in, head, got, now_ms, out);
	if (code == INTAKE_ACCEPTED)
		code = parse(in, head, got, out);
	if (code == INTAKE_ACCEPTED)
		code = check_age(in, now_ms, out);
	out->code = code;
	if (code == INTAKE_ACCEPTED)
		fill_event(in, head, got, now_ms);
}

void intake_stored(enum store_status status, struct intake_verdict *out)
{
	*out = (struct intake_verdict){ .code = INTAKE_ACCEPTED };
	if (status == STORE_FULL)
		refuse(out, INTAKE_STORE_FULL, RETRY_STORE_S);
	else if (status != STORE_OK)
		refuse(out, INTAKE_STORE_UNAVAILABLE, RETRY_STORE_S);
}

void intake_release(struct intake *in)
{
	envelope_free(&in->envelope);
	free(in->body);
	free(in->idempotency_key);
	memset(in, 0, sizeof *in);
}

/* --- the answer -------------------------------------------------------------------------- */

/* RFC 9457. The type is the blank one: title and code say it all. */
static void write_problem(const struct intake_verdict *v, struct buf *body)
{
	const char *title = codes[v->code].title;

	buf_addf(body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":", title,
	         codes[v->code].status);
	buf_add_json(body, v->detail.len ? buf_str(&v->detail) : title);
	buf_addf(body, ",\"code\":\"%s\"}\n", codes[v->code].name);
}

void intake_answer(const struct intake *in, const struct intake_verdict *v, struct intake_answer *out)
{
	memset(out, 0, sizeof *out);
	out->status = codes[v->code].status;
	out->reason = codes[v->code].reason;
	if (v->code == INTAKE_ACCEPTED) {
		out->content_type = "application/json";
		buf_reserve(&out->body, ACCEPTED_SIZE);
		buf_adds(&out->body, "{\"id\":\"");
		buf_adds(&out->body, in->event.id);
		buf_adds(&out->body, "\",\"status\":\"accepted\",\"duplicate\":");
		buf_adds(&out->body, in->event.duplicate ? "true}\n" : "false}\n");
	} else {
		out->content_type = "application/problem+json";
		write_problem(v, &out->body);
	}
	if (v->code == INTAKE_METHOD_NOT_ALLOWED)
		buf_adds(&out->headers, "Allow: POST\r\n");
	if (v->retry_after_s)
		buf_addf(&out->headers, "Retry-After: %u\r\n", v->retry_after_s);
}

void intake_answer_free(struct intake_answer *a)
{
	buf_free(&a->headers);
	buf_free(&a->body);
}
