/* Handlers as operands of commands; target.h has what they share with webhooks. */
#ifndef NTRVSTA_CLI_HANDLERS_H
#define NTRVSTA_CLI_HANDLERS_H

#include "lib/cli/cli.h"

/* Is there anything at NAME below the handlers' folder? */
bool handlers_exists(const struct conf *conf, const char *name);

/* Say that there is no handler NAME, which one may be meant, and what to do. CLI_FAILED. */
int handlers_unknown(const struct cli *cli, const struct conf *conf, const char *name);

/* Would NAME run for its events? Else says why not, and what to do. */
bool handlers_would_run(const struct cli *cli, const struct conf *conf, const char *name);

#endif
