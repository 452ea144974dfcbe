#include "lib/delivery/targets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static char root[300];

static void new_root(void)
{
	static int n;

	snprintf(root, sizeof(root), "%s/handlers %d", tap_tmpdir(), ++n);
	mkdir(root, 0755);
}

static const char *below(const char *name)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void make_dir(const char *name)
{
	mkdir(below(name), 0755);
}

static void make_file(const char *name, mode_t mode)
{
	int fd = open(below(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, mode) < 0)
		CHECK(false, "can make %s", name);
	close(fd);
}

static void make_link(const char *to, const char *name)
{
	if (symlink(to, below(name)) < 0)
		CHECK(false, "can link %s", name);
}

static void note_skip(void *ctx, const char *name, enum targets_skip why)
{
	buf_addf(ctx, "%s: %s\n", name, targets_skip_text(why));
}

static void join(const struct targets *t, struct buf *out)
{
	for (size_t i = 0; i < t->n; i++)
		buf_addf(out, "%s%s", i ? " " : "", t->names[i]);
}

/* WANT: names with a space between. */
static void check_find(const char *event, const char *want, const char *promise)
{
	struct buf got = BUF_INIT, err = BUF_INIT;
	struct targets t;

	CHECK_INT(event ? targets_find(root, event, &t, NULL, NULL, &err)
	                : targets_find_all(root, &t, NULL, NULL, &err),
	          0, "%s: no error", promise);
	join(&t, &got);
	CHECK_STR(buf_str(&got), want, "%s", promise);
	CHECK_STR(buf_str(&err), "", "%s: no reason", promise);
	targets_free(&t);
	buf_free(&got);
	buf_free(&err);
}

static void check_skips(const char *event, const char *want, const char *promise)
{
	struct buf got = BUF_INIT, err = BUF_INIT;
	struct targets t;

	if (event)
		targets_find(root, event, &t, note_skip, &got, &err);
	else
		targets_find_all(root, &t, note_skip, &got, &err);
	CHECK_STR(buf_str(&got), want, "%s", promise);
	targets_free(&t);
	buf_free(&got);
	buf_free(&err);
}

static void check_error(const char *dir, const char *event, const char *want, const char *promise)
{
	struct buf err = BUF_INIT;
	struct targets t;

	CHECK_INT(event ? targets_find(dir, event, &t, NULL, NULL, &err)
	                : targets_find_all(dir, &t, NULL, NULL, &err),
	          -1, "%s: an error", promise);
	CHECK_STR(buf_str(&err), want, "%s: which says where and why", promise);
	CHECK(t.n == 0 && !t.names, "%s: nothing is left to free", promise);
	buf_free(&err);
}

static void test_order(void)
{
	static const char *const files[] = {
		"session.completed/20-b", "session.completed/10-a", "session.completed/Z",
		"session.completed/9-c", "session.completed/a", "session.completed/B.sh",
		"session.completed/_x", "all/zz", "all/00", "session.started/never",
		"session.completed.x/never",
	};

	new_root();
	make_dir("session.completed");
	make_dir("session.completed.x");
	make_dir("session.started");
	make_dir("all");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		make_file(files[i], 0755);
	check_find("session.completed",
	           "session.completed/10-a session.completed/20-b session.completed/9-c "
	           "session.completed/B.sh session.completed/Z session.completed/_x "
	           "session.completed/a all/00 all/zz",
	           "the event's folder by bytes, then all/");
	check_find("candidate.invited", "all/00 all/zz", "an event without a folder goes to all/");
	check_find("all", "all/00 all/zz", "an event called all runs them once");
	check_find("../session.started", "all/00 all/zz", "a name that is no event opens no folder");
	check_find("", "all/00 all/zz", "nor does an empty one");
}

static void test_file_as_handler(void)
{
	new_root();
	make_file("session.completed", 0755);
	make_file("candidate.invited", 0644);
	make_file("all", 0755);
	check_find("session.completed", "session.completed", "a file named like the event is a handler");
	check_find("session.started", "", "a file called all is no folder of handlers, and no error");
	check_find("all", "all", "but the handler of an event called all");
	check_find("candidate.invited", "", "a file without the run bit is none");
	check_skips("candidate.invited", "candidate.invited: not executable (chmod +x)\n",
	            "which is said");
	check_find(NULL, "all session.completed", "all of them are listed");
}

static void test_empty(void)
{
	new_root();
	check_find("session.completed", "", "no subfolders: no handlers");
	make_dir("session.completed");
	make_dir("all");
	check_find("session.completed", "", "empty subfolders: no handlers");
	check_find(NULL, "", "and none in all");
}

static void make_odd_entries(void)
{
	make_dir("e");
	make_file("e/10-good", 0755);
	make_file("e/a.b.c", 0700);
	make_file("e/.hidden", 0755);
	make_file("e/copy~", 0755);
	make_file("e/copy.bak", 0755);
	make_file("e/x.dpkg-new", 0755);
	make_file("e/x.dpkg-old", 0755);
	make_file("e/with space", 0755);
	make_file("e/new\nline", 0755);
	make_file("e/\xc3\xa4", 0755);
	make_file("e/-rf", 0755);
	make_file("e/dot.", 0755);
	make_file("e/#emacs#", 0755);
	make_file("e/plain", 0644);
	make_dir("e/folder");
	mkfifo(below("e/fifo"), 0777);
	make_link("10-good", "e/link");
	make_link("nowhere", "e/dangling");
	make_link("loop", "e/loop");
	make_link("folder", "e/dirlink");
}

static void test_entries(void)
{
	static const char skips[] =
		"e/#emacs#: not a name for a handler (A-Z a-z 0-9 _ - and dots inside)\n"
		"e/.hidden: hidden\n"
		"e/copy.bak: a backup copy by its name\n"
		"e/copy~: a backup copy by its name\n"
		"e/dangling: can't be examined (a link to nowhere?)\n"
		"e/dirlink: a directory\n"
		"e/dot.: not a name for a handler (A-Z a-z 0-9 _ - and dots inside)\n"
		"e/fifo: not a regular file\n"
		"e/folder: a directory\n"
		"e/loop: can't be examined (a link to nowhere?)\n"
		"e/new\nline: not a name for a handler (A-Z a-z 0-9 _ - and dots inside)\n"
		"e/plain: not executable (chmod +x)\n"
		"e/with space: not a name for a handler (A-Z a-z 0-9 _ - and dots inside)\n"
		"e/x.dpkg-new: a backup copy by its name\n"
		"e/x.dpkg-old: a backup copy by its name\n"
		"e/\xc3\xa4: not a name for a handler (A-Z a-z 0-9 _ - and dots inside)\n";

	new_root();
	make_odd_entries();
	check_find("e", "e/-rf e/10-good e/a.b.c e/link", "files with the run bit and a good name");
	check_find(NULL, "e/-rf e/10-good e/a.b.c e/link", "the same in the list of all");
	check_skips("e", skips, "everything else is named with its reason");
	check_skips(NULL, skips, "the same in the list of all");
}

static void test_top_level(void)
{
	new_root();
	make_dir("session.completed");
	make_file("session.completed/x", 0755);
	make_dir("Session.Started");
	make_file("Session.Started/x", 0755);
	make_dir(".git");
	make_file(".git/x", 0755);
	make_file("README", 0755);
	make_file("read.me~", 0755);
	make_dir("all");
	make_file("all/log", 0755);
	check_find(NULL, "all/log session.completed/x", "only folders named like events count");
	check_skips(NULL,
	            ".git: hidden\nREADME: not named like an event\n"
	            "Session.Started: not named like an event\nread.me~: a backup copy by its name\n",
	            "the others are named");
}

static void test_webhook_id(void)
{
	static const char id[] = "wh_01kb2x3y4z5a6b7c8d9e0f1g2h";

	new_root();
	make_file(id, 0755);
	check_find(id, "", "a file named like a webhook's id is no handler");
	check_find(NULL, "", "nor is it among all handlers");
	check_skips(NULL, "wh_01kb2x3y4z5a6b7c8d9e0f1g2h: named like a webhook's id\n", "it is named with the reason");
}

static void test_backup_of_a_folder(void)
{
	new_root();
	make_dir("e.bak");
	make_file("e.bak/x", 0755);
	check_find("e.bak", "e.bak/x", "a folder is judged by the rule for events, not for files");
}

static void test_linked_folder(void)
{
	new_root();
	make_dir("real");
	make_file("real/x", 0755);
	make_link("real", "e");
	check_find("e", "e/x", "a subfolder may be a link");
	make_link("missing", "gone");
	check_error(root, "gone", below("gone: No such file or directory"),
	            "a folder that links to nowhere, which may come back");
	check_error(root, NULL, below("gone: No such file or directory"), "the same in the list of all");
}

static void test_changes(void)
{
	new_root();
	make_dir("e");
	make_file("e/a", 0755);
	check_find("e", "e/a", "one handler");
	make_file("e/b", 0755);
	check_find("e", "e/a e/b", "one that was added counts at once");
	unlink(below("e/a"));
	check_find("e", "e/b", "one that was removed no longer");
	chmod(below("e/b"), 0644);
	check_find("e", "", "nor one without its run bit");
}

static void test_long_name(void)
{
	char name[300];

	new_root();
	make_dir("e");
	memset(name, 'x', sizeof(name));
	memcpy(name, "e/", 2);
	name[TARGET_NAME_MAX] = '\0';
	make_file(name, 0755);
	check_find("e", name, "a name of TARGET_NAME_MAX bytes");
	memset(name + TARGET_NAME_MAX, 'x', 2);
	name[TARGET_NAME_MAX + 2] = '\0'; /* 255 bytes behind the slash: the file system's limit */
	make_file(name, 0755);
	name[TARGET_NAME_MAX] = '\0';
	check_find("e", name, "a longer one is skipped");
}

static void test_many(void)
{
	struct buf err = BUF_INIT;
	struct targets t;
	char name[32];
	bool sorted = true;

	new_root();
	make_dir("all");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "all/%d", (i * 7919) % 1000);
		make_file(name, 0755);
	}
	CHECK_INT(targets_find(root, "x", &t, NULL, NULL, &err), 0, "a folder of 1000 handlers is read");
	CHECK_INT((int64_t)t.n, 1000, "all are found");
	for (size_t i = 1; i < t.n; i++)
		sorted = sorted && strcmp(t.names[i - 1], t.names[i]) < 0;
	CHECK(sorted, "in order");
	targets_free(&t);
	buf_free(&err);
}

static void test_missing_root(void)
{
	char missing[700];

	new_root();
	snprintf(missing, sizeof(missing), "%s: No such file or directory", below("none"));
	check_error(below("none"), "e", missing, "no handlers' folder");
	make_file("file", 0755);
	snprintf(missing, sizeof(missing), "%s: Not a directory", below("file"));
	check_error(below("file"), NULL, missing, "a file in its place");
}

/* Permissions bind only those who are not root: look from a process that is not. */
static int find_as_nobody(const char *event)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		struct buf err = BUF_INIT;
		struct targets t;
		int result;

		if (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(99);
		result = targets_find(root, event, &t, NULL, NULL, &err);
		_exit(result < 0 ? 98 : (int)t.n);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_permissions(void)
{
	new_root();
	chmod(tap_tmpdir(), 0755);
	make_dir("e");
	make_file("e/mine", getuid() == 0 ? 0700 : 0600);
	make_file("e/everyones", 0755);
	CHECK_INT(find_as_nobody("e"), 1, "a file that this user can't run is no handler");
	chmod(below("e"), 0300);
	CHECK_INT(find_as_nobody("e"), 98, "a subfolder that can't be read is an error, not empty");
	chmod(below("e"), 0444);
	CHECK_INT(find_as_nobody("e"), 98, "nor may one be concluded from whose files can't be examined");
	chmod(below("e"), 0755);
	chmod(root, 0300);
	CHECK_INT(find_as_nobody("e"), 98, "a handlers' folder that can't be read is an error");
	chmod(root, 0755);
}

static void test_names(void)
{
	static const struct {
		const char *name;
		bool valid;
	} rows[] = {
		{ "session.completed/20-warehouse", true }, { "session.completed", true },
		{ "all/10-log", true }, { "all", true }, { "a/b.c.d", true }, { "x_1/Y-2", true },
		{ "a/-rf", true }, { "", false }, { "/", false }, { "a/", false }, { "/a", false },
		{ "a/b/c", false }, { "../etc/passwd", false }, { "a/..", false }, { "a/.", false },
		{ "..", false }, { "a/../b", false }, { "a/.b", false }, { "a/b.", false },
		{ "a/b c", false }, { "a/b\n", false }, { "a/b~", false }, { "a/b.bak", false },
		{ "a/b.dpkg-dist", false }, { "A/b", false }, { "a-b/c", false }, { "a..b/c", false },
		{ "wh_01kb2x3y4z5a6b7c8d9e0f1g2h", false }, { "wh_created", true },
		{ "all/wh_01kb2x3y4z5a6b7c8d9e0f1g2h", true }, { "wh_01kb2x3y4z5a6b7c8d9e0f1g2h/x", true },
		{ "a/b;rm", false }, { "a/$(id)", false }, { "a/\xc3\xa4", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK(targets_name_valid(rows[i].name) == rows[i].valid, "\"%s\" is %s name for a handler",
		      strcmp(rows[i].name, "a/b\n") == 0 ? "a/b\\n" : rows[i].name,
		      rows[i].valid ? "a" : "no");
}

static void test_events(void)
{
	static const struct {
		const char *name, *event;
	} rows[] = {
		{ "session.completed/20-warehouse", "session.completed" }, { "session.completed", "session.completed" },
		{ "all/10-log", NULL }, { "all", "all" }, { "allow/x", "allow" }, { "al/x", "al" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *event = targets_event(rows[i].name);

		CHECK_STR(event ? event : "(each)", rows[i].event ? rows[i].event : "(each)", "whose handler %s is", rows[i].name);
		free(event);
	}
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

int main(void)
{
	int fds = count_fds();

	test_order();
	test_file_as_handler();
	test_empty();
	test_entries();
	test_top_level();
	test_webhook_id();
	test_backup_of_a_folder();
	test_linked_folder();
	test_changes();
	test_long_name();
	test_many();
	test_missing_root();
	test_permissions();
	test_names();
	test_events();
	CHECK_INT(count_fds(), fds, "no descriptor is left open");
	return tap_done();
}
