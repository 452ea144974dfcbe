#include "lib/delivery/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE /* newer than Debian 12's headers */
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

#define ABI_REFER 2
#define FIRST_OWN_FD (STDERR_FILENO + 1)

#define CHANGE_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define CHANGE_FOLDER                                                                                        \
	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |     \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |          \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |        \
	 LANDLOCK_ACCESS_FS_REFER)

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static uint64_t changes_known(int abi)
{
	uint64_t changes = CHANGE_FILE | CHANGE_FOLDER;

	if (abi < ABI_REFER) /* and moves from one folder to another are never allowed */
		changes &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
	if (abi < LANDLOCK_ABI_TRUNCATE)
		changes &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
	return changes;
}

static int allow(int ruleset, const char *path, uint64_t changes)
{
	struct landlock_path_beneath_attr rule = { .parent_fd = open(path, O_PATH | O_CLOEXEC) };
	struct stat st;
	int result = -1, error;

	if (rule.parent_fd < 0)
		return -1;
	if (fstat(rule.parent_fd, &st) == 0) {
		rule.allowed_access = S_ISDIR(st.st_mode) ? changes : changes & CHANGE_FILE;
		result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	}
	error = errno;
	close(rule.parent_fd);
	errno = error;
	return result;
}

/* 0, 1 and 2 are to become the child's. */
static int move_up(int fd)
{
	int moved;

	if (fd < 0 || fd >= FIRST_OWN_FD)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN_FD);
	close(fd);
	return moved;
}

int landlock_open(char *const *paths, struct buf *why)
{
	int abi = landlock_abi(), fd;
	struct landlock_ruleset_attr attr = { .handled_access_fs = changes_known(abi) };

	if (abi == 0) {
		buf_adds(why, "writable: the kernel has no Landlock (Linux 5.13), or it was switched off at boot");
		return -1;
	}
	fd = move_up((int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0));
	if (fd < 0) {
		buf_addf(why, "writable: Landlock: %s", strerror(errno));
		return -1;
	}
	for (; *paths; paths++) {
		if (allow(fd, *paths, attr.handled_access_fs) == 0)
			continue;
		buf_addf(why, "writable: %s: %s", *paths, strerror(errno));
		close(fd);
		return -1;
	}
	if (allow(fd, "/dev/null", attr.handled_access_fs & CHANGE_FILE) < 0 && errno != ENOENT) {
		buf_addf(why, "writable: /dev/null: %s", strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}
