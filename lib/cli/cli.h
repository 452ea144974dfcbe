/* The command line tool: what all commands share. One file a command, one row in ntrvsta.c. */
#ifndef NTRVSTA_CLI_CLI_H
#define NTRVSTA_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conf/conf.h"
#include "lib/store/store.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
	const char *command;     /* "events"; NULL before it is known */
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
	cli_verify, cli_secret, cli_keys, cli_events, cli_logs, cli_failed, cli_retry, cli_recover, cli_cancel, cli_stats, cli_prune,
	cli_webhooks, cli_test, cli_connectivity, cli_templates, cli_invite;

/* Say what is wrong on standard error, prefixed with "ntrvsta COMMAND: ". Return the exit code
 * of their name, so that a command can return cli_fail(...). cli_note() only says it. */
int cli_fail(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_note(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Options of a command: "--name VALUE", "--name=VALUE" or a flag. One that may be given several times stands as
 * often in the table: its values are filled in from the first on, where they are NULL. */
struct cli_option {
	const char *name;   /* without the dashes */
	const char **value; /* where to put the value; NULL: it is a flag */
	bool *flag;
};
/* Take the options out of ARGV. Returns how many operands are left in ARGV (packed to its
 * front), or -1 after it said what is wrong. "--" ends the options. */
int cli_parse(const struct cli *cli, const struct cli_option *options, size_t noptions, int argc, char **argv);

/* "Did you mean": set WORD, try each name there is; BEST is the closest, NULL where none is close. */
struct cli_near {
	const char *word;
	const char *best;
	unsigned distance; /* of BEST */
};
void cli_near_try(struct cli_near *near, const char *name);

/* The documented event whose name is close to EVENT; NULL where none is. */
const char *cli_near_event(const char *event);

/* Parse the value of an option, or say what is wrong (false). TEXT NULL leaves the value alone. */
bool cli_parse_limit(const struct cli *cli, const char *text, int64_t *limit); /* 0: all */
/* Is TEXT one line of MIN to MAX bytes that can be shown anywhere? */
bool cli_check_line(const struct cli *cli, const char *option, const char *text, size_t min, size_t max);
bool cli_parse_time(const struct cli *cli, const char *option, const char *text, int64_t *wall_ms);

/* All say what is wrong themselves; NULL or false then. */
struct conf *cli_load_conf(const struct cli *cli);
struct store *cli_open_store(const struct cli *cli, const struct conf *conf);
const struct conf_source *cli_source(const struct cli *cli, const struct conf *conf, const char *name);
const struct secret *cli_signing_secret(const struct cli *cli, const struct conf_source *source); /* the newest live one */
/* False for root in a state directory of somebody else, who could then not use what is made there. */
bool cli_may_change_state(const struct cli *cli, const struct conf *conf);
/* The store has new work: see to it that somebody does it, or say that nobody will. */
void cli_wake_dispatcher(const struct cli *cli, const struct conf *conf);
/* The state of the delivery ID; "" where there is none. */
#define CLI_STATE_SIZE 16
enum store_status cli_delivery_state(struct store *store, const char *id, char state[CLI_STATE_SIZE]);
bool cli_read_input(const struct cli *cli, const char *path, struct buf *out); /* "-": standard input */

/* Where a running `ntrvsta serve` of this state directory listens, "http://127.0.0.1:8080"; the
 * caller frees it. NULL where none runs. */
char *cli_serve_url(const struct conf *conf);

/* Why ntrvsta-fcgi serves no dashboard; NULL: it does. */
const char *cli_no_dashboard(const struct conf *conf);

/* A new signing secret: 32 random bytes in hex. */
#define CLI_SECRET_SIZE 65
void cli_make_secret(char out[CLI_SECRET_SIZE]);

/* Can the kernel start the handler at PATH, and as what its author meant? False with the
 * reason, and what to do, in WHY. */
bool cli_script_starts(const char *path, struct buf *why);
bool cli_is_script(const char *path); /* begins with #! */

#endif
