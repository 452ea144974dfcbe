/* ntrvsta templates: what candidates are invited with. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/auth.h"
#include "lib/api/invite.h"
#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/store/webhooks.h"

struct options { /* NULL: not given */
	const char *title, *description, *posting_id, *expires, *org;
};

/* As the API shows it, with what only the tool sees. */
static struct json_object *show(const struct store_template *t)
{
	struct json_object *doc = invite_show_template(t);

	json_object_object_add(doc, "org", cli_json_string(t->org));
	return doc;
}

/* --- create -------------------------------------------------------------------------------- */

static void say_created(const struct cli *cli, const struct store_template *t, bool reused)
{
	struct buf line = BUF_INIT;
	struct json_object *doc;

	if (cli->json) {
		doc = show(t);
		json_object_object_add(doc, "reused", json_object_new_boolean(reused));
		cli_print_json(doc);
		return;
	}
	buf_addf(&line, "%s is %s of organisation %s: %s, whose invitations hold %lld day%s.", t->id,
	         reused ? "there already, a template" : "the new template", t->org, t->title, (long long)t->expires_days,
	         t->expires_days == 1 ? "" : "s");
	cli_print_text("", line.data, line.len);
	buf_free(&line);
}

static int create(const struct cli *cli, struct store *store, const struct options *o, int64_t days)
{
	struct buf description = BUF_INIT;
	struct store_template t = {
		.org = xstrdup(o->org ? o->org : STORE_DEFAULT_ORG),
		.title = xstrdup(o->title),
		.posting_id = xstrdup(o->posting_id ? o->posting_id : ""),
		.expires_days = days,
	};
	int result = CLI_OK;
	bool reused;

	/* Kept as valid UTF-8: it goes into JSON. */
	buf_add_utf8(&description, o->description ? o->description : "", o->description ? strlen(o->description) : 0);
	t.description = buf_detach(&description);
	if (store_put_template(store, &t, clock_wall_ms(), &reused) == STORE_OK)
		say_created(cli, &t, reused);
	else
		result = cli_fail(cli, "%s", store_error(store));
	store_template_free(&t);
	return result;
}

/* --- list ---------------------------------------------------------------------------------- */

struct listing {
	struct json_object *rows;
	struct cli_table *table;
};

static int add_template(void *ctx, const struct store_template *t)
{
	struct listing *l = ctx;
	char text[CLI_TIME_SIZE];

	json_object_array_add(l->rows, show(t));
	cli_table_cell(l->table, t->id);
	cli_table_cell(l->table, t->org);
	cli_table_cell(l->table, t->title);
	cli_table_cell(l->table, *t->posting_id ? t->posting_id : "-");
	snprintf(text, sizeof text, "%lldd", (long long)t->expires_days);
	cli_table_cell(l->table, text);
	cli_table_cell(l->table, cli_format_time(t->created_ms, text));
	return 0;
}

static int list(const struct cli *cli, struct store *store, const char *org)
{
	static const char *const headings[] = { "ID", "ORGANISATION", "TITLE", "POSTING", "HOLDS", "CREATED" };
	struct listing l = { json_object_new_array(), cli_table_new(headings, sizeof headings / sizeof headings[0]) };
	enum store_status status = store_list_templates(store, org, NULL, add_template, &l);

	if (status == STORE_OK && cli->json)
		cli_print_json(cli_json_list(json_object_get(l.rows), false));
	else if (status == STORE_OK)
		cli_table_print(l.table, "No template. 'ntrvsta templates create --title T' makes one.");
	if (status != STORE_OK || cli->json)
		cli_table_free(l.table);
	json_object_put(l.rows);
	return status == STORE_OK ? CLI_OK : cli_fail(cli, "%s", store_error(store));
}

/* --- the command --------------------------------------------------------------------------- */

static bool parse_days(const struct cli *cli, const char *text, int64_t *days)
{
	int64_t ms;

	if (!text)
		return true;
	if (units_parse_duration(text, &ms) == 0 && ms % DAY_MS == 0 && ms >= DAY_MS && ms <= INVITE_DAYS_MAX * DAY_MS) {
		*days = ms / DAY_MS;
		return true;
	}
	cli_usage(cli, "--expires wants whole days, from 1d to %dd, not '%s'", INVITE_DAYS_MAX, text);
	return false;
}

/* Do the words of the command line make sense? Else says so: wrong usage. */
static bool check_usage(const struct cli *cli, bool creates, int argc, char **argv, const struct options *o)
{
	if (argc > 1 || (argc == 1 && !creates && strcmp(argv[0], "list") != 0))
		cli_usage(cli, "wants 'list' or 'create'");
	else if (!creates && (o->title || o->description || o->posting_id || o->expires))
		cli_usage(cli, "of the options, only --org is for list");
	else if (creates && !o->title)
		cli_usage(cli, "create wants --title");
	else if (o->org && !auth_org_valid(o->org))
		cli_usage(cli, "--org wants 1 to %d of A-Z a-z 0-9 . _ -", AUTH_ORG_MAX);
	else if (o->description && strlen(o->description) > INVITE_DESCRIPTION_MAX)
		cli_usage(cli, "--description wants %d bytes at most", INVITE_DESCRIPTION_MAX);
	else
		return cli_check_line(cli, "title", o->title, 1, INVITE_TITLE_MAX) &&
		       cli_check_line(cli, "external-posting-id", o->posting_id, 1, INVITE_EXTERNAL_ID_MAX);
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o = { 0 };
	const struct cli_option options[] = {
		{ "title", &o.title, NULL }, { "description", &o.description, NULL }, { "external-posting-id", &o.posting_id, NULL },
		{ "expires", &o.expires, NULL }, { "org", &o.org, NULL },
	};
	int64_t days = INVITE_DAYS;
	struct conf *conf;
	struct store *store;
	bool creates;
	int result = CLI_FAILED;

	argc = cli_parse(cli, options, sizeof options / sizeof options[0], argc, argv);
	creates = argc > 0 && strcmp(argv[0], "create") == 0;
	if (argc < 0 || !check_usage(cli, creates, argc, argv, &o) || !parse_days(cli, o.expires, &days))
		return CLI_USAGE;
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store)
		result = creates ? create(cli, store, &o, days) : list(cli, store, o.org);
	store_close(store);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_templates = {
	.name = "templates",
	.summary = "what candidates are invited with: list, create",
	.help =
		"Usage: ntrvsta templates [list] [--org ORGANISATION]\n"
		"       ntrvsta templates create --title T [--description D] [--external-posting-id P]\n"
		"                                [--expires DURATION] [--org ORGANISATION]\n"
		"\n"
		"A template stands for an interview that candidates are invited to, see 'ntrvsta invite --help'.\n"
		"\n"
		"  list    those of all organisations, or of one; the newest first\n"
		"  create  make one and print its id. Where the organisation has one with this posting already, it is\n"
		"          that one, as it was\n"
		"\n"
		"  --title T                what the interview is called\n"
		"  --description D          a note for people\n"
		"  --external-posting-id P  what your own system calls the posting\n"
		"  --expires DURATION       how long an invitation holds: whole days, 30d unless said, 365d at most\n"
		"  --org ORGANISATION       whose it is: 'default' unless said\n"
		"\n"
		"Examples:\n"
		"  ntrvsta templates create --title 'Database Engineer' --external-posting-id job-4711 --expires 14d\n"
		"  ntrvsta templates list --json | jq -r '.data[].id'\n",
	.run = run,
};
