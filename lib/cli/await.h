/* Waiting for what the dispatcher was asked to do: lib/delivery/trial.h, for people. */
#ifndef NTRVSTA_CLI_AWAIT_H
#define NTRVSTA_CLI_AWAIT_H

#include "lib/cli/cli.h"
#include "lib/delivery/trial.h"

#define AWAIT_USUAL_MS (60 * 1000)

/* Parse the value of --timeout, or say what is wrong (false). TEXT NULL leaves the value alone. */
bool await_parse_timeout(const struct cli *cli, const char *text, int64_t *ms);

/* Does a dispatcher run, or may one be started? Else says so. */
bool await_possible(const struct cli *cli, const struct conf *conf);

/* A test that an interrupt ends. */
struct trial await_trial(const struct conf *conf, struct store *store, int64_t timeout_ms);

/* Is there a RESULT of T? Else says why. */
bool await_succeeded(const struct cli *cli, const struct trial *t, enum trial_result result);

#endif
