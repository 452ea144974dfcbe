#include "lib/delivery/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/landlock.h"
#include "lib/delivery/spawn.h"

/* Between SIGXCPU, which says why, and SIGKILL, which can't be caught. */
#define CPU_GRACE_S 5
#define GROUPS_MAX 1024
#define ACCOUNT_MS 10000

/* --- the user ------------------------------------------------------------------------------- */

/* Of the password database, which may be far away: a name is looked up once in a while, not for each run. */
struct account {
	char *name, *home;
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	int ngroups;
	int64_t found_ms; /* clock_mono_ms() */
};

static struct account known;

static int look_up(const char *name, struct buf *why)
{
	const struct passwd *user;

	free(known.name);
	known.name = NULL;
	errno = 0;
	user = getpwnam(name);
	if (!user) {
		buf_addf(why, "user = %s: %s", name, errno ? strerror(errno) : "there is no such user");
		return -1;
	}
	known.uid = user->pw_uid;
	known.gid = user->pw_gid;
	free(known.home);
	known.home = xstrdup(user->pw_dir);
	known.ngroups = GROUPS_MAX;
	if (getgrouplist(name, known.gid, known.groups, &known.ngroups) < 0) {
		buf_addf(why, "user = %s: is in more than %d groups", name, GROUPS_MAX);
		return -1;
	}
	known.name = xstrdup(name);
	known.found_ms = clock_mono_ms();
	return 0;
}

/* NULL with the reason in WHY. Good until the next call. */
static const struct account *find_account(const char *name, struct buf *why)
{
	if (known.name && strcmp(known.name, name) == 0 && clock_mono_ms() - known.found_ms < ACCOUNT_MS)
		return &known;
	return look_up(name, why) == 0 ? &known : NULL;
}

static int prepare_user(struct sandbox *out, struct buf *why)
{
	const char *name = out->conf->user;
	const struct account *user;

	if (name[0] == '\0' && geteuid() == 0) {
		buf_adds(why, "the dispatcher runs as root, and root runs no handler by itself: set user in [handlers]");
		return -1;
	}
	if (name[0] == '\0')
		return 0;
	user = find_account(name, why);
	if (!user)
		return -1;
	if (user->uid == geteuid())
		return 0;
	if (geteuid() != 0) {
		buf_addf(why, "user = %s: only root can run handlers as another user", name);
		return -1;
	}
	out->change_user = true;
	out->uid = user->uid;
	out->gid = user->gid;
	out->groups = user->groups;
	out->ngroups = user->ngroups;
	return 0;
}

const char *sandbox_home(const struct conf_sandbox *conf)
{
	struct buf unused = BUF_INIT; /* the run will say why */
	const struct account *user = conf->user[0] && geteuid() == 0 ? find_account(conf->user, &unused) : NULL;

	buf_free(&unused);
	return user && user->uid != geteuid() ? user->home : NULL;
}

/* --- limits --------------------------------------------------------------------------------- */

/* Processes and threads that the machine runs, whosever: no user has more. -1 where that is unknown. The sum
 * in sysinfo() has 16 bits; the one in /proc may be a container's, while the kernel counts outside as well. */
static long count_tasks(void)
{
	struct sysinfo info;
	FILE *f = fopen("/proc/loadavg", "re");
	long tasks = -1;

	if (f) {
		if (fscanf(f, "%*s %*s %*s %*d/%ld", &tasks) != 1)
			tasks = -1;
		fclose(f);
	}
	if (sysinfo(&info) == 0 && info.procs > tasks)
		tasks = info.procs;
	return tasks;
}

/* RLIMIT_NPROC is compared with all that the user runs, not with what the handler does. So the limit leaves
 * room for all that: it can't be too low from the start, nor is it used up by another handler's processes. */
static int room_for_processes(rlim_t *value, struct buf *why)
{
	long tasks = count_tasks();

	if (tasks < 0) {
		buf_adds(why, "processes: /proc/loadavg does not tell how many there are; set processes = 0");
		return -1;
	}
	*value += (rlim_t)tasks;
	return 0;
}

static int prepare_limits(struct sandbox *out, struct buf *why)
{
	static const int resources[CONF_LIMITS] = {
		[CONF_CPU_TIME] = RLIMIT_CPU,
		[CONF_MEMORY] = RLIMIT_DATA,
		[CONF_ADDRESS_SPACE] = RLIMIT_AS,
		[CONF_FILE_SIZE] = RLIMIT_FSIZE,
		[CONF_PROCESSES] = RLIMIT_NPROC,
		[CONF_OPEN_FILES] = RLIMIT_NOFILE,
	};

	for (size_t i = 0; i < CONF_LIMITS; i++) {
		rlim_t value = out->conf->limits[i], hard;
		struct rlimit now;

		if (value == 0 || getrlimit((unsigned)resources[i], &now) < 0)
			continue;
		if (i == CONF_PROCESSES && room_for_processes(&value, why) < 0)
			return -1;
		hard = i == CONF_CPU_TIME ? value + CPU_GRACE_S : value;
		/* A limit that this process has itself is not lifted, also where root could. */
		hard = hard < now.rlim_max ? hard : now.rlim_max;
		value = value < hard ? value : hard;
		out->limits[out->nlimits++] = (struct sandbox_limit){ resources[i], { value, hard } };
	}
	return 0;
}

/* --- all of it ------------------------------------------------------------------------------ */

static void prepare_network(struct sandbox *out)
{
	if (out->conf->network)
		return;
	out->network = geteuid() == 0 ? SANDBOX_NETWORK_OWN : SANDBOX_NETWORK_OWN_UNPRIVILEGED;
	snprintf(out->uid_map, sizeof out->uid_map, "%u %u 1\n", (unsigned)geteuid(), (unsigned)geteuid());
	snprintf(out->gid_map, sizeof out->gid_map, "%u %u 1\n", (unsigned)getegid(), (unsigned)getegid());
}

int sandbox_prepare(const struct conf_sandbox *conf, struct sandbox *out, struct buf *why)
{
	*out = (struct sandbox){ .conf = conf, .landlock_fd = -1 };
	if (prepare_user(out, why) < 0 || prepare_limits(out, why) < 0)
		goto fail;
	prepare_network(out);
	if (conf->writable)
		out->landlock_fd = landlock_open(conf->writable, why);
	if (conf->writable && out->landlock_fd < 0)
		goto fail;
	return 0;
fail:
	sandbox_release(out);
	return -1;
}

void sandbox_release(struct sandbox *s)
{
	if (s->landlock_fd >= 0)
		close(s->landlock_fd);
	s->landlock_fd = -1;
}

int sandbox_try(const struct conf_sandbox *conf, const char *cwd, struct buf *why)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pidfd = -1;
	struct sandbox sandbox;
	struct spawn spawn = { .cwd = cwd, .input = null, .output = null, .sandbox = &sandbox };
	pid_t pid = -1;

	if (null < 0) {
		buf_addf(why, "/dev/null: %s", strerror(errno));
		return -1;
	}
	if (sandbox_prepare(conf, &sandbox, why) == 0) {
		pid = spawn_child(&spawn, &pidfd, why);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		sandbox_release(&sandbox);
	}
	if (pidfd >= 0)
		close(pidfd);
	close(null);
	return pid > 0 ? 0 : -1;
}
