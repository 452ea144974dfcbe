/* What was said in an attempt to call a URL, kept where its webhook wants that (webhooks.h). It is listed with its
 * attempt, see store.h, and goes with it. Bodies are not here: that of the request is the event's, that of the answer
 * is the attempt's output. */
#ifndef NTRVSTA_STORE_EXCHANGES_H
#define NTRVSTA_STORE_EXCHANGES_H

#include "lib/store/store.h"

struct store_exchange {
	const char *request_head; /* a line for each: the request line, then the headers; "": nothing was sent */
	const char *answer_head;  /* the same with the status line; "": nothing came */
	bool answer_head_cut;     /* there was more of it */
};

/* Keep E with the attempt ATTEMPT_SEQ. The caller has masked in it what is secret. */
enum store_status store_put_exchange(struct store *s, int64_t attempt_seq, const struct store_exchange *e);

#endif
