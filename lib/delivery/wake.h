/* The wake-up FIFO in the state directory: a byte says "look at the store". Only a hint, it may
 * be lost; but whether anyone reads it tells at once whether a dispatcher runs. */
#ifndef NTRVSTA_DELIVERY_WAKE_H
#define NTRVSTA_DELIVERY_WAKE_H

#include <stdbool.h>

/* --- the side that stores events ------------------------------------------------------- */

/* Write a byte. *FD is the caller's descriptor between calls, -1 at first: the FIFO is opened
 * where needed and stays open, which tells the dispatcher that somebody may call. False where
 * no dispatcher reads it. Never blocks; a full FIFO counts as success. */
bool wake_send(const char *state_dir, int *fd);

/* --- the dispatcher's side ------------------------------------------------------------- */

struct wake_reader {
	char *path;
	int fd;         /* poll for input */
	bool attached;  /* a long-lived sender has it open */
};

int wake_reader_open(struct wake_reader *w, const char *state_dir); /* creates the FIFO; -1 with errno */
void wake_reader_drain(struct wake_reader *w); /* on any event of fd */
void wake_reader_close(struct wake_reader *w);

#endif
