/* ntrvsta webhooks: the URLs that events are delivered to. */
#include "lib/cli/webhooks.h"

#include <string.h>

enum option { URL = 1, EVENTS = 2, DESCRIPTION = 4, SECRET = 8, OVERLAP = 16, INACTIVE = 32, STATE = 64, YES = 128,
	      LOGGING = 256 };

static const struct subcommand {
	const char *name;
	const char *operand; /* what it wants; NULL: nothing */
	unsigned options;    /* those that it takes */
	bool changes;        /* wants at least one of them */
	webhooks_fn *run;
} subcommands[] = {
	{ "list", NULL, 0, false, webhooks_list },
	{ "create", "the URL to call", EVENTS | DESCRIPTION | SECRET | INACTIVE | LOGGING, false, webhooks_create },
	{ "show", "the id of one webhook (wh_...)", 0, false, webhooks_show },
	{ "update", "the id of one webhook (wh_...)", URL | EVENTS | DESCRIPTION | STATE | LOGGING, true, webhooks_update },
	{ "delete", "the id of one webhook (wh_...)", YES, false, webhooks_delete },
	{ "rotate-secret", "the id of one webhook (wh_...)", SECRET | OVERLAP, false, webhooks_rotate },
};
#define NSUBCOMMANDS (sizeof subcommands / sizeof subcommands[0])

static const struct subcommand *find_subcommand(const struct cli *cli, const char *name)
{
	struct cli_near near = { .word = name };
	size_t i;

	for (i = 0; i < NSUBCOMMANDS; i++) {
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
		cli_near_try(&near, subcommands[i].name);
	}
	if (near.best)
		cli_usage(cli, "unknown subcommand '%s'; did you mean %s?", name, near.best);
	else
		cli_usage(cli, "unknown subcommand '%s': there are list, create, show, update, delete and rotate-secret", name);
	return NULL;
}

/* Is each option that was given one of SUB's, and is there what it wants? */
static bool check_usage(const struct cli *cli, const struct subcommand *sub, const struct webhooks_options *o, int argc,
                        char **argv)
{
	const struct {
		const char *name;
		unsigned option;
		bool given;
	} given[] = {
		{ "url", URL, o->url }, { "event", EVENTS, o->event[0] }, { "events", EVENTS, o->events },
		{ "description", DESCRIPTION, o->description }, { "secret", SECRET, o->secret }, { "overlap", OVERLAP, o->overlap },
		{ "inactive", INACTIVE, o->inactive }, { "activate", STATE, o->activate }, { "deactivate", STATE, o->deactivate },
		{ "log-level", LOGGING, o->log_level }, { "debug", LOGGING, o->debug }, { "no-debug", LOGGING, o->no_debug },
		{ "yes", YES, o->yes },
	};
	bool any = false;
	size_t i;

	for (i = 0; i < sizeof given / sizeof given[0]; i++) {
		any |= given[i].given;
		if (given[i].given && !(sub->options & given[i].option)) {
			cli_usage(cli, "--%s is not for %s", given[i].name, sub->name);
			return false;
		}
	}
	if (argc > 1 && !sub->operand)
		cli_usage(cli, "%s takes no operand, such as '%s'", sub->name, argv[1]);
	else if (argc != 2 && sub->operand)
		cli_usage(cli, "%s wants %s", sub->name, sub->operand);
	else if (sub->changes && !any)
		cli_usage(cli, "%s wants to know what to change: --url, --event, --description, --activate, --deactivate, --log-level,"
		          " --debug or --no-debug", sub->name);
	else
		return webhooks_check_options(cli, o);
	return false;
}

static int run_subcommand(const struct cli *cli, const struct subcommand *sub, const struct webhooks_options *o,
                          const char *operand)
{
	struct conf *conf = cli_load_conf(cli);
	struct store *store = conf ? cli_open_store(cli, conf) : NULL;
	int result = store ? sub->run(cli, conf, store, o, operand) : CLI_FAILED;

	store_close(store);
	conf_unref(conf);
	return result;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct webhooks_options o = { 0 };
	struct cli_option options[12 + WEBHOOKS_EVENTS_MAX] = {
		{ "url", &o.url, NULL }, { "description", &o.description, NULL }, { "secret", &o.secret, NULL },
		{ "overlap", &o.overlap, NULL }, { "events", &o.events, NULL }, { "inactive", NULL, &o.inactive },
		{ "activate", NULL, &o.activate }, { "deactivate", NULL, &o.deactivate }, { "yes", NULL, &o.yes },
		{ "log-level", &o.log_level, NULL }, { "debug", NULL, &o.debug }, { "no-debug", NULL, &o.no_debug },
	};
	const struct subcommand *sub;
	size_t i;

	for (i = 0; i < WEBHOOKS_EVENTS_MAX; i++)
		options[12 + i] = (struct cli_option){ "event", &o.event[i], NULL };
	argc = cli_parse(cli, options, sizeof options / sizeof options[0], argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	sub = find_subcommand(cli, argc > 0 ? argv[0] : "list");
	if (!sub || !check_usage(cli, sub, &o, argc, argv))
		return CLI_USAGE;
	return run_subcommand(cli, sub, &o, argc > 1 ? argv[1] : NULL);
}

const struct cli_command cli_webhooks = {
	.name = "webhooks",
	.summary = "the URLs that events are delivered to: list, create, show, update, delete",
	.help =
		"Usage: ntrvsta webhooks [list]\n"
		"       ntrvsta webhooks create URL [--event E]... [--description D] [--secret S] [--inactive]\n"
		"                                   [--log-level L] [--debug]\n"
		"       ntrvsta webhooks show ID\n"
		"       ntrvsta webhooks update ID [--url URL] [--event E]... [--description D] [--activate|--deactivate]\n"
		"                                  [--log-level L] [--debug|--no-debug]\n"
		"       ntrvsta webhooks delete ID [--yes]\n"
		"       ntrvsta webhooks rotate-secret ID [--secret S] [--overlap DURATION]\n"
		"\n"
		"A webhook is a URL that each event is posted to, signed: a target beside your handlers, with the same\n"
		"queue, retries, logs and statistics. Its id (wh_...) stands wherever a handler's name can.\n"
		"\n"
		"  list           all of them; WAITING is what is not delivered yet, RATE the success of the last 24 hours\n"
		"  create URL     register it. Prints its id and its secret; the secret is never shown again\n"
		"  show ID        all about one, with its last attempts, but for its secrets\n"
		"  update ID      change what the options say; the rest stays. Activating brings what waits on its way\n"
		"  delete ID      what waits for it is canceled, its secret is lost; what it did stays in the logs. Asks\n"
		"                 first where it runs on a terminal\n"
		"  rotate-secret  a new secret; for a while the old one signs as well, so that no call is refused\n"
		"\n"
		"  --event E, --events E,F  which events it gets, such as session.completed; '*' for all, as without\n"
		"                           any\n"
		"  --description D          a note for people\n"
		"  --secret S               the secret, instead of a new random one; - reads it from standard input,\n"
		"                           where other users of this machine do not see it\n"
		"  --inactive               it gets nothing before it is activated\n"
		"  --activate, --deactivate what waits for one that is not active is held, new events do not go there\n"
		"  --log-level L            detailed: request and answer of each attempt are kept, with their headers, and\n"
		"                           shown by 'ntrvsta events show'; normal: only how failures were answered\n"
		"  --debug, --no-debug      the same as a switch of its own: one of the two is enough\n"
		"  --overlap DURATION       how long the old secrets still sign (24h); 0 ends them at once\n"
		"  --yes                    do not ask\n"
		"\n"
		"URLs begin with https:// and lead to public addresses, unless [webhooks] allow_http or allow_private in\n"
		"the configuration say otherwise.\n"
		"\n"
		"Examples:\n"
		"  ntrvsta webhooks create https://example.com/hooks --event session.completed --event result.completed\n"
		"  ntrvsta webhooks rotate-secret wh_01kb2x3y4z5a6b7c8d9e0f1g2h --overlap 2h\n"
		"  ntrvsta webhooks list --json | jq -r '.data[] | select(.active | not) | .url'\n",
	.run = run,
};
