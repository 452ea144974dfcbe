/* ntrvsta check: the state directory, the store in it, and what the dispatcher makes of it. */
#include "lib/cli/check.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/handlers.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/wake.h"

#define SPACE_LOW_BYTES (64.0 * (1 << 20)) /* below: soon 503 store_full */
#define SPACE_AHEAD_DAYS 30                /* who fills the disk later than that has time */
#define WAITS_LONG_MS HOUR_MS
#define OVERDUE_MS (5 * MINUTE_MS)         /* for a dispatcher that runs: it is busy or stuck */
#define UNSERVED_MS MINUTE_MS              /* without one: cron may come once a minute */

/* What the store says of all that waits. */
struct work {
	bool dispatcher_runs;
	int64_t now_ms;
	int64_t due_since_ms; /* of what is due longest; 0: nothing is */
};

static void note_due(struct work *w, int64_t since_ms)
{
	if (since_ms && since_ms <= w->now_ms && (!w->due_since_ms || since_ms < w->due_since_ms))
		w->due_since_ms = since_ms;
}

/* How long ago, in whole seconds. */
static char *format_ago(const struct work *w, int64_t since_ms, char out[UNITS_SIZE])
{
	return units_format_duration((w->now_ms - since_ms) / 1000 * 1000, out);
}

/* --- the directory --------------------------------------------------------------------------- */

static const char *user_name(uid_t uid, char out[64])
{
	struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(out, 64, "%s", user->pw_name);
	else
		snprintf(out, 64, "user id %u", (unsigned)uid);
	return out;
}

/* True where the store in it can be looked at. */
static bool check_state_dir(struct check *c)
{
	const char *dir = c->conf->state_dir;
	char owner[64];
	struct stat st;

	if (stat(dir, &st)) {
		check_say(c, CHECK_PROBLEM, "state", "%s: %s; make it with mkdir -m 700, as the user that runs ntrvsta-fcgi", dir,
		    strerror(errno));
		return false;
	}
	if (st.st_mode & 0077)
		check_say(c, CHECK_PROBLEM, "state", "%s: others than its owner may use it (mode %04o), and it holds every event: "
		    "chmod 700 it", dir, (unsigned)st.st_mode & 0777);
	if (geteuid() != st.st_uid)
		check_say(c, CHECK_WARNING, "state", "%s belongs to %s: only a check by that user finds what that user can't do "
		    "(sudo -u %s ntrvsta check)", dir, user_name(st.st_uid, owner), owner);
	if (access(dir, R_OK | W_OK | X_OK)) {
		check_say(c, CHECK_PROBLEM, "state", "%s: can't be written: %s; so nothing is received", dir, strerror(errno));
		return false;
	}
	return true;
}

/* --- space --------------------------------------------------------------------------------- */

static double file_bytes(const char *path, const char *suffix)
{
	char *name = xasprintf("%s%s", path, suffix);
	struct stat st;
	double bytes = stat(name, &st) == 0 ? (double)st.st_size : 0;

	free(name);
	return bytes;
}

static int note_received(void *ctx, const struct store_event_row *row)
{
	*(int64_t *)ctx = row->received_ms;
	return 1;
}

/* A store grows until retention removes as much as comes in: how fast did it, and is there room
 * until then? Where there is no day to judge by yet, what came counts as a day's. */
static void check_growth(struct check *c, struct store *store, const struct work *w, double free_bytes)
{
	struct store_filter oldest = { .limit = 1, .oldest_first = true };
	double size = file_bytes(c->conf->store_path, "") + file_bytes(c->conf->store_path, "-wal");
	double days, daily, growing_days, full_in_days, mib = 1 << 20;
	int64_t first_ms = w->now_ms;
	char kept[UNITS_SIZE];

	if (store_list_events(store, &oldest, note_received, &first_ms) != STORE_OK)
		return;
	days = (double)(w->now_ms - first_ms) / (double)DAY_MS;
	daily = size / (days > 1 ? days : 1);
	growing_days = (double)c->conf->retain_events_ms / (double)DAY_MS - days;
	full_in_days = free_bytes / (daily > 1 ? daily : 1);
	if (full_in_days < growing_days && full_in_days < SPACE_AHEAD_DAYS)
		check_say(c, CHECK_WARNING, "store", "%s grows by about %.0f MiB a day, and %.0f MiB are free: full in %.0f days, while "
		          "events are kept for %s (retain_events)", c->conf->store_path, daily / mib, free_bytes / mib,
		          full_in_days, units_format_duration(c->conf->retain_events_ms, kept));
}

/* STORE is NULL where it can't be looked into. */
static void check_space(struct check *c, struct store *store, const struct work *w)
{
	struct statvfs fs;
	double free_bytes;

	if (statvfs(c->conf->state_dir, &fs))
		return;
	free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
	if (free_bytes < SPACE_LOW_BYTES)
		check_say(c, CHECK_WARNING, "state", "%s: %.0f MiB are free on its file system; without space every call is refused",
		          c->conf->state_dir, free_bytes / (1 << 20));
	else if (store)
		check_growth(c, store, w, free_bytes);
}

/* --- what waits ------------------------------------------------------------------------------ */

static void report_counts(struct check *c, const struct store_counts *n, const struct work *w)
{
	char text[UNITS_SIZE];

	check_say(c, CHECK_OK, "store", "%s: %lld new events, %lld deliveries waiting, %lld running, %lld failed", c->conf->store_path,
	          (long long)n->new_events, (long long)n->pending, (long long)n->running, (long long)n->failed);
	if (n->oldest_waiting_ms && w->now_ms - n->oldest_waiting_ms > WAITS_LONG_MS)
		check_say(c, CHECK_NOTE, "store", "the oldest unfinished event came %s ago: see 'ntrvsta logs --status pending'",
		          format_ago(w, n->oldest_waiting_ms, text));
	if (n->failed)
		check_say(c, CHECK_NOTE, "store", "%lld deliveries were given up: see 'ntrvsta failed'", (long long)n->failed);
}

/* The first event that has no deliveries yet. */
static void check_new_events(struct store *store, struct work *w)
{
	struct store_new_event event;
	struct store_filter filter = { .oldest_first = true, .limit = 1 };
	int64_t received_ms = 0;
	size_t n = 0;

	if (store_new_events(store, &event, 1, &n) != STORE_OK || n == 0)
		return;
	filter.after_seq = event.seq - 1;
	if (store_list_events(store, &filter, note_received, &received_ms) == STORE_OK)
		note_due(w, received_ms);
	store_new_events_free(&event, n);
}

/* What a target is at present. A handler that is gone has its retries held, whatever their time; a webhook that is
 * not active has all held. */
struct target_now {
	const char *subject; /* of findings */
	bool there;          /* a handler that exists, a webhook that is registered */
	bool held;           /* nothing of it is run */
	bool retries_held;
};

static struct target_now look_at(const struct check *c, const char *name)
{
	const struct store_webhook *w = webhooks_find(&c->webhooks, name);
	bool there = w || (!target_is_webhook(name) && handlers_exists(c->conf, name));

	return (struct target_now){
		.subject = target_is_webhook(name) ? "webhooks" : "handlers",
		.there = there,
		.held = w && !w->active,
		.retries_held = (w && !w->active) || (!target_is_webhook(name) && !there),
	};
}

static void check_due(struct check *c, const struct store_waiting *waiting, const struct target_now *t, int64_t pending,
                      struct work *w)
{
	struct work own = { .now_ms = w->now_ms };
	bool retries = waiting->next_retry_ms != INT64_MAX;
	char text[UNITS_SIZE];

	if (!t->held)
		note_due(&own, waiting->first_since_ms);
	if (retries && !t->retries_held)
		note_due(&own, waiting->next_retry_ms);
	note_due(w, own.due_since_ms);
	if (retries && t->retries_held && !t->there)
		check_say(c, CHECK_WARNING, t->subject, "%s was removed while %lld of its deliveries wait: they are held until it is "
		          "back, or 'ntrvsta cancel --handler %s'", waiting->target, (long long)pending, waiting->target);
	else if (w->dispatcher_runs && own.due_since_ms && w->now_ms - own.due_since_ms > OVERDUE_MS)
		check_say(c, CHECK_WARNING, t->subject, "%s has %lld deliveries waiting, the next one has been due for %s: it is too "
		          "slow, hangs, or wants a higher concurrency", waiting->target, (long long)pending,
		          format_ago(w, own.due_since_ms, text));
}

static void check_target(struct check *c, struct store *store, const struct store_waiting *waiting, struct work *w)
{
	struct target_now t = look_at(c, waiting->target);
	struct store_stats stats;

	if (store_stats(store, waiting->target, w->now_ms - DAY_MS, w->now_ms + 1, &stats) != STORE_OK ||
	    store_stats_backlog(store, waiting->target, &stats) != STORE_OK)
		return;
	check_due(c, waiting, &t, stats.pending, w);
	if (t.there && !t.held && stats.attempts > 0 && stats.failed_attempts == stats.attempts)
		check_say(c, CHECK_WARNING, t.subject, "%s has failed each time in the last 24 hours, %lld time%s: see "
		          "'ntrvsta logs %s --status failed'", waiting->target, (long long)stats.attempts,
		          stats.attempts == 1 ? "" : "s", waiting->target);
}

static void check_work(struct check *c, struct store *store, struct work *w)
{
	struct store_counts counts;
	struct store_waiting *waiting = NULL;
	size_t n = 0, i;

	if (store_count(store, &counts) != STORE_OK || store_waiting(store, &waiting, &n) != STORE_OK) {
		check_say(c, CHECK_PROBLEM, "store", "%s: %s", c->conf->store_path, store_error(store));
	} else {
		report_counts(c, &counts, w);
		check_new_events(store, w);
		for (i = 0; i < n; i++)
			check_target(c, store, &waiting[i], w);
	}
	store_waiting_free(waiting, n);
}

/* --- the store ------------------------------------------------------------------------------- */

/* NULL where it can't be looked into. Opening would make the database; as root that would be
 * root's, and closed to its user. */
static struct store *check_database(struct check *c)
{
	struct buf err = BUF_INIT;
	enum store_status status = STORE_OK;
	struct store *store;

	if (access(c->conf->store_path, F_OK)) {
		check_say(c, CHECK_OK, "store", "%s: will be made with the first event", c->conf->store_path);
		return NULL;
	}
	if (access(c->conf->store_path, R_OK | W_OK)) {
		check_say(c, CHECK_PROBLEM, "store", "%s: can't be written: %s; so nothing is received", c->conf->store_path,
		          strerror(errno));
		return NULL;
	}
	store = store_open(c->conf->store_path, STORE_TOOL, &status, &err);
	if (!store)
		check_say(c, CHECK_PROBLEM, "store", "%s", buf_str(&err));
	buf_free(&err);
	return store;
}

/* --- the dispatcher -------------------------------------------------------------------------- */

static void check_dispatcher(struct check *c, const struct work *w)
{
	char *program = fdio_find_program("ntrvsta"), ago[UNITS_SIZE];
	bool unserved = w->due_since_ms && w->now_ms - w->due_since_ms > UNSERVED_MS;

	if (w->dispatcher_runs)
		check_say(c, CHECK_OK, "dispatcher", "runs");
	else if (c->conf->dispatch_auto && !program)
		check_say(c, CHECK_PROBLEM, "dispatcher", "does not run, and ntrvsta-fcgi can't start it: no program ntrvsta in %s",
		          NTRVSTA_BINDIR);
	else if (c->conf->dispatch_auto && unserved)
		check_say(c, CHECK_WARNING, "dispatcher", "does not run, and work has been due for %s: ntrvsta-fcgi would start it; does it "
		          "run itself? See also %s/dispatch.log", format_ago(w, w->due_since_ms, ago), c->conf->state_dir);
	else if (c->conf->dispatch_auto)
		check_say(c, CHECK_OK, "dispatcher", "does not run; ntrvsta-fcgi starts it when an event comes");
	else if (unserved)
		check_say(c, CHECK_WARNING, "dispatcher", "does not run, and work has been due for %s: with [dispatch] start = off, systemd or "
		          "cron has to run 'ntrvsta dispatch'", format_ago(w, w->due_since_ms, ago));
	else
		check_say(c, CHECK_NOTE, "dispatcher", "does not run, and [dispatch] start = off: systemd or cron has to run "
		          "'ntrvsta dispatch'");
	free(program);
}

void check_state(struct check *c)
{
	struct work work = { .now_ms = clock_wall_ms() };

	if (!check_state_dir(c))
		return;
	work.dispatcher_runs = wake_is_read_now(c->conf->state_dir);
	c->store = check_database(c);
	if (c->store && webhooks_load(c->store, &c->webhooks) == STORE_OK)
		check_work(c, c->store, &work);
	else if (c->store)
		check_say(c, CHECK_PROBLEM, "store", "%s: %s", c->conf->store_path, store_error(c->store));
	check_space(c, c->store, &work);
	check_dispatcher(c, &work);
}
