/* How each web server mounts ntrvsta-fcgi: what `ntrvsta init` prints and `ntrvsta serve` runs. */
#ifndef NTRVSTA_CLI_MOUNTS_H
#define NTRVSTA_CLI_MOUNTS_H

#include <stddef.h>

#include "lib/base/buf.h"

struct mount_paths { /* all absolute */
	const char *program; /* ntrvsta-fcgi */
	const char *config;
	const char *state_dir;
};

struct mount {
	const char *server; /* "lighttpd" */
	const char *where;  /* the file that the text goes into, or what else to do with it */
	void (*write)(struct buf *out, const struct mount_paths *paths);
};

extern const struct mount mounts[];
extern const size_t nmounts;

/* The longest path of a Unix socket, less the "-0" that lighttpd adds. */
#define MOUNT_SOCKET_MAX 105

/* The item of lighttpd's fastcgi.server that mounts PROGRAM at PREFIX. */
void mount_add_lighttpd(struct buf *out, const char *prefix, const char *program,
                        const char *config, const char *socket);

/* S as a quoted string of lighttpd's and Apache's configuration. */
void mount_add_string(struct buf *out, const char *s);

#endif
