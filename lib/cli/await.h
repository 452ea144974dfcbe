/* Waiting for what the dispatcher was asked to do. */
#ifndef NTRVSTA_CLI_AWAIT_H
#define NTRVSTA_CLI_AWAIT_H

#include "lib/cli/cli.h"

#define AWAIT_USUAL_MS (60 * 1000)

/* Parse the value of --timeout, or say what is wrong (false). TEXT NULL leaves the value alone. */
bool await_parse_timeout(const struct cli *cli, const char *text, int64_t *ms);

/* Does a dispatcher run, or may one be started? Else says so. */
bool await_possible(const struct cli *cli, const struct conf *conf);

enum await_result {
	AWAIT_DONE,
	AWAIT_FAILED, /* that was said */
	AWAIT_LATE,   /* the time was up, or somebody interrupted us; that was said too */
};

/* Wake or start the dispatcher, and ask DONE until it says so, for TIMEOUT_MS at most. */
typedef enum await_result await_fn(void *ctx); /* AWAIT_LATE: not yet */
enum await_result await_dispatcher(const struct cli *cli, const struct conf *conf, int64_t timeout_ms, await_fn *done,
                                   void *ctx);

#endif
