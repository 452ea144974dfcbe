/* A few threads for requests that may block while they are read. */
#ifndef NTRVSTA_WEB_WORKERS_H
#define NTRVSTA_WEB_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conf/conf.h"

struct work {
	struct work *next;
	void (*run)(struct work *work); /* on a worker's thread; owns WORK from then on */
	struct conf *conf;
	bool blocking;       /* reads may block; set by who submits it */
	int fd;              /* what it reads from */
	int64_t deadline_ms; /* clock_mono_ms(); then the reading is broken off */
	struct workers *workers; /* set while it may be broken off */
};

struct workers;

struct workers *workers_start(unsigned threads);

/* Any thread; never blocks. Work waits where all threads are busy. */
void workers_submit(struct workers *w, struct work *work);

/* Is there a thread to spare for a slow request? Half of them are kept for others. */
bool workers_have_room(struct workers *w);

/* From WORK's run(), before its descriptor may be closed or used by another thread: nobody breaks
 * off its reading any more. Does nothing for work that no worker runs. */
void workers_reading_done(struct work *work);

/* Break off reading of what is late: its read returns end of file. */
void workers_enforce_deadlines(struct workers *w, int64_t now_ms);

/* Do what is waiting, give what is being read GRACE_MS to arrive, end the threads. */
void workers_stop(struct workers *w, int64_t grace_ms);

#endif
