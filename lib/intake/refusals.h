/* What was refused: how often, when, why and from where, counted by all processes of a mount in a small file in the
 * state directory that each maps. Memory is fixed and nothing is written to the database, whoever calls however often.
 *
 * Counts by reason are exact, for each minute of the last hour and each hour of the last month. Of addresses there are
 * REFUSALS_ADDRESSES places, one for each reason and address (IPv6: its /64); where more come, those with the most are
 * kept ("space saving": Metwally, Agrawal, El Abbadi, 2005), and a count may then be too high by the smallest one.
 *
 * Any thread or process, without locks. A file that can't be used is logged once, and counts nothing. */
#ifndef NTRVSTA_INTAKE_REFUSALS_H
#define NTRVSTA_INTAKE_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/address.h"

#define REFUSALS_CODES 32      /* reasons that there is room for */
#define REFUSALS_ADDRESSES 512

struct refusals;

/* The file is opened when something is first counted or read. */
struct refusals *refusals_new(const char *state_dir);
void refusals_free(struct refusals *r); /* NULL is allowed */

/* Count a refusal of CODE ("invalid_signature") for ADDRESS (NULL, or no address: only the reason counts). R may be
 * NULL. */
void refusals_count(struct refusals *r, const char *code, const char *address, int64_t wall_ms);

/* --- reading ------------------------------------------------------------------------------- */

const char *refusals_code_name(unsigned code); /* below REFUSALS_CODES; NULL: there is none of this number */

int64_t refusals_total(struct refusals *r, unsigned code); /* since the file was made */

/* Each minute (else hour) from FROM_MS until TO_MS and reason of which any were refused, oldest first. */
struct refusals_row {
	int64_t start_ms;
	unsigned code;
	int64_t count;
};
typedef void refusals_row_fn(void *ctx, const struct refusals_row *row);
void refusals_each(struct refusals *r, bool minutes, int64_t from_ms, int64_t to_ms, refusals_row_fn *fn, void *ctx);

/* Each address that was refused at SINCE_MS or later, in no order. */
struct refusals_address {
	char address[ADDRESS_TEXT_SIZE]; /* "192.0.2.1", "2001:db8::/64" */
	unsigned code;
	int64_t count; /* since it has its place */
	int64_t last_ms;
};
typedef void refusals_address_fn(void *ctx, const struct refusals_address *row);
void refusals_each_address(struct refusals *r, int64_t since_ms, refusals_address_fn *fn, void *ctx);

#endif
