#include "lib/base/meters.h"

#include <sched.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/shared.h"
#include "lib/base/xalloc.h"

/* How often one look waits. A series that was begun by a process that died within these few instructions is passed
 * over. */
#define PATIENCE 1000

#define LE "le=\""

enum { FREE, CLAIMED, NAMED };

struct series {
	_Atomic uint32_t state;
	uint32_t hash;
	_Atomic uint64_t value;
	char name[METERS_NAME_SIZE];
};

struct meters {
	struct series *series;
};

#define FILE_BYTES (METERS_MAX * sizeof(struct series))

struct meters *meters_open(const char *state_dir)
{
	void *map = shared_map(state_dir, "meters", FILE_BYTES);
	struct meters *m;

	if (!map)
		return NULL;
	m = xmalloc(sizeof *m);
	m->series = map;
	return m;
}

void meters_close(struct meters *m)
{
	if (!m)
		return;
	shared_unmap(m->series, FILE_BYTES);
	free(m);
}

/* FNV-1a */
static uint32_t hash_name(const char *name)
{
	uint32_t hash = UINT32_C(0x811c9dc5);

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT32_C(0x01000193);
	return hash;
}

/* Also where it holds what no process writes: a crash of the machine may leave garbage. */
static bool is_free(uint32_t state)
{
	return state != CLAIMED && state != NAMED;
}

static bool wait_until_named(struct series *s, int *patience)
{
	while (atomic_load_explicit(&s->state, memory_order_acquire) != NAMED) {
		if (*patience == 0)
			return false;
		(*patience)--;
		sched_yield();
	}
	return true;
}

/* The series NAME, in the first place from its hash on that is its own or free; NULL where all are taken. */
static struct series *find(struct meters *m, const char *name)
{
	uint32_t hash = hash_name(name), state, i;
	int patience = PATIENCE;

	for (i = 0; i < METERS_MAX; i++) {
		struct series *s = &m->series[(hash + i) % METERS_MAX];

		state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (is_free(state) && atomic_compare_exchange_strong(&s->state, &state, CLAIMED)) {
			s->hash = hash;
			memcpy(s->name, name, strlen(name) + 1);
			atomic_store_explicit(&s->value, 0, memory_order_relaxed);
			atomic_store_explicit(&s->state, NAMED, memory_order_release);
			return s;
		}
		if (wait_until_named(s, &patience) && s->hash == hash && strncmp(s->name, name, sizeof s->name) == 0)
			return s;
	}
	return NULL;
}

void meters_add(struct meters *m, uint64_t n, const char *fmt, ...)
{
	char name[METERS_NAME_SIZE];
	struct series *s;
	va_list ap;
	int len;

	if (!m || n == 0)
		return;
	va_start(ap, fmt);
	len = vsnprintf(name, sizeof name, fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof name)
		return;
	s = find(m, name);
	if (s)
		atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void meters_observe(struct meters *m, const char *name, const char *labels, int64_t us)
{
	static const struct { int64_t us; const char *le; } buckets[] = {
		{ 1000, "0.001" }, { 2500, "0.0025" }, { 5000, "0.005" }, { 10000, "0.01" }, { 25000, "0.025" },
		{ 50000, "0.05" }, { 100000, "0.1" }, { 250000, "0.25" }, { 500000, "0.5" }, { 1000000, "1" },
		{ 2500000, "2.5" }, { 5000000, "5" }, { 10000000, "10" }, { 30000000, "30" }, { 60000000, "60" },
		{ INT64_MAX, "+Inf" },
	};
	const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
	size_t i;

	for (i = 0; i < sizeof buckets / sizeof buckets[0]; i++)
		if (us <= buckets[i].us)
			meters_add(m, 1, "%s_bucket{%s%s" LE "%s\"}", name, labels, comma, buckets[i].le);
	meters_add(m, us > 0 ? (uint64_t)us : 0, "%s_sum%s%s%s", name, open, labels, close);
	meters_add(m, 1, "%s_count%s%s%s", name, open, labels, close);
}

/* By name; buckets of one histogram by their limit, as the format wants them. */
static int compare(const void *a, const void *b)
{
	const char *x = (*(struct series *const *)a)->name, *y = (*(struct series *const *)b)->name;
	const char *le_x = strstr(x, LE), *le_y = strstr(y, LE);
	double difference;

	if (!le_x || !le_y || le_x - x != le_y - y || strncmp(x, y, (size_t)(le_x - x)) != 0)
		return strcmp(x, y);
	difference = strtod(le_x + strlen(LE), NULL) - strtod(le_y + strlen(LE), NULL);
	return difference < 0 ? -1 : difference > 0;
}

static bool is_whole(struct series *s)
{
	return atomic_load_explicit(&s->state, memory_order_acquire) == NAMED && memchr(s->name, '\0', sizeof s->name) &&
	       s->hash == hash_name(s->name);
}

void meters_each(struct meters *m, meters_fn *fn, void *ctx)
{
	struct series **sorted = xmalloc(METERS_MAX * sizeof(struct series *));
	size_t n = 0, i;

	for (i = 0; m && i < METERS_MAX; i++)
		if (is_whole(&m->series[i]))
			sorted[n++] = &m->series[i];
	qsort(sorted, n, sizeof(struct series *), compare);
	for (i = 0; i < n; i++)
		fn(ctx, sorted[i]->name, atomic_load_explicit(&sorted[i]->value, memory_order_relaxed));
	free(sorted);
}
