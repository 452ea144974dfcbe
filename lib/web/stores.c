#include "lib/web/stores.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/xalloc.h"

struct idle {
	struct idle *next;
	struct store *store;
};

struct stores {
	pthread_mutex_t lock; /* guards what follows */
	char *path;           /* of those that are idle; NULL: there are none yet */
	struct idle *idle;
};

struct stores *stores_new(void)
{
	struct stores *s = xcalloc(1, sizeof *s);

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void close_all(struct idle *idle)
{
	struct idle *next;

	for (; idle; idle = next) {
		next = idle->next;
		store_close(idle->store);
		free(idle);
	}
}

void stores_free(struct stores *s)
{
	if (!s)
		return;
	close_all(s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static struct store *open_store(const char *path)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	struct store *store = store_open(path, STORE_TOOL, &status, &err);

	if (!store)
		log_error("store not available: %s", buf_str(&err));
	buf_free(&err);
	return store;
}

struct store *stores_take(struct stores *s, const char *path)
{
	struct idle *mine = NULL, *old = NULL;
	struct store *store = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->path && strcmp(s->path, path) == 0) {
		mine = s->idle;
		if (mine)
			s->idle = mine->next;
	} else {
		old = s->idle;
		s->idle = NULL;
		free(s->path);
		s->path = xstrdup(path);
	}
	pthread_mutex_unlock(&s->lock);
	close_all(old);
	if (mine)
		store = mine->store;
	free(mine);
	return store ? store : open_store(path);
}

void stores_give_back(struct stores *s, const char *path, struct store *store, bool failed)
{
	struct idle *idle = NULL;

	pthread_mutex_lock(&s->lock);
	if (!failed && strcmp(s->path, path) == 0) {
		idle = xcalloc(1, sizeof *idle);
		idle->store = store;
		idle->next = s->idle;
		s->idle = idle;
	}
	pthread_mutex_unlock(&s->lock);
	if (!idle)
		store_close(store);
}
