/* ntrvsta: the command line tool. The table of its commands, and what all of them share. */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/cli/cli.h"

static const struct cli_command *const commands[] = {
	&cli_init, &cli_check, &cli_serve, &cli_dispatch,
	&cli_send, &cli_sign, &cli_verify, &cli_secret,
	&cli_webhooks, &cli_test, &cli_connectivity, &cli_keys,
	&cli_templates, &cli_invite,
	&cli_events, &cli_logs, &cli_stats, &cli_failed,
	&cli_retry, &cli_recover, &cli_cancel, &cli_prune,
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
	size_t i;

	fputs("Usage: ntrvsta COMMAND [--config FILE] [--json] [...]\n\n"
	      "Receives the webhooks of the NTRVSTA interview platform, runs your scripts for them and posts them to\n"
	      "your URLs: this is the tool to set it up, to try it and to see what came of each event.\n\n"
	      "Commands:\n", out);
	for (i = 0; i < NCOMMANDS; i++)
		fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nOptions of all commands:\n"
	      "  --config FILE  the configuration; else $NTRVSTA_CONF, else ~/.config/ntrvsta/ntrvsta.conf,\n"
	      "                 else " NTRVSTA_SYSCONFDIR "/ntrvsta/ntrvsta.conf\n"
	      "  --json         print one JSON document\n"
	      "  --help         what a command does, with its options and examples\n"
	      "  --version      the version of this program (without a command)\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage. Begin with 'ntrvsta init DIR'.\n", out);
}

static const struct cli_command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int unknown_command(const struct cli *cli, const char *name)
{
	struct cli_near near = { .word = name };
	size_t i;

	for (i = 0; i < NCOMMANDS; i++)
		cli_near_try(&near, commands[i]->name);
	if (near.best)
		return cli_usage(cli, "unknown command '%s'; did you mean '%s'?", name, near.best);
	return cli_usage(cli, "unknown command '%s'", name);
}

/* The options that every command knows, taken out of ARGV. Their number of words, 0 where
 * ARGV[0] is none of them, -1 where its value is missing. */
static int take_global(struct cli *cli, int argc, char **argv, bool *help)
{
	static const char config[] = "--config";

	if (strcmp(argv[0], "--json") == 0) {
		cli->json = true;
		return 1;
	}
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		*help = true;
		return 1;
	}
	if (strncmp(argv[0], config, strlen(config)) == 0 && argv[0][strlen(config)] == '=') {
		cli->config_file = argv[0] + strlen(config) + 1;
		return 1;
	}
	if (strcmp(argv[0], config) != 0)
		return 0;
	if (argc < 2)
		return -1;
	cli->config_file = argv[1];
	return 2;
}

/* Leave in ARGV what is no global option. Its number of words, or -1. */
static int take_globals(struct cli *cli, int argc, char **argv, bool *help)
{
	int i = 0, rest = 0, words;

	while (i < argc && strcmp(argv[i], "--") != 0) {
		words = take_global(cli, argc - i, argv + i, help);
		if (words < 0)
			return -1;
		if (words == 0)
			argv[rest++] = argv[i++];
		i += words;
	}
	while (i < argc)
		argv[rest++] = argv[i++];
	return rest;
}

static int show_help(const struct cli *cli, const char *name)
{
	const struct cli_command *command;

	if (!name) {
		print_help(stdout);
		return CLI_OK;
	}
	command = find_command(name);
	if (!command)
		return unknown_command(cli, name);
	fputs(command->help, stdout);
	return CLI_OK;
}

static int run(int argc, char **argv)
{
	struct cli cli = { 0 };
	const struct cli_command *command;
	bool help = false;

	argc = take_globals(&cli, argc, argv, &help);
	if (argc < 0)
		return cli_usage(&cli, "--config wants a value");
	if (argc > 0 && strcmp(argv[0], "help") == 0)
		return show_help(&cli, argc > 1 ? argv[1] : NULL);
	if (help)
		return show_help(&cli, argc > 0 ? argv[0] : NULL);
	if (argc > 0 && strcmp(argv[0], "--version") == 0) {
		puts("ntrvsta " PACKAGE_VERSION);
		return CLI_OK;
	}
	if (argc == 0) {
		print_help(stderr);
		return CLI_USAGE;
	}
	if (argv[0][0] == '-')
		return cli_usage(&cli, "unknown option %s", argv[0]);
	command = find_command(argv[0]);
	if (!command)
		return unknown_command(&cli, argv[0]);
	cli.command = command->name;
	return command->run(&cli, argc - 1, argv + 1);
}

/* What was printed may not have arrived. A reader that left, as `head` does, is no news. */
static int finish_output(int status)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (errno != EPIPE && (poll(&out, 1, 0) < 1 || !(out.revents & POLLERR)))
		fprintf(stderr, "ntrvsta: can't write the output: %s\n", strerror(errno ? errno : EIO));
	return status == CLI_OK ? CLI_FAILED : status;
}

int main(int argc, char **argv)
{
	fdio_open_std();
	signal(SIGPIPE, SIG_IGN);
	log_open("ntrvsta", LOG_LEVEL_WARN, "stderr");
	setlocale(LC_CTYPE, "C.UTF-8"); /* widths of what is printed; the rest of the locale stays "C" */
	return finish_output(run(argc - 1, argv + 1));
}
