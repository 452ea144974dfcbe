/* Calling URLs: many at once on one thread, with libcurl's multi interface. Connections are kept for the next
 * call; HTTP/2 is used where it is offered, one call at a time on a connection. Redirects are never followed,
 * no proxy is used, and only what guard.h allows is connected to. Single-threaded; nothing here blocks but
 * caller_poll(). */
#ifndef NTRVSTA_DELIVERY_CALL_H
#define NTRVSTA_DELIVERY_CALL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"

#define CALL_ANSWER_READ (64 * 1024)  /* bytes of an answer's body that are read at most, and of its headers */
#define CALL_HEAD_KEPT (8 * 1024)     /* bytes of its headers that are kept at most */

struct call_spec {
	const char *url;
	const char *const *headers; /* "Name: value", NULL at the end */
	const void *body;           /* must live until the call has ended; NULL: a HEAD request, on a new connection */
	size_t body_len;
	bool keep_heads; /* of the request and of the answer */
	const struct conf_webhooks *settings; /* used during call_start() only; what the guard needs is copied */
};

struct call_end {
	int status;             /* of HTTP; 0 where no answer came */
	const char *error_code; /* "" | dns | connect | address_refused | tls | timeout | connection | protocol: why there is
	                         * no (whole) answer; static */
	struct buf message;     /* about that, for people; release with buf_free() */
	struct buf answer;      /* the first bytes of its body; release with buf_free() */
	bool answer_cut;
	/* Where they are kept: start line and headers as they were sent and came, whole lines; release with buf_free(). Empty
	 * where nothing was. Of several answers to one request the last one's. A request that libcurl had to send again is
	 * there again, behind the empty line. */
	struct buf request_head, answer_head;
	bool answer_head_cut;
	int64_t retry_after_ms; /* what the answer's Retry-After asks for (RFC 9110, section 10.2.3); 0: nothing */
	int64_t dns_ms, connect_ms, tls_ms, duration_ms; /* since the start of the call, each; 0: did not come so far */
};

struct caller;

/* NULL, logged, where libcurl does not start. */
struct caller *caller_new(void);
void caller_free(struct caller *c); /* breaks off what is in flight; NULL is allowed */

/* Begin a call on behalf of OWNER. -1 where libcurl refuses it, with a message in ERR. */
int call_start(struct caller *c, const struct call_spec *spec, void *owner, struct buf *err);

size_t caller_in_flight(const struct caller *c);

/* Wait until something happens on a connection or on one of FDS (whose revents are set), or TIMEOUT_MS are over. */
void caller_poll(struct caller *c, struct pollfd *fds, nfds_t n, int timeout_ms);

/* Let the calls go on as far as they can; return the owner of one that has ended and fill OUT, or NULL. */
void *caller_next_ended(struct caller *c, struct call_end *out);

/* Connections that stand are used for nothing new from now on: the settings have changed. */
void caller_forget_connections(struct caller *c);

#endif
