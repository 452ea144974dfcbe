/* One event in full: what is known of it, its body, its deliveries and their attempts. */
#ifndef NTRVSTA_CLI_SHOW_H
#define NTRVSTA_CLI_SHOW_H

#include "lib/cli/cli.h"

/* Prints, as the options in CLI want it. An exit code. */
int cli_show_event(const struct cli *cli, struct store *store, const char *id);

/* Say that there is no event ID, and why that may be. CLI_FAILED. */
int cli_no_such_event(const struct cli *cli, const char *id);

/* "2 success, 1 failed", "test: 1 success", or the event's status where it has no delivery. */
void cli_add_event_counts(struct buf *out, const struct store_event_row *row);

#endif
