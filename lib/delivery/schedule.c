#include "lib/delivery/schedule.h"

#include <stddef.h>

#define JITTER_PART 5 /* at most a fifth of the step, 20% */

/* X * RANDOM / 2^32 without leaving 64 bits. */
static uint64_t share(uint64_t x, uint32_t random)
{
	return (x >> 32) * random + (((x & UINT32_MAX) * random) >> 32);
}

int64_t schedule_delay_ms(const struct conf_schedule *s, int attempt, uint32_t random)
{
	int64_t step;

	if (attempt < 1 || (size_t)attempt > s->n)
		return -1;
	step = s->delay_ms[attempt - 1];
	return step + (int64_t)share((uint64_t)step / JITTER_PART, random);
}
