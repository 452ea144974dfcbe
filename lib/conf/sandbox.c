#include "lib/conf/sandbox.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/conf/conf.h"

#define BYTES_MIN ((size_t)1 << 20) /* no program starts with less */
#define PROCESSES_MAX 100000
#define OPEN_FILES_MIN 16 /* a shell parks descriptors at 10 and above */
#define OPEN_FILES_MAX 1000000
#define UMASK_MAX 0777
#define USER_MAX 64
#define PATHS_MAX 64

const char *conf_limit_name(enum conf_limit which)
{
	static const char *const names[] = {
		[CONF_CPU_TIME] = "cpu_time",
		[CONF_MEMORY] = "memory",
		[CONF_ADDRESS_SPACE] = "address_space",
		[CONF_FILE_SIZE] = "file_size",
		[CONF_PROCESSES] = "processes",
		[CONF_OPEN_FILES] = "open_files",
	};

	return names[which];
}

/* --- life and death ---------------------------------------------------------------------- */

static size_t count_paths(char *const *paths)
{
	size_t n = 0;

	while (paths && paths[n])
		n++;
	return n;
}

void conf_sandbox_own(struct conf_sandbox *to, const struct conf_sandbox *from)
{
	size_t n = count_paths(from->writable);

	to->user = xstrdup(from->user);
	if (!from->writable)
		return;
	to->writable = xcalloc(n + 1, sizeof *to->writable);
	for (size_t i = 0; i < n; i++)
		to->writable[i] = xstrdup(from->writable[i]);
}

void conf_sandbox_free(struct conf_sandbox *s)
{
	free(s->user);
	value_free_list(s->writable);
}

static bool same_paths(char *const *a, char *const *b)
{
	size_t n = count_paths(a);

	if (!a || !b)
		return a == b;
	if (n != count_paths(b))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(a[i], b[i]) != 0)
			return false;
	}
	return true;
}

bool conf_sandbox_equal(const struct conf_sandbox *a, const struct conf_sandbox *b)
{
	return strcmp(a->user, b->user) == 0 && a->umask == b->umask && a->no_new_privs == b->no_new_privs &&
	       memcmp(a->limits, b->limits, sizeof a->limits) == 0 && same_paths(a->writable, b->writable) &&
	       a->network == b->network;
}

/* --- values ------------------------------------------------------------------------------ */

/* Whether there is such a user is asked when a handler starts: ntrvsta-fcgi need not know them. */
int conf_parse_user(const char *value, void *field, const struct conf *c, struct buf *err)
{
	char **to = field;

	(void)c;
	if (strlen(value) > USER_MAX || strpbrk(value, " \t:/") || value[0] == '-')
		return value_refuse(err, "the name of a user", value);
	free(*to);
	*to = xstrdup(value);
	return 0;
}

int conf_parse_umask(const char *value, void *field, const struct conf *c, struct buf *err)
{
	size_t len = strlen(value);
	unsigned long mask = strtoul(value, NULL, 8);

	(void)c;
	if (len < 1 || len > 4 || strspn(value, "01234567") != len || mask > UMASK_MAX)
		return value_refuse(err, "an octal number from 000 to 777, such as 077 or 027", value);
	*(mode_t *)field = (mode_t)mask;
	return 0;
}

/* The kernel counts whole seconds. */
int conf_parse_cpu_time(const char *value, void *field, const struct conf *c, struct buf *err)
{
	int64_t ms;

	(void)c;
	if (units_parse_duration(value, &ms) < 0 || ms % 1000 != 0)
		return value_refuse(err, "whole seconds such as 30s, 5m or 1h, or 0", value);
	*(uint64_t *)field = (uint64_t)ms / 1000;
	return 0;
}

int conf_parse_bytes(const char *value, void *field, const struct conf *c, struct buf *err)
{
	size_t bytes;

	(void)c;
	if (units_parse_size(value, &bytes) < 0 || (bytes > 0 && bytes < BYTES_MIN))
		return value_refuse(err, "a size such as 512M or 2G, from 1M, or 0", value);
	*(uint64_t *)field = bytes;
	return 0;
}

static int parse_number(const char *value, unsigned long min, unsigned long max, uint64_t *field, struct buf *err)
{
	unsigned long n;

	if (value_number(value, min, max, true, &n, err) < 0)
		return -1;
	*field = n;
	return 0;
}

int conf_parse_processes(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_number(value, 1, PROCESSES_MAX, field, err);
}

int conf_parse_open_files(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_number(value, OPEN_FILES_MIN, OPEN_FILES_MAX, field, err);
}

/* The paths of VALUE, made absolute. NULL where one of them can't be meant. */
static char **parse_paths(const char *value, const struct conf *c, struct buf *err)
{
	char **paths = xcalloc(PATHS_MAX + 1, sizeof *paths), *path;
	size_t n = 0;

	while ((path = value_next_word(&value)) != NULL) {
		if (path[0] == '~' || path[0] == '$' || n == PATHS_MAX) {
			buf_addf(err, n == PATHS_MAX ? "wants at most 64 paths" : "wants paths in full: '%c' is not expanded", path[0]);
			free(path);
			value_free_list(paths);
			return NULL;
		}
		paths[n++] = fdio_resolve(c->dir, path);
		free(path);
	}
	return paths;
}

int conf_parse_writable(const char *value, void *field, const struct conf *c, struct buf *err)
{
	char ***to = field, **paths = NULL;

	if (value[0] == '\0') {
		buf_adds(err, "wants all, none, or paths with blanks between them");
		return -1;
	}
	if (strcmp(value, "all") != 0) {
		paths = parse_paths(strcmp(value, "none") == 0 ? "" : value, c, err);
		if (!paths)
			return -1;
	}
	value_free_list(*to);
	*to = paths;
	return 0;
}
