/* The loop of `ntrvsta dispatch`: expands new events into deliveries, claims what is due,
 * runs it, records what came of it. One thread; the caller holds the lock of launch.h. */
#ifndef NTRVSTA_DELIVERY_DISPATCHER_H
#define NTRVSTA_DELIVERY_DISPATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conf/conf.h"

struct dispatcher_options {
	bool once;       /* leave when nothing is due */
	int64_t idle_ms; /* leave when nothing ran or came for so long and no sender is attached; 0: never */
};

/* Runs until SIGTERM or SIGINT (then running children are waited for, up to their time-out) or
 * until the options say so. A changed configuration is loaded within a second or two, on SIGHUP at once. Installs its signal
 * handling. 0, or -1 where it could not start. */
int dispatcher_run(struct conf *conf, const struct dispatcher_options *options);

#endif
