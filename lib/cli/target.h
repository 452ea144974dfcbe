/* Whom deliveries go to, as operands of commands and in tables: a handler, by its name, or a webhook, by its id. */
#ifndef NTRVSTA_CLI_TARGET_H
#define NTRVSTA_CLI_TARGET_H

#include <json-c/json.h>

#include "lib/cli/cli.h"
#include "lib/store/webhooks.h"

/* How operands are called in usages and help texts. */
#define TARGET_HELP \
	"  TARGET       only this handler (its path below the handlers' folder, such as all/10-log) or webhook\n" \
	"               (its id, wh_...)\n"

bool target_is_webhook(const char *name); /* by its look alone */

/* Could NAME be a handler's, or is it a webhook's id? Else says so: wrong usage. */
bool target_usable(const struct cli *cli, const char *name);

/* Is it there, or has there ever been a delivery for it? */
bool target_known(const struct conf *conf, struct store *store, const char *name);

/* Say that there is no such handler or webhook, and what to do. CLI_FAILED. */
int target_unknown(const struct cli *cli, const struct conf *conf, const char *name);

/* Would it get its events now? Else says why not, and what to do. */
bool target_would_run(const struct cli *cli, const struct conf *conf, struct store *store, const char *name);

/* What NAME gets of all events, as store_recovery.event wants it: the caller's to free; NULL: any. */
char *target_events(struct store *store, const char *name);

/* --- webhooks ---------------------------------------------------------------------------- */

/* All of them, oldest first; of their secrets the times only. */
struct webhooks {
	struct store_webhook *items;
	size_t n;
};
enum store_status webhooks_load(struct store *store, struct webhooks *out);
void webhooks_free(struct webhooks *w);
const struct store_webhook *webhooks_find(const struct webhooks *w, const char *id); /* NULL where there is none */

/* One of them, with its secrets; free with store_webhook_free(). Says what is wrong where there is none. */
bool webhooks_get(const struct cli *cli, struct store *store, const char *id, struct store_webhook *out);

int webhooks_unknown(const struct cli *cli, const char *id); /* say that there is none. CLI_FAILED */

/* Why W gets no events: "it answered 410 Gone"; "" where it does. */
const char *webhooks_why_inactive(const struct store_webhook *w);

/* Which ids stand for which URLs, for what is printed below a table of targets. Note each target, print, free. */
struct webhooks_legend {
	char **ids;
	size_t n;
};
void webhooks_legend_note(struct webhooks_legend *l, const char *target);
void webhooks_legend_print(struct webhooks_legend *l, struct store *store); /* nothing where no webhook was noted */

/* The API's fields: id, kind, url, events, active, inactive_reason, debug, logLevel, description, secrets (their times),
 * created_at, updated_at. */
struct json_object *webhooks_json(const struct store_webhook *w);

#endif
