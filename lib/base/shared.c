#include "lib/base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/xalloc.h"

/* Who finds one of another length takes it away; who has that one mapped goes on with it alone. */
static int open_file(const char *path, size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || st.st_size == 0 || (size_t)st.st_size == bytes)
		return fd;
	close(fd);
	unlink(path);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

void *shared_map(const char *dir, const char *name, size_t bytes)
{
	char *path = xasprintf("%s/%s", dir, name);
	int fd = open_file(path, bytes);
	void *map = MAP_FAILED;
	int error = errno;

	free(path);
	if (fd < 0) {
		errno = error;
		return NULL;
	}
	error = posix_fallocate(fd, 0, (off_t)bytes);
	if (error == 0) {
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		error = errno;
	}
	close(fd);
	errno = error;
	return map == MAP_FAILED ? NULL : map;
}

void shared_unmap(void *map, size_t bytes)
{
	if (map)
		munmap(map, bytes);
}
