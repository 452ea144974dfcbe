#include "lib/intake/committer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/hooks.h"
#include "lib/base/log.h"
#include "lib/base/meters.h"
#include "lib/base/xalloc.h"

/* One transaction takes at most so many events: it bounds how long a sender waits for the others
 * of its group. */
#define GROUP_MAX 512

/* The store that is open now, if any, and where what it does is counted. */
struct opened {
	struct store *store;
	struct meters *meters; /* NULL where they can't be opened */
	char *path;
};

struct committer {
	committer_stored_fn *stored;
	void *ctx;
	struct opened opened; /* the thread's own */
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	struct commit_item *first, *last;
	bool stop;
};

/* Up to GROUP_MAX items for the same store, in *N; NULL when the committer is to end and nothing is
 * left. */
static struct commit_item *take_group(struct committer *c, size_t *n)
{
	struct commit_item *group, *end;

	pthread_mutex_lock(&c->lock);
	while (!c->first && !c->stop)
		pthread_cond_wait(&c->wake, &c->lock);
	group = end = c->first;
	*n = group ? 1 : 0;
	while (group && end->next && *n < GROUP_MAX && strcmp(end->next->store_path, group->store_path) == 0) {
		end = end->next;
		(*n)++;
	}
	if (group) {
		c->first = end->next;
		if (!c->first)
			c->last = NULL;
		end->next = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	return group;
}

static void close_store(struct opened *o)
{
	store_close(o->store);
	meters_close(o->meters);
	free(o->path);
	*o = (struct opened){ 0 };
}

static void open_meters(struct opened *o)
{
	char *dir = fdio_dirname(o->path);

	o->meters = meters_open(dir);
	if (!o->meters)
		log_error("nothing is counted for /metrics: %s/meters: %s", dir, strerror(errno));
	free(dir);
}

static enum store_status open_store(struct opened *o, const char *path)
{
	struct buf err = BUF_INIT;
	enum store_status status = STORE_OK;

	if (o->store && strcmp(o->path, path) == 0)
		return STORE_OK;
	close_store(o);
	o->store = store_open(path, STORE_INTAKE, &status, &err);
	if (o->store) {
		o->path = xstrdup(path);
		open_meters(o);
	} else {
		log_error("store not available: %s", buf_str(&err));
	}
	buf_free(&err);
	return status;
}

/* Neighbours are mostly alike, and are counted at once. */
static void count_events(struct meters *m, struct store_event_in *const *events, size_t n)
{
	size_t i, from = 0;

	for (i = 1; i <= n; i++) {
		const struct store_event_in *first = events[from];

		if (i < n && events[i]->source == first->source && events[i]->duplicate == first->duplicate)
			continue;
		meters_add(m, i - from, "ntrvsta_events_received_total{source=\"%s\",result=\"%s\"}", first->source,
		           first->duplicate ? "duplicate" : "accepted");
		from = i;
	}
}

static enum store_status put(struct opened *o, const char *path, struct store_event_in *const *events, size_t n)
{
	enum store_status status = open_store(o, path);
	int64_t begun_us = clock_mono_us();

	if (status != STORE_OK)
		return status;
	status = store_put_events(o->store, events, n);
	FAULT_POINT("stored");
	if (status == STORE_OK) {
		meters_observe(o->meters, "ntrvsta_store_commit_seconds", "", clock_mono_us() - begun_us);
		count_events(o->meters, events, n);
	} else {
		log_error("events not stored: %s, events=%zu", store_error(o->store), n);
		/* A connection that failed once may be of no use any more: begin anew next time. */
		close_store(o);
	}
	return status;
}

static void commit_group(struct committer *c, struct commit_item *group, size_t n)
{
	struct store_event_in *events[GROUP_MAX];
	struct intake_verdict verdict;
	struct commit_item *item;
	enum store_status status;
	bool any_new = false;
	size_t i = 0;

	for (item = group; item; item = item->next)
		events[i++] = &item->intake->event;
	status = put(&c->opened, group->store_path, events, n);
	for (i = 0; i < n; i++)
		any_new |= status == STORE_OK && !events[i]->duplicate;
	intake_stored(status, &verdict);
	while ((item = group)) {
		group = item->next;
		item->done(item, &verdict);
	}
	if (any_new && c->stored)
		c->stored(c->ctx, c->opened.path);
}

static void *run(void *arg)
{
	struct committer *c = arg;
	struct commit_item *group;
	size_t n;

	while ((group = take_group(c, &n)))
		commit_group(c, group, n);
	close_store(&c->opened);
	return NULL;
}

struct committer *committer_start(const char *store_path, committer_stored_fn *stored, void *ctx)
{
	struct committer *c = xcalloc(1, sizeof *c);

	c->stored = stored;
	c->ctx = ctx;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	/* What goes wrong here is logged, and goes wrong again for the first event. */
	if (store_path)
		(void)open_store(&c->opened, store_path);
	if (pthread_create(&c->thread, NULL, run, c)) {
		log_error("can't start the committer's thread");
		abort();
	}
	return c;
}

void committer_submit(struct committer *c, struct commit_item *first, struct commit_item *last)
{
	pthread_mutex_lock(&c->lock);
	if (c->last)
		c->last->next = first;
	else
		c->first = first;
	c->last = last;
	last->next = NULL;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void committer_stop(struct committer *c)
{
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct store *commit_one(const char *store_path, struct intake *in, struct intake_verdict *out)
{
	struct store_event_in *event = &in->event;
	struct opened opened = { 0 };

	intake_stored(put(&opened, store_path, &event, 1), out);
	meters_close(opened.meters);
	free(opened.path);
	return opened.store;
}
