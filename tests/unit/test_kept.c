#include "lib/delivery/kept.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tap.h"

struct pair {
	int ours, theirs;
	int local_port, peer_port;
};

static int port_of(int fd)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;

	getsockname(fd, (struct sockaddr *)&sa, &len);
	return ntohs(sa.sin_port);
}

static struct pair make_pair(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair p = { .ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	if (bind(listening, (struct sockaddr *)&sa, sizeof sa) || listen(listening, 1)) {
		printf("Bail out! can't listen\n");
		exit(99);
	}
	p.peer_port = port_of(listening);
	sa.sin_port = htons((uint16_t)p.peer_port);
	connect(p.ours, (struct sockaddr *)&sa, sizeof sa);
	p.theirs = accept(listening, NULL, NULL);
	p.local_port = port_of(p.ours);
	close(listening);
	return p;
}

static bool stale(const struct kept *k, const struct pair *p)
{
	return kept_is_stale(k, "127.0.0.1", p->peer_port, p->local_port);
}

/* On the loopback what was sent is there when write() returns. */
static void test_data(void)
{
	struct kept k = { NULL, 0 };
	struct pair p = make_pair(), other = make_pair();

	CHECK(write(p.theirs, "x", 1) == 1 && !stale(&k, &p), "nothing is known of a new connection");
	kept_note_answered(&k, p.ours);
	kept_note_answered(&k, other.ours);
	CHECK(stale(&k, &p), "something came behind the answer: stale");
	CHECK(!stale(&k, &other), "... which says nothing of others");
	CHECK(!kept_is_stale(&k, "127.0.0.1", other.peer_port, p.local_port), "... nor of one to another port");
	CHECK(!kept_is_stale(&k, "127.0.0.2", p.peer_port, p.local_port), "... or to another address");
	CHECK(!kept_is_stale(&k, "nonsense", p.peer_port, p.local_port), "... or to none");
	close(other.theirs);
	CHECK(stale(&k, &other), "its end has come: stale");
	kept_note_opened(&k, p.ours);
	CHECK(!stale(&k, &p), "a descriptor that is opened anew is as good as new");
	kept_free(&k);
	close(p.ours);
	close(p.theirs);
	close(other.ours);
}

static void test_descriptors(void)
{
	struct kept k = { NULL, 0 };
	struct pair p = make_pair();
	int ends[2];

	kept_note_opened(&k, 1000);
	CHECK(!stale(&k, &p), "opening notes nothing");
	kept_note_answered(&k, p.ours);
	close(p.ours);
	CHECK(!stale(&k, &p), "a descriptor that was closed is none");
	if (pipe(ends) || dup2(ends[0], p.ours) < 0)
		exit(99);
	CHECK(!stale(&k, &p), "nor is one that became another file's");
	close(ends[0]);
	close(ends[1]);
	close(p.ours);
	close(p.theirs);
	kept_free(&k);
}

int main(void)
{
	test_data();
	test_descriptors();
	return tap_done();
}
