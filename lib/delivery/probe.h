/* A part of the dispatcher: connectivity tests of webhooks. Each is one HEAD request without an event and
 * without a signature, under the same guard and limits as a delivery. Private to dispatcher.c and webhook.c. */
#ifndef NTRVSTA_DELIVERY_PROBE_H
#define NTRVSTA_DELIVERY_PROBE_H

#include "lib/delivery/backlog.h"

/* Begin those that wait, a few at once. */
void probes_start(struct dispatcher *d);

/* A call of OWNER has ended: if that is a connectivity test, take END, whose buffers are released then. */
bool probe_ended(struct dispatcher *d, void *owner, struct call_end *end);

/* Is there something to record? */
bool probes_to_settle(const struct dispatcher *d);

/* Record what has come of them. */
void probes_settle(struct dispatcher *d);

void probes_free(struct dispatcher *d);

#endif
