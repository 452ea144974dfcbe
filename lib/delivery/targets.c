#include "lib/delivery/targets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/id.h"
#include "lib/base/xalloc.h"
#include "lib/event/envelope.h"

#define ALL_EVENTS "all"

/* One look at the folder, as it goes from function to function. */
struct search {
	const char *root; /* for messages */
	int root_fd;
	struct targets *out;
	targets_skip_fn *skip;
	void *ctx;
	struct buf *err;
};

static void targets_add(struct targets *t, char *name)
{
	if ((t->n & (t->n - 1)) == 0) /* full at 0 and at each power of two */
		t->names = xreallocarray(t->names, t->n ? t->n * 2 : 1, sizeof(*t->names));
	t->names[t->n++] = name;
}

static int compare_names(const void *a, const void *b)
{
	/* By bytes, whatever the locale: the order is part of the contract. */
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_backup(const char *base)
{
	size_t len = strlen(base);

	return (len > 0 && base[len - 1] == '~') ||
	       (len >= 4 && strcmp(base + len - 4, ".bak") == 0) || strstr(base, ".dpkg-") != NULL;
}

static bool has_valid_characters(const char *base)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789_-.";
	size_t len = strlen(base);

	return len > 0 && strspn(base, allowed) == len && base[0] != '.' && base[len - 1] != '.';
}

/* Can BASE, by its name alone, be a handler? Else *WHY. */
static bool judge_name(const char *base, enum targets_skip *why)
{
	if (base[0] == '.')
		*why = TARGETS_HIDDEN;
	else if (is_backup(base))
		*why = TARGETS_BACKUP;
	else if (!has_valid_characters(base))
		*why = TARGETS_BAD_NAME;
	else
		return true;
	return false;
}

/* What is before the slash, or all of NAME, is an event's name or "all", which is formed like one. */
static bool begins_with_event(const char *name)
{
	return envelope_name_valid(name, strcspn(name, "/"));
}

bool targets_name_valid(const char *name)
{
	const char *slash = strchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	enum targets_skip why;

	/* A second slash fails as a bad character of what follows the first. */
	return strlen(name) <= TARGET_NAME_MAX && begins_with_event(name) && judge_name(base, &why) &&
	       !id_valid(ID_WEBHOOK, name);
}

char *targets_event(const char *name)
{
	size_t len = strcspn(name, "/");

	/* The file "all", unlike the folder, is the handler of an event of that name. */
	if (name[len] == '/' && len == strlen(ALL_EVENTS) && strncmp(name, ALL_EVENTS, len) == 0)
		return NULL;
	return xstrndup(name, len);
}

static int search_fail(const struct search *s, const char *name)
{
	buf_addf(s->err, "%s%s%s: %s", s->root, *name ? "/" : "", name, strerror(errno));
	return -1;
}

/* Is NAME, a path below the folder, no handler whatever it is on disk? Then *WHY. */
static bool refuse_name(const char *name, enum targets_skip *why)
{
	const char *slash = strchr(name, '/');

	if (!judge_name(slash ? slash + 1 : name, why))
		return true;
	if (targets_name_valid(name))
		return false;
	*why = id_valid(ID_WEBHOOK, name) ? TARGETS_WEBHOOK_ID
	       : begins_with_event(name)  ? TARGETS_BAD_NAME
	                                  : TARGETS_NO_EVENT;
	return true;
}

static bool refuse_file(int root_fd, const char *name, const struct stat *st, enum targets_skip *why)
{
	if (S_ISDIR(st->st_mode))
		*why = TARGETS_DIRECTORY;
	else if (!S_ISREG(st->st_mode))
		*why = TARGETS_SPECIAL;
	else if (faccessat(root_fd, name, X_OK, AT_EACCESS) < 0) /* for root: any of the three bits */
		*why = TARGETS_NOT_EXECUTABLE;
	else
		return false;
	return true;
}

/* Add NAME to the targets, or say why not. -1 where it can't be told whether it is a handler. */
static int consider(const struct search *s, const char *name)
{
	enum targets_skip why = TARGETS_UNREADABLE;
	struct stat st;
	bool found = fstatat(s->root_fd, name, &st, 0) == 0;

	if (!found && fstatat(s->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : search_fail(s, name);
	/* There, yet not found: a link to nowhere. */
	if (found && !refuse_name(name, &why) && !refuse_file(s->root_fd, name, &st, &why))
		targets_add(s->out, xstrdup(name));
	else if (s->skip)
		s->skip(s->ctx, name, why);
	return 0;
}

/* The entries of the folder SUB, sorted. -1 with errno; OUT is to be freed in any case. */
static int list_folder(int root_fd, const char *sub, struct targets *out)
{
	int fd = openat(root_fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int error = errno;

	*out = (struct targets){ NULL, 0 };
	if (!dir) {
		if (fd >= 0)
			close(fd);
		errno = error;
		return -1;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			targets_add(out, xstrdup(entry->d_name));
	}
	error = errno;
	closedir(dir);
	if (out->n > 1)
		qsort(out->names, out->n, sizeof(*out->names), compare_names);
	errno = error;
	return error ? -1 : 0;
}

static int search_subfolder(const struct search *s, const char *sub)
{
	struct targets entries;
	int result = 0;

	if (list_folder(s->root_fd, sub, &entries) < 0)
		result = search_fail(s, sub);
	for (size_t i = 0; i < entries.n && result == 0; i++) {
		char *name = xasprintf("%s/%s", sub, entries.names[i]);

		result = consider(s, name);
		free(name);
	}
	targets_free(&entries);
	return result;
}

/* What the entry NAME of the folder itself stands for: a subfolder of handlers, one handler
 * (counts where FILES), nothing. A link whose far end is missing just now is not nothing. */
static int search_entry(const struct search *s, const char *name, bool files)
{
	struct stat st;

	if (fstatat(s->root_fd, name, &st, 0) < 0) {
		int error = errno;

		if (error == ENOENT && fstatat(s->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return 0;
		errno = error;
		return search_fail(s, name);
	}
	if (S_ISDIR(st.st_mode))
		return search_subfolder(s, name);
	return files ? consider(s, name) : 0;
}

static int search_open(struct search *s)
{
	*s->out = (struct targets){ NULL, 0 };
	s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->root_fd < 0 ? search_fail(s, "") : 0;
}

static int search_close(struct search *s, int result)
{
	close(s->root_fd);
	if (result < 0)
		targets_free(s->out);
	return result;
}

int targets_find(const char *handlers_dir, const char *event, struct targets *out,
                 targets_skip_fn *skip, void *ctx, struct buf *err)
{
	struct search s = { handlers_dir, -1, out, skip, ctx, err };
	int result = 0;

	if (search_open(&s) < 0)
		return -1;
	if (envelope_name_valid(event, strlen(event)))
		result = search_entry(&s, event, true);
	/* An event may be called "all"; its handlers run once. */
	if (result == 0 && strcmp(event, ALL_EVENTS) != 0)
		result = search_entry(&s, ALL_EVENTS, false);
	return search_close(&s, result);
}

int targets_find_all(const char *handlers_dir, struct targets *out, targets_skip_fn *skip,
                     void *ctx, struct buf *err)
{
	struct search s = { handlers_dir, -1, out, skip, ctx, err };
	struct targets entries;
	int result = 0;

	if (search_open(&s) < 0)
		return -1;
	if (list_folder(s.root_fd, ".", &entries) < 0)
		result = search_fail(&s, "");
	for (size_t i = 0; i < entries.n && result == 0; i++) {
		const char *name = entries.names[i];

		result = begins_with_event(name) ? search_entry(&s, name, true) : consider(&s, name);
	}
	targets_free(&entries);
	return search_close(&s, result);
}

void targets_free(struct targets *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->names[i]);
	free(t->names);
	*t = (struct targets){ NULL, 0 };
}

const char *targets_skip_text(enum targets_skip why)
{
	static const char *const texts[] = {
		[TARGETS_HIDDEN] = "hidden",
		[TARGETS_BACKUP] = "a backup copy by its name",
		[TARGETS_NO_EVENT] = "not named like an event",
		[TARGETS_WEBHOOK_ID] = "named like a webhook's id",
		[TARGETS_BAD_NAME] = "not a name for a handler (A-Z a-z 0-9 _ - and dots inside)",
		[TARGETS_DIRECTORY] = "a directory",
		[TARGETS_SPECIAL] = "not a regular file",
		[TARGETS_NOT_EXECUTABLE] = "not executable (chmod +x)",
		[TARGETS_UNREADABLE] = "can't be examined (a link to nowhere?)",
	};

	return texts[why];
}
