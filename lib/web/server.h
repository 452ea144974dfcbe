/* ntrvsta-fcgi at work: requests in, answers out.
 *
 * Three kinds of threads. The reader (the caller's) accepts connections, watches those whose
 * request is not wholly there, and serves on the spot what is: checks, signature, envelope. The
 * committer stores what the reader hands over, many events in one commit, and answers. A few
 * workers serve what may block: large or slow requests, and the management API. A connection
 * belongs to one thread at a time. */
#ifndef NTRVSTA_WEB_SERVER_H
#define NTRVSTA_WEB_SERVER_H

#include "lib/conf/conf.h"
#include "lib/intake/limiter.h"

/* Serve FastCGI on the listening socket LISTEN_FD until SIGTERM, SIGINT or SIGUSR1; then answer what
 * is in flight. CONF may be NULL (every request is answered with 503, and the file is looked at
 * again); its reference is taken over. The caller has called request_setup() and blocked those signals in all threads.
 * Returns the program's exit status. */
int server_run(int listen_fd, struct conf *conf);

/* Serve this process's one CGI request. CONF may be NULL. */
int server_run_cgi(struct conf *conf);

#endif
