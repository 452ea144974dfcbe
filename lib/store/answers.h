/* First answers to calls that bring a key of their own (Idempotency-Key of the management API), so that the same call
 * made again gets the same answer and is not done again. Each organisation has its own keys; a key is remembered for
 * STORE_ANSWER_KEEP_MS.
 *
 * A call whose work is in the store keeps its answer in the transaction of that work: both are there, or neither. One
 * that takes longer reserves its key first, and keeps its answer when it is done; if it dies meanwhile, the
 * reservation lapses.
 *
 * An answer is kept as it was given, a signing secret in it (of a webhook that is created, or rotated) too: without
 * it the first answer could not be given again. It stands in the database as signing secrets themselves do, and up to
 * STORE_ANSWER_KEEP_MS longer where its webhook is deleted or gets another one. */
#ifndef NTRVSTA_STORE_ANSWERS_H
#define NTRVSTA_STORE_ANSWERS_H

#include "lib/base/bytes.h"
#include "lib/store/store.h"

#define STORE_ANSWER_KEEP_MS (INT64_C(24) * 60 * 60 * 1000)

struct store_once { /* one that brought a key */
	const char *org, *key;
	uint8_t request[SHA256_BYTES]; /* of all that makes it the same call */
	int64_t now_ms;                /* when it began: the same in all of the functions below */
};

struct store_answer {
	unsigned status; /* of HTTP; 0: the call is under way */
	char *headers, *body;
	size_t body_len;
};

void store_answer_free(struct store_answer *a); /* wipes the body */

/* The answer to the first call with the key of C; OUT is the caller's to free. STORE_NOT_FOUND where C is the first.
 * *SAME tells whether that call was the same. */
enum store_status store_find_answer(struct store *s, const struct store_once *c, bool *same, struct store_answer *out);

/* C is under way, until LAPSE_MS at the latest. In the transaction in which it was seen to be the first. */
enum store_status store_reserve_answer(struct store *s, const struct store_once *c, int64_t lapse_ms);

/* Keep A. STORE_NOT_FOUND where another call has the key meanwhile: the reservation of C had lapsed. */
enum store_status store_keep_answer(struct store *s, const struct store_once *c, const struct store_answer *a);

/* Nothing is kept of C, which had reserved its key. */
enum store_status store_drop_answer(struct store *s, const struct store_once *c);

/* Begin a transaction around whatever is called until store_end_around(): transactions in between are parts of it,
 * each taken back alone where it fails. */
enum store_status store_begin_around(struct store *s);
enum store_status store_end_around(struct store *s, bool commit);

#endif
