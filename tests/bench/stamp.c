/* A handler that notes when its first instruction ran: the event and the wall clock in nanoseconds,
 * on a line of the file FOLDER-OF-THE-HANDLER/stamps. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	const char *id = getenv("NTRVSTA_EVENT_ID");
	struct timespec now;
	char line[128];
	int fd, n;

	clock_gettime(CLOCK_REALTIME, &now);
	n = snprintf(line, sizeof line, "%s %lld%09ld\n", id ? id : "-", (long long)now.tv_sec, now.tv_nsec);
	fd = open("stamps", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
