/* Files and descriptors: whole reads and writes, restarted after EINTR; all descriptors made
 * here are close-on-exec. Functions return -1 with errno unless said otherwise. */
#ifndef NTRVSTA_BASE_FDIO_H
#define NTRVSTA_BASE_FDIO_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/base/buf.h"

/* Web servers may start a program with 0, 1 or 2 closed: open what is missing on /dev/null, so
 * that no later descriptor lands there. Call first in main(). */
void fdio_open_std(void);

/* Read to the end of file, appending to OUT. More than MAX bytes: EFBIG. */
int fdio_read_all(int fd, size_t max, struct buf *out);
int fdio_read_file(const char *path, size_t max, struct buf *out);

int fdio_write_all(int fd, const void *data, size_t len);

/* Create PATH with MODE and this content; fails with EEXIST, never overwrites. Synced. */
int fdio_create_file(const char *path, mode_t mode, const void *data, size_t len);

/* Replace PATH by this content in one step (temporary file, fsync, rename). */
int fdio_replace_file(const char *path, mode_t mode, const void *data, size_t len);

int fdio_set_nonblock(int fd);

/* Both return memory that the caller frees. */
char *fdio_dirname(const char *path);                       /* "." where there is no slash */
char *fdio_resolve(const char *base_dir, const char *path); /* PATH below BASE_DIR, unless absolute */

/* The full path of program NAME: beside the running program, else where make install put it.
 * The caller frees it. NULL with errno where it is in neither place. */
char *fdio_find_program(const char *name);

#endif
