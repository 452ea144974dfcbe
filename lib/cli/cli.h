/* The command line tool: what all commands share. One file a command, one row in ntrvsta.c. */
#ifndef NTRVSTA_CLI_CLI_H
#define NTRVSTA_CLI_CLI_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/conf/conf.h"
#include "lib/store/store.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
	const char *command;     /* "events" */
	const char *config_file; /* --config, else NULL */
	bool json;               /* --json */
};

struct cli_command {
	const char *name;
	const char *summary; /* one line for the list of commands */
	const char *help;    /* for `ntrvsta NAME --help`: usage, options, examples */
	/* ARGV starts behind the command's name; --config, --json and --help are taken out. */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/* One for each command, defined in the command's own file. */
extern const struct cli_command cli_init, cli_check, cli_serve, cli_dispatch, cli_send, cli_sign,
	cli_verify, cli_secret, cli_events, cli_logs, cli_failed, cli_retry;

/* Say what is wrong on standard error, prefixed with "ntrvsta COMMAND: ". Return the exit code
 * of their name, so that a command can return cli_fail(...). */
int cli_fail(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Options of a command: "--name VALUE", "--name=VALUE" or a flag. */
struct cli_option {
	const char *name;   /* without the dashes */
	const char **value; /* where to put the value; NULL: it is a flag */
	bool *flag;
};
/* Take the options out of ARGV. Returns how many operands are left in ARGV (packed to its
 * front), or -1 after it said what is wrong. "--" ends the options. */
int cli_parse(const struct cli *cli, const struct cli_option *options, size_t noptions, int argc, char **argv);

/* Both say what is wrong themselves; NULL then. */
struct conf *cli_load_conf(const struct cli *cli);
struct store *cli_open_store(const struct cli *cli, const struct conf *conf);

/* A table for people: columns as wide as they need to be, cells made safe for a terminal. */
struct cli_table;
struct cli_table *cli_table_new(const char *const *headings, size_t ncolumns);
void cli_table_cell(struct cli_table *t, const char *text); /* row by row, left to right */
void cli_table_print(struct cli_table *t, const char *when_empty); /* prints and frees */

/* Print DOC on standard output, pretty, with a newline; releases it. */
void cli_print_json(struct json_object *doc);

/* Local time for people, "2026-12-31 13:05:09"; "-" for 0. Returns OUT. */
char *cli_format_time(int64_t wall_ms, char out[32]);

/* Rows as JSON, the same in every command that shows them. Times are RFC 3339 in UTC. */
struct json_object *cli_json_event(const struct store_event_row *row);
struct json_object *cli_json_delivery(const struct store_delivery_row *row);
struct json_object *cli_json_attempt(const struct store_attempt_row *row);

/* "--limit", "--since": parse or say what is wrong (false). */
bool cli_parse_limit(const struct cli *cli, const char *text, int64_t *limit);
bool cli_parse_since(const struct cli *cli, const char *text, int64_t *since_ms);

#endif
