/* ntrvsta init: a folder with all that is needed to receive the first event. */
#include "lib/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/cli/mounts.h"
#include "lib/cli/output.h"

static const char example[] =
	"#!/bin/sh\n"
	"# Runs for every event, since it stands below handlers/all; a file below handlers/session.completed\n"
	"# would run for that event only. The event's JSON is on standard input. Exit 0 means done, 100 that\n"
	"# trying again is no use, all else that it is tried again later. What it prints is kept:\n"
	"# see 'ntrvsta logs'. All that a handler can rely on: man ntrvsta-handlers\n"
	"set -eu\n"
	"\n"
	"bytes=$(wc -c)\n"
	"echo \"$NTRVSTA_EVENT of $NTRVSTA_TIMESTAMP: $((bytes)) bytes from $NTRVSTA_SOURCE\"\n";

struct init {
	const struct cli *cli;
	char *dir; /* absolute */
	struct json_object *created, *kept; /* paths */
};

static void note(struct init *in, const char *path, bool created)
{
	json_object_array_add(created ? in->created : in->kept, cli_json_string(path));
}

/* Make PATH and the folders above it, where they are missing. -1 with errno. */
static int make_dirs(const char *path)
{
	char *parent;
	int result;

	if (mkdir(path, 0777) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -1;
	parent = fdio_dirname(path);
	result = make_dirs(parent);
	free(parent);
	if (result == 0 && mkdir(path, 0777) && errno != EEXIST)
		result = -1;
	return result;
}

static int make_dir(struct init *in, const char *name, mode_t mode)
{
	char *path = fdio_resolve(in->dir, name);
	struct stat st;
	int result = 0;

	if (mkdir(path, mode) == 0)
		note(in, path, true);
	else if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		note(in, path, false);
	else
		result = cli_fail(in->cli, "%s: can't be made: %s", path, strerror(errno));
	free(path);
	return result;
}

static int make_file(struct init *in, const char *name, mode_t mode, const char *text)
{
	char *path = fdio_resolve(in->dir, name);
	int result = 0;

	if (fdio_create_file(path, mode, text, strlen(text)) == 0)
		note(in, path, true);
	else if (errno == EEXIST)
		note(in, path, false);
	else
		result = cli_fail(in->cli, "%s: can't be written: %s", path, strerror(errno));
	free(path);
	return result;
}

static int make_secret(struct init *in)
{
	char secret[CLI_SECRET_SIZE], line[CLI_SECRET_SIZE + 1];
	int result;

	cli_make_secret(secret);
	snprintf(line, sizeof line, "%s\n", secret);
	result = make_file(in, "secret", 0600, line);
	explicit_bzero(secret, sizeof secret);
	explicit_bzero(line, sizeof line);
	return result;
}

/* In a folder of handlers that somebody has filled, the example would be an uninvited guest. */
static int make_handlers(struct init *in)
{
	char *path = fdio_resolve(in->dir, "handlers");
	bool filled = access(path, F_OK) == 0;
	int result = make_dir(in, "handlers", 0755);

	free(path);
	if (result || filled)
		return result;
	return make_dir(in, "handlers/all", 0755) || make_file(in, "handlers/all/10-log", 0755, example);
}

static int make_all(struct init *in)
{
	struct buf sample = BUF_INIT;
	int result;

	conf_write_sample(&sample);
	result = make_dir(in, "state", 0700) || make_secret(in) || make_handlers(in) ||
	         make_file(in, "ntrvsta.conf", 0644, sample.data);
	buf_free(&sample);
	return result;
}

/* --- what to do next ------------------------------------------------------------------------ */

static void print_paths(const char *verb, struct json_object *paths)
{
	const char *path;
	size_t i;

	for (i = 0; i < json_object_array_length(paths); i++) {
		path = json_object_get_string(json_object_array_get_idx(paths, i));
		cli_print_text(verb, path, strlen(path));
	}
}

static void print_next(const struct mount_paths *paths, const char *dir)
{
	struct buf config = BUF_INIT, own = BUF_INIT;

	cli_add_quoted(&config, paths->config);
	cli_add_quoted(&own, dir);
	printf("\nTo try it on this machine:\n"
	       "  export NTRVSTA_CONF=%s\n"
	       "  ntrvsta serve                     (here)\n"
	       "  ntrvsta send session.completed    (in another terminal, after the same export)\n"
	       "  ntrvsta logs\n", config.data);
	printf("\nThe secret and the platform's setting must be the same: copy the line of %s/secret\n"
	       "there, or put the platform's in its place.\n", own.data);
	printf("\nntrvsta-fcgi runs as the web server's user (www-data on Debian; you, on shared hosting), and so\n"
	       "do the handlers. That user must own the state, and may read the secret:\n"
	       "  chown -R www-data: %s/state %s/secret\n"
	       "  sudo -u www-data ntrvsta check --config %s\n", own.data, own.data, config.data);
	if (geteuid() == 0)
		printf("\nWhat you start yourself, as root, runs no handler unless [handlers] names a user for them.\n");
	buf_free(&config);
	buf_free(&own);
}

static void print_mounts(const struct mount_paths *paths)
{
	struct buf text = BUF_INIT;
	size_t i;

	printf("\nTo mount it, one of these; events then go to https://YOUR-HOST/webhooks/ntrvsta\n");
	for (i = 0; i < nmounts; i++) {
		buf_reset(&text);
		mounts[i].write(&text, paths);
		printf("\n--- %s: into %s\n\n", mounts[i].server, mounts[i].where);
		fputs(text.data, stdout);
	}
	buf_free(&text);
}

static struct json_object *json_mounts(const struct mount_paths *paths)
{
	struct json_object *o = json_object_new_object();
	struct buf text = BUF_INIT;
	size_t i;

	for (i = 0; i < nmounts; i++) {
		buf_reset(&text);
		mounts[i].write(&text, paths);
		json_object_object_add(o, mounts[i].server, cli_json_text(text.data, text.len));
	}
	buf_free(&text);
	return o;
}

static void report(struct init *in, const struct mount_paths *paths)
{
	struct json_object *doc;

	if (!in->cli->json) {
		print_paths("created ", in->created);
		print_paths("kept    ", in->kept);
		print_next(paths, in->dir);
		print_mounts(paths);
		return;
	}
	doc = json_object_new_object();
	json_object_object_add(doc, "directory", cli_json_string(in->dir));
	json_object_object_add(doc, "config", cli_json_string(paths->config));
	json_object_object_add(doc, "created", json_object_get(in->created));
	json_object_object_add(doc, "kept", json_object_get(in->kept));
	json_object_object_add(doc, "mounts", json_mounts(paths));
	cli_print_json(doc);
}

/* Report with the real paths in it. Without ntrvsta-fcgi, with the path where it belongs. */
static void finish(struct init *in)
{
	char *program = fdio_find_program("ntrvsta-fcgi");
	char *config = fdio_resolve(in->dir, "ntrvsta.conf");
	char *state = fdio_resolve(in->dir, "state");
	struct mount_paths paths = { program ? program : NTRVSTA_SBINDIR "/ntrvsta-fcgi", config, state };

	if (!program)
		cli_note(in->cli, "ntrvsta-fcgi is neither beside this program nor in " NTRVSTA_SBINDIR
		         ": the mounts below won't work until it is");
	report(in, &paths);
	free(program);
	free(config);
	free(state);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct init in = { .cli = cli };
	int result = CLI_FAILED;

	argc = cli_parse(cli, NULL, 0, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1 || argv[0][0] == '\0')
		return cli_usage(cli, "wants one directory");
	if (cli->config_file)
		return cli_usage(cli, "--config does not go with init: the configuration will be DIR/ntrvsta.conf");
	if (strpbrk(argv[0], "\n\r"))
		return cli_usage(cli, "a path with a line break can't stand in a web server's configuration");
	if (make_dirs(argv[0]))
		return cli_fail(cli, "%s: can't be made: %s", argv[0], strerror(errno));
	in.dir = realpath(argv[0], NULL);
	if (!in.dir)
		return cli_fail(cli, "%s: %s", argv[0], strerror(errno));
	in.created = json_object_new_array();
	in.kept = json_object_new_array();
	if (make_all(&in) == 0) {
		finish(&in);
		result = CLI_OK;
	}
	json_object_put(in.created);
	json_object_put(in.kept);
	free(in.dir);
	return result;
}

const struct cli_command cli_init = {
	.name = "init",
	.summary = "make a folder with configuration, secret, state and a first handler",
	.help =
		"Usage: ntrvsta init DIR\n"
		"\n"
		"Makes what is missing of\n"
		"  DIR/ntrvsta.conf          the configuration, with all settings and their defaults\n"
		"  DIR/secret                a new signing secret, readable by its owner only\n"
		"  DIR/state/                where events are kept, open to its owner only\n"
		"  DIR/handlers/all/10-log   a handler that works, to begin with\n"
		"and prints how lighttpd, Apache and nginx mount ntrvsta-fcgi with it. A file that exists is never\n"
		"touched, so it can be run again.\n"
		"\n"
		"Examples:\n"
		"  ntrvsta init ~/ntrvsta\n"
		"  ntrvsta init --json /etc/ntrvsta | jq -r .mounts.nginx\n",
	.run = run,
};
