#include "lib/conf/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/conf/conf.h"
#include "tests/unit/tap.h"

#define GIB ((int64_t)1 << 30)

/* The configuration that consists of a source and TEXT; NULL with the errors in ERR. */
static struct conf *load(const char *text, struct buf *err)
{
	char *path = xasprintf("%s/ntrvsta.conf", tap_tmpdir()), *all = xasprintf("[source ntrvsta]\n%s", text);
	struct conf *c;

	if (fdio_replace_file(path, 0600, all, strlen(all)) < 0)
		exit(99);
	c = conf_load(path, err);
	free(all);
	free(path);
	return c;
}

static struct conf *load_good(const char *text)
{
	struct buf err = BUF_INIT;
	struct conf *c = load(text, &err);

	if (!c) {
		printf("Bail out! %s\n", buf_str(&err));
		exit(99);
	}
	buf_free(&err);
	return c;
}

static void test_defaults(void)
{
	static const int64_t want[CONF_LIMITS] = {
		[CONF_CPU_TIME] = 3600, [CONF_MEMORY] = GIB, [CONF_ADDRESS_SPACE] = 0, [CONF_FILE_SIZE] = GIB,
		[CONF_PROCESSES] = 256, [CONF_OPEN_FILES] = 1024,
	};
	struct conf *c = load_good("");
	const struct conf_sandbox *s = &c->handler_defaults.sandbox;

	CHECK_STR(s->user, "", "nobody is named");
	CHECK_INT(s->umask, 077, "umask 077");
	CHECK(s->no_new_privs, "no_new_privs on");
	for (int i = 0; i < CONF_LIMITS; i++)
		CHECK_INT((int64_t)s->limits[i], want[i], "%s", conf_limit_name(i));
	CHECK(!s->writable, "writable all");
	CHECK(s->network, "network on");
	conf_unref(c);
}

static void test_values(void)
{
	struct conf *c = load_good("[handler all]\nuser =\numask = 7\nmemory = 0\nwritable = all\nnetwork = on\n"
	                           "[handlers]\nuser = www-data\numask = 0027\ncpu_time = 2m\nmemory = 1M\n"
	                           "address_space = 4G\nfile_size = 5M\nprocesses = 1\nopen_files = 16\n"
	                           "writable = out  /var/tmp\nnetwork = off\n[handler session.completed]\nwritable = none\n");
	static const int64_t want[CONF_LIMITS] = {
		[CONF_CPU_TIME] = 120, [CONF_MEMORY] = 1 << 20, [CONF_ADDRESS_SPACE] = 4 * GIB, [CONF_FILE_SIZE] = 5 << 20,
		[CONF_PROCESSES] = 1, [CONF_OPEN_FILES] = 16,
	};
	const struct conf_sandbox *s = &c->handler_defaults.sandbox, *one = &conf_handler(c, "all")->sandbox;
	char *out = xasprintf("%s/out", c->dir);

	CHECK_STR(s->user, "www-data", "user");
	CHECK_INT(s->umask, 027, "umask");
	for (int i = 0; i < CONF_LIMITS; i++)
		CHECK_INT((int64_t)s->limits[i], want[i], "%s", conf_limit_name(i));
	CHECK_STR(s->writable[0], out, "a relative path starts at the file's folder");
	CHECK_STR(s->writable[1], "/var/tmp", "an absolute one stays");
	CHECK(!s->writable[2], "that is all");
	CHECK(!s->network, "network off");
	CHECK_STR(one->user, "", "one handler: the user is taken back");
	CHECK_INT(one->umask, 7, "umask, in one digit");
	CHECK_INT((int64_t)one->limits[CONF_MEMORY], 0, "memory without limit");
	CHECK_INT((int64_t)one->limits[CONF_FILE_SIZE], 5 << 20, "what it leaves out comes from [handlers]");
	CHECK(!one->writable && one->network, "writable all, network on");
	CHECK(!conf_sandbox_equal(s, one), "it differs from the others");
	CHECK(!conf_sandbox_equal(s, &conf_handler(c, "session.completed")->sandbox), "so does one that may write nothing");
	CHECK(!conf_handler(c, "session.completed")->sandbox.writable[0], "which is an empty list");
	CHECK(conf_sandbox_equal(s, &conf_handler(c, "session.started")->sandbox), "others don't");
	free(out);
	conf_unref(c);
}

static void test_refusals(void)
{
	static const struct {
		const char *text, *error; /* ERROR: what is part of the message, with the line of [source] as 1 */
	} rows[] = {
		{ "[handlers]\numask = 8\n", ":3: umask wants an octal number" },
		{ "[handlers]\numask = 1000\n", ":3: umask wants" },
		{ "[handlers]\numask =\n", ":3: umask wants" },
		{ "[handlers]\numask = -1\n", ":3: umask wants" },
		{ "[handlers]\nuser = a b\n", ":3: user wants the name of a user" },
		{ "[handlers]\nuser = www-data:adm\n", ":3: user wants" },
		{ "[handlers]\ncpu_time = 1500ms\n", ":3: cpu_time wants whole seconds" },
		{ "[handlers]\ncpu_time = 10\n", ":3: cpu_time wants" },
		{ "[handlers]\nmemory = 1023K\n", ":3: memory wants a size such as 512M or 2G, from 1M, or 0" },
		{ "[handlers]\naddress_space = -1\n", ":3: address_space wants" },
		{ "[handlers]\nfile_size = x\n", ":3: file_size wants" },
		{ "[handlers]\nprocesses = 100001\n", ":3: processes wants a number from 1 to 100000, or 0" },
		{ "[handlers]\nprocesses = 99999999999999999999\n", ":3: processes wants" },
		{ "[handlers]\nopen_files = 15\n", ":3: open_files wants a number from 16 to 1000000, or 0" },
		{ "[handlers]\nopen_files =\n", ":3: open_files wants" },
		{ "[handlers]\nwritable =\n", ":3: writable wants all, none, or paths" },
		{ "[handlers]\nwritable = /tmp ~/x\n", ":3: writable wants paths in full: '~' is not expanded" },
		{ "[handlers]\nnetwork = no\n", ":3: network wants on or off" },
		{ "[handlers]\nno_new_privs = 1\n", ":3: no_new_privs wants on or off" },
		{ "[handlers]\nwritable = none\nno_new_privs = off\n", ":4: no_new_privs = off and a list in writable" },
		{ "[handlers]\nwritable = /\n[handler all]\nno_new_privs = off\n", ":5: no_new_privs = off and a list" },
		{ "[handlers]\nno_new_privs = off\n[handler all]\nwritable = /\n", ":5: no_new_privs = off and a list" },
		{ "[webhooks]\nnetwork = off\n", "it belongs to [handlers]" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf err = BUF_INIT;
		struct conf *c = load(rows[i].text, &err);

		CHECK(!c && strstr(buf_str(&err), rows[i].error), "%s", rows[i].error);
		conf_unref(c);
		buf_free(&err);
	}
}

static void test_many_paths(void)
{
	struct buf text = BUF_INIT, err = BUF_INIT;
	struct conf *c;

	buf_adds(&text, "[handlers]\nwritable =");
	for (int i = 0; i < 64; i++)
		buf_addf(&text, " /%d", i);
	c = load_good(buf_str(&text));
	CHECK(c->handler_defaults.sandbox.writable[63] && !c->handler_defaults.sandbox.writable[64], "64 paths");
	conf_unref(c);
	buf_adds(&text, " /64");
	CHECK(!load(buf_str(&text), &err) && strstr(buf_str(&err), "wants at most 64 paths"), "and no more");
	buf_free(&text);
	buf_free(&err);
}

int main(void)
{
	char *secret = xasprintf("%s/secret", tap_tmpdir());

	unsetenv("NTRVSTA_WEBHOOK_SECRET");
	if (fdio_create_file(secret, 0600, "s3cret\n", 7) < 0)
		return 99;
	test_defaults();
	test_values();
	test_refusals();
	test_many_paths();
	free(secret);
	return tap_done();
}
