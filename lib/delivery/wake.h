/* The wake-up FIFO in the state directory: a byte says "look at the store". Only a hint, it may
 * be lost; but whether anyone reads it tells at once whether a dispatcher runs. */
#ifndef NTRVSTA_DELIVERY_WAKE_H
#define NTRVSTA_DELIVERY_WAKE_H

#include <stdbool.h>

/* --- the side that stores events ---------------------------------------------------------
 *
 * *FD is the caller's descriptor between calls, -1 at first: the FIFO is opened where needed and
 * stays open, which tells the dispatcher that somebody may call. Neither ever blocks. */

/* Write a byte. False where no dispatcher reads it; a full FIFO counts as read. */
bool wake_send(const char *state_dir, int *fd);

/* The same without a byte: does a dispatcher run? */
bool wake_is_read(const char *state_dir, int *fd);
bool wake_is_read_now(const char *state_dir); /* keeps nothing open */

/* --- the dispatcher's side ------------------------------------------------------------- */

struct wake_reader {
	char *path;
	int fd;        /* poll for input */
	bool attached; /* a sender has called and still has it open */
};

/* Creates the FIFO where it is missing. -1 with errno. */
int wake_reader_open(struct wake_reader *w, const char *state_dir);

/* Call on any event of fd. True where bytes had come. */
bool wake_reader_drain(struct wake_reader *w);

void wake_reader_close(struct wake_reader *w);

#endif
