#include "lib/api/call.h"

#include <stdlib.h>
#include <string.h>

#include "lib/delivery/targets.h"

struct search {
	const char *name;
	const char *why; /* it is skipped; NULL: not seen */
};

static void note_skipped(void *ctx, const char *name, enum targets_skip why)
{
	struct search *search = ctx;

	if (strcmp(name, search->name) == 0)
		search->why = targets_skip_text(why);
}

/* Why the handler NAME would not run; NULL where it would. *THERE tells whether there is such a file. */
static const char *why_inactive(const struct api_call *c, const char *name, bool *there)
{
	struct search search = { .name = name };
	struct targets found = { 0 };
	struct buf err = BUF_INIT;
	bool runs = false, readable;
	size_t i;

	readable = targets_find_all(c->conf->handlers_dir, &found, note_skipped, &search, &err) == 0;
	for (i = 0; i < found.n && !runs; i++)
		runs = strcmp(found.names[i], name) == 0;
	*there = runs || search.why;
	if (!search.why)
		search.why = readable ? "removed" : "the handlers' folder can't be read";
	targets_free(&found);
	buf_free(&err);
	return runs ? NULL : search.why;
}

/* A handler that is gone still has a past. */
static enum store_status find_handler(struct api_call *c, struct api_target *out)
{
	struct store_waiting waiting = { 0 };
	enum store_status status;
	bool there;

	if (!targets_name_valid(c->id))
		return STORE_NOT_FOUND;
	out->inactive = why_inactive(c, c->id, &there);
	if (there)
		return STORE_OK;
	status = store_waiting_for(c->store, c->id, &waiting);
	free(waiting.target);
	return status;
}

bool call_target(struct api_call *c, struct api_target *out)
{
	enum store_status status;

	memset(out, 0, sizeof *out);
	out->webhook = id_valid(ID_WEBHOOK, c->id);
	status = out->webhook ? store_get_webhook(c->store, c->who->org, c->id, c->now_ms, &out->registered)
	                      : find_handler(c, out);
	if (status != STORE_OK)
		call_store_failed(c, status);
	return status == STORE_OK;
}

void api_target_free(struct api_target *t)
{
	if (t->webhook)
		store_webhook_free(&t->registered);
}
