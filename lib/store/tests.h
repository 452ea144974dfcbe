/* Tests of a target, made on demand and done by the dispatcher: a test event, which one target gets at once
 * and nobody else ever, and a connectivity test of a webhook, which gets no event at all.
 *
 * A test event is an event with one delivery, both marked. It is claimed as STORE_CLAIM_TEST and attempted
 * once; it shows in listings, and counts in no statistics, as a failure that stays, or as something to
 * recover, to replay or to retry. Retention removes it like any other event. */
#ifndef NTRVSTA_STORE_TESTS_H
#define NTRVSTA_STORE_TESTS_H

#include "lib/store/store.h"

/* Store E as a test of TARGET; fills E->id and DELIVERY_ID. Two equal ones are two: E->identity is ignored. It is its
 * webhook's organisation's; that of a handler is seen by all. */
enum store_status store_put_test(struct store *s, struct store_event_in *e, const char *target, int64_t now_ms,
                                 char delivery_id[ID_SIZE]);

/* --- connectivity ------------------------------------------------------------------------- */

#define STORE_PROBE_KEEP_MS (INT64_C(3600) * 1000) /* then it is removed, whatever came of it */

struct store_probe {
	int64_t seq;
	char webhook[ID_SIZE];
	bool done;
	/* once it is done */
	char *error;     /* why no HTTP answer came; "": one did */
	int status_code; /* of that; 0: none */
	int64_t dns_ms, connect_ms, tls_ms; /* of each step; 0 also where it was not needed or not reached */
	int64_t total_ms;
};

void store_probe_free(struct store_probe *p);

/* Ask for one of WEBHOOK; *SEQ is its number. */
enum store_status store_put_probe(struct store *s, const char *webhook, int64_t now_ms, int64_t *seq);

/* What has come of it. STORE_NOT_FOUND where it is too old. OUT is the caller's to free. */
enum store_status store_get_probe(struct store *s, int64_t seq, struct store_probe *out);

/* For the dispatcher: take the first that waits (it only has a number and a webhook); STORE_NOT_FOUND where
 * none does. */
enum store_status store_claim_probe(struct store *s, struct store_probe *out);

/* Write what came of the claimed P. */
enum store_status store_finish_probe(struct store *s, const struct store_probe *p);

/* At start: those that a dispatcher had claimed when it died wait again. */
enum store_status store_reset_probes(struct store *s);

#endif
