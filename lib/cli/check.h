/* ntrvsta check: what its parts share. */
#ifndef NTRVSTA_CLI_CHECK_H
#define NTRVSTA_CLI_CHECK_H

#include "lib/cli/cli.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"

enum check_level { CHECK_OK, CHECK_NOTE, CHECK_WARNING, CHECK_PROBLEM };
#define CHECK_LEVELS 4

struct check {
	const struct cli *cli;
	const struct conf *conf; /* NULL where it can't be used */
	struct store *store;      /* NULL where it can't be looked into */
	struct webhooks webhooks; /* that are in it */
	struct json_object *findings;
	int counts[CHECK_LEVELS];
};

/* Note a finding about SUBJECT: "handlers". */
void check_say(struct check *c, enum check_level level, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The parts that look at what a usable configuration names. */
void check_state(struct check *c);    /* directory, space, database, what waits in it, dispatcher; opens the store */
void check_handlers(struct check *c); /* can each be started, and is each meant? */
void check_sandbox(struct check *c);  /* what may a handler do, and can that be enforced? */
void check_webhooks(struct check *c); /* can each be called, and is each meant? */

#endif
