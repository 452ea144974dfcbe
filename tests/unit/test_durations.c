#include "lib/store/durations.h"

#include <string.h>

#include "tests/unit/tap.h"

static void test_percentile(void)
{
	static const struct {
		struct duration rows[4];
		int64_t p50, p95;
		const char *what;
	} cases[] = {
		{ { { 0, 0 } }, -1, -1, "of nothing there is none" },
		{ { { 7, 1 } }, 7, 7, "of one it is that one" },
		{ { { 0, 1 } }, 0, 0, "also where it took no time" },
		{ { { 1, 1 }, { 2, 1 } }, 1, 2, "of two the lower one is in the middle" },
		{ { { 5, 95 }, { 9, 5 } }, 5, 5, "95 of 100 are the 95%" },
		{ { { 5, 94 }, { 9, 6 } }, 5, 9, "94 of 100 are not" },
		{ { { 90000, 1 }, { 3, 1 }, { 70000, 1 } }, 70000, 90000, "in whatever order they come" },
		{ { { 90000, 1 }, { 90000, 2 }, { 65535, 1 }, { 65536, 3 } }, 65536, 90000, "the same one twice is two" },
	};
	size_t i, k;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct durations d = DURATIONS_INIT;

		for (k = 0; k < 4; k++)
			if (cases[i].rows[k].attempts)
				durations_add(&d, cases[i].rows[k].ms, cases[i].rows[k].attempts);
		CHECK_INT(durations_percentile(&d, 50), cases[i].p50, "p50: %s", cases[i].what);
		CHECK_INT(durations_percentile(&d, 95), cases[i].p95, "p95: %s", cases[i].what);
		durations_free(&d);
	}
}

static void test_pack(void)
{
	static const int64_t lengths[] = { 0, 1, 127, 128, 16383, 16384, 65535, 65536, 65537, INT64_C(1) << 40 };
	struct durations d = DURATIONS_INIT, twice = DURATIONS_INIT;
	struct buf packed = BUF_INIT, again = BUF_INIT;
	size_t n = sizeof lengths / sizeof lengths[0], i;

	for (i = 0; i < n; i++)
		durations_add(&d, lengths[n - 1 - i], (int64_t)(1 + i * i * i * 100));
	durations_pack(&d, &packed);
	CHECK_INT(durations_unpack(&twice, packed.data, packed.len), 0, "what was packed is unpacked");
	durations_pack(&twice, &again);
	CHECK(again.len == packed.len && memcmp(again.data, packed.data, packed.len) == 0, "as the same");
	CHECK_INT(twice.attempts, d.attempts, "with all attempts");
	durations_unpack(&twice, packed.data, packed.len);
	CHECK_INT(twice.attempts, 2 * d.attempts, "a second time adds up");
	CHECK_INT(durations_percentile(&twice, 95), durations_percentile(&d, 95), "and changes no share");
	CHECK(packed.len < 70, "it is small: %zu bytes", packed.len);
	durations_free(&d);
	durations_free(&twice);
	buf_free(&packed);
	buf_free(&again);
}

static void test_broken(void)
{
	static const struct { const char *bytes; size_t len; const char *what; } cases[] = {
		{ "\x05", 1, "a length without a count" },
		{ "\x05\x80", 2, "a number that does not end" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", 12, "a number that is too large" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x01\x01", 12, "lengths beyond all bounds" },
	};
	struct durations none = DURATIONS_INIT;
	size_t i;

	CHECK(durations_unpack(&none, NULL, 0) == 0 && none.attempts == 0, "nothing is unpacked to nothing");
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct durations d = DURATIONS_INIT;

		CHECK_INT(durations_unpack(&d, cases[i].bytes, cases[i].len), -1, "%s is refused", cases[i].what);
		durations_free(&d);
	}
}

int main(void)
{
	test_percentile();
	test_pack();
	test_broken();
	return tap_done();
}
