/* The management API, the dashboard and /healthz over HTTP: who asks, the body, the answer. What they mean is lib/api's.
 *
 *   exchange_receive()  finds no source for the request
 *   manage_admit()      it is one of these, and may be served
 *   manage_serve()      on a thread that may block */
#ifndef NTRVSTA_WEB_MANAGE_H
#define NTRVSTA_WEB_MANAGE_H

#include <stdbool.h>

#include "lib/web/exchange.h"
#include "lib/web/stores.h"

/* Is X, for which OUT says that no source is there, to be served by manage_serve()? Else OUT is the answer, which
 * may be another one now. */
bool manage_admit(const struct exchange *x, struct intake_verdict *out);

/* Serve X, up to and with its answer; releases everything but the request. READ, where it is not NULL, is called
 * with CTX as soon as the body is here. True where the dispatcher has new work. */
bool manage_serve(struct exchange *x, struct stores *stores, void (*read)(void *ctx), void *ctx);

#endif
