#include "lib/delivery/slots.h"

#include "lib/base/clock.h"
#include "lib/delivery/work.h"
#include "tests/unit/tap.h"

#define UNKNOWN (-1)
#define QUICK 20
#define STEADY 2000
#define SLOW 5000

static char name[] = "all/x";

/* Who may claim, with USED of ALL slots in use, RUNNING of them by itself, which may have OWN, and whose last run took so
 * long. */
static const struct {
	const char *promise;
	unsigned all, used, running, own;
	int64_t took_ms;
	bool may;
} rows[] = {
	{ "a free slot", 4, 0, 0, 1, UNKNOWN, true },
	{ "none is free", 4, 4, 0, 1, QUICK, false },
	{ "as many as it may have run already", 4, 1, 1, 1, QUICK, false },
	{ "a second run of its own", 4, 1, 1, 2, STEADY, true },
	{ "the last slot is for one that has nothing running", 4, 3, 0, 1, STEADY, true },
	{ "... also where nothing is known of it", 4, 3, 0, 1, UNKNOWN, true },
	{ "... and for a quick one", 4, 3, 3, 4, QUICK, true },
	{ "... not for one that has something running", 4, 3, 1, 4, STEADY, false },
	{ "... also where nothing is known of it yet", 4, 3, 3, 4, UNKNOWN, false },
	{ "... nor for one that took 5 seconds the last time", 4, 3, 0, 1, SLOW, false },
	{ "a slow one may have another slot", 4, 2, 0, 1, SLOW, true },
	{ "of two, the second is the last one", 2, 1, 1, 2, STEADY, false },
	{ "one slot is kept for nobody", 1, 0, 0, 1, SLOW, true },
};

static void test_claims(void)
{
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct conf conf = { .dispatch_concurrency = rows[i].all,
		                     .handler_defaults = { .concurrency = rows[i].own, .batch = 1 } };
		struct target t = { .name = name, .running = rows[i].running, .took_ms = rows[i].took_ms };
		struct dispatcher d = { .conf = &conf, .nrunning = rows[i].used };

		CHECK_INT(slots_may_claim(&d, &t), rows[i].may, "%s", rows[i].promise);
		CHECK_INT(slots_may_start(&d, &t), rows[i].may, "... to begin as well");
	}
}

/* Nobody has to wait for its end to know that a run is slow. */
static void test_slow_now(void)
{
	struct conf conf = { .dispatch_concurrency = 2, .handler_defaults = { .concurrency = 2, .batch = 1 } };
	struct target t = { .name = name, .running = 0, .took_ms = STEADY };
	struct run r = { .target = &t, .begun_ms = clock_mono_ms() - SLOW };
	struct dispatcher d = { .conf = &conf, .nrunning = 1, .running = &r };

	CHECK(!slots_may_claim(&d, &t), "a run that has lasted for 5 seconds makes its target a slow one");
	r.begun_ms = clock_mono_ms();
	CHECK(slots_may_claim(&d, &t), "one that has just begun does not");
}

static void test_ahead(void)
{
	struct conf conf = { .dispatch_concurrency = 2, .handler_defaults = { .concurrency = 1, .batch = 1 } };
	struct target t = { .name = name, .running = 1, .took_ms = QUICK };
	struct dispatcher d = { .conf = &conf, .nrunning = 1 };

	CHECK(slots_may_claim_ahead(&d, &t), "a quick one's next delivery is claimed while it runs");
	t.took_ms = STEADY;
	CHECK(!slots_may_claim_ahead(&d, &t), "another one's is not");
	t.took_ms = QUICK;
	conf.handler_defaults.batch = 2;
	CHECK(!slots_may_claim_ahead(&d, &t), "nor a batch");
	conf.handler_defaults.batch = 1;
	t.ready = 1 + SLOTS_AHEAD;
	CHECK(!slots_may_claim_ahead(&d, &t), "nor more than a few");
	t.ready = 0;
	t.running = 0;
	CHECK(!slots_may_claim_ahead(&d, &t), "nor before it runs");
}

int main(void)
{
	test_claims();
	test_slow_now();
	test_ahead();
	return tap_done();
}
