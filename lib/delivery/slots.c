#include "lib/delivery/slots.h"

#include "lib/base/clock.h"
#include "lib/delivery/work.h"

/* A quick target's slot is free again before anybody notices; and only where runs are short does it count
 * how long a commit takes. Who takes longer than SLOW_MS keeps others waiting. */
#define QUICK_MS 100
#define SLOW_MS 5000

static bool is_quick(const struct target *t)
{
	return t->took_ms >= 0 && t->took_ms < QUICK_MS;
}

static bool is_slow(const struct dispatcher *d, const struct target *t)
{
	int64_t now_ms = clock_mono_ms();
	const struct run *r;

	if (t->took_ms >= SLOW_MS)
		return true;
	for (r = d->running; r; r = r->next)
		if (r->target == t && now_ms - r->begun_ms >= SLOW_MS)
			return true;
	return false;
}

/* Slots that tests use. */
static unsigned beside(const struct dispatcher *d)
{
	return d->ntests > 0 ? d->ntests - 1 : 0;
}

/* With USED of all slots in use, and RUNNING of T. */
static bool fits(const struct dispatcher *d, const struct target *t, unsigned used, unsigned running)
{
	unsigned all = d->conf->dispatch_concurrency;

	used += beside(d);
	if (used >= all || running >= conf_handler(d->conf, t->name)->concurrency)
		return false;
	if (all == 1 || used + 1 < all || is_quick(t))
		return true;
	return running == 0 && !is_slow(d, t);
}

bool slots_may_claim_test(const struct dispatcher *d, const struct target *t)
{
	return !t->testing && d->nrunning + d->nready - d->nahead + d->ntests <= d->conf->dispatch_concurrency;
}

bool slots_may_start(const struct dispatcher *d, const struct target *t)
{
	return fits(d, t, d->nrunning, t->running);
}

bool slots_may_claim(const struct dispatcher *d, const struct target *t)
{
	return fits(d, t, d->nrunning + d->nready - d->nahead, t->running + t->ready);
}

bool slots_may_claim_ahead(const struct dispatcher *d, const struct target *t)
{
	const struct conf_handler *handler = conf_handler(d->conf, t->name);

	return is_quick(t) && handler->batch == 1 && t->running > 0 &&
	       t->ready < handler->concurrency + SLOTS_AHEAD && d->nahead < d->conf->dispatch_concurrency + SLOTS_AHEAD;
}
