#include "lib/web/server.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/api/api.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/supervisor.h"
#include "lib/intake/committer.h"
#include "lib/web/exchange.h"
#include "lib/web/manage.h"
#include "lib/web/peek.h"
#include "lib/web/workers.h"

/* A request that is larger than this goes to a worker, which may block while it reads. It bounds
 * what the reader looks at again and again while a request trickles in. */
#define PEEK_MAX (64 * 1024)

/* How long a request may take to arrive in full, and how long until it counts as slow and may
 * have a worker (small pieces can fill a socket's buffer long before PEEK_MAX bytes are there). */
#define ARRIVAL_LIMIT_MS 60000
#define SLOW_AFTER_MS 1000

/* How long the web server has to take an answer to a request that was not read to its end. */
#define LINGER_LIMIT_MS 2000

/* How long requests in flight have to arrive once the program was told to end; and those for which the web server
 * has only connected. */
#define STOP_LIMIT_MS 5000
#define STOP_CONNECTED_MS 1000

#define TICK_MS 1000

/* Requests that wait for the disk hold about 20 KB each: no new connection beyond FULL of them, until
 * they are LOW again. */
#define IN_FLIGHT_FULL 512
#define IN_FLIGHT_LOW 256

#define ACCEPTS_A_ROUND 64

#define DEFAULT_THREADS 8 /* of workers, as long as no configuration says so */

enum conn_state {
	CONN_REQUEST, /* waits for a whole request */
	CONN_LINGER,  /* answered; waits for the web server to take that */
};

struct conn {
	struct conn *prev, *next; /* among those watched, or next of those given back */
	struct server *server;
	int fd;
	enum conn_state state;
	bool begun, watched;
	bool kept; /* has carried a request before */
	int64_t since_ms;
	struct exchange exchange;
	struct work work;
	struct commit_item item;
};

struct server {
	struct conf *conf; /* the reader swaps it; a request holds its own reference */
	uint64_t largest_body; /* that any source takes */
	struct limiter *_Atomic limiter; /* NULL until there is a configuration */
	struct refusals *_Atomic refusals; /* likewise */
	struct committer *committer;
	struct workers *workers;
	struct supervisor *supervisor;
	struct stores *stores; /* for requests of the management API */

	int listen_fd, epoll_fd, signal_fd, event_fd;
	bool accepting, stopping;
	int64_t stop_deadline_ms, next_tick_ms;
	struct conn watched; /* head of a ring: connections that wait for their peer */
	struct commit_item *batch_first, *batch_last;

	_Atomic size_t in_flight; /* handed to the committer, not yet answered */
	_Atomic bool dispatcher_missing;
	pthread_mutex_t lock;     /* guards what follows */
	struct conn *given_back;
	uint8_t peek_buffer[PEEK_MAX];
};

/* --- connections ----------------------------------------------------------------------- */

static struct conn *conn_new(struct server *s, int fd)
{
	struct conn *c = xcalloc(1, sizeof *c);

	c->server = s;
	c->fd = fd;
	c->since_ms = clock_mono_ms();
	return c;
}

static void conn_watch(struct conn *c)
{
	struct server *s = c->server;
	/* Edge-triggered: what was looked at and left in the socket does not wake us again. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c };

	if (c->watched)
		return;
	c->watched = true;
	c->next = &s->watched;
	c->prev = s->watched.prev;
	c->prev->next = c;
	s->watched.prev = c;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
		log_error("can't watch a connection: %s", strerror(errno));
}

static void conn_unwatch(struct conn *c)
{
	if (!c->watched)
		return;
	c->watched = false;
	c->prev->next = c->next;
	c->next->prev = c->prev;
	epoll_ctl(c->server->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
}

static void conn_close(struct conn *c)
{
	conn_unwatch(c);
	close(c->fd);
	free(c);
}

static void notify_reader(struct server *s)
{
	uint64_t one = 1;

	(void)!write(s->event_fd, &one, sizeof one);
}

/* Any thread: the reader is to watch the connection again. */
static void conn_give_back(struct conn *c, enum conn_state state)
{
	struct server *s = c->server;
	bool first;

	memset(&c->exchange, 0, sizeof c->exchange);
	c->state = state;
	c->begun = false;
	c->kept = true;
	c->since_ms = clock_mono_ms();
	pthread_mutex_lock(&s->lock);
	first = !s->given_back;
	c->next = s->given_back;
	s->given_back = c;
	pthread_mutex_unlock(&s->lock);
	if (first)
		notify_reader(s);
}

/* Any thread: the answer is written. Send it, and see what becomes of the connection. */
static void conn_finish(struct conn *c)
{
	/* Never wait here for what may still come: that is the reader's, without blocking. */
	size_t may_read = c->work.blocking ? 0 : PEEK_MAX;

	switch (request_finish(&c->exchange.request, may_read, &c->fd)) {
	case REQUEST_CLOSED:
		free(c);
		break;
	case REQUEST_KEEP:
		conn_give_back(c, CONN_REQUEST);
		break;
	case REQUEST_LINGER:
		conn_give_back(c, CONN_LINGER);
		break;
	}
}

static void conn_answer(struct conn *c, struct intake_verdict *verdict)
{
	exchange_answer(&c->exchange, verdict);
	conn_finish(c);
}

/* --- serving ---------------------------------------------------------------------------- */

/* The committer's thread, after a commit that stored something new; or a worker's. */
static void on_commit(void *ctx, const char *store_path)
{
	struct server *s = ctx;
	char *state_dir = fdio_dirname(store_path);

	if (!supervisor_wake(s->supervisor, state_dir)) {
		atomic_store(&s->dispatcher_missing, true);
		notify_reader(s);
	}
	free(state_dir);
}

/* The committer's thread. */
static void on_stored(struct commit_item *item, const struct intake_verdict *verdict)
{
	struct conn *c = (struct conn *)((char *)item - offsetof(struct conn, item));
	struct server *s = c->server;
	struct intake_verdict own = *verdict;

	conn_answer(c, &own);
	if (atomic_fetch_sub(&s->in_flight, 1) == IN_FLIGHT_LOW)
		notify_reader(s);
}

enum served {
	SERVED,        /* answered; C is gone */
	SERVED_EVENT,  /* to be handed to the committer */
	SERVED_MANAGE, /* to be served on a thread that may block */
};

/* Any thread: the request on C up to its answer, or as far as it goes without blocking. */
static enum served conn_serve(struct conn *c, struct conf *conf)
{
	struct intake_verdict verdict;

	conn_unwatch(c);
	if (request_begin_fcgi(&c->exchange.request, c->fd)) {
		workers_reading_done(&c->work);
		free(c); /* the connection was closed with it */
		return SERVED;
	}
	c->exchange.refusals = c->server->refusals;
	exchange_receive(&c->exchange, conf, c->server->limiter, &verdict);
	if (verdict.code != INTAKE_ACCEPTED && manage_admit(&c->exchange, &verdict))
		return SERVED_MANAGE;
	workers_reading_done(&c->work);
	if (verdict.code != INTAKE_ACCEPTED) {
		conn_answer(c, &verdict);
		return SERVED;
	}
	c->item.intake = &c->exchange.intake;
	c->item.store_path = c->exchange.conf->store_path;
	c->item.done = on_stored;
	c->item.next = NULL;
	atomic_fetch_add(&c->server->in_flight, 1);
	return SERVED_EVENT;
}

static void on_body_read(void *ctx)
{
	workers_reading_done(ctx);
}

/* A worker's thread: a request of the management API. */
static void conn_manage(struct conn *c)
{
	struct server *s = c->server;
	char *store_path = xstrdup(c->exchange.conf->store_path);
	bool new_work = manage_serve(&c->exchange, s->stores, on_body_read, &c->work);

	conn_finish(c);
	if (new_work)
		on_commit(s, store_path);
	free(store_path);
}

static void serve_manage(struct work *work)
{
	conn_manage((struct conn *)((char *)work - offsetof(struct conn, work)));
}

/* Hand C, whose parameters are read, to a worker. BLOCKING: its body may still be coming. */
static void manage_on_worker(struct conn *c, bool blocking)
{
	c->work = (struct work){
		.run = serve_manage,
		.fd = c->fd,
		.blocking = blocking,
		.deadline_ms = clock_mono_ms() + ARRIVAL_LIMIT_MS,
	};
	workers_submit(c->server->workers, &c->work);
}

/* A worker's thread. */
static void serve_blocking(struct work *work)
{
	struct conn *c = (struct conn *)((char *)work - offsetof(struct conn, work));
	struct conf *conf = work->conf;
	struct server *s = c->server;

	switch (conn_serve(c, conf)) {
	case SERVED:
		break;
	case SERVED_EVENT:
		committer_submit(s->committer, &c->item, &c->item);
		break;
	case SERVED_MANAGE:
		conn_manage(c);
		break;
	}
	conf_unref(conf);
}

static void give_to_worker(struct conn *c)
{
	struct server *s = c->server;

	conn_unwatch(c);
	c->work = (struct work){
		.run = serve_blocking,
		.conf = s->conf ? conf_ref(s->conf) : NULL,
		.fd = c->fd,
		.blocking = true,
		.deadline_ms = c->since_ms + ARRIVAL_LIMIT_MS,
	};
	workers_submit(s->workers, &c->work);
}

/* On the reader itself: nothing in it can block. Stored together with the others of this round. With PARTIAL not
 * all of the request is there, but enough to refuse it. */
static void serve_now(struct conn *c, bool partial)
{
	struct server *s = c->server;

	c->work.blocking = partial;
	switch (conn_serve(c, s->conf)) {
	case SERVED:
		break;
	case SERVED_EVENT:
		if (s->batch_last)
			s->batch_last->next = &c->item;
		else
			s->batch_first = &c->item;
		s->batch_last = &c->item;
		break;
	case SERVED_MANAGE:
		manage_on_worker(c, partial);
		break;
	}
}

static void flush_batch(struct server *s)
{
	if (!s->batch_first)
		return;
	committer_submit(s->committer, s->batch_first, s->batch_last);
	s->batch_first = s->batch_last = NULL;
}

/* --- the reader: what has arrived -------------------------------------------------------- */

/* Look at what is there and decide who serves it, if anybody yet. With HUNG_UP nothing more comes. */
static void look_at_request(struct conn *c, bool hung_up)
{
	struct server *s = c->server;
	ssize_t n = recv(c->fd, s->peek_buffer, PEEK_MAX, MSG_PEEK | MSG_DONTWAIT);
	uint64_t announced = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		conn_close(c);
		return;
	}
	if (n > 0 && !c->begun) {
		c->begun = true;
		c->since_ms = clock_mono_ms();
	}
	switch (n < 0 ? PEEK_PARTIAL : peek_request(s->peek_buffer, (size_t)n, &announced)) {
	case PEEK_BROKEN:
		log_warn("a connection sent something that is no FastCGI request: closed");
		conn_close(c);
		return;
	case PEEK_WHOLE:
		serve_now(c, false);
		return;
	case PEEK_HEAD:
		/* Refused for its size at the latest, so its body needs not be waited for. */
		if (!s->conf || announced > s->largest_body) {
			serve_now(c, true);
			return;
		}
		break;
	case PEEK_PARTIAL:
		break;
	}
	if (n == PEEK_MAX)
		give_to_worker(c);
	else if (hung_up)
		conn_close(c);
	else
		conn_watch(c);
}

/* The answer is out. Take what still comes, so that the peer gets to read it. */
static void drain(struct conn *c)
{
	uint8_t *trash = c->server->peek_buffer;
	ssize_t n;
	int rounds = 0;

	do {
		n = recv(c->fd, trash, PEEK_MAX, MSG_DONTWAIT);
	} while (n > 0 && ++rounds < 16);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_close(c);
}

static void on_readable(struct conn *c, bool hung_up)
{
	if (c->state == CONN_LINGER)
		drain(c);
	else
		look_at_request(c, hung_up);
}

static void set_accepting(struct server *s, bool on)
{
	struct epoll_event event = { .events = on ? EPOLLIN : 0, .data.ptr = &s->listen_fd };

	if (s->accepting == on)
		return;
	s->accepting = on;
	epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->listen_fd, &event);
}

static void accept_all(struct server *s)
{
	int i, fd;

	for (i = 0; i < ACCEPTS_A_ROUND; i++) {
		if (atomic_load(&s->in_flight) >= IN_FLIGHT_FULL) {
			set_accepting(s, false);
			return;
		}
		fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			look_at_request(conn_new(s, fd), false);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_error("can't accept a connection: %s", strerror(errno));
			set_accepting(s, false); /* until the next tick */
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void take_back(struct server *s)
{
	struct conn *c, *next;
	uint64_t count;

	(void)!read(s->event_fd, &count, sizeof count);
	pthread_mutex_lock(&s->lock);
	c = s->given_back;
	s->given_back = NULL;
	pthread_mutex_unlock(&s->lock);
	for (; c; c = next) {
		next = c->next;
		if (c->state == CONN_LINGER)
			shutdown(c->fd, SHUT_WR);
		conn_watch(c);
	}
	if (atomic_exchange(&s->dispatcher_missing, false) && s->conf && !s->stopping)
		supervisor_tick(s->supervisor, s->conf);
	if (!s->stopping && atomic_load(&s->in_flight) < IN_FLIGHT_FULL)
		set_accepting(s, true);
}

/* --- the reader: once a second ------------------------------------------------------------ */

static uint64_t largest_body(const struct conf *conf)
{
	uint64_t largest = 0;
	size_t i;

	for (i = 0; conf && i < conf->nsources; i++)
		if (conf->sources[i].max_body > largest)
			largest = conf->sources[i].max_body;
	return largest;
}

static void open_shared(struct server *s)
{
	if (!s->refusals && s->conf)
		s->refusals = refusals_new(s->conf->state_dir);
	if (s->limiter || !s->conf)
		return;
	s->limiter = limiter_open(s->conf->state_dir);
	if (!s->limiter)
		log_error("no rate limits: %s/rate-limit: %s", s->conf->state_dir, strerror(errno));
}

static void use_conf(struct server *s, struct conf *conf)
{
	conf_unref(s->conf);
	s->conf = conf;
	s->largest_body = largest_body(conf);
	open_shared(s);
}

/* A changed file with a mistake leaves the old configuration in force, so that a slip of the editor
 * stops nothing. A secret that can't be read any more shuts the door: whoever takes it away means it. */
static void reload_conf(struct server *s)
{
	struct buf err = BUF_INIT;
	struct conf *fresh;

	if (s->conf && !conf_changed(s->conf))
		return;
	fresh = conf_load(s->conf ? s->conf->path : NULL, &err);
	if (fresh) {
		log_info("configuration loaded file=%s", fresh->path);
		use_conf(s, fresh);
	} else if (s->conf && conf_secrets_usable(s->conf)) {
		log_error("the changed configuration is not used, the old one stays in force: %s", buf_str(&err));
		conf_remember(s->conf);
	} else if (s->conf) {
		log_error("not configured any more, every request is answered with 503: %s", buf_str(&err));
		use_conf(s, NULL);
	}
	buf_free(&err);
}

static void check_deadlines(struct server *s, int64_t now_ms)
{
	struct conn *c, *next;

	for (c = s->watched.next; c != &s->watched; c = next) {
		/* Who is closed leaves the ring. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		int64_t age_ms = now_ms - c->since_ms;

		next = c->next;
		if (c->state == CONN_LINGER) {
			if (age_ms >= LINGER_LIMIT_MS)
				conn_close(c);
		} else if (c->begun && age_ms >= ARRIVAL_LIMIT_MS) {
			log_warn("a request did not arrive within %d s: connection closed", ARRIVAL_LIMIT_MS / 1000);
			conn_close(c);
		} else if (c->begun && age_ms >= SLOW_AFTER_MS && workers_have_room(s->workers)) {
			give_to_worker(c);
		}
	}
}

static void tick(struct server *s)
{
	int64_t now_ms = clock_mono_ms();

	if (now_ms < s->next_tick_ms)
		return;
	s->next_tick_ms = now_ms + TICK_MS;
	if (!s->stopping) {
		reload_conf(s);
		if (s->conf)
			supervisor_tick(s->supervisor, s->conf);
		set_accepting(s, atomic_load(&s->in_flight) < IN_FLIGHT_FULL);
	}
	check_deadlines(s, now_ms);
	workers_enforce_deadlines(s->workers, now_ms);
}

/* --- start and stop ---------------------------------------------------------------------- */

static int add_to_epoll(struct server *s, int *fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, *fd, &event);
}

static int open_descriptors(struct server *s)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->signal_fd < 0 || s->event_fd < 0 || fdio_set_nonblock(s->listen_fd) ||
	    add_to_epoll(s, &s->listen_fd) || add_to_epoll(s, &s->signal_fd) || add_to_epoll(s, &s->event_fd)) {
		log_error("can't watch the listening socket: %s", strerror(errno));
		return -1;
	}
	s->accepting = true;
	return 0;
}

static void start(struct server *s)
{
	open_shared(s);
	s->supervisor = supervisor_new();
	s->stores = stores_new();
	s->committer = committer_start(s->conf ? s->conf->store_path : NULL, on_commit, s);
	s->workers = workers_start(s->conf ? s->conf->web_threads : DEFAULT_THREADS);
}

static void begin_stop(struct server *s)
{
	struct signalfd_siginfo info;

	(void)!read(s->signal_fd, &info, sizeof info);
	if (s->stopping)
		return;
	log_info("ending: requests in flight are answered first");
	accept_all(s);
	set_accepting(s, false);
	api_stop_waiting();
	s->stopping = true;
	s->stop_deadline_ms = clock_mono_ms() + STOP_LIMIT_MS;
}

/* Requests that have begun to arrive still count as in flight; kept connections without one go, and new ones where
 * none comes. Not while epoll's events are handled: one of those may be for a connection that is closed here. */
static void close_idle(struct server *s)
{
	int64_t now_ms = clock_mono_ms();
	struct conn *c, *next;

	for (c = s->watched.next; c != &s->watched; c = next) {
		next = c->next;
		if (c->state == CONN_REQUEST && !c->begun && (c->kept || now_ms - c->since_ms >= STOP_CONNECTED_MS))
			conn_close(c);
	}
}

static bool stopped(const struct server *s)
{
	return s->stopping && (s->watched.next == &s->watched || clock_mono_ms() >= s->stop_deadline_ms);
}

static void end(struct server *s)
{
	workers_stop(s->workers, STOP_LIMIT_MS);
	stores_free(s->stores);
	committer_stop(s->committer);
	take_back(s); /* answered meanwhile, and nobody is left to wait for them */
	while (s->watched.next != &s->watched)
		conn_close(s->watched.next); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the ring */
	supervisor_free(s->supervisor);
	limiter_close(s->limiter);
	refusals_free(s->refusals);
	conf_unref(s->conf);
	close(s->event_fd);
	close(s->signal_fd);
	close(s->epoll_fd);
}

static void handle(struct server *s, void *what, uint32_t events)
{
	if (what == &s->listen_fd)
		accept_all(s);
	else if (what == &s->signal_fd)
		begin_stop(s);
	else if (what == &s->event_fd)
		take_back(s);
	else
		on_readable(what, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

/* Before it sleeps, it lets the web server run once: what that hands over meanwhile saves a wake-up. */
static int wait_for_events(struct server *s, struct epoll_event *events, int max)
{
	int n = epoll_wait(s->epoll_fd, events, max, 0);

	if (n != 0)
		return n;
	sched_yield();
	return epoll_wait(s->epoll_fd, events, max, s->stopping ? 20 : TICK_MS);
}

static void loop(struct server *s)
{
	struct epoll_event events[64];
	int n, i;

	while (!stopped(s)) {
		n = wait_for_events(s, events, 64);
		for (i = 0; i < n; i++)
			handle(s, events[i].data.ptr, events[i].events);
		flush_batch(s);
		if (s->stopping)
			close_idle(s);
		tick(s);
	}
}

int server_run(int listen_fd, struct conf *conf)
{
	struct server *s = xcalloc(1, sizeof *s);
	int status = EXIT_FAILURE;

	s->listen_fd = listen_fd;
	s->conf = conf;
	s->largest_body = largest_body(conf);
	s->watched.next = s->watched.prev = &s->watched;
	pthread_mutex_init(&s->lock, NULL);
	if (open_descriptors(s) == 0) {
		start(s);
		loop(s);
		end(s);
		status = EXIT_SUCCESS;
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
	return status;
}
