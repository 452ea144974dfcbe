#include "lib/store/durations.h"

#include <stdlib.h>

#include "lib/base/xalloc.h"

#define COMMON_MS 65536

void durations_free(struct durations *d)
{
	free(d->common);
	free(d->rare);
	*d = (struct durations)DURATIONS_INIT;
}

void durations_add(struct durations *d, int64_t ms, int64_t attempts)
{
	d->attempts += attempts;
	if (ms < 0)
		ms = 0;
	if (ms < COMMON_MS) {
		if (!d->common)
			d->common = xcalloc(COMMON_MS, sizeof *d->common);
		d->common[ms] += attempts;
		return;
	}
	if ((d->nrare & (d->nrare - 1)) == 0) /* full at 0 and at each power of two */
		d->rare = xreallocarray(d->rare, d->nrare ? d->nrare * 2 : 1, sizeof *d->rare);
	d->rare[d->nrare++] = (struct duration){ ms, attempts };
}

static int by_length(const void *a, const void *b)
{
	const struct duration *x = a, *y = b;

	return x->ms < y->ms ? -1 : x->ms > y->ms;
}

/* Sorted, and each length once. */
static void sort_rare(struct durations *d)
{
	size_t kept = 0, i;

	if (d->nrare == 0)
		return;
	qsort(d->rare, d->nrare, sizeof *d->rare, by_length);
	for (i = 1; i < d->nrare; i++) {
		if (d->rare[i].ms == d->rare[kept].ms)
			d->rare[kept].attempts += d->rare[i].attempts;
		else
			d->rare[++kept] = d->rare[i];
	}
	d->nrare = kept + 1;
	/* No power of two by chance: the next one added must find room. */
	d->rare = xreallocarray(d->rare, d->nrare * 2, sizeof *d->rare);
}

/* --- packed: for each length that occurs, how much longer it is than the one before, and how often -------- */

/* Seven bits a byte, the lowest first; the eighth says that more follow. */
static void pack_number(uint64_t number, struct buf *out)
{
	for (; number >= 0x80; number >>= 7)
		buf_addc(out, (char)(0x80 | (number & 0x7f)));
	buf_addc(out, (char)number);
}

static int unpack_number(const unsigned char **at, const unsigned char *end, int64_t *number)
{
	uint64_t value = 0;
	unsigned shift = 0;

	for (; *at < end && shift < 63; shift += 7) {
		unsigned char byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*number = (int64_t)value;
			return 0;
		}
	}
	return -1;
}

static void pack_one(int64_t ms, int64_t attempts, int64_t *last_ms, struct buf *out)
{
	if (attempts <= 0)
		return;
	pack_number((uint64_t)(ms - *last_ms), out);
	pack_number((uint64_t)attempts, out);
	*last_ms = ms;
}

void durations_pack(struct durations *d, struct buf *out)
{
	int64_t last_ms = 0, ms;
	size_t i;

	for (ms = 0; d->common && ms < COMMON_MS; ms++)
		pack_one(ms, d->common[ms], &last_ms, out);
	sort_rare(d);
	for (i = 0; i < d->nrare; i++)
		pack_one(d->rare[i].ms, d->rare[i].attempts, &last_ms, out);
}

int durations_unpack(struct durations *d, const void *data, size_t len)
{
	const unsigned char *at = data, *end = len ? at + len : at; /* DATA may be NULL then */
	int64_t ms = 0, more, attempts;

	while (at < end) {
		if (unpack_number(&at, end, &more) || unpack_number(&at, end, &attempts) || more > INT64_MAX - ms)
			return -1;
		ms += more;
		durations_add(d, ms, attempts);
	}
	return 0;
}

int64_t durations_percentile(struct durations *d, int percent)
{
	int64_t rank = (d->attempts * percent + 99) / 100, seen = 0, ms;
	size_t i;

	for (ms = 0; d->common && ms < COMMON_MS; ms++) {
		seen += d->common[ms];
		if (seen >= rank && seen > 0)
			return ms;
	}
	sort_rare(d);
	for (i = 0; i < d->nrare; i++) {
		seen += d->rare[i].attempts;
		if (seen >= rank)
			return d->rare[i].ms;
	}
	return -1;
}
