#include "lib/intake/refusals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NOW (INT64_C(20000) * DAY + 5 * HOUR)
#define ROUNDS 20000

static char *new_dir(void)
{
	static int n;
	char *dir = xasprintf("%s/refusals-%d", tap_tmpdir(), n++);

	mkdir(dir, 0700);
	return dir;
}

static void write_row(void *ctx, const struct refusals_row *row)
{
	buf_addf(ctx, "%lld %s %lld\n", (long long)((row->start_ms - NOW) / MINUTE), refusals_code_name(row->code), (long long)row->count);
}

/* Rows as "MINUTES-FROM-NOW CODE COUNT" lines. */
static void check_rows(struct refusals *r, bool minutes, int64_t from_ms, int64_t to_ms, const char *wanted, const char *what)
{
	struct buf rows = BUF_INIT;

	refusals_each(r, minutes, from_ms, to_ms, write_row, &rows);
	CHECK_STR(buf_str(&rows), wanted, "%s", what);
	buf_free(&rows);
}

struct search {
	const char *address, *code;
	struct refusals_address found;
	int matches, all;
};

static void note_address(void *ctx, const struct refusals_address *row)
{
	struct search *search = ctx;

	search->all++;
	if (strcmp(row->address, search->address) != 0 || strcmp(refusals_code_name(row->code), search->code) != 0)
		return;
	search->found = *row;
	search->matches++;
}

static struct search look_for(struct refusals *r, const char *address, const char *code, int64_t since_ms)
{
	struct search search = { .address = address, .code = code };

	refusals_each_address(r, since_ms, note_address, &search);
	return search;
}

static void test_reasons(void)
{
	char *dir = new_dir();
	struct refusals *r = refusals_new(dir), *other = refusals_new(dir);

	check_rows(r, true, NOW - HOUR, NOW + 1, "", "nothing at first");
	refusals_count(r, "invalid_signature", "192.0.2.1", NOW);
	refusals_count(other, "invalid_signature", NULL, NOW + 59999);
	refusals_count(r, "too_old", "", NOW + MINUTE);
	refusals_count(r, "unheard_of", "no address", NOW);
	check_rows(other, true, NOW, NOW + 2 * MINUTE, "0 other 1\n0 invalid_signature 2\n1 too_old 1\n", "by minute, whoever counted");
	check_rows(r, true, NOW, NOW + MINUTE, "0 other 1\n0 invalid_signature 2\n", "until a time");
	check_rows(r, true, NOW + MINUTE, NOW + HOUR, "1 too_old 1\n", "from a time on");
	check_rows(r, false, NOW - DAY, NOW + DAY, "0 other 1\n0 invalid_signature 2\n0 too_old 1\n", "by hour");
	refusals_free(r);
	refusals_free(other);
	r = refusals_new(dir);
	check_rows(r, true, NOW, NOW + MINUTE, "0 other 1\n0 invalid_signature 2\n", "they stay when the program ends");
	refusals_free(r);
	free(dir);
}

static void test_rings(void)
{
	char *dir = new_dir();
	struct refusals *r = refusals_new(dir);
	int64_t i, n = 0;
	struct buf rows = BUF_INIT;

	for (i = 0; i < 200; i++)
		refusals_count(r, "too_old", NULL, NOW - i * MINUTE);
	refusals_count(r, "too_old", NULL, NOW);
	refusals_each(r, true, NOW - DAY, NOW + 1, write_row, &rows);
	for (i = 0; (size_t)i < rows.len; i++)
		n += rows.data[i] == '\n';
	CHECK(n >= 1 && n <= 64, "of minutes only so many as there is room for, %lld", (long long)n);
	buf_free(&rows);
	check_rows(r, false, NOW - 30 * DAY, NOW + 1, "-240 too_old 19\n-180 too_old 60\n-120 too_old 60\n-60 too_old 60\n0 too_old 2\n",
	           "hours have all of them");
	for (i = 0; i < 60; i++)
		refusals_count(r, "not_found", NULL, NOW + DAY - i * MINUTE);
	for (i = 0; i < 60; i++)
		buf_addf(&rows, "%lld not_found 1\n", (long long)(DAY / MINUTE - 59 + i));
	check_rows(r, true, NOW + DAY - 59 * MINUTE, NOW + DAY + 1, buf_str(&rows), "a day later, none of before is among them");
	buf_free(&rows);
	refusals_count(r, "csrf", NULL, NOW + 40 * DAY);
	check_rows(r, false, NOW + 10 * DAY, NOW + 40 * DAY + 1, "57600 csrf 1\n", "a month later the old hours are gone");
	refusals_free(r);
	free(dir);
}

static void test_addresses(void)
{
	static const struct {
		const char *address, *shown;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1" }, { "::ffff:192.0.2.2", "192.0.2.2" }, { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
		{ "2001:db8:1:3::", "2001:db8:1:3::/64" }, { "::1", "::/64" },
	};
	char *dir = new_dir();
	struct refusals *r = refusals_new(dir);
	struct search search;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		refusals_count(r, "too_old", rows[i].address, NOW + (int64_t)i);
		search = look_for(r, rows[i].shown, "too_old", 0);
		CHECK(search.matches == 1 && search.found.count == 1 && search.found.last_ms == NOW + (int64_t)i, "%s is %s", rows[i].address, rows[i].shown);
	}
	refusals_count(r, "too_old", "2001:db8:1:2:ffff::", NOW + MINUTE);
	search = look_for(r, "2001:db8:1:2::/64", "too_old", NOW + MINUTE);
	CHECK(search.found.count == 2 && search.found.last_ms == NOW + MINUTE, "all of a /64 are one");
	CHECK_INT(search.all, 1, "only those that were refused since");
	refusals_count(r, "not_found", "192.0.2.1", NOW);
	CHECK_INT(look_for(r, "192.0.2.1", "not_found", 0).found.count, 1, "each reason counts for itself");
	CHECK_INT(look_for(r, "192.0.2.1", "too_old", 0).found.count, 1, "each reason counts for itself");
	refusals_count(r, "too_old", "unix:", NOW);
	refusals_count(r, "too_old", NULL, NOW);
	CHECK_INT(look_for(r, "", "", 0).all, 6, "what is no address has no place");
	refusals_free(r);
	free(dir);
}

/* Who comes often stays, however many come once. */
static void test_bounded(void)
{
	char *dir = new_dir(), address[32];
	struct refusals *r = refusals_new(dir);
	struct search search;
	int i;

	for (i = 0; i < 5000; i++) {
		snprintf(address, sizeof address, "10.0.%d.%d", i / 256, i % 256);
		refusals_count(r, "invalid_signature", address, NOW + i);
		refusals_count(r, "invalid_signature", "192.0.2.9", NOW + i);
	}
	search = look_for(r, "192.0.2.9", "invalid_signature", 0);
	CHECK_INT(search.found.count, 5000, "its count is exact: it never lost its place");
	CHECK_INT(search.all, REFUSALS_ADDRESSES, "places are bounded");
	CHECK_INT(look_for(r, address, "invalid_signature", 0).matches, 1, "the last one has a place");
	refusals_count(r, "invalid_signature", "192.0.2.10", NOW + 40 * DAY);
	search = look_for(r, "192.0.2.10", "invalid_signature", 0);
	CHECK_INT(search.found.count, 1, "a month later who takes a place begins with 1");
	refusals_free(r);
	free(dir);
}

static void *count(void *arg)
{
	struct refusals *r = refusals_new(arg);
	char address[32];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		snprintf(address, sizeof address, "192.0.2.%d", i % 5);
		refusals_count(r, "too_old", address, NOW + i % 3 * MINUTE);
	}
	refusals_free(r);
	return NULL;
}

static void test_many_at_once(void)
{
	char *dir = new_dir();
	struct refusals *r = refusals_new(dir);
	pthread_t threads[3];
	struct buf wanted = BUF_INIT;
	int64_t sum = 0;
	char address[32];
	pid_t pid = fork();
	int i;

	if (pid == 0) {
		count(dir);
		_exit(0);
	}
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, count, dir);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	waitpid(pid, NULL, 0);
	for (i = 0; i < 3; i++)
		buf_addf(&wanted, "%d too_old %d\n", i, 4 * (ROUNDS / 3 + (i < ROUNDS % 3)));
	check_rows(r, true, NOW, NOW + HOUR, buf_str(&wanted), "threads and processes at once: nothing is lost, or counted twice");
	for (i = 0; i < 5; i++) {
		snprintf(address, sizeof address, "192.0.2.%d", i);
		sum += look_for(r, address, "too_old", 0).found.count;
	}
	CHECK(sum <= 4 * ROUNDS && sum > 4 * ROUNDS - 100, "nearly nothing of the addresses' is lost: %lld", (long long)sum);
	buf_free(&wanted);
	refusals_free(r);
	free(dir);
}

static void test_no_file(void)
{
	struct refusals *r = refusals_new("/no/such/folder");

	refusals_count(r, "too_old", "192.0.2.1", NOW);
	refusals_count(NULL, "too_old", "192.0.2.1", NOW);
	check_rows(r, true, NOW, NOW + HOUR, "", "without a file nothing is counted, and nothing happens");
	CHECK_INT(look_for(r, "192.0.2.1", "too_old", 0).all, 0, "without a file there are no addresses");
	refusals_free(r);
	refusals_free(NULL);
}

int main(void)
{
	test_reasons();
	test_rings();
	test_addresses();
	test_bounded();
	test_many_at_once();
	test_no_file();
	CHECK(!refusals_code_name(REFUSALS_CODES - 1) && !refusals_code_name(REFUSALS_CODES), "numbers without a name have none");
	return tap_done();
}
