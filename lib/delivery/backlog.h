/* A part of the dispatcher: what waits in the store, and how new events get there.
 * Private to dispatcher.c and work.c, as is the state that the three share. */
#ifndef NTRVSTA_DELIVERY_BACKLOG_H
#define NTRVSTA_DELIVERY_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/meters.h"
#include "lib/conf/conf.h"
#include "lib/delivery/call.h"
#include "lib/delivery/dispatcher.h"
#include "lib/delivery/wake.h"
#include "lib/store/store.h"

struct target {
	char *name;
	unsigned running;      /* with a child */
	unsigned ready;        /* claimed, not started */
	int64_t took_ms;       /* its last run; -1 where none has ended yet */
	bool first;            /* first attempts wait */
	int64_t next_retry_ms; /* wall clock; INT64_MAX: none */
	bool test;             /* tests wait */
	bool testing;          /* one is claimed, or runs */
	bool retry_was_last;   /* the two kinds take turns, so that neither starves the other */
	bool webhook;          /* no handler: its name is a webhook's id */
	bool missing;          /* its file was removed: retries wait until it is back; or it is a webhook that is
	                        * switched off: all waits */
	bool off;              /* seen to be switched off since the last look at it */
	uint64_t place;        /* in the queue for free slots: the smallest is served first */
};

struct dispatcher {
	struct conf *conf;
	const struct dispatcher_options *options;
	struct store *store; /* NULL after a failure, opened again at the next scan */
	struct wake_reader wake;
	int signal_fd;
	struct meters *meters; /* NULL where they can't be opened */
	struct caller *caller; /* NULL until a webhook is called */

	struct target **targets;
	size_t ntargets;
	uint64_t last_place;
	struct run *claimed; /* in a transaction that is not committed yet; see work.h */
	struct run *ready;   /* to be started, as soon as there is a slot */
	struct run *running; /* with a child */
	struct run *ended;   /* to be recorded */
	unsigned nrunning;
	unsigned nready, nahead; /* claimed and ready; of these, claimed before there was a slot */
	unsigned ntests;         /* claimed or running; none of the three above counts them */

	struct probe *probes;    /* claimed and not recorded yet; see probe.h */
	bool probes_wait;

	struct store_retention retention;
	int64_t next_prune_ms, next_sync_ms; /* clock_mono_ms() */

	bool stopping, reload, more_new, handlers_unreadable;
	int64_t next_scan_ms, last_activity_ms; /* clock_mono_ms() */
	int64_t clock_offset_ms;                /* wall minus monotonic, of the last round */
	int64_t started_ms;                     /* wall clock */
};

/* The target called NAME; made where it is not known yet. Lives as long as D. */
struct target *backlog_target(struct dispatcher *d, const char *name);

bool backlog_has_due(const struct target *t, int64_t now_ms); /* tests aside */
bool backlog_any_due(const struct dispatcher *d);
bool backlog_any_waiting(const struct dispatcher *d);

/* False, and logged, where the store can't be opened now. */
bool backlog_open_store(struct dispatcher *d);

/* After a failure: log it, let go of the connection and of what was not committed. */
void backlog_store_failed(struct dispatcher *d, const char *what);

/* Look at all that waits, also what other programs have put back; open the store where needed. */
void backlog_scan(struct dispatcher *d);

/* A handler that was removed while deliveries wait for their next attempt: they keep waiting, with
 * a reason, and use up none of their attempts. (A first attempt is made, and says what is wrong.)
 * A webhook that is switched off: all of its deliveries keep waiting. */
void backlog_look_for_missing(struct dispatcher *d, struct target *t);

/* Look at what waits for T. */
void backlog_refresh_target(struct dispatcher *d, struct target *t);

/* Some of the new events become deliveries; d->more_new tells whether there are more. */
void backlog_expand(struct dispatcher *d);

/* A step of what keeps the store in shape, where one is due. */
void backlog_maintain(struct dispatcher *d);

#endif
