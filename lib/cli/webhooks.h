/* ntrvsta webhooks: what its parts share. Private to webhooks*.c. */
#ifndef NTRVSTA_CLI_WEBHOOKS_H
#define NTRVSTA_CLI_WEBHOOKS_H

#include "lib/cli/cli.h"

#define WEBHOOKS_EVENTS_MAX 64 /* options --event */

struct webhooks_options { /* NULL: not given */
	const char *url, *description, *secret, *overlap, *log_level;
	const char *events;                     /* --events a,b */
	const char *event[WEBHOOKS_EVENTS_MAX]; /* --event a --event b */
	bool inactive, activate, deactivate, debug, no_debug, yes;
};

/* The subcommands. OPERAND is an id, or the URL to create. Exit codes. */
typedef int webhooks_fn(const struct cli *cli, const struct conf *conf, struct store *store,
                        const struct webhooks_options *o, const char *operand);
webhooks_fn webhooks_list, webhooks_show, webhooks_create, webhooks_update, webhooks_delete, webhooks_rotate;

/* Does what can be checked without a configuration make sense? Else says so: wrong usage. */
bool webhooks_check_options(const struct cli *cli, const struct webhooks_options *o);

/* What --event and --events name, in the store's form; OUT stays empty where neither is given. False after it
 * said what is wrong. */
bool webhooks_collect_events(const struct cli *cli, const struct webhooks_options *o, struct buf *out);

/* Say which of EVENTS, in the store's form, nobody documents. */
void webhooks_note_events(const struct cli *cli, const char *events);

/* URL in its normal form, the caller's to free; NULL after it said what is wrong. */
char *webhooks_check_url(const struct cli *cli, const struct conf *conf, const char *url);

/* The secret that the options name, else a new one. NULL after it said what is wrong. */
char *webhooks_choose_secret(const struct cli *cli, const struct webhooks_options *o);
void webhooks_free_secret(char *secret); /* wipes it; NULL is allowed */

#endif
