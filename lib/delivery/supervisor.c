#include "lib/delivery/supervisor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/wake.h"

/* A dispatcher that lived less than STEADY_MS makes us wait longer before the next one. */
#define FIRST_PAUSE_MS 500
#define LAST_PAUSE_MS 60000
#define STEADY_MS 10000

struct supervisor {
	pthread_mutex_t lock; /* guards wake_fd and state_dir */
	int wake_fd;
	char *state_dir; /* that wake_fd belongs to */

	int64_t launched_ms, next_launch_ms, pause_ms;
};

struct supervisor *supervisor_new(void)
{
	struct supervisor *s = xcalloc(1, sizeof *s);

	pthread_mutex_init(&s->lock, NULL);
	s->wake_fd = -1;
	s->pause_ms = FIRST_PAUSE_MS;
	return s;
}

void supervisor_free(struct supervisor *s)
{
	if (!s)
		return;
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->state_dir);
	free(s);
}

/* Ask with the one descriptor that is kept, for STATE_DIR. */
static bool ask(struct supervisor *s, const char *state_dir, bool (*question)(const char *, int *))
{
	bool answer;

	pthread_mutex_lock(&s->lock);
	if (!s->state_dir || strcmp(s->state_dir, state_dir) != 0) {
		if (s->wake_fd >= 0)
			close(s->wake_fd);
		s->wake_fd = -1;
		free(s->state_dir);
		s->state_dir = xstrdup(state_dir);
	}
	answer = question(state_dir, &s->wake_fd);
	pthread_mutex_unlock(&s->lock);
	return answer;
}

bool supervisor_wake(struct supervisor *s, const char *state_dir)
{
	return ask(s, state_dir, wake_send);
}

void supervisor_tick(struct supervisor *s, const struct conf *conf)
{
	int64_t now_ms = clock_mono_ms();

	if (!conf->dispatch_auto)
		return;
	if (ask(s, conf->state_dir, wake_is_read)) {
		if (now_ms - s->launched_ms > STEADY_MS)
			s->pause_ms = FIRST_PAUSE_MS;
		return;
	}
	if (now_ms < s->next_launch_ms)
		return;
	launch_dispatcher(conf);
	s->launched_ms = now_ms;
	s->next_launch_ms = now_ms + s->pause_ms;
	s->pause_ms = s->pause_ms * 2 < LAST_PAUSE_MS ? s->pause_ms * 2 : LAST_PAUSE_MS;
}
