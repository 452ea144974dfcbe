/* When a failed delivery is tried again. */
#ifndef NTRVSTA_DELIVERY_SCHEDULE_H
#define NTRVSTA_DELIVERY_SCHEDULE_H

#include <stdint.h>

#include "lib/conf/conf.h"

/* How long to wait after attempt number ATTEMPT (1, 2, ...) failed, in milliseconds: the step of
 * the schedule plus up to 20%, in proportion to RANDOM (any value; uniform over its range);
 * never less than the step. -1 where the schedule has no further step: the delivery has failed. */
int64_t schedule_delay_ms(const struct conf_schedule *s, int attempt, uint32_t random);

#endif
