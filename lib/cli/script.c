/* Can the kernel start a handler? What goes wrong with scripts is nearly always in their first line. */
#include "lib/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/xalloc.h"

#define HEAD_BYTES 256 /* the kernel looks at no more of a #! line */

/* The words of a #! line: the interpreter and the one argument that the kernel passes. */
struct shebang {
	char interpreter[HEAD_BYTES];
	char argument[HEAD_BYTES];
};

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Look NAME up where handlers look: their PATH is fixed. */
static bool is_in_path(const char *name)
{
	static const char *const dirs[] = { "/usr/local/bin", "/usr/bin", "/bin" };
	bool found = false;
	char *path;
	size_t i;

	if (strchr(name, '/'))
		return is_program(name);
	for (i = 0; i < sizeof dirs / sizeof dirs[0] && !found; i++) {
		path = xasprintf("%s/%s", dirs[i], name);
		found = is_program(path);
		free(path);
	}
	return found;
}

static void split_shebang(const char *line, size_t len, struct shebang *out)
{
	const char *end = line + len, *word;

	for (line += 2; line < end && (*line == ' ' || *line == '\t'); line++)
		;
	for (word = line; line < end && *line != ' ' && *line != '\t'; line++)
		;
	snprintf(out->interpreter, sizeof out->interpreter, "%.*s", (int)(line - word), word);
	for (; line < end && (*line == ' ' || *line == '\t'); line++)
		;
	for (; end > line && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	snprintf(out->argument, sizeof out->argument, "%.*s", (int)(end - line), line);
}

/* "#!/usr/bin/env python3": the real interpreter is env's argument. */
static bool env_finds(const struct shebang *s, struct buf *why)
{
	const char *base = strrchr(s->interpreter, '/') + 1, *name = s->argument;
	bool split = strncmp(name, "-S", 2) == 0;
	char *word;
	bool found;

	if (strcmp(base, "env") != 0)
		return true;
	if (split)
		name += 2 + strspn(name + 2, " \t");
	else if (strpbrk(name, " \t")) {
		buf_addf(why, "env takes '%s' for the name of one program: write %s -S %s", name, s->interpreter, name);
		return false;
	}
	if (*name == '\0') {
		buf_addf(why, "%s is given no program to run", s->interpreter);
		return false;
	}
	word = xstrndup(name, strcspn(name, " \t"));
	/* Options and assignments of env come before the program: rare, and not ours to judge. */
	found = word[0] == '-' || strchr(word, '=') || is_in_path(word);
	if (!found)
		buf_addf(why, "its interpreter '%s' is not in /usr/local/bin, /usr/bin or /bin", word);
	free(word);
	return found;
}

static bool shebang_starts(const char *line, size_t len, struct buf *why)
{
	struct shebang s;

	if (line[len - 1] == '\r') {
		buf_adds(why, "its lines end in CR LF, as on Windows, and the CR belongs to the interpreter's name: "
		              "sed -i 's/\\r$//' FILE");
		return false;
	}
	split_shebang(line, len, &s);
	if (s.interpreter[0] != '/')
		buf_addf(why, "its #! line names no absolute path, but '%s'", s.interpreter);
	else if (access(s.interpreter, F_OK))
		buf_addf(why, "its interpreter %s: %s", s.interpreter, strerror(errno));
	else if (!is_program(s.interpreter))
		buf_addf(why, "its interpreter %s is not executable", s.interpreter);
	else
		return env_finds(&s, why);
	return false;
}

static bool head_starts(const char *head, size_t len, struct buf *why)
{
	const char *newline = memchr(head, '\n', len);

	if (len == 0)
		buf_adds(why, "is empty");
	else if (len >= 2 && memcmp(head, "#!", 2) == 0)
		return shebang_starts(head, newline ? (size_t)(newline - head) : len, why);
	else if (len >= 5 && memcmp(head, "\xef\xbb\xbf#!", 5) == 0)
		buf_adds(why, "begins with a byte order mark, which hides its #! line: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE");
	else if (memchr(head, '\0', len)) /* a program; the kernel knows what kinds it can run */
		return true;
	else
		buf_adds(why, "has no #! line: name its interpreter in the first line, such as #!/bin/sh");
	return false;
}

/* -1 with errno. */
static ssize_t read_head(const char *path, char head[HEAD_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), saved;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, head, HEAD_BYTES);
	saved = errno;
	close(fd);
	errno = saved;
	return n;
}

bool cli_script_starts(const char *path, struct buf *why)
{
	char head[HEAD_BYTES];
	ssize_t n = read_head(path, head);

	if (n < 0)
		buf_addf(why, "can't be read: %s", strerror(errno));
	return n >= 0 && head_starts(head, (size_t)n, why);
}

bool cli_is_script(const char *path)
{
	char head[HEAD_BYTES];

	return read_head(path, head) >= 2 && memcmp(head, "#!", 2) == 0;
}
