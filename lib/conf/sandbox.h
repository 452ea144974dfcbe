/* What a handler may do: the settings of [handlers] and [handler NAME] that bound a script.
 * Enforced by lib/delivery/sandbox.h. Owned by a struct conf_handler. */
#ifndef NTRVSTA_CONF_SANDBOX_H
#define NTRVSTA_CONF_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/conf/values.h"

enum conf_limit { /* each of one process, but for CONF_PROCESSES; 0: none is set */
	CONF_CPU_TIME, /* seconds */
	CONF_MEMORY,   /* bytes of private, writable memory */
	CONF_ADDRESS_SPACE, /* bytes, reserved or used */
	CONF_FILE_SIZE, /* bytes */
	CONF_PROCESSES, /* and threads; beside those that the machine runs already */
	CONF_OPEN_FILES,
	CONF_LIMITS
};

struct conf_sandbox {
	char *user; /* whom root runs handlers as; "": nobody was named */
	mode_t umask;
	bool no_new_privs;
	uint64_t limits[CONF_LIMITS];
	char **writable; /* absolute, NULL-terminated: nothing else can be changed; NULL: no such bound */
	bool network;
};

/* A limit's key, which is its name for people as well: "cpu_time". */
const char *conf_limit_name(enum conf_limit which);

/* TO, whose strings are FROM's, gets its own. */
void conf_sandbox_own(struct conf_sandbox *to, const struct conf_sandbox *from);
void conf_sandbox_free(struct conf_sandbox *s);

bool conf_sandbox_equal(const struct conf_sandbox *a, const struct conf_sandbox *b);

/* For the table of keys. */
conf_parse_fn conf_parse_user, conf_parse_umask, conf_parse_cpu_time, conf_parse_bytes, conf_parse_processes,
	conf_parse_open_files, conf_parse_writable;

#endif
