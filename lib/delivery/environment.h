/* The environment of a handler: what the contract names and nothing of the request. */
#ifndef NTRVSTA_DELIVERY_ENVIRONMENT_H
#define NTRVSTA_DELIVERY_ENVIRONMENT_H

#include "lib/conf/conf.h"
#include "lib/store/store.h"

/* For one attempt of the handler TARGET. NULL-terminated; free with environment_free(). */
char **environment_make(const struct conf *conf, const char *target, const struct store_claim *claim);
void environment_free(char **envp);

#endif
