#include "lib/cli/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/cli/handlers.h"
#include "lib/cli/output.h"
#include "lib/delivery/targets.h"

bool target_is_webhook(const char *name)
{
	return id_valid(ID_WEBHOOK, name);
}

bool target_usable(const struct cli *cli, const char *name)
{
	if (target_is_webhook(name) || targets_name_valid(name))
		return true;
	cli_usage(cli, "'%s' can't be a handler's name, such as all/10-log, nor a webhook's id (" ID_WEBHOOK "...)", name);
	return false;
}

static bool has_had_deliveries(struct store *store, const char *name)
{
	struct store_waiting waiting;

	if (store_waiting_for(store, name, &waiting) != STORE_OK)
		return false;
	free(waiting.target);
	return true;
}

static enum store_status get(struct store *store, const char *id, struct store_webhook *out)
{
	return store_get_webhook(store, NULL, id, clock_wall_ms(), out);
}

static bool webhook_exists(struct store *store, const char *id)
{
	struct store_webhook webhook;
	bool exists = get(store, id, &webhook) == STORE_OK;

	store_webhook_free(&webhook);
	return exists;
}

bool target_known(const struct conf *conf, struct store *store, const char *name)
{
	bool exists = target_is_webhook(name) ? webhook_exists(store, name) : handlers_exists(conf, name);

	return exists || has_had_deliveries(store, name);
}

int webhooks_unknown(const struct cli *cli, const char *id)
{
	return cli_fail(cli, "no webhook %s: 'ntrvsta webhooks list' names them all", id);
}

int target_unknown(const struct cli *cli, const struct conf *conf, const char *name)
{
	/* Also what is left of an id after a bad copy. */
	bool webhook = strncmp(name, ID_WEBHOOK, strlen(ID_WEBHOOK)) == 0 && !strchr(name, '/');

	return webhook ? webhooks_unknown(cli, name) : handlers_unknown(cli, conf, name);
}

static bool webhook_would_run(const struct cli *cli, struct store *store, const char *id)
{
	struct store_webhook webhook;
	bool active;

	if (!webhooks_get(cli, store, id, &webhook))
		return false;
	active = webhook.active;
	if (!active)
		cli_fail(cli, "%s is not active, %s; first 'ntrvsta webhooks update %s --activate'", id,
		         webhooks_why_inactive(&webhook), id);
	store_webhook_free(&webhook);
	return active;
}

bool target_would_run(const struct cli *cli, const struct conf *conf, struct store *store, const char *name)
{
	return target_is_webhook(name) ? webhook_would_run(cli, store, name) : handlers_would_run(cli, conf, name);
}

char *target_events(struct store *store, const char *name)
{
	struct store_webhook webhook;
	char *events;

	if (!target_is_webhook(name))
		return targets_event(name);
	if (get(store, name, &webhook) != STORE_OK)
		return NULL;
	events = strcmp(webhook.events, "*") == 0 ? NULL : xstrdup(webhook.events);
	store_webhook_free(&webhook);
	return events;
}

/* --- webhooks ---------------------------------------------------------------------------- */

static int copy_webhook(void *ctx, const struct store_webhook *w)
{
	struct webhooks *all = ctx;
	struct store_webhook *copy;

	all->items = xreallocarray(all->items, all->n + 1, sizeof *all->items);
	copy = &all->items[all->n++];
	*copy = (struct store_webhook){
		.url = xstrdup(w->url), .description = xstrdup(w->description), .events = xstrdup(w->events),
		.active = w->active, .inactive_reason = xstrdup(w->inactive_reason),
		.created_ms = w->created_ms, .updated_ms = w->updated_ms,
	};
	memcpy(copy->id, w->id, sizeof copy->id);
	copy->secrets = xcalloc(w->nsecrets + 1, sizeof *copy->secrets);
	for (; copy->nsecrets < w->nsecrets; copy->nsecrets++) {
		copy->secrets[copy->nsecrets] = w->secrets[copy->nsecrets];
		copy->secrets[copy->nsecrets].secret = xstrdup(""); /* of which nobody needs more than its times */
	}
	return 0;
}

enum store_status webhooks_load(struct store *store, struct webhooks *out)
{
	*out = (struct webhooks){ NULL, 0 };
	return store_list_webhooks(store, NULL, NULL, clock_wall_ms(), copy_webhook, out);
}

void webhooks_free(struct webhooks *w)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		store_webhook_free(&w->items[i]);
	free(w->items);
	*w = (struct webhooks){ NULL, 0 };
}

const struct store_webhook *webhooks_find(const struct webhooks *w, const char *id)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		if (strcmp(w->items[i].id, id) == 0)
			return &w->items[i];
	return NULL;
}

bool webhooks_get(const struct cli *cli, struct store *store, const char *id, struct store_webhook *out)
{
	enum store_status status = get(store, id, out);

	if (status == STORE_NOT_FOUND)
		webhooks_unknown(cli, id);
	else if (status != STORE_OK)
		cli_fail(cli, "%s", store_error(store));
	return status == STORE_OK;
}

const char *webhooks_why_inactive(const struct store_webhook *w)
{
	if (w->active)
		return "";
	if (strcmp(w->inactive_reason, "gone") == 0)
		return "its receiver answered 410 Gone";
	if (strcmp(w->inactive_reason, "failing") == 0)
		return "nothing but failures for five days";
	return "somebody switched it off";
}

static struct json_object *json_secrets(const struct store_webhook *w)
{
	struct json_object *rows = json_object_new_array(), *row;
	size_t i;

	for (i = 0; i < w->nsecrets; i++) {
		row = json_object_new_object();
		json_object_object_add(row, "created_at", cli_json_time(w->secrets[i].created_ms));
		json_object_object_add(row, "expires_at", cli_json_time(w->secrets[i].until_ms));
		json_object_array_add(rows, row);
	}
	return rows;
}

struct json_object *webhooks_json(const struct store_webhook *w)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", cli_json_string(w->id));
	json_object_object_add(o, "kind", json_object_new_string("webhook"));
	json_object_object_add(o, "url", cli_json_string(w->url));
	json_object_object_add(o, "events", cli_json_words(w->events));
	json_object_object_add(o, "active", json_object_new_boolean(w->active));
	json_object_object_add(o, "inactive_reason", cli_json_string(w->inactive_reason));
	json_object_object_add(o, "debug", json_object_new_boolean(w->debug));
	json_object_object_add(o, "logLevel", json_object_new_string(w->detailed ? "detailed" : "normal"));
	json_object_object_add(o, "description", cli_json_string(w->description));
	json_object_object_add(o, "secrets", json_secrets(w));
	json_object_object_add(o, "created_at", cli_json_time(w->created_ms));
	json_object_object_add(o, "updated_at", cli_json_time(w->updated_ms));
	return o;
}

/* --- below a table ------------------------------------------------------------------------ */

void webhooks_legend_note(struct webhooks_legend *l, const char *target)
{
	size_t i;

	if (!target_is_webhook(target))
		return;
	for (i = 0; i < l->n; i++)
		if (strcmp(l->ids[i], target) == 0)
			return;
	l->ids = xreallocarray(l->ids, l->n + 1, sizeof *l->ids);
	l->ids[l->n++] = xstrdup(target);
}

void webhooks_legend_print(struct webhooks_legend *l, struct store *store)
{
	struct webhooks all;
	struct buf line = BUF_INIT;
	size_t i;

	if (l->n > 0 && webhooks_load(store, &all) == STORE_OK) {
		putchar('\n');
		for (i = 0; i < l->n; i++) {
			const struct store_webhook *w = webhooks_find(&all, l->ids[i]);

			buf_reset(&line);
			buf_addf(&line, "%s  %s%s", l->ids[i], w ? w->url : "was deleted", w && !w->active ? "  (not active)" : "");
			cli_print_text("", line.data, line.len);
		}
		webhooks_free(&all);
	}
	for (i = 0; i < l->n; i++)
		free(l->ids[i]);
	free(l->ids);
	*l = (struct webhooks_legend){ NULL, 0 };
	buf_free(&line);
}
