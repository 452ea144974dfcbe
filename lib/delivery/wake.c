#include "lib/delivery/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/xalloc.h"

static char *fifo_path(const char *state_dir)
{
	return xasprintf("%s/dispatch.wake", state_dir);
}

/* Opening for writing fails with ENXIO where nobody has it open for reading: fifo(7). */
static bool ensure_open(const char *state_dir, int *fd)
{
	char *path;

	if (*fd >= 0)
		return true;
	path = fifo_path(state_dir);
	*fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	free(path);
	return *fd >= 0;
}

bool wake_send(const char *state_dir, int *fd)
{
	if (!ensure_open(state_dir, fd))
		return false;
	/* EPIPE: its reader has died since. SIGPIPE is ignored in every program of ours. */
	if (write(*fd, "", 1) == 1 || errno == EAGAIN)
		return true;
	close(*fd);
	*fd = -1;
	return false;
}

bool wake_is_read(const char *state_dir, int *fd)
{
	struct pollfd p = { .events = 0 };

	if (!ensure_open(state_dir, fd))
		return false;
	p.fd = *fd;
	if (poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR))
		return true;
	close(*fd);
	*fd = -1;
	return false;
}

bool wake_is_read_now(const char *state_dir)
{
	int fd = -1;
	bool runs = wake_is_read(state_dir, &fd);

	if (fd >= 0)
		close(fd);
	return runs;
}

int wake_reader_open(struct wake_reader *w, const char *state_dir)
{
	w->path = fifo_path(state_dir);
	w->attached = false;
	if (mkfifo(w->path, 0600) && errno != EEXIST)
		return -1;
	w->fd = open(w->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return w->fd < 0 ? -1 : 0;
}

/* When the last sender closes it, the FIFO reports a hang-up until it is opened anew; the new
 * descriptor comes before the old one goes, so that no sender finds it unread meanwhile. */
static void reopen(struct wake_reader *w)
{
	int fd = open(w->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	close(w->fd);
	w->fd = fd;
}

bool wake_reader_drain(struct wake_reader *w)
{
	char trash[512];
	ssize_t n;
	bool came = false;

	while ((n = read(w->fd, trash, sizeof trash)) > 0)
		came = true;
	/* End of file: nobody has it open for writing. */
	w->attached = n < 0;
	if (!w->attached)
		reopen(w);
	return came;
}

void wake_reader_close(struct wake_reader *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	w->fd = -1;
	w->path = NULL;
}
