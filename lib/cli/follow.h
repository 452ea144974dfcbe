/* ntrvsta logs --follow. */
#ifndef NTRVSTA_CLI_FOLLOW_H
#define NTRVSTA_CLI_FOLLOW_H

#include "lib/cli/cli.h"

/* Print the last F->limit attempts that F finds (0: all), and then each that ends, until an
 * interrupt or until nobody reads standard output any more. STATUS is "success", "failed" or NULL. */
int cli_follow_log(const struct cli *cli, const struct conf *conf, struct store_filter *f, const char *status);

#endif
