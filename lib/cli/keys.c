/* ntrvsta keys: who may use the management API. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "lib/api/auth.h"
#include "lib/base/clock.h"
#include "lib/cli/output.h"

/* --- create -------------------------------------------------------------------------------- */

static void say_created(const struct cli *cli, const struct conf *conf, const struct store_key *key, const char *text)
{
	struct json_object *doc;

	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "key", json_object_new_string(text));
		json_object_object_add(doc, "prefix", json_object_new_string(key->prefix));
		json_object_object_add(doc, "org", json_object_new_string(key->org));
		json_object_object_add(doc, "scope", json_object_new_string(key->scope));
		json_object_object_add(doc, "created_at", cli_json_time(key->created_ms));
		cli_print_json(doc);
		return;
	}
	printf("The new key of organisation %s, scope %s:\n\n  %s\n\n"
	       "It is shown this once: the store keeps only a hash of it. Send it as X-Ntrvsta-Api-Key.\n",
	       key->org, key->scope, text);
	if (!conf->web_api)
		printf("The API is switched off at present: [web] api = on switches it on.\n");
}

static int create(const struct cli *cli, const struct conf *conf, struct store *store, const char *org, const char *scope)
{
	struct store_key key = { .org = org, .scope = scope, .created_ms = clock_wall_ms() };
	char text[AUTH_KEY_SIZE];
	enum store_status status;
	int result = CLI_OK;

	do {
		auth_make_key(text);
		auth_key_prefix(text, key.prefix);
		bytes_sha256(text, strlen(text), key.hash);
		status = store_put_key(store, &key);
	} while (status == STORE_NOT_FOUND); /* another one has this prefix */
	if (status == STORE_OK)
		say_created(cli, conf, &key, text);
	else
		result = cli_fail(cli, "%s", store_error(store));
	explicit_bzero(text, sizeof text);
	return result;
}

/* --- list ---------------------------------------------------------------------------------- */

struct listing {
	struct json_object *rows;
	struct cli_table *table;
};

static int add_key(void *ctx, const struct store_key *key)
{
	struct listing *l = ctx;
	struct json_object *o = json_object_new_object();
	char time[CLI_TIME_SIZE];

	json_object_object_add(o, "prefix", cli_json_string(key->prefix));
	json_object_object_add(o, "org", cli_json_string(key->org));
	json_object_object_add(o, "scope", cli_json_string(key->scope));
	json_object_object_add(o, "created_at", cli_json_time(key->created_ms));
	json_object_object_add(o, "revoked_at", cli_json_time(key->revoked_ms));
	json_object_array_add(l->rows, o);
	cli_table_cell(l->table, key->prefix);
	cli_table_cell(l->table, key->org);
	cli_table_cell(l->table, key->scope);
	cli_table_cell(l->table, cli_format_time(key->created_ms, time));
	cli_table_cell(l->table, cli_format_time(key->revoked_ms, time));
	return 0;
}

static int list(const struct cli *cli, struct store *store)
{
	static const char *const headings[] = { "PREFIX", "ORGANISATION", "SCOPE", "CREATED", "REVOKED" };
	struct listing l = { json_object_new_array(), cli_table_new(headings, 5) };
	enum store_status status = store_list_keys(store, NULL, add_key, &l);

	if (status == STORE_OK && cli->json)
		cli_print_json(cli_json_list(json_object_get(l.rows), false));
	else if (status == STORE_OK)
		cli_table_print(l.table, "No keys: 'ntrvsta keys create --org O --scope S' makes one.");
	if (status != STORE_OK || cli->json)
		cli_table_free(l.table);
	json_object_put(l.rows);
	return status == STORE_OK ? CLI_OK : cli_fail(cli, "%s", store_error(store));
}

/* --- revoke -------------------------------------------------------------------------------- */

static int revoke(const struct cli *cli, struct store *store, const char *prefix)
{
	enum store_status status = store_revoke_key(store, prefix, clock_wall_ms());
	struct json_object *doc;

	if (status == STORE_NOT_FOUND)
		return cli_fail(cli, "no key %s that counts: see 'ntrvsta keys list'", prefix);
	if (status != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	if (cli->json) {
		doc = json_object_new_object();
		json_object_object_add(doc, "revoked", json_object_new_string(prefix));
		cli_print_json(doc);
	} else {
		printf("The key %s counts no more.\n", prefix);
	}
	return CLI_OK;
}

/* --- the command ---------------------------------------------------------------------------- */

enum action { CREATE, LIST, REVOKE, NONE };

static enum action find_action(int argc, char **argv)
{
	static const struct {
		const char *name;
		int words;
	} actions[] = { [CREATE] = { "create", 1 }, [LIST] = { "list", 1 }, [REVOKE] = { "revoke", 2 } };
	int i;

	for (i = 0; argc > 0 && i < NONE; i++)
		if (strcmp(argv[0], actions[i].name) == 0 && argc == actions[i].words)
			return (enum action)i;
	return NONE;
}

/* What is wrong with the words of the command line; NULL where nothing is. */
static const char *check_usage(enum action action, char **argv, const char *org, const char *scope)
{
	enum auth_scope parsed;

	if (action == NONE)
		return "wants 'create', 'list' or 'revoke PREFIX'";
	if (action != CREATE && (org || scope))
		return "--org and --scope belong to 'create'";
	if (action == REVOKE && !auth_prefix_valid(argv[1]))
		return "wants the prefix of a key, 'ntr_' and 8 characters: see 'ntrvsta keys list'";
	if (action == CREATE && (!org || !scope))
		return "create wants --org and --scope";
	if (action == CREATE && !auth_org_valid(org))
		return "--org wants 1 to 64 of A-Z a-z 0-9 . _ -";
	if (action == CREATE && auth_scope_parse(scope, &parsed))
		return "--scope wants read, write or admin";
	return NULL;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *org = NULL, *scope = NULL, *wrong;
	const struct cli_option options[] = { { "org", &org, NULL }, { "scope", &scope, NULL } };
	enum action action;
	struct conf *conf;
	struct store *store = NULL;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	action = find_action(argc, argv);
	wrong = check_usage(action, argv, org, scope);
	if (wrong)
		return cli_usage(cli, "%s", wrong);
	conf = cli_load_conf(cli);
	if (conf)
		store = cli_open_store(cli, conf);
	if (store && action == CREATE)
		status = create(cli, conf, store, org, scope);
	else if (store)
		status = action == LIST ? list(cli, store) : revoke(cli, store, argv[1]);
	store_close(store);
	conf_unref(conf);
	return status;
}

const struct cli_command cli_keys = {
	.name = "keys",
	.summary = "make, list and revoke keys of the management API",
	.help =
		"Usage: ntrvsta keys create --org ORGANISATION --scope SCOPE\n"
		"       ntrvsta keys list\n"
		"       ntrvsta keys revoke PREFIX\n"
		"\n"
		"  create  make a key and print it, this once: the store has only a hash of it\n"
		"  list    which keys there are, by their public prefix; never the keys\n"
		"  revoke  a key counts no more, from the next request on\n"
		"\n"
		"  --org ORGANISATION  whose webhooks the key is for: a label such as acme. Organisations do\n"
		"                      not see each other's webhooks\n"
		"  --scope SCOPE       read, write (also changes) or admin\n"
		"\n"
		"Examples:\n"
		"  ntrvsta keys create --org default --scope write\n"
		"  ntrvsta keys revoke ntr_4h7k2m9p\n",
	.run = run,
};
