#include "lib/event/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

#define NEW_YEAR "2026-01-01T00:00:00Z"
#define NEW_YEAR_MS INT64_C(1767225600000)

/* Stands in for libcrypto's, and notes what was wiped while it is still there to be seen. */
void OPENSSL_cleanse(void *ptr, size_t len);

static char wiped[65536];
static size_t wiped_len;

void OPENSSL_cleanse(void *ptr, size_t len)
{
	volatile char *p = ptr;

	if (len < sizeof wiped - wiped_len) {
		memcpy(wiped + wiped_len, ptr, len);
		wiped_len += len;
	}
	while (len-- > 0)
		*p++ = 0;
}

static int times_wiped(const char *text)
{
	const char *p = wiped;
	int n = 0;

	while ((p = memmem(p, wiped_len - (size_t)(p - wiped), text, strlen(text)))) {
		p += strlen(text);
		n++;
	}
	return n;
}

static char *file_with(const void *content, size_t len)
{
	static char path[300];

	snprintf(path, sizeof path, "%s/secret", tap_tmpdir());
	unlink(path);
	if (fdio_create_file(path, 0600, content, len))
		abort();
	return path;
}

static void check_file(const char *path, const char *want, const char *promise)
{
	struct buf content = BUF_INIT;

	fdio_read_file(path, 65536, &content);
	CHECK_STR(buf_str(&content), want, "%s", promise);
	buf_free(&content);
}

/* --- reading --- */

#define TEXT(s) s, sizeof s - 1

/* A secret as "bytes|until_ms ", all of them in a row. */
static void describe(const struct secrets *s, struct buf *out)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		buf_adds(out, i ? "," : "");
		buf_add(out, s->items[i].bytes, s->items[i].len);
		if (s->items[i].until_ms != SECRETS_FOREVER)
			buf_addf(out, "|%lld", (long long)s->items[i].until_ms);
	}
}

static void test_files_that_load(void)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want, *promise;
	} cases[] = {
		{ TEXT("one\n"), "one", "the line end is no part of the secret" },
		{ TEXT("one"), "one", "the last line needs no end" },
		{ TEXT("one\r\ntwo\r\n"), "one,two", "CR LF ends a line as LF does" },
		{ TEXT("# key of 2026\n\n \t\none\n  # older\ntwo\n"), "one,two", "comments and blank lines" },
		{ TEXT(" one \n"), " one ", "blanks around a secret are part of it" },
		{ TEXT("o#ne # two\n"), "o#ne # two", "a # inside starts no comment" },
		{ TEXT("s\xc3\xa9""cret\n"), "s\xc3\xa9""cret", "bytes beyond ASCII stay as they are" },
		{ TEXT("one\xff\n"), "one\xff", "also those that are no UTF-8" },
		{ TEXT("new\nold until=" NEW_YEAR "\n"), "new,old|1767225600000", "until" },
		{ TEXT("new\nold\tuntil=" NEW_YEAR "\t \r\n"), "new,old|1767225600000", "until after a tab, blanks behind it" },
		{ TEXT("old until=2026-01-01T02:00:00.5+02:00\n"), "old|1767225600500", "until with fraction and offset" },
		{ TEXT("a until=b until=" NEW_YEAR "\n"), "a until=b|1767225600000", "only the last until counts" },
		{ TEXT("auntil=b\n"), "auntil=b", "until inside a word is part of the secret" },
		{ TEXT("old  until=" NEW_YEAR "\n"), "old |1767225600000", "one blank belongs to until, the others to the secret" },
		{ TEXT("old until=1999-01-01T00:00:00Z\n"), "old|915148800000", "a file of expired secrets loads" },
	};
	struct buf err = BUF_INIT, got = BUF_INIT;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct secrets *s = secrets_load(file_with(cases[i].text, cases[i].len), &err);

		buf_reset(&got);
		if (s)
			describe(s, &got);
		CHECK_STR(buf_str(&got), cases[i].want, "%s", cases[i].promise);
		secrets_free(s);
	}
	CHECK_STR(buf_str(&err), "", "none of them brought a complaint");
	buf_free(&err);
	buf_free(&got);
}

static void check_refused(const char *path, const char *want_in_error, const char *promise)
{
	struct buf err = BUF_INIT;
	struct secrets *s = secrets_load(path, &err);

	if (!CHECK(!s && strstr(buf_str(&err), want_in_error), "refused: %s", promise))
		printf("# %s\n", buf_str(&err));
	CHECK(strstr(buf_str(&err), path) && !strstr(buf_str(&err), "hush"),
	      "the reason names the file and nothing of its content: %s", promise);
	secrets_free(s);
	buf_free(&err);
}

static void test_files_that_do_not(void)
{
	static const struct {
		const char *text;
		size_t len;
		const char *error, *promise;
	} cases[] = {
		{ TEXT(""), "holds no secret", "an empty file" },
		{ TEXT("\n \r\n\n"), "holds no secret", "only blank lines" },
		{ TEXT("# hush\n  # hush\n"), "holds no secret", "only comments" },
		{ TEXT("fine\nhush until=tomorrow\n"), ":2: until=", "a malformed until" },
		{ TEXT("hush until=\n"), ":1: until=", "an empty until" },
		{ TEXT("hush until=2026-02-30T00:00:00Z\n"), ":1: until=", "a day that is none" },
		{ TEXT("hush until=2026-01-01\n"), ":1: until=", "a date without a time" },
		{ TEXT("hush until=" NEW_YEAR " hush\n"), ":1: until=", "something behind until" },
		{ TEXT("until=" NEW_YEAR "\n"), ":1: has no secret", "until without a secret" },
		{ TEXT(" until=" NEW_YEAR "\n"), ":1: has no secret", "until behind nothing but a blank" },
		{ TEXT("\xef\xbb\xbfhush\n"), ":1: begins with a byte order mark", "a byte order mark" },
		{ TEXT("hush\0hush\n"), ":1: holds a zero byte", "a zero byte" },
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_refused(file_with(cases[i].text, cases[i].len), cases[i].error, cases[i].promise);
}

static void test_unreadable(void)
{
	char missing[300];
	char *path = file_with("hush\n", 5);
	bool root = geteuid() == 0;

	snprintf(missing, sizeof missing, "%s/missing", tap_tmpdir());
	check_refused(missing, "No such file", "a file that is missing");
	check_refused(tap_tmpdir(), "Is a directory", "a folder");
	chmod(path, 0);
	if (root && seteuid(65534))
		abort();
	check_refused(path, "Permission denied", "a file that may not be read");
	if (root && seteuid(0))
		abort();
}

static void test_limits(void)
{
	struct buf text = BUF_INIT, err = BUF_INIT;
	struct secrets *s;
	int i;

	for (i = 0; i < SECRETS_LINE_MAX; i++)
		buf_addc(&text, 'x');
	s = secrets_load(file_with(text.data, text.len), &err);
	CHECK(s && s->items[0].len == SECRETS_LINE_MAX, "the longest secret loads");
	secrets_free(s);
	buf_addc(&text, 'x');
	check_refused(file_with(text.data, text.len), "too long", "a secret of one byte more");

	buf_reset(&text);
	for (i = 0; i < SECRETS_MAX; i++)
		buf_addf(&text, "secret-%d\n", i);
	s = secrets_load(file_with(text.data, text.len), &err);
	CHECK(s && s->n == SECRETS_MAX, "as many secrets as a file may have");
	secrets_free(s);
	buf_adds(&text, "hush\n");
	check_refused(file_with(text.data, text.len), ":17: is one secret too many", "and one more");

	while (text.len < 70000)
		buf_adds(&text, "# hush\n");
	check_refused(file_with(text.data, text.len), "File too large", "a file that is no secret file");
	buf_free(&text);
	buf_free(&err);
}

static void test_live(void)
{
	static const char text[] = "new\nold until=" NEW_YEAR "\nolder until=2025-01-01T00:00:00Z\n";
	struct buf err = BUF_INIT;
	struct secrets *s = secrets_load(file_with(TEXT(text)), &err);

	if (CHECK(s != NULL, "a file with two ends loads")) {
		CHECK_INT(secrets_live(s, NEW_YEAR_MS), 2, "a secret counts up to its end");
		CHECK_INT(secrets_live(s, NEW_YEAR_MS + 1), 1, "and no longer");
		CHECK_INT(secrets_live(s, 0), 3, "before that all count");
		CHECK(!secret_live(&s->items[2], NEW_YEAR_MS), "the oldest is over");
	}
	secrets_free(s);
	buf_free(&err);
}

static void test_value(void)
{
	static const char *const bad[] = { "", " ", "\n" };
	struct buf err = BUF_INIT;
	struct secrets *s = secrets_from_value("plain until=never", &err);
	size_t i;

	CHECK(s && s->n == 1 && s->items[0].until_ms == SECRETS_FOREVER, "a value is one secret without end");
	CHECK_STR(s ? s->items[0].bytes : NULL, "plain until=never", "and taken as it stands");
	secrets_free(s);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&err);
		CHECK(!secrets_from_value(bad[i], &err) && err.len > 0, "an empty value is refused (%zu)", i);
	}
	buf_free(&err);
}

/* --- rotating --- */

static void test_rotate(void)
{
	static const struct { const char *before, *after, *promise; } cases[] = {
		{ "one\n", "fresh\none until=2026-01-01T00:00:00.000Z\n", "the old one gets an end" },
		{ "one", "fresh\none until=2026-01-01T00:00:00.000Z", "without a line end too" },
		{ "# mine\r\none\r\n", "fresh\n# mine\r\none until=2026-01-01T00:00:00.000Z\r\n",
		  "comments and line ends stay" },
		{ "one until=2025-06-01T00:00:00Z\n\n#x\ntwo until=2027-01-01T00:00:00Z\n",
		  "fresh\none until=2025-06-01T00:00:00Z\n\n#x\ntwo until=2026-01-01T00:00:00.000Z\n",
		  "an earlier end stays, a later one is brought forward" },
		{ " a b \n", "fresh\n a b  until=2026-01-01T00:00:00.000Z\n", "blanks of a secret stay its own" },
	};
	struct buf err = BUF_INIT;
	struct secrets *s;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *path = file_with(cases[i].before, strlen(cases[i].before));

		CHECK_INT(secrets_rotate(path, "fresh", NEW_YEAR_MS, &err), 0, "rotates: %s", cases[i].promise);
		check_file(path, cases[i].after, cases[i].promise);
		s = secrets_load(path, &err);
		CHECK(s && strcmp(s->items[0].bytes, "fresh") == 0, "and loads again: %s", cases[i].promise);
		secrets_free(s);
	}
	CHECK_STR(buf_str(&err), "", "none of them brought a complaint");
	buf_free(&err);
}

static void test_rotate_refuses(void)
{
	static const struct { const char *before, *fresh, *promise; } cases[] = {
		{ "one\n", "", "an empty secret" },
		{ "one\n", "two\nthree", "a secret of two lines" },
		{ "one\n", "two\r", "a secret that ends in CR" },
		{ "one\n", "#two", "a secret that would be a comment" },
		{ "one\n", "two until=" NEW_YEAR, "a secret with an end in it" },
		{ "one\n", "two until=", "a secret that would make the file unreadable" },
		{ "one until=x\n", "two", "a file that does not load" },
		{ "", "two", "an empty file" },
	};
	struct buf err = BUF_INIT;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *path = file_with(cases[i].before, strlen(cases[i].before));

		buf_reset(&err);
		CHECK(secrets_rotate(path, cases[i].fresh, NEW_YEAR_MS, &err) < 0 && err.len > 0,
		      "rotate refuses %s", cases[i].promise);
		CHECK(!strstr(buf_str(&err), "two"), "without showing the secret: %s", cases[i].promise);
		check_file(path, cases[i].before, "and leaves the file as it was");
	}
	buf_free(&err);
}

static void test_rotate_full_file(void)
{
	struct buf text = BUF_INIT, err = BUF_INIT;
	struct secrets *s;
	const char *path;
	int i;

	for (i = 0; i < SECRETS_MAX; i++)
		buf_addf(&text, "secret-%d%s\n", i, i == 9 ? " until=1999-01-01T00:00:00Z" : "");
	path = file_with(text.data, text.len);
	CHECK_INT(secrets_rotate(path, "fresh", NEW_YEAR_MS, &err), 0, "in a full file an expired secret gives way");
	s = secrets_load(path, &err);
	CHECK(s && s->n == SECRETS_MAX && strcmp(s->items[9].bytes, "secret-8") == 0 &&
	      strcmp(s->items[10].bytes, "secret-10") == 0, "and no other");
	secrets_free(s);

	buf_reset(&text);
	for (i = 0; i < SECRETS_MAX; i++)
		buf_addf(&text, "secret-%d\n", i);
	path = file_with(text.data, text.len);
	CHECK(secrets_rotate(path, "fresh", NEW_YEAR_MS, &err) < 0, "without an expired one it is refused");
	check_file(path, text.data, "and the file stays");
	buf_free(&text);
	buf_free(&err);
}

static void test_rotate_keeps_mode_and_owner(void)
{
	struct buf err = BUF_INIT;
	char *path = file_with("one\n", 4);
	char *link = xasprintf("%s/link", tap_tmpdir());
	struct stat before, after;

	chmod(path, 0640);
	if (geteuid() == 0 && chown(path, 65534, 65534))
		abort();
	if (stat(path, &before) || symlink(path, link))
		abort();
	CHECK_INT(secrets_rotate(link, "two", NEW_YEAR_MS, &err), 0, "rotates through a symbolic link");
	if (stat(path, &after))
		abort();
	CHECK(after.st_ino != before.st_ino, "the file is replaced, not written over");
	CHECK_INT(after.st_mode, before.st_mode, "it keeps its mode");
	CHECK(after.st_uid == before.st_uid && after.st_gid == before.st_gid, "and its owner");
	CHECK(lstat(link, &after) == 0 && S_ISLNK(after.st_mode), "the link is a link still");
	free(link);
	buf_free(&err);
}

/* --- wiping --- */

static void test_wiping(void)
{
	struct buf err = BUF_INIT;
	struct secrets *s;
	const char *path = file_with(TEXT("first-secret\nsecond-secret until=" NEW_YEAR "\n"));

	wiped_len = 0;
	s = secrets_load(path, &err);
	CHECK_INT(times_wiped("first-secret"), 1, "what was read of the file is wiped after loading");
	wiped_len = 0;
	secrets_free(s);
	CHECK(times_wiped("first-secret") == 1 && times_wiped("second-secret") == 1,
	      "each secret is wiped before its memory is released");
	wiped_len = 0;
	secrets_rotate(path, "third-secret", NEW_YEAR_MS, &err);
	CHECK(times_wiped("third-secret") >= 1 && times_wiped("first-secret") >= 3,
	      "rotating wipes what it read, what it wrote and what it checked");
	buf_free(&err);
	secrets_free(NULL);
}

int main(void)
{
	test_files_that_load();
	test_files_that_do_not();
	test_unreadable();
	test_limits();
	test_live();
	test_value();
	test_rotate();
	test_rotate_refuses();
	test_rotate_full_file();
	test_rotate_keeps_mode_and_owner();
	test_wiping();
	return tap_done();
}
