/* Which of the connections that libcurl keeps can't be used once more: with HTTP/1, what comes before the next request
 * would be taken for its answer, and each later answer for that to the call before. libcurl 7.88 looks only whether the
 * connection was closed. */
#ifndef NTRVSTA_DELIVERY_KEPT_H
#define NTRVSTA_DELIVERY_KEPT_H

#include <stdbool.h>
#include <stddef.h>

struct kept {
	struct kept_connection *by_fd;
	size_t n;
};

void kept_free(struct kept *k);

void kept_note_opened(struct kept *k, int fd);
void kept_note_answered(struct kept *k, int fd); /* wholly, with HTTP/1 */

/* Has something come, an end as well, on the connection between LOCAL_PORT and PEER, an address, since its last answer? */
bool kept_is_stale(const struct kept *k, const char *peer, int peer_port, int local_port);

#endif
