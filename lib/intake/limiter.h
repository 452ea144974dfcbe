/* Rate limits by client address, shared by all processes of a mount through a small file in
 * the state directory that each maps. Memory is fixed: 64 Ki cells, the least loaded of four gives
 * way. Generic cell rate algorithm: a rate and a burst of twice a second's (at least 1) share. */
#ifndef NTRVSTA_INTAKE_LIMITER_H
#define NTRVSTA_INTAKE_LIMITER_H

#include <stdint.h>

struct limiter;

enum limiter_kind { /* counted apart */
	LIMITER_CALLS,
	LIMITER_REFUSED, /* for a wrong signature or key */
};

/* NULL with errno where the file can't be made or mapped. */
struct limiter *limiter_open(const char *state_dir);
void limiter_close(struct limiter *l);

/* Count one of KIND from ADDRESS (IPv4, or IPv6 by its /64; others as they stand) at MONO_MS
 * (clock_mono_ms(), which all processes of a machine share). 0 where it may pass, else the seconds to wait. Any thread
 * or process, without locks. */
unsigned limiter_check(struct limiter *l, enum limiter_kind kind, const char *address, int64_t per_hour, int64_t mono_ms);

#endif
