/* A part of the dispatcher: runs whose target is a handler. Private to work.c. */
#ifndef NTRVSTA_DELIVERY_HANDLER_H
#define NTRVSTA_DELIVERY_HANDLER_H

#include "lib/delivery/work.h"

/* Start R->target's script with R's event, or batch, as its input: R->child. False where it can't be started: R->outcome
 * says why. */
bool handler_start(struct dispatcher *d, struct run *r);

#endif
