/* One call on its way through the program: request, checks, answer. The same whether it came
 * over FastCGI or as plain CGI, and whichever thread serves it.
 *
 *   exchange_receive()  the checks, before and after the body is read
 *   (store)             where that found nothing to refuse
 *   exchange_answer()   says what became of it */
#ifndef NTRVSTA_WEB_EXCHANGE_H
#define NTRVSTA_WEB_EXCHANGE_H

#include <stdbool.h>

#include "lib/conf/conf.h"
#include "lib/intake/intake.h"
#include "lib/intake/limiter.h"
#include "lib/intake/refusals.h"
#include "lib/web/request.h"

struct exchange {
	struct request request;
	struct conf *conf; /* a reference of its own; NULL: not configured */
	struct intake_head head;
	struct intake intake;
	struct limiter *limiter; /* NULL: none */
	struct refusals *refusals; /* where they are counted; set before it is received; NULL: nowhere */
	char client[ADDRESS_TEXT_SIZE];
	bool body_read; /* as much of the body as was announced is here */
};

/* X->request has begun. Takes a reference of CONF. The verdict is the caller's to hand on. */
void exchange_receive(struct exchange *x, struct conf *conf, struct limiter *limiter,
                      struct intake_verdict *out);

/* Answer, log a refusal, release everything but the request. Releases the verdict too. */
void exchange_answer(struct exchange *x, struct intake_verdict *verdict);

#endif
