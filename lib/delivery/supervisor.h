/* Keeps a dispatcher running beside a long-lived ntrvsta-fcgi: wakes it, and starts one where
 * none runs, soon at first and ever more rarely where it dies at once. */
#ifndef NTRVSTA_DELIVERY_SUPERVISOR_H
#define NTRVSTA_DELIVERY_SUPERVISOR_H

#include <stdbool.h>

#include "lib/conf/conf.h"

struct supervisor;

struct supervisor *supervisor_new(void);
void supervisor_free(struct supervisor *s); /* the dispatcher lives on; NULL is allowed */

/* Any thread: tell the dispatcher of STATE_DIR that there is work. False where none runs. */
bool supervisor_wake(struct supervisor *s, const char *state_dir);

/* One thread, now and then: start a dispatcher where none runs and CONF lets us. The caller
 * ignores SIGCHLD. */
void supervisor_tick(struct supervisor *s, const struct conf *conf);

#endif
