/* Handlers as operands of commands. */
#ifndef NTRVSTA_CLI_HANDLERS_H
#define NTRVSTA_CLI_HANDLERS_H

#include "lib/cli/cli.h"

/* Could NAME be a handler's? Else says so: wrong usage. */
bool handlers_name_usable(const struct cli *cli, const char *name);

/* Is there anything at NAME below the handlers' folder? */
bool handlers_exists(const struct conf *conf, const char *name);

/* Is it there, or has there ever been a delivery for it? */
bool handlers_known(const struct conf *conf, struct store *store, const char *name);

/* Say that there is no handler NAME, which one may be meant, and what to do. CLI_FAILED. */
int handlers_unknown(const struct cli *cli, const struct conf *conf, const char *name);

/* Would NAME run for its events? Else says why not, and what to do. */
bool handlers_would_run(const struct cli *cli, const struct conf *conf, const char *name);

/* The event whose handler NAME is, the caller's to free; NULL where it is for all. */
char *handlers_event(const char *name);

#endif
