#include "lib/delivery/kept.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/address.h"
#include "lib/base/xalloc.h"

struct kept_connection {
	bool answered;  /* the last that is known of it is an answer */
	int local_port; /* 0: not known yet */
};

void kept_free(struct kept *k)
{
	free(k->by_fd);
	*k = (struct kept){ NULL, 0 };
}

void kept_note_opened(struct kept *k, int fd)
{
	if ((size_t)fd < k->n)
		k->by_fd[fd] = (struct kept_connection){ .answered = false };
}

typedef int name_fn(int fd, struct sockaddr *sa, socklen_t *len);

/* One end of FD, as getsockname() or getpeername() tells it. */
static bool read_end(name_fn *name, int fd, struct address *address, int *port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;

	if (name(fd, (struct sockaddr *)&sa, &len) || address_from_socket((struct sockaddr *)&sa, address))
		return false;
	*port = ntohs(sa.ss_family == AF_INET ? ((struct sockaddr_in *)&sa)->sin_port : ((struct sockaddr_in6 *)&sa)->sin6_port);
	return true;
}

/* Looked up once for each connection: with many, a system call for each of them at each call is what costs. */
void kept_note_answered(struct kept *k, int fd)
{
	size_t n = (size_t)fd + 1;
	struct address address;

	if (n > k->n) {
		k->by_fd = xreallocarray(k->by_fd, n, sizeof *k->by_fd);
		memset(k->by_fd + k->n, 0, (n - k->n) * sizeof *k->by_fd);
		k->n = n;
	}
	k->by_fd[fd].answered = true;
	if (!k->by_fd[fd].local_port && !read_end(getsockname, fd, &address, &k->by_fd[fd].local_port))
		k->by_fd[fd].local_port = 0;
}

/* The descriptor may be closed, or another file's by now. */
static bool is_between(int fd, int local_port, const struct address *peer, int peer_port)
{
	struct address address;
	int port;

	return read_end(getsockname, fd, &address, &port) && port == local_port &&
	       read_end(getpeername, fd, &address, &port) && port == peer_port && memcmp(&address, peer, sizeof address) == 0;
}

bool kept_is_stale(const struct kept *k, const char *peer, int peer_port, int local_port)
{
	struct address address;
	size_t fd;

	if (address_parse(peer, &address))
		return false;
	for (fd = 0; fd < k->n; fd++) {
		struct pollfd p = { (int)fd, POLLIN, 0 };

		if (k->by_fd[fd].answered && k->by_fd[fd].local_port == local_port &&
		    is_between(p.fd, local_port, &address, peer_port))
			return poll(&p, 1, 0) > 0;
	}
	return false;
}
