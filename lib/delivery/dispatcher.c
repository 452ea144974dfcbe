#include "lib/delivery/dispatcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/delivery/backlog.h"
#include "lib/delivery/probe.h"
#include "lib/delivery/record.h"
#include "lib/delivery/wake.h"
#include "lib/delivery/work.h"
#include "lib/store/tests.h"

/* How far the wall clock may go back between two rounds before retries are planned anew: more
 * than the slewing of a time daemon does. */
#define CLOCK_STEP_MS 500

/* --- waiting ------------------------------------------------------------------------------ */

static int wait_ms(const struct dispatcher *d)
{
	int64_t now_ms = clock_mono_ms(), until_ms = d->next_scan_ms, wall_ms = clock_wall_ms();
	const struct run *r;
	size_t i;

	if (d->next_prune_ms < until_ms)
		until_ms = d->next_prune_ms;
	if (d->more_new || (d->store && (work_to_settle(d) || probes_to_settle(d))))
		return 0;
	if (d->store && d->ended && now_ms + work_settle_in_ms(d) < until_ms)
		until_ms = now_ms + work_settle_in_ms(d);
	for (r = d->running; r; r = r->next)
		if (r->child && child_deadline_us(r->child) != INT64_MAX && child_deadline_us(r->child) / 1000 + 1 < until_ms)
			until_ms = child_deadline_us(r->child) / 1000 + 1;
	for (i = 0; i < d->ntargets && !d->stopping; i++) {
		const struct target *t = d->targets[i];

		if (t->next_retry_ms != INT64_MAX && t->next_retry_ms > wall_ms &&
		    now_ms + (t->next_retry_ms - wall_ms) < until_ms)
			until_ms = now_ms + (t->next_retry_ms - wall_ms);
	}
	return until_ms > now_ms ? (int)(until_ms - now_ms) : 0;
}

static void on_signal(struct dispatcher *d)
{
	struct signalfd_siginfo info;

	while (read(d->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGHUP) {
			d->reload = true;
		} else if (!d->stopping) {
			log_info("ending: running handlers and calls may finish");
			d->stopping = true;
		}
	}
}

static void wait_for_something(struct dispatcher *d)
{
	struct pollfd fds[2 + 2 * 1024];
	struct run *r;
	nfds_t n = 2;

	fds[0] = (struct pollfd){ .fd = d->signal_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = d->wake.fd, .events = POLLIN };
	for (r = d->running; r && n + 2 <= sizeof fds / sizeof fds[0]; r = r->next) {
		if (!r->child)
			continue;
		fds[n++] = (struct pollfd){ .fd = child_pidfd(r->child), .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = child_output_fd(r->child), .events = POLLIN };
	}
	/* Calls have descriptors, and times, of their own. */
	if (caller_in_flight(d->caller) > 0)
		caller_poll(d->caller, fds, n, wait_ms(d));
	else if (poll(fds, n, wait_ms(d)) <= 0)
		return;
	if (fds[0].revents)
		on_signal(d);
	if (fds[1].revents && wake_reader_drain(&d->wake))
		d->next_scan_ms = 0;
}

/* --- the loop ----------------------------------------------------------------------------- */

/* On SIGHUP, and by itself as ntrvsta-fcgi does: whoever changed the file may not know that a dispatcher runs.
 * What is wrong with a change is said once. */
static void reload_conf(struct dispatcher *d)
{
	struct buf err = BUF_INIT;
	struct conf *fresh;

	if (!d->reload && (clock_mono_ms() < d->next_scan_ms || !conf_changed(d->conf)))
		return;
	d->reload = false;
	conf_remember(d->conf);
	fresh = conf_load(d->conf->path, &err);
	if (!fresh) {
		log_error("the changed configuration is not used, the old one stays in force: %s", buf_str(&err));
	} else if (strcmp(fresh->state_dir, d->conf->state_dir) != 0) {
		log_error("[store] url names another state directory: end this dispatcher and start one for it");
		conf_unref(fresh);
	} else {
		log_info("configuration loaded file=%s", fresh->path);
		conf_unref(d->conf);
		d->conf = fresh;
		caller_forget_connections(d->caller);
	}
	buf_free(&err);
}

/* The wall clock may be set back. First attempts don't care; retries keep their distance. */
static void check_clock(struct dispatcher *d)
{
	int64_t offset_ms = clock_wall_ms() - clock_mono_ms();
	bool back = offset_ms < d->clock_offset_ms - CLOCK_STEP_MS;

	if (!d->store)
		return; /* looked at when it is back */
	d->clock_offset_ms = offset_ms;
	if (!back)
		return;
	log_warn("the clock was set back: retries are planned anew");
	if (store_rebase(d->store, clock_wall_ms()) != STORE_OK)
		backlog_store_failed(d, "plan retries anew");
	d->next_scan_ms = 0;
}

/* Nobody may be left unserved: with the FIFO closed, who comes from now on sees that no dispatcher
 * runs; who came before has left something in the store. */
static bool leave_idle(struct dispatcher *d)
{
	struct store_new_event event;
	size_t n = 0;
	bool none;

	wake_reader_close(&d->wake);
	backlog_scan(d);
	probes_start(d);
	none = d->store && !d->probes && !backlog_any_waiting(d) && store_new_events(d->store, &event, 1, &n) == STORE_OK && n == 0;
	store_new_events_free(&event, n);
	if (none)
		return true;
	if (wake_reader_open(&d->wake, d->conf->state_dir)) {
		log_error("wake-up FIFO in %s: %s", d->conf->state_dir, strerror(errno));
		d->stopping = true;
	}
	d->next_scan_ms = 0;
	return false;
}

static bool finished(struct dispatcher *d)
{
	if (d->ready || d->running || d->ended || d->probes)
		return false;
	if (d->stopping)
		return true;
	if (!d->store || d->more_new)
		return false;
	if (d->options->once)
		return !backlog_any_due(d) && d->retention.done;
	return d->options->idle_ms > 0 && !backlog_any_waiting(d) && !d->wake.attached &&
	       clock_mono_ms() - d->last_activity_ms >= d->options->idle_ms && leave_idle(d);
}

static void loop(struct dispatcher *d)
{
	while (!finished(d)) {
		wait_for_something(d);
		reload_conf(d);
		check_clock(d);
		if (clock_mono_ms() >= d->next_scan_ms)
			backlog_scan(d);
		work_advance(d);
		work_start(d);
		backlog_expand(d);
		work_settle(d);
		work_start(d);
		probes_settle(d);
		probes_start(d);
		backlog_maintain(d);
	}
}

static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Inherited from who started us, perhaps; children must stay until we ask for their end. */
	signal(SIGCHLD, SIG_DFL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start(struct dispatcher *d)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	d->signal_fd = open_signals();
	if (d->signal_fd < 0 || wake_reader_open(&d->wake, d->conf->state_dir)) {
		log_error("can't start: wake-up FIFO in %s: %s", d->conf->state_dir, strerror(errno));
		return -1;
	}
	d->meters = meters_open(d->conf->state_dir);
	if (!d->meters)
		log_error("nothing is counted for /metrics: %s/meters: %s", d->conf->state_dir, strerror(errno));
	d->clock_offset_ms = clock_wall_ms() - clock_mono_ms();
	d->started_ms = clock_wall_ms();
	d->last_activity_ms = clock_mono_ms();
	if (!backlog_open_store(d))
		return -1;
	if (record_all_interrupted(d) != STORE_OK || store_reset_probes(d->store) != STORE_OK ||
	    store_rebase(d->store, clock_wall_ms()) != STORE_OK) {
		log_error("can't start: %s", store_error(d->store));
		return -1;
	}
	backlog_scan(d);
	return 0;
}

static void stop(struct dispatcher *d)
{
	size_t i;

	wake_reader_close(&d->wake);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	for (i = 0; i < d->ntargets; i++) {
		free(d->targets[i]->name);
		free(d->targets[i]);
	}
	free(d->targets);
	caller_free(d->caller);
	probes_free(d);
	store_close(d->store);
	meters_close(d->meters);
	conf_unref(d->conf);
}

int dispatcher_run(struct conf *conf, const struct dispatcher_options *options)
{
	struct dispatcher d = {
		.conf = conf_ref(conf), .options = options, .wake = { .fd = -1 }, .signal_fd = -1,
	};
	int result = start(&d);

	if (result == 0)
		loop(&d);
	stop(&d);
	return result;
}
