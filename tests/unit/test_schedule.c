#include "lib/delivery/schedule.h"

#include <stddef.h>

#include "tests/unit/tap.h"

static int64_t steps[] = { 1000, 2000, 5, 4, 0, 315360000000 /* ten years */ };
static const struct conf_schedule schedule = { steps, sizeof(steps) / sizeof(steps[0]) };

static void test_steps(void)
{
	for (size_t i = 0; i < schedule.n; i++)
		CHECK_INT(schedule_delay_ms(&schedule, (int)i + 1, 0), steps[i],
		          "after attempt %zu comes step %zu, not less", i + 1, i + 1);
}

static void test_end(void)
{
	static const struct conf_schedule none = { NULL, 0 };

	CHECK_INT(schedule_delay_ms(&schedule, (int)schedule.n + 1, 0), -1,
	          "after the last step there is no further attempt");
	CHECK_INT(schedule_delay_ms(&schedule, INT32_MAX, UINT32_MAX), -1, "nor after any later one");
	CHECK_INT(schedule_delay_ms(&none, 1, 0), -1, "an empty schedule has no second attempt");
	CHECK_INT(schedule_delay_ms(&schedule, 0, 0), -1, "an attempt number that can't be has no delay");
}

static void test_jitter(void)
{
	static const struct {
		int attempt;
		uint32_t random;
		int64_t want;
		const char *promise;
	} rows[] = {
		{ 1, UINT32_MAX, 1199, "just short of 20% with the largest random number" },
		{ 1, UINT32_MAX / 2 + 1, 1100, "half of that with half of it" },
		{ 2, UINT32_MAX / 4 + 1, 2100, "in proportion to the step" },
		{ 4, UINT32_MAX, 4, "nothing where a fifth is less than a millisecond" },
		{ 5, UINT32_MAX, 0, "nothing for a step of nothing" },
		{ 6, UINT32_MAX / 2 + 1, 346896000000, "no overflow with the longest step" },
		{ 6, UINT32_MAX, 378431999985, "no overflow with the largest random number" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_INT(schedule_delay_ms(&schedule, rows[i].attempt, rows[i].random), rows[i].want,
		          "jitter adds %s", rows[i].promise);
}

static void test_bounds(void)
{
	bool within = true;
	int64_t last = 0;

	for (uint64_t r = 0; r <= UINT32_MAX; r += 65537) {
		int64_t delay = schedule_delay_ms(&schedule, 2, (uint32_t)r);

		within = within && delay >= last && delay >= 2000 && delay <= 2400;
		last = delay;
	}
	CHECK(within, "the delay grows with the random number, between the step and 20%% more");
}

int main(void)
{
	test_steps();
	test_end();
	test_jitter();
	test_bounds();
	return tap_done();
}
