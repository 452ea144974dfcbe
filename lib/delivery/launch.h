/* One dispatcher for each state directory: its lock, and starting it where none runs. */
#ifndef NTRVSTA_DELIVERY_LAUNCH_H
#define NTRVSTA_DELIVERY_LAUNCH_H

#include <sys/types.h>

#include "lib/conf/conf.h"

/* How long a dispatcher that we started stays when nothing waits and nobody is attached to its
 * wake-up FIFO any more: `ntrvsta dispatch --idle`. */
#define LAUNCH_IDLE "60s"

/* Take STATE_DIR/dispatch.lock for life. Its descriptor; -1 with errno, EWOULDBLOCK where
 * another process holds it, whose pid is then in *HOLDER (0: unknown). */
int launch_lock(const char *state_dir, pid_t *holder);

/* Start `ntrvsta dispatch --idle 60s` detached from this process and its web server: own session,
 * standard descriptors on /dev/null and state/dispatch.log. Returns at once; where one runs
 * already, the new one notices and leaves. Its pid (the caller's child), or -1 with errno, logged. */
pid_t launch_dispatcher(const struct conf *conf);

/* Tell the dispatcher that there is work, and start it where none runs and the configuration
 * lets us. For programs that end soon (a CGI call, the command line tool). */
void launch_or_wake(const struct conf *conf);

#endif
