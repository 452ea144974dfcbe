#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/xalloc.h"

void fdio_open_std(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

int fdio_read_all(int fd, size_t max, struct buf *out)
{
	size_t total = 0;
	ssize_t n;

	for (;;) {
		/* One byte more than allowed tells "too large" from "just fits". */
		size_t want = max - total < 65536 ? max - total + 1 : 65536;

		buf_reserve(out, want);
		n = read(fd, out->data + out->len, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -1 : 0;
		total += (size_t)n;
		if (total > max) {
			errno = EFBIG;
			return -1;
		}
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

int fdio_read_file(const char *path, size_t max, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int result, saved;

	if (fd < 0)
		return -1;
	result = fdio_read_all(fd, max, out);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int fdio_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Write, sync and close FD; on failure remove PATH, which it is open on. */
static int fill_and_close(int fd, const char *path, mode_t mode, const void *data, size_t len)
{
	int saved;

	/* fchmod: the mode that was asked for, whatever the umask. */
	if (fchmod(fd, mode) == 0 && fdio_write_all(fd, data, len) == 0 && fsync(fd) == 0)
		return close(fd);
	saved = errno;
	close(fd);
	unlink(path);
	errno = saved;
	return -1;
}

int fdio_create_file(const char *path, mode_t mode, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0600);

	return fd < 0 ? -1 : fill_and_close(fd, path, mode, data, len);
}

int fdio_replace_file(const char *path, mode_t mode, const void *data, size_t len)
{
	char *temporary = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC), result = -1, saved;

	if (fd >= 0 && fill_and_close(fd, temporary, mode, data, len) == 0) {
		result = rename(temporary, path);
		if (result) {
			saved = errno;
			unlink(temporary);
			errno = saved;
		}
	}
	saved = errno;
	free(temporary);
	errno = saved;
	return result;
}

int fdio_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

char *fdio_dirname(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *fdio_resolve(const char *base_dir, const char *path)
{
	return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", base_dir, path);
}

char *fdio_find_program(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *places[3] = { 0 };
	size_t i;
	char *found = NULL;

	if (n > 0) {
		char *dir;

		self[n] = '\0';
		dir = fdio_dirname(self);
		places[0] = xasprintf("%s/%s", dir, name);
		free(dir);
	}
	places[1] = xasprintf("%s/%s", NTRVSTA_BINDIR, name);
	places[2] = xasprintf("%s/%s", NTRVSTA_SBINDIR, name);
	for (i = 0; i < 3; i++) {
		if (!found && places[i] && access(places[i], X_OK) == 0)
			found = places[i];
		else
			free(places[i]);
	}
	if (!found)
		errno = ENOENT;
	return found;
}
