/* What the machine can do at best: runs SCRIPT COUNT times, WIDTH at once, with a bare posix_spawn()
 * loop, its input a file of BODY bytes, and prints runs a second. The yardstick for handlers.py.
 *
 *     spawn SCRIPT COUNT WIDTH BODY */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void start(char *script, int input, int null)
{
	char *argv[] = { script, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, 0);
	posix_spawn_file_actions_adddup2(&actions, null, 1);
	if (posix_spawn(&pid, script, &actions, NULL, argv, environ)) {
		perror(script);
		exit(1);
	}
	posix_spawn_file_actions_destroy(&actions);
}

int main(int argc, char **argv)
{
	int count, width, body, null = open("/dev/null", O_WRONLY | O_CLOEXEC), started = 0, running = 0;
	double begun;

	if (argc != 5)
		return 2;
	count = atoi(argv[2]);
	width = atoi(argv[3]);
	body = atoi(argv[4]);
	begun = seconds();
	while (started < count || running > 0) {
		if (started < count && running < width) {
			int input = memfd_create("event", MFD_CLOEXEC);

			if (input < 0 || ftruncate(input, body)) {
				perror("memfd");
				return 1;
			}
			start(argv[1], input, null);
			close(input);
			started++;
			running++;
		} else if (wait(NULL) > 0) {
			running--;
		}
	}
	printf("%.1f\n", count / (seconds() - begun));
	return 0;
}
