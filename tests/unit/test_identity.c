#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/xalloc.h"
#include "lib/store/identity.h"
#include "tests/unit/tap.h"

static const uint8_t database[IDENTITY_DATABASE_BYTES] = "one database....", other[IDENTITY_DATABASE_BYTES] = "another one.....";

static char *new_path(void)
{
	static int n;

	return xasprintf("%s/identity-%d", tap_tmpdir(), n++);
}

static void identity_of(int64_t seq, uint8_t out[SHA256_BYTES])
{
	bytes_sha256(&seq, sizeof seq, out);
}

/* Enter FROM to TO, in transactions of 1000. */
static bool enter(struct identity_table *t, int64_t from, int64_t to)
{
	struct identity_probe probe;
	uint8_t identity[SHA256_BYTES];
	int64_t seq;

	for (seq = from; seq <= to; seq++) {
		identity_of(seq, identity);
		if (((seq - from) % 1000 == 0 && identity_begin(t, 1000, 0)) || identity_find(t, identity, &probe) ||
		    identity_add(t, identity, seq, &probe))
			return false;
	}
	return identity_cover(t, to) == 0;
}

static bool finds(struct identity_table *t, const uint8_t identity[SHA256_BYTES], int64_t seq)
{
	struct identity_probe probe;
	size_t i;

	if (identity_find(t, identity, &probe))
		return false;
	for (i = 0; i < probe.n; i++)
		if (probe.candidates[i] == seq)
			return true;
	return false;
}

/* How many of FROM to TO the table finds. */
static int64_t count_found(struct identity_table *t, int64_t from, int64_t to)
{
	uint8_t identity[SHA256_BYTES];
	int64_t found = 0, seq;

	for (seq = from; seq <= to; seq++) {
		identity_of(seq, identity);
		found += finds(t, identity, seq);
	}
	return found;
}

static void test_grows(void)
{
	char *path = new_path();
	struct identity_table *t = identity_open(path, database);

	CHECK(enter(t, 1, 500000), "half a million entries, far more than it begins with");
	CHECK_INT(count_found(t, 1, 500000), 500000, "all are found");
	CHECK_INT(count_found(t, 500001, 600000), 0, "others are not");
	CHECK_INT(identity_covered(t), 500000, "it knows how far it goes");
	identity_close(t);
	t = identity_open(path, database);
	CHECK(identity_begin(t, 1, 0) == 0 && count_found(t, 1, 500000) == 500000, "also when it is opened anew");
	identity_close(t);
	free(path);
}

/* Hashes at the very end of their range: their probe sequences go on at the table's beginning. */
static void test_wraps_around(void)
{
	char *path = new_path();
	struct identity_table *t = identity_open(path, database);
	uint8_t identity[SHA256_BYTES];
	struct identity_probe probe;
	int64_t seq, found = 0;

	identity_begin(t, 1000, 0);
	memset(identity, 0xff, sizeof identity);
	for (seq = 1; seq <= 100; seq++) {
		identity[0] = (uint8_t)seq; /* the low byte of the hash */
		identity_find(t, identity, &probe);
		identity_add(t, identity, seq, &probe);
	}
	CHECK(enter(t, 1001, 101000), "it grows meanwhile");
	for (seq = 1; seq <= 100; seq++) {
		identity[0] = (uint8_t)seq;
		found += finds(t, identity, seq);
	}
	CHECK_INT(found, 100, "entries that wrap around are found");
	identity_close(t);
	free(path);
}

static void test_two_handles(void)
{
	char *path = new_path();
	struct identity_table *a = identity_open(path, database), *b = identity_open(path, database);

	CHECK(enter(a, 1, 10) && enter(b, 11, 20), "two processes enter in turn");
	CHECK(identity_begin(a, 1, 0) == 0 && identity_covered(a) == 20 && count_found(a, 1, 20) == 20, "each sees the other's");
	CHECK(enter(b, 21, 200000), "one of them lets it grow");
	CHECK(identity_begin(a, 1, 0) == 0 && count_found(a, 1, 200000) == 200000, "the other one moves to the new file");
	identity_close(a);
	identity_close(b);
	free(path);
}

static void test_removed_events_make_room(void)
{
	char *path = new_path();
	struct identity_table *t = identity_open(path, database);
	uint8_t identity[SHA256_BYTES];
	struct identity_probe probe;
	int64_t seq, size;
	int fd;

	for (seq = 1; seq <= 1000000; seq++) {
		/* Only the last 20 000 events are kept. */
		if (seq % 1000 == 1 && identity_begin(t, 1000, seq - 20000))
			break;
		identity_of(seq, identity);
		if (identity_find(t, identity, &probe) || identity_add(t, identity, seq, &probe))
			break;
		/* Half of the transactions are rolled back: nobody counts their entries. */
		if (seq % 2000 == 0)
			identity_cover(t, seq);
	}
	CHECK_INT(seq, 1000001, "a million entries");
	CHECK_INT(count_found(t, 980001, 1000000), 20000, "what is kept is found");
	CHECK_INT(count_found(t, 1, 900000), 0, "what was removed is not");
	fd = open(path, O_RDONLY);
	size = lseek(fd, 0, SEEK_END);
	close(fd);
	CHECK(size < 4 << 20, "a million events of which few are kept need %lld bytes", (long long)size);
	identity_close(t);
	free(path);
}

static void spoil(const char *path, off_t at, const char *bytes)
{
	int fd = open(path, O_WRONLY);

	CHECK(pwrite(fd, bytes, strlen(bytes), at) == (ssize_t)strlen(bytes), "spoil the file at %lld", (long long)at);
	close(fd);
}

static void test_reboot(void)
{
	char *path = new_path();
	struct identity_table *t = identity_open(path, database);

	enter(t, 1, 100);
	CHECK_INT(identity_sync(t), 0, "it is synced");
	enter(t, 101, 200);
	CHECK(identity_begin(t, 1, 0) == 0 && identity_covered(t) == 200, "until the machine is started anew, all counts");
	identity_close(t);
	spoil(path, 24, "another boot"); /* struct header, member boot */
	t = identity_open(path, database);
	CHECK(identity_begin(t, 1, 0) == 0 && identity_covered(t) == 100, "then what was synced");
	identity_close(t);
	free(path);
}

static void test_of_no_use(void)
{
	char *path = new_path();
	struct identity_table *t = identity_open(path, database);

	enter(t, 1, 100);
	identity_close(t);
	t = identity_open(path, other);
	CHECK(identity_begin(t, 1, 0) == 0 && identity_covered(t) == 0, "another database's file begins anew");
	enter(t, 1, 100);
	identity_close(t);
	spoil(path, 0, "garbage");
	t = identity_open(path, other);
	CHECK(identity_begin(t, 1, 0) == 0 && identity_covered(t) == 0, "a damaged one too");
	enter(t, 1, 100);
	identity_close(t);
	CHECK(truncate(path, 5000) == 0, "cut the file");
	t = identity_open(path, other);
	CHECK(identity_begin(t, 1, 0) == 0 && identity_covered(t) == 0, "and one that was cut");
	CHECK_INT(count_found(t, 1, 100), 0, "it is empty");
	identity_close(t);
	t = identity_open("/no/such/folder/x", database);
	CHECK(t && identity_begin(t, 1, 0) == -1, "where it can't be made, that is an error");
	identity_close(t);
	free(path);
}

int main(void)
{
	test_grows();
	test_wraps_around();
	test_two_handles();
	test_removed_events_make_room();
	test_reboot();
	test_of_no_use();
	return tap_done();
}
