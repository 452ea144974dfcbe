/* A part of the dispatcher: runs whose target is a webhook, a call instead of a child. Private to work.c. */
#ifndef NTRVSTA_DELIVERY_WEBHOOK_H
#define NTRVSTA_DELIVERY_WEBHOOK_H

#include "lib/delivery/work.h"

/* Call R->webhook with R's event, signed. False where the call could not begin: R->outcome says why. */
bool webhook_start(struct dispatcher *d, struct run *r);

/* A run whose call has ended, its outcome and what is kept of it filled in; NULL where there is none. */
struct run *webhook_next_ended(struct dispatcher *d);

/* In the transaction that records R: what its end says of the webhook itself. */
enum store_status webhook_note(struct dispatcher *d, const struct run *r);

#endif
