#include "lib/base/meters.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fdio.h"
#include "lib/base/shared.h"
#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

#define ROUNDS 20000

static void write_line(void *ctx, const char *series, uint64_t value)
{
	buf_addf(ctx, "%s %llu\n", series, (unsigned long long)value);
}

static void check_all(struct meters *m, const char *wanted, const char *what)
{
	struct buf all = BUF_INIT;

	meters_each(m, write_line, &all);
	CHECK_STR(buf_str(&all), wanted, "%s", what);
	buf_free(&all);
}

static char *new_dir(void)
{
	static int n;
	char *dir = xasprintf("%s/meters-%d", tap_tmpdir(), n++), *command = xasprintf("mkdir %s", dir);

	if (system(command))
		exit(99);
	free(command);
	return dir;
}

static void test_counters(void)
{
	char *dir = new_dir();
	struct meters *m = meters_open(dir), *other = meters_open(dir);
	char long_name[METERS_NAME_SIZE + 1];

	if (!CHECK(m && other, "counters open"))
		return;
	check_all(m, "", "at first there is none");
	meters_add(m, 2, "b_total{x=\"%s\"}", "1");
	meters_add(other, 3, "b_total{x=\"%s\"}", "1");
	meters_add(m, 1, "a_total");
	meters_add(m, 0, "c_total");
	check_all(m, "a_total 1\nb_total{x=\"1\"} 5\n", "what two have counted is one sum, sorted by name");
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	meters_add(m, 1, "%s", long_name);
	check_all(other, "a_total 1\nb_total{x=\"1\"} 5\n", "a name that is too long is not counted");
	meters_close(m);
	meters_close(other);
	m = meters_open(dir);
	check_all(m, "a_total 1\nb_total{x=\"1\"} 5\n", "they stay when the program ends");
	meters_close(m);
	meters_add(NULL, 1, "a_total");
	free(dir);
	CHECK(!meters_open("/no/such/folder"), "without a folder there are none");
}

static void test_histogram(void)
{
	char *dir = new_dir();
	struct meters *m = meters_open(dir);

	meters_observe(m, "t_seconds", "", 30000);
	meters_observe(m, "t_seconds", "", 4000000000);
	check_all(m, "t_seconds_bucket{le=\"0.05\"} 1\nt_seconds_bucket{le=\"0.1\"} 1\nt_seconds_bucket{le=\"0.25\"} 1\n"
	             "t_seconds_bucket{le=\"0.5\"} 1\nt_seconds_bucket{le=\"1\"} 1\nt_seconds_bucket{le=\"2.5\"} 1\n"
	             "t_seconds_bucket{le=\"5\"} 1\nt_seconds_bucket{le=\"10\"} 1\nt_seconds_bucket{le=\"30\"} 1\n"
	             "t_seconds_bucket{le=\"60\"} 1\nt_seconds_bucket{le=\"+Inf\"} 2\nt_seconds_count 2\nt_seconds_sum 4000030000\n",
	          "times are in all buckets up from theirs, which are in order");
	meters_close(m);
	free(dir);
}

static void test_bounded(void)
{
	char *dir = new_dir();
	struct meters *m = meters_open(dir);
	struct buf all = BUF_INIT;
	size_t lines = 0, i;

	for (i = 0; i < METERS_MAX + 10; i++)
		meters_add(m, 1, "n_total{n=\"%zu\"}", i);
	meters_add(m, 1, "n_total{n=\"0\"}");
	meters_each(m, write_line, &all);
	for (i = 0; i < all.len; i++)
		lines += all.data[i] == '\n';
	CHECK_INT((int64_t)lines, METERS_MAX, "the number of series is bounded");
	CHECK(strstr(buf_str(&all), "n_total{n=\"0\"} 2\n") != NULL, "... and those that are there go on counting");
	buf_free(&all);
	meters_close(m);
	free(dir);
}

static void *count(void *arg)
{
	struct meters *m = meters_open(arg);
	int i;

	for (i = 0; i < ROUNDS; i++)
		meters_add(m, 1, "n_total{n=\"%d\"}", i % 7);
	meters_close(m);
	return NULL;
}

static void test_many_at_once(void)
{
	char *dir = new_dir(), *wanted;
	struct buf lines = BUF_INIT;
	pthread_t threads[3];
	struct meters *m;
	pid_t pid;
	int i;

	pid = fork();
	if (pid == 0) {
		count(dir);
		_exit(0);
	}
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, count, dir);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	waitpid(pid, NULL, 0);
	for (i = 0; i < 7; i++)
		buf_addf(&lines, "n_total{n=\"%d\"} %d\n", i, 4 * (ROUNDS / 7 + (i < ROUNDS % 7)));
	wanted = buf_detach(&lines);
	m = meters_open(dir);
	check_all(m, wanted, "threads and processes at once: nothing is counted twice or not at all");
	meters_close(m);
	free(wanted);
	free(dir);
}

/* As a crash of the machine, or a repair of its file system, may leave it. */
static void garble(const char *dir, int byte)
{
	char *path = xasprintf("%s/meters", dir), *garbage;
	struct stat st;
	FILE *f = fopen(path, "r+");

	if (!CHECK(f && fstat(fileno(f), &st) == 0, "there is a file to garble"))
		exit(1);
	garbage = xmalloc((size_t)st.st_size);
	memset(garbage, byte, (size_t)st.st_size);
	CHECK_INT(fwrite(garbage, 1, (size_t)st.st_size, f), st.st_size, "each byte is %d", byte);
	fclose(f);
	free(garbage);
	free(path);
}

static void test_garbage(void)
{
	static const int bytes[] = { 0xff, 'A' };
	struct meters *m;
	char *dir;
	size_t i;

	for (i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
		dir = new_dir();
		meters_close(meters_open(dir));
		garble(dir, bytes[i]);
		m = meters_open(dir);
		check_all(m, "", "garbage is no series");
		alarm(20);
		meters_add(m, 1, "a_total");
		meters_add(m, 2, "a_total");
		alarm(0);
		check_all(m, "a_total 3\n", "what is counted takes its place, and nobody waits for it");
		meters_close(m);
		free(dir);
	}
}

/* Each series is one that somebody was about to name, or one with a name that does not end. */
static void test_stale(void)
{
	static const uint32_t states[] = { 1, 2 };
	struct { uint32_t state, hash; uint64_t value; char name[METERS_NAME_SIZE]; } *map;
	size_t bytes = METERS_MAX * sizeof *map, i, k;
	struct meters *m;
	char *dir;

	for (i = 0; i < 2; i++) {
		dir = new_dir();
		m = meters_open(dir);
		map = shared_map(dir, "meters", bytes);
		if (!CHECK(map, "the file has places of this form"))
			return;
		for (k = 0; k < METERS_MAX; k++) {
			memset(&map[k], 'A', sizeof map[k]);
			map[k].state = states[i];
		}
		alarm(20);
		meters_add(m, 1, "a_total");
		alarm(0);
		check_all(m, "", "where all places are taken by garbage nothing is counted, and nobody waits long");
		shared_unmap(map, bytes);
		meters_close(m);
		free(dir);
	}
}

static void test_shared(void)
{
	char *dir = new_dir();
	char *map = shared_map(dir, "x", 4096), *again;

	if (!CHECK(map, "a file is mapped"))
		return;
	CHECK_INT(map[0] | map[4095], 0, "it is zero at first");
	map[4095] = 7;
	again = shared_map(dir, "x", 4096);
	CHECK_INT(again[4095], 7, "who maps it too sees the same");
	shared_unmap(again, 4096);
	again = shared_map(dir, "x", 8192);
	CHECK(again && again[4095] == 0, "one of another length is made anew");
	CHECK_INT(map[4095], 7, "... and stays whole for who has it");
	shared_unmap(again, 8192);
	shared_unmap(map, 4096);
	shared_unmap(NULL, 0);
	free(dir);
}

int main(void)
{
	test_counters();
	test_histogram();
	test_bounded();
	test_many_at_once();
	test_garbage();
	test_stale();
	test_shared();
	return tap_done();
}
