#include "lib/web/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"

struct workers {
	pthread_mutex_t lock; /* guards all of this */
	pthread_cond_t wake, idle;
	struct work *first, *last;
	struct work *reading; /* linked by next: may be broken off */
	unsigned threads, busy;
	bool stop;
	pthread_t *ids;
};

static struct work *take(struct workers *w)
{
	struct work *work;

	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->stop)
		pthread_cond_wait(&w->wake, &w->lock);
	work = w->first;
	if (work) {
		w->first = work->next;
		if (!w->first)
			w->last = NULL;
		work->next = w->reading;
		w->reading = work;
		work->workers = w;
		w->busy++;
	}
	pthread_mutex_unlock(&w->lock);
	return work;
}

static void *run(void *arg)
{
	struct workers *w = arg;
	struct work *work;

	while ((work = take(w))) {
		work->run(work);
		pthread_mutex_lock(&w->lock);
		w->busy--;
		pthread_cond_signal(&w->idle);
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

struct workers *workers_start(unsigned threads)
{
	struct workers *w = xcalloc(1, sizeof *w);
	pthread_condattr_t attr;
	unsigned i;

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->idle, &attr);
	pthread_condattr_destroy(&attr);
	w->threads = threads;
	w->ids = xcalloc(threads, sizeof *w->ids);
	for (i = 0; i < threads; i++) {
		if (pthread_create(&w->ids[i], NULL, run, w)) {
			log_error("can't start a worker's thread");
			abort();
		}
	}
	return w;
}

void workers_submit(struct workers *w, struct work *work)
{
	work->next = NULL;
	pthread_mutex_lock(&w->lock);
	if (w->last)
		w->last->next = work;
	else
		w->first = work;
	w->last = work;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

bool workers_have_room(struct workers *w)
{
	bool room;

	pthread_mutex_lock(&w->lock);
	room = !w->first && w->busy < (w->threads + 1) / 2;
	pthread_mutex_unlock(&w->lock);
	return room;
}

void workers_reading_done(struct work *work)
{
	struct workers *w = work->workers;
	struct work **link;

	if (!w)
		return;
	work->workers = NULL;
	pthread_mutex_lock(&w->lock);
	for (link = &w->reading; *link; link = &(*link)->next) {
		if (*link == work) {
			*link = work->next;
			break;
		}
	}
	pthread_mutex_unlock(&w->lock);
}

void workers_enforce_deadlines(struct workers *w, int64_t now_ms)
{
	struct work *work;

	pthread_mutex_lock(&w->lock);
	for (work = w->reading; work; work = work->next) {
		if (now_ms >= work->deadline_ms) {
			shutdown(work->fd, SHUT_RD);
			work->deadline_ms = INT64_MAX; /* once */
		}
	}
	pthread_mutex_unlock(&w->lock);
}

/* With the lock held: until nobody works, or GRACE_MS are over. */
static void wait_until_idle(struct workers *w, int64_t grace_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += grace_ms / 1000;
	while (w->busy > 0 || w->first)
		if (pthread_cond_timedwait(&w->idle, &w->lock, &until))
			break;
}

void workers_stop(struct workers *w, int64_t grace_ms)
{
	unsigned i;

	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->wake);
	wait_until_idle(w, grace_ms);
	pthread_mutex_unlock(&w->lock);
	workers_enforce_deadlines(w, INT64_MAX - 1);
	for (i = 0; i < w->threads; i++)
		pthread_join(w->ids[i], NULL);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->ids);
	free(w);
}
