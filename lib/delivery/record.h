/* A part of the dispatcher: what an attempt came to, and what becomes of its deliveries. Private to it. */
#ifndef NTRVSTA_DELIVERY_RECORD_H
#define NTRVSTA_DELIVERY_RECORD_H

#include "lib/delivery/work.h"

/* Between store_begin() and store_commit(): the attempts of R, which has ended, and what follows. */
enum store_status record_run(struct dispatcher *d, struct run *r);

/* One line in the log, and in the counters for /metrics, once that is committed. */
void record_log(struct dispatcher *d, const struct run *r);

/* At start: what says that it runs belongs to a dispatcher that died. */
enum store_status record_all_interrupted(struct dispatcher *d);

#endif
