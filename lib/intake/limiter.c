#include "lib/intake/limiter.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/shared.h"
#include "lib/base/xalloc.h"

/* A cell packs who it belongs to and how far that address is ahead of its rate into one word, so
 * that one compare-and-swap keeps both consistent: the high half is a tag of the address, the
 * low half the theoretical arrival time in units of TICK_US, modulo 2^32 (about 119 hours). */
#define CELLS (1U << 16)
#define WAYS 4U
#define TICK_US 100
/* The slowest rate, one an hour, has a burst of two hours: far less than the 119. */
#define TICKS_PER_HOUR (INT64_C(3600) * 1000000 / TICK_US)

struct limiter {
	_Atomic uint64_t *cells;
	/* A key of this mount: which addresses share a cell can't be computed from outside. */
	uint8_t *salt;
};

#define SALT_BYTES 16
#define FILE_BYTES (CELLS * sizeof(uint64_t) + SALT_BYTES)

/* Whoever comes first writes the salt; that two differ for a moment only costs a count. */
static void make_salt(uint8_t *salt)
{
	static const uint8_t none[SALT_BYTES];

	if (memcmp(salt, none, SALT_BYTES) == 0)
		bytes_random(salt, SALT_BYTES);
}

struct limiter *limiter_open(const char *state_dir)
{
	void *map = shared_map(state_dir, "rate-limit", FILE_BYTES);
	struct limiter *l;

	if (!map)
		return NULL;
	l = xmalloc(sizeof *l);
	l->cells = map;
	l->salt = (uint8_t *)map + CELLS * sizeof(uint64_t);
	make_salt(l->salt);
	return l;
}

void limiter_close(struct limiter *l)
{
	if (!l)
		return;
	shared_unmap((void *)l->cells, FILE_BYTES);
	free(l);
}

/* What of ADDRESS counts: an IPv4 address, the /64 of an IPv6 one, else the text. FNV-1a. */
static uint64_t hash_address(const struct limiter *l, enum limiter_kind kind, const char *address)
{
	unsigned char bin[16];
	const unsigned char *p = (const unsigned char *)address;
	size_t len = strlen(address), i;
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ kind;

	if (inet_pton(AF_INET, address, bin) == 1) {
		p = bin;
		len = 4;
	} else if (inet_pton(AF_INET6, address, bin) == 1) {
		p = bin;
		len = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)bin) ? 16 : 8;
	}
	for (i = 0; i < SALT_BYTES; i++)
		hash = (hash ^ l->salt[i]) * UINT64_C(0x100000001b3);
	for (i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* How far a cell's time is ahead of NOW. It never gets further than the burst: what seems to be
 * is in the past, or was written before the machine was started anew. */
static uint32_t ticks_ahead(uint64_t cell, uint32_t now, int64_t burst)
{
	uint32_t ahead = (uint32_t)cell - now;

	return ahead > burst ? 0 : ahead;
}

/* The address's own cell of the four it may use, else the one that limits its owner least. */
static _Atomic uint64_t *find_cell(struct limiter *l, uint64_t hash, uint32_t tag, uint32_t now, int64_t burst)
{
	_Atomic uint64_t *set = &l->cells[(hash & (CELLS - 1)) & ~(WAYS - 1)], *best = set;
	uint32_t least = UINT32_MAX, ahead;
	unsigned i;

	for (i = 0; i < WAYS; i++) {
		uint64_t cell = atomic_load_explicit(&set[i], memory_order_relaxed);

		if ((uint32_t)(cell >> 32) == tag)
			return &set[i];
		ahead = ticks_ahead(cell, now, burst);
		if (ahead < least) {
			least = ahead;
			best = &set[i];
		}
	}
	return best;
}

unsigned limiter_check(struct limiter *l, enum limiter_kind kind, const char *address, int64_t per_hour, int64_t mono_ms)
{
	uint32_t now = (uint32_t)(mono_ms * (1000 / TICK_US));
	uint64_t hash = hash_address(l, kind, address);
	uint32_t tag = (uint32_t)(hash >> 32) | 1; /* never 0, which an empty cell has */
	int64_t interval = TICKS_PER_HOUR / per_hour > 0 ? TICKS_PER_HOUR / per_hour : 1;
	int64_t per_second = (per_hour + 3599) / 3600, burst = 2 * per_second * interval;
	_Atomic uint64_t *cell = find_cell(l, hash, tag, now, burst);
	uint64_t old = atomic_load_explicit(cell, memory_order_relaxed), next;

	do {
		uint32_t ahead = (uint32_t)(old >> 32) == tag ? ticks_ahead(old, now, burst) : 0;

		if (ahead + interval > burst) {
			int64_t wait = ahead + interval - burst;

			return (unsigned)((wait * TICK_US + 999999) / 1000000);
		}
		next = (uint64_t)tag << 32 | (uint32_t)(now + ahead + (uint32_t)interval);
	} while (!atomic_compare_exchange_weak_explicit(cell, &old, next, memory_order_relaxed, memory_order_relaxed));
	return 0;
}
