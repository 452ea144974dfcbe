/* The environment of a handler: what the contract names and nothing of the request. */
#ifndef NTRVSTA_DELIVERY_ENVIRONMENT_H
#define NTRVSTA_DELIVERY_ENVIRONMENT_H

#include "lib/conf/conf.h"
#include "lib/store/store.h"

/* For one attempt of the handler TARGET. A batch is described by its first CLAIM, and by how many
 * events are in it; BATCH 0: no batch. NULL-terminated; free with environment_free(). */
char **environment_make(const struct conf *conf, const char *target, const struct store_claim *claim,
                        size_t batch);
void environment_free(char **envp);

#endif
