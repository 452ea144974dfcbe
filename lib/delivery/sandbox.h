/* What a handler may do, as lib/conf/sandbox.h has it, made ready for a child: names are looked up and
 * descriptors opened here, in the dispatcher, so that lib/delivery/spawn.h has plain system calls to make.
 *
 * Fail closed: what is configured and can't be done keeps the handler from starting, and is named.
 * Single-threaded. */
#ifndef NTRVSTA_DELIVERY_SANDBOX_H
#define NTRVSTA_DELIVERY_SANDBOX_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/conf/sandbox.h"

#define SANDBOX_MAP_BYTES 40

struct sandbox_limit {
	int resource; /* RLIMIT_CPU ... */
	struct rlimit value;
};

enum sandbox_network {
	SANDBOX_NETWORK_SHARED,
	SANDBOX_NETWORK_OWN,           /* an empty one of its own, made by root */
	SANDBOX_NETWORK_OWN_UNPRIVILEGED, /* inside a user namespace that maps nobody but this user */
};

struct sandbox {
	const struct conf_sandbox *conf;
	bool change_user;
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* good until the next one is prepared */
	int ngroups;
	struct sandbox_limit limits[CONF_LIMITS];
	size_t nlimits;
	enum sandbox_network network;
	char uid_map[SANDBOX_MAP_BYTES], gid_map[SANDBOX_MAP_BYTES];
	int landlock_fd; /* above 2; -1: none */
};

/* -1 with the reason in WHY: what is configured can't be done by this process. CONF must outlive OUT. */
int sandbox_prepare(const struct conf_sandbox *conf, struct sandbox *out, struct buf *why);
void sandbox_release(struct sandbox *s);

/* Start nothing, but do all that would be done before, in a process that ends then. -1 with the reason in WHY. */
int sandbox_try(const struct conf_sandbox *conf, const char *cwd, struct buf *why);

/* The home of the user that handlers run as where CONF makes that another one than this process's; NULL: it does not.
 * Good until the next call of a function here. */
const char *sandbox_home(const struct conf_sandbox *conf);

#endif
