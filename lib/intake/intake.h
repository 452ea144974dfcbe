/* From a request's metadata and body to a stored event: the checks of the contract in its
 * order. Knows nothing of FastCGI or CGI; any thread.
 *
 *   intake_admit()  what can be said before the body is read
 *   intake_accept() what can be said of the body; fills the event to be stored
 *   (store)         alone or in a group, see committer.h
 *   intake_stored() what the sender is told */
#ifndef NTRVSTA_INTAKE_INTAKE_H
#define NTRVSTA_INTAKE_INTAKE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/event/envelope.h"
#include "lib/intake/limiter.h"
#include "lib/store/store.h"

/* What the web server said of the request; NULL where it said nothing. Owned by the caller. */
struct intake_head {
	const char *method;
	const char *path_info, *script_name;
	const char *content_length, *content_type;
	const char *signature, *event, *idempotency_key; /* X-Ntrvsta-* */
	const char *remote_addr, *forwarded_for;
};

/* What is answered. The contract's table, section 3. */
enum intake_code {
	INTAKE_ACCEPTED, /* not refused */
	INTAKE_NOT_FOUND,
	INTAKE_METHOD_NOT_ALLOWED,
	INTAKE_RATE_LIMITED,
	INTAKE_LENGTH_REQUIRED,
	INTAKE_BAD_LENGTH,
	INTAKE_BODY_TOO_LARGE,
	INTAKE_UNSUPPORTED_MEDIA_TYPE,
	INTAKE_SHORT_BODY,
	INTAKE_MISSING_SIGNATURE,
	INTAKE_INVALID_SIGNATURE,
	INTAKE_INVALID_JSON,
	INTAKE_INVALID_EVENT,
	INTAKE_TOO_OLD,
	INTAKE_NOT_CONFIGURED,
	INTAKE_STORE_UNAVAILABLE,
	INTAKE_STORE_FULL,
};

struct intake_verdict {
	enum intake_code code;
	struct buf detail;       /* more than the table's text, may be empty */
	unsigned retry_after_s;  /* 0: no such header */
};

/* One call while it is on its way. Zero it first; release with intake_release(). */
struct intake {
	const struct conf_source *source;
	size_t body_len; /* announced; set by intake_admit() */
	char *body;      /* malloc'ed by whoever reads it; released with the rest */
	struct envelope envelope;
	char *idempotency_key;
	struct store_event_in event; /* points into the members above */
};

/* Refuse, or find the source and the length of the body to read. CONF NULL: not configured.
 * LIMITER may be NULL. */
void intake_admit(struct intake *in, const struct conf *conf, struct limiter *limiter,
                  const struct intake_head *head, struct intake_verdict *out);

/* IN->body holds GOT bytes. Verify, parse, identify. */
void intake_accept(struct intake *in, const struct intake_head *head,
                   size_t got, int64_t now_ms, struct intake_verdict *out);

/* The verdict on an event that went to the store. */
void intake_stored(enum store_status status, struct intake_verdict *out);

void intake_release(struct intake *in);

/* The same checks for requests that are no events. May this address call? Else OUT is RATE_LIMITED. */
bool intake_check_rate(const struct conf *conf, struct limiter *limiter, const struct intake_head *head,
                       struct intake_verdict *out);
/* After a refusal: where it was for a wrong signature, count it; OUT becomes RATE_LIMITED where this address had too
 * many of them. What is signed rightly always passes, so that nobody can shut others out who share an address. */
void intake_limit_refused(const struct conf *conf, struct limiter *limiter, const struct intake_head *head,
                          struct intake_verdict *out);
/* The announced length of a JSON body of MAX bytes at most; 0 where nothing is announced. */
void intake_check_body(const struct intake_head *head, size_t max, size_t *len, struct intake_verdict *out);

/* The answer to the sender: HTTP status, header lines and JSON body (the event's id, or RFC
 * 9457 problem details). */
struct intake_answer {
	unsigned status;
	const char *reason;       /* "Not Found" */
	const char *content_type;
	struct buf headers;       /* further lines, each with CR LF */
	struct buf body;
};
void intake_answer(const struct intake *in, const struct intake_verdict *verdict,
                   struct intake_answer *out);
void intake_answer_free(struct intake_answer *a);

unsigned intake_code_status(enum intake_code code);     /* 404 */
const char *intake_code_name(enum intake_code code);    /* "not_found" */

#endif
