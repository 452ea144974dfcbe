/* Which identities are stored: a hash table in a file beside the database, 16 bytes an entry.
 *
 * Identities are random, so that an index in the database costs a page written for each event, and
 * more the more there are; this costs two small system calls, however many. It is a hint: an entry
 * says which event to look at, and only that event tells whether it has the identity. What is
 * missing is made anew from the events, see identity_covered(); so nothing here is ever synced
 * before an answer, and losing the file loses nothing.
 *
 * All calls but open, close and sync belong between BEGIN IMMEDIATE and COMMIT of the database: its
 * write lock is the table's lock, among threads and processes. Functions return -1 with errno. */
#ifndef NTRVSTA_STORE_IDENTITY_H
#define NTRVSTA_STORE_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/bytes.h"

#define IDENTITY_DATABASE_BYTES 16
#define IDENTITY_CANDIDATES_MAX 8

struct identity_table;

/* The table at PATH for the database with this random id; a file that is missing, damaged or
 * another database's is made anew, empty. NULL with errno. */
struct identity_table *identity_open(const char *path, const uint8_t database[IDENTITY_DATABASE_BYTES]);
void identity_close(struct identity_table *t); /* NULL is allowed */

/* Begin a transaction: look again at what other processes have done, and make room for MORE
 * entries. Those of events before OLDEST_SEQ, which are removed, make room first. */
int identity_begin(struct identity_table *t, size_t more, int64_t oldest_seq);

/* Every stored event up to this sequence number has its entry. The caller adds the others' before
 * it relies on the table. 0 in a new one. */
int64_t identity_covered(const struct identity_table *t);

struct identity_probe {
	int64_t candidates[IDENTITY_CANDIDATES_MAX]; /* sequence numbers of events to look at */
	size_t n;
	uint64_t slot; /* where identity_add() puts a new entry */
};

int identity_find(struct identity_table *t, const uint8_t identity[SHA256_BYTES], struct identity_probe *out);

/* Enter event SEQ at the place that the last identity_find() of IDENTITY found. */
int identity_add(struct identity_table *t, const uint8_t identity[SHA256_BYTES], int64_t seq,
                 const struct identity_probe *probe);

/* All up to SEQ is entered. Before COMMIT: what is rolled back leaves entries that lead nowhere. */
int identity_cover(struct identity_table *t, int64_t seq);

/* Bring the table to disk, so that it need not be made anew from here on after a reboot. May take
 * long, and holds no lock: for the dispatcher, now and then. */
int identity_sync(struct identity_table *t);

#endif
