#include "lib/conf/conf.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/xalloc.h"

#define FILE_NAME "ntrvsta/ntrvsta.conf"

/* NULL where neither the environment nor the password database knows it. A web server often
 * starts programs without $HOME. */
static char *home_dir(void)
{
	const char *home = getenv("HOME");
	struct passwd entry, *found = NULL;
	char text[16384], *dir = NULL;

	if (home && home[0] == '/')
		return xstrdup(home);
	if (getpwuid_r(getuid(), &entry, text, sizeof text, &found) == 0 && found &&
	    found->pw_dir && found->pw_dir[0] == '/')
		dir = xstrdup(found->pw_dir);
	return dir;
}

/* One that is there and can't be looked at counts: to go on to the next would run another
 * configuration than the operator's in silence. */
static bool is_there(const char *path)
{
	return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

char *conf_find(struct buf *err)
{
	const char *named = getenv("NTRVSTA_CONF");
	char *home, *places[2] = { NULL, NULL }, *found = NULL;

	if (named && *named)
		return xstrdup(named);
	home = home_dir();
	if (home)
		places[0] = xasprintf("%s/.config/%s", home, FILE_NAME);
	places[1] = xasprintf("%s/%s", NTRVSTA_SYSCONFDIR, FILE_NAME);
	free(home);

	for (size_t i = 0; i < 2 && !found; i++) {
		if (places[i] && is_there(places[i]))
			found = xstrdup(places[i]);
	}
	if (!found)
		buf_addf(err,
		         "no configuration: $NTRVSTA_CONF is not set, and there is neither %s nor %s; "
		         "make one with 'ntrvsta init DIR', or name yours with --config\n",
		         places[0] ? places[0] : "a home directory", places[1]);
	free(places[0]);
	free(places[1]);
	return found;
}
