/* ntrvsta invite: a candidate to an interview. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/invite.h"
#include "lib/base/clock.h"
#include "lib/cli/output.h"

static void say_invited(const struct cli *cli, const struct store_template *t, const struct store_invitation *i,
                        const char *base_url, bool reused)
{
	char time[CLI_TIME_SIZE], *url;
	struct buf text = BUF_INIT;
	struct json_object *doc;

	if (cli->json) {
		doc = invite_show(i, base_url);
		json_object_object_add(doc, "org", cli_json_string(i->org));
		json_object_object_add(doc, "reused", json_object_new_boolean(reused));
		cli_print_json(doc);
		return;
	}
	url = invite_url(i, base_url);
	buf_addf(&text, "%s %s: %s, until %s (%s)\n\n  %s", i->email, reused ? "was invited before" : "is invited", t->title,
	         cli_format_time(i->expires_ms, time), i->id, url);
	cli_print_text("", text.data, text.len);
	buf_free(&text);
	free(url);
}

static int invite(const struct cli *cli, const struct conf *conf, struct store *store, const struct store_template *t,
                  const struct input_candidate *whom)
{
	struct store_invitation i;
	bool reused;
	int result = CLI_OK;

	if (invite_candidate(store, t, whom, conf->invite_base_url, clock_wall_ms(), &i, &reused) == STORE_OK)
		say_invited(cli, t, &i, conf->invite_base_url, reused);
	else
		result = cli_fail(cli, "%s", store_error(store));
	store_invitation_free(&i);
	if (result == CLI_OK && !reused)
		cli_wake_dispatcher(cli, conf);
	return result;
}

static int find_and_invite(const struct cli *cli, const struct conf *conf, struct store *store, const char *id,
                           const struct input_candidate *whom)
{
	struct store_template t;
	enum store_status status = store_get_template(store, NULL, id, &t);
	int result;

	if (status == STORE_NOT_FOUND)
		result = cli_fail(cli, "no template %s: see 'ntrvsta templates list'", id);
	else if (status != STORE_OK)
		result = cli_fail(cli, "%s", store_error(store));
	else if (!*conf->invite_base_url)
		result = cli_fail(cli, "%s: %s", conf->path, INVITE_NO_PAGE);
	else
		result = invite(cli, conf, store, &t, whom);
	store_template_free(&t);
	return result;
}

static bool check_usage(const struct cli *cli, int argc, char **argv, const char *template_id,
                        const struct input_candidate *whom)
{
	if (argc > 0)
		cli_usage(cli, "takes no operand, such as '%s'", argv[0]);
	else if (!template_id || !whom->email)
		cli_usage(cli, "wants --template and --email");
	else if (!fields_email_valid(whom->email))
		cli_usage(cli, "--email wants an address such as name@example.com, not '%s'", whom->email);
	else
		return cli_check_line(cli, "name", whom->name, 0, INVITE_NAME_MAX) &&
		       cli_check_line(cli, "first-name", whom->first_name, 0, INVITE_NAME_MAX) &&
		       cli_check_line(cli, "last-name", whom->last_name, 0, INVITE_NAME_MAX) &&
		       cli_check_line(cli, "external-id", whom->external_id, 1, INVITE_EXTERNAL_ID_MAX);
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *template_id = NULL;
	struct input_candidate whom = { 0 };
	const struct cli_option options[] = {
		{ "template", &template_id, NULL }, { "email", &whom.email, NULL }, { "name", &whom.name, NULL },
		{ "first-name", &whom.first_name, NULL }, { "last-name", &whom.last_name, NULL },
		{ "external-id", &whom.external_id, NULL },
	};
	struct conf *conf;
	struct store *store;
	int result = CLI_FAILED;

	argc = cli_parse(cli, options, sizeof options / sizeof options[0], argc, argv);
	if (argc < 0 || !check_usage(cli, argc, argv, template_id, &whom))
		return CLI_USAGE;
	conf = cli_load_conf(cli);
	store = conf ? cli_open_store(cli, conf) : NULL;
	if (store)
		result = find_and_invite(cli, conf, store, template_id, &whom);
	store_close(store);
	conf_unref(conf);
	return result;
}

const struct cli_command cli_invite = {
	.name = "invite",
	.summary = "invite a candidate to an interview",
	.help =
		"Usage: ntrvsta invite --template T --email E [--first-name F] [--last-name L] [--name N]\n"
		"                      [--external-id X]\n"
		"\n"
		"Makes an invitation and prints its link, which begins with [invitations] base_url of the configuration\n"
		"and ends in a token that nobody can guess. The event candidate.invited goes to the handlers, and to the\n"
		"webhooks of the template's organisation: they mail the link, or tell others of it.\n"
		"\n"
		"Whoever was invited with this template before keeps that invitation, as it was, until it expires: its\n"
		"link is printed again, and no event is published.\n"
		"\n"
		"  --template T                    the id of a template (tpl_...), see 'ntrvsta templates'\n"
		"  --email E                       the address; upper and lower case are the same\n"
		"  --first-name F, --last-name L   the name, by its parts\n"
		"  --name N                        the whole name, where it is not these two\n"
		"  --external-id X                 what your own system calls the candidate\n"
		"\n"
		"Examples:\n"
		"  ntrvsta invite --template tpl_01kb2x3y4z5a6b7c8d9e0f1g2h --email mira@example.org --name 'Mira Lindqvist'\n"
		"  ntrvsta invite --template tpl_01kb2x3y4z5a6b7c8d9e0f1g2h --email mira@example.org --json | jq -r .inviteUrl\n",
	.run = run,
};
