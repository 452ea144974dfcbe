#include "lib/intake/refusals.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/shared.h"
#include "lib/base/xalloc.h"

/* Files hold these numbers: add at the end, and change none. */
static const char *const names[] = {
	"other", "not_found", "method_not_allowed", "rate_limited", "length_required", "bad_length", "body_too_large",
	"unsupported_media_type", "short_body", "missing_signature", "invalid_signature", "invalid_json", "invalid_event",
	"too_old", "unauthorized", "forbidden", "csrf",
};
_Static_assert(sizeof names / sizeof names[0] <= REFUSALS_CODES, "there is room for every reason");

#define KEEP_MS (31 * 24 * HOUR_MS) /* then an address gives way, however many its refusals */

/* More than are read: 60 minutes, and 30 days. */
#define MINUTES 64
#define HOURS 768

#define TRIES 4 /* to get a place that others want as well */

/* A ring's cell packs the number of its minute, or hour, and a count into one word, so that one compare-and-swap
 * keeps both consistent: whoever comes in another minute than the cell has begins it anew. */
typedef _Atomic uint64_t cell;

struct place { /* of an address; key 0: free */
	cell key; /* a hash of the others with the reason in its last byte */
	cell high, low; /* the address */
	cell count, last_ms;
};

struct file {
	cell minutes[MINUTES][REFUSALS_CODES];
	cell hours[HOURS][REFUSALS_CODES];
	cell totals[REFUSALS_CODES];
	struct place places[REFUSALS_ADDRESSES];
};

struct refusals {
	char *state_dir;
	pthread_mutex_t lock; /* of opening */
	bool tried;
	struct file *_Atomic file;
};

struct refusals *refusals_new(const char *state_dir)
{
	struct refusals *r = xcalloc(1, sizeof *r);

	r->state_dir = xstrdup(state_dir);
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void refusals_free(struct refusals *r)
{
	if (!r)
		return;
	shared_unmap(r->file, sizeof *r->file);
	pthread_mutex_destroy(&r->lock);
	free(r->state_dir);
	free(r);
}

static struct file *open_file(struct refusals *r)
{
	struct file *file = atomic_load(&r->file);

	if (file)
		return file;
	pthread_mutex_lock(&r->lock);
	if (!r->tried) {
		r->tried = true;
		file = shared_map(r->state_dir, "refusals", sizeof *file);
		if (!file)
			log_error("refusals are not counted: %s/refusals: %s", r->state_dir, strerror(errno));
		atomic_store(&r->file, file);
	}
	file = atomic_load(&r->file);
	pthread_mutex_unlock(&r->lock);
	return file;
}

/* --- reasons ------------------------------------------------------------------------------- */

const char *refusals_code_name(unsigned code)
{
	return code < sizeof names / sizeof names[0] ? names[code] : NULL;
}

static unsigned find_code(const char *name)
{
	unsigned i;

	for (i = 1; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return 0;
}

static void add_to_cell(cell *c, uint32_t number)
{
	uint64_t old = atomic_load_explicit(c, memory_order_relaxed), next;

	do {
		if ((uint32_t)(old >> 32) != number)
			next = (uint64_t)number << 32 | 1;
		else
			next = (uint32_t)old == UINT32_MAX ? old : old + 1;
	} while (!atomic_compare_exchange_weak_explicit(c, &old, next, memory_order_relaxed, memory_order_relaxed));
}

static void count_code(struct file *f, unsigned code, int64_t wall_ms)
{
	uint32_t minute = (uint32_t)(wall_ms / MINUTE_MS), hour = (uint32_t)(wall_ms / HOUR_MS);

	atomic_fetch_add_explicit(&f->totals[code], 1, memory_order_relaxed);
	add_to_cell(&f->minutes[minute % MINUTES][code], minute);
	add_to_cell(&f->hours[hour % HOURS][code], hour);
}

int64_t refusals_total(struct refusals *r, unsigned code)
{
	struct file *f = open_file(r);

	return f && code < REFUSALS_CODES ? (int64_t)atomic_load_explicit(&f->totals[code], memory_order_relaxed) : 0;
}

void refusals_each(struct refusals *r, bool minutes, int64_t from_ms, int64_t to_ms, refusals_row_fn *fn, void *ctx)
{
	int64_t span_ms = minutes ? MINUTE_MS : HOUR_MS, number, last = (to_ms - 1) / span_ms, size = minutes ? MINUTES : HOURS;
	struct file *f = open_file(r);
	unsigned code;

	number = from_ms / span_ms;
	if (last - number >= size)
		number = last - size + 1;
	for (; f && number <= last; number++) {
		for (code = 0; code < REFUSALS_CODES; code++) {
			cell *c = minutes ? &f->minutes[number % MINUTES][code] : &f->hours[number % HOURS][code];
			uint64_t value = atomic_load_explicit(c, memory_order_relaxed);
			const struct refusals_row row = { number * span_ms, code, (uint32_t)value };

			if ((uint32_t)(value >> 32) == (uint32_t)number && row.count > 0)
				fn(ctx, &row);
		}
	}
}

/* --- addresses ----------------------------------------------------------------------------- */

struct who {
	uint64_t key, high, low;
};

/* FNV-1a over both halves and the reason, whose number takes the place of the last byte. */
static uint64_t make_key(uint64_t high, uint64_t low, unsigned code)
{
	uint64_t parts[] = { high, low, code }, hash = UINT64_C(0xcbf29ce484222325);
	size_t i, k;

	for (i = 0; i < 3; i++)
		for (k = 0; k < 64; k += 8)
			hash = (hash ^ (parts[i] >> k & 0xff)) * UINT64_C(0x100000001b3);
	return (hash | UINT64_C(1) << 63) << 8 | code | UINT64_C(1) << 63; /* never 0 */
}

static uint64_t half(const uint8_t *bytes)
{
	uint64_t value = 0;
	int i;

	for (i = 0; i < 8; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* Whoever has an IPv6 address has its whole /64. */
static bool find_who(const char *address, unsigned code, struct who *out)
{
	struct address a;

	if (!address || address_parse(address, &a))
		return false;
	out->high = half(a.bytes);
	out->low = address_is_ipv4(&a) ? half(a.bytes + 8) : 0;
	out->key = make_key(out->high, out->low, code);
	return true;
}

/* The address's own place, else one that is free or forgotten, else that of the fewest refusals. */
static struct place *choose(struct file *f, const struct who *who, int64_t wall_ms)
{
	struct place *best = f->places;
	uint64_t least = UINT64_MAX;
	size_t i;

	for (i = 0; i < REFUSALS_ADDRESSES; i++) {
		struct place *p = &f->places[i];
		uint64_t key = atomic_load_explicit(&p->key, memory_order_relaxed), count;
		int64_t last_ms = (int64_t)atomic_load_explicit(&p->last_ms, memory_order_relaxed);

		if (key == who->key)
			return p;
		count = key == 0 || last_ms < wall_ms - KEEP_MS ? 0 : atomic_load_explicit(&p->count, memory_order_relaxed);
		if (count < least) {
			least = count;
			best = p;
		}
	}
	return best;
}

static void write_address(struct place *p, const struct who *who)
{
	atomic_store_explicit(&p->high, who->high, memory_order_relaxed);
	atomic_store_explicit(&p->low, who->low, memory_order_relaxed);
}

/* Make P's place WHO's. False where somebody else was faster. */
static bool take(struct place *p, const struct who *who, int64_t wall_ms)
{
	uint64_t old = atomic_load_explicit(&p->key, memory_order_relaxed);
	bool forgotten = (int64_t)atomic_load_explicit(&p->last_ms, memory_order_relaxed) < wall_ms - KEEP_MS;

	if (old == who->key)
		return true;
	if (!atomic_compare_exchange_strong(&p->key, &old, who->key))
		return false;
	write_address(p, who);
	if (forgotten)
		atomic_store_explicit(&p->count, 0, memory_order_relaxed);
	return true;
}

/* Two that took the place one right after the other may have mixed up the address: its owner writes it again. */
static void count_address(struct file *f, const struct who *who, int64_t wall_ms)
{
	struct place *p;
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		p = choose(f, who, wall_ms);
		if (!take(p, who, wall_ms))
			continue;
		if (atomic_load_explicit(&p->high, memory_order_relaxed) != who->high ||
		    atomic_load_explicit(&p->low, memory_order_relaxed) != who->low)
			write_address(p, who);
		atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
		atomic_store_explicit(&p->last_ms, (uint64_t)wall_ms, memory_order_relaxed);
		return;
	}
}

static void format_address(uint64_t high, uint64_t low, char out[ADDRESS_TEXT_SIZE])
{
	struct address a;
	int i;

	for (i = 0; i < 8; i++) {
		a.bytes[i] = (uint8_t)(high >> (56 - 8 * i));
		a.bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
	}
	address_format(&a, out);
	if (!address_is_ipv4(&a))
		strncat(out, "/64", ADDRESS_TEXT_SIZE - 1 - strlen(out));
}

void refusals_each_address(struct refusals *r, int64_t since_ms, refusals_address_fn *fn, void *ctx)
{
	struct file *f = open_file(r);
	size_t i;

	for (i = 0; f && i < REFUSALS_ADDRESSES; i++) {
		struct place *p = &f->places[i];
		uint64_t key = atomic_load(&p->key), high = atomic_load(&p->high), low = atomic_load(&p->low);
		struct refusals_address row = {
			.code = key & 0xff, .count = (int64_t)atomic_load(&p->count), .last_ms = (int64_t)atomic_load(&p->last_ms),
		};

		if (key == 0 || row.last_ms < since_ms || row.count == 0 || key != make_key(high, low, row.code))
			continue;
		format_address(high, low, row.address);
		fn(ctx, &row);
	}
}

/* --- counting ------------------------------------------------------------------------------ */

void refusals_count(struct refusals *r, const char *code, const char *address, int64_t wall_ms)
{
	struct file *f = r ? open_file(r) : NULL;
	unsigned number = find_code(code);
	struct who who;

	if (!f)
		return;
	count_code(f, number, wall_ms);
	if (find_who(address, number, &who))
		count_address(f, &who, wall_ms);
}
