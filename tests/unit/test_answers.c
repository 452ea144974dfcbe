#include <stdio.h>
#include <string.h>

#include "lib/store/answers.h"
#include "lib/store/keys.h"
#include "lib/store/sqlite.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define NOW INT64_C(1772000000000)

static struct store_once make_call(const char *org, const char *key, const char *request, int64_t now_ms)
{
	struct store_once c = { .org = org, .key = key, .now_ms = now_ms };

	bytes_sha256(request, strlen(request), c.request);
	return c;
}

static enum store_status keep(struct store *s, const struct store_once *c, const char *body)
{
	const struct store_answer a = {
		.status = 201, .headers = (char *)"X: y\r\n", .body = (char *)body, .body_len = strlen(body),
	};

	return store_keep_answer(s, c, &a);
}

/* What C gets, as text: "first", "201 X: y body", "0", with " other" behind it where it is of another request. */
static const char *found(struct store *s, const struct store_once *c)
{
	static char text[200];
	struct store_answer a;
	bool same = false;
	enum store_status status = store_find_answer(s, c, &same, &a);

	if (status == STORE_NOT_FOUND)
		return "first";
	snprintf(text, sizeof text, "%u %.*s%s%s", a.status, (int)strcspn(a.headers, "\r"), a.headers, a.body, same ? "" : " other");
	store_answer_free(&a);
	return status == STORE_OK ? text : "failed";
}

static void test_keep(void)
{
	struct store *s = new_store();
	struct store_once one = make_call("acme", "k", "r", NOW), other = make_call("acme", "k", "x", NOW + 1);
	struct store_once elsewhere = make_call("other", "k", "r", NOW), key = make_call("acme", "K", "r", NOW);
	struct store_once late = make_call("acme", "k", "r", NOW + STORE_ANSWER_KEEP_MS - 1);
	struct store_once later = make_call("acme", "k", "x", NOW + STORE_ANSWER_KEEP_MS);

	CHECK_STR(found(s, &one), "first", "nothing is known of a key");
	CHECK_INT(keep(s, &one, "body"), STORE_OK, "an answer is kept");
	CHECK_STR(found(s, &one), "201 X: ybody", "... and found again");
	CHECK_STR(found(s, &late), "201 X: ybody", "... for a day");
	CHECK_STR(found(s, &later), "first", "... and no longer");
	CHECK_STR(found(s, &other), "201 X: ybody other", "another request with the key is told apart");
	CHECK_STR(found(s, &elsewhere), "first", "another organisation has its own keys");
	CHECK_STR(found(s, &key), "first", "capitals count");
	CHECK_INT(keep(s, &other, "more"), STORE_NOT_FOUND, "no other takes its place");
	CHECK_STR(found(s, &one), "201 X: ybody", "... while it is kept");
	CHECK_INT(keep(s, &later, "new"), STORE_OK, "one that has lapsed");
	CHECK_STR(found(s, &later), "201 X: ynew", "... makes room for another");
	CHECK_INT(keep(s, &elsewhere, ""), STORE_OK, "an answer without a body");
	CHECK_STR(found(s, &elsewhere), "201 X: y", "... is one as well");
	store_close(s);
}

static void test_reserve(void)
{
	struct store *s = new_store();
	struct store_once one = make_call("acme", "k", "r", NOW), two = make_call("acme", "k", "r", NOW + 500);
	struct store_once three = make_call("acme", "k", "r", NOW + 1000);

	CHECK_INT(store_reserve_answer(s, &one, NOW + 1000), STORE_OK, "a key is reserved");
	CHECK_STR(found(s, &two), "0 ", "the call is seen to be under way");
	CHECK_INT(store_drop_answer(s, &two), STORE_OK, "nobody else");
	CHECK_STR(found(s, &two), "0 ", "... can give it up");
	CHECK_INT(store_drop_answer(s, &one), STORE_OK, "the call itself");
	CHECK_STR(found(s, &two), "first", "... can");
	store_reserve_answer(s, &two, NOW + 1000);
	CHECK_INT(keep(s, &two, "done"), STORE_OK, "a reservation becomes an answer");
	CHECK_STR(found(s, &three), "201 X: ydone", "... that is kept as others are");
	store_drop_answer(s, &two);
	CHECK_STR(found(s, &three), "201 X: ydone", "... and can't be given up any more");
	store_close(s);
}

static void test_lapse(void)
{
	struct store *s = new_store();
	struct store_once one = make_call("acme", "k", "r", NOW), two = make_call("acme", "k", "r", NOW + 1000);

	store_reserve_answer(s, &one, NOW + 1000);
	CHECK_STR(found(s, &two), "first", "a reservation lapses");
	CHECK_INT(keep(s, &one, "late"), STORE_OK, "who is late keeps the answer");
	CHECK_STR(found(s, &two), "201 X: ylate", "... if nobody came meanwhile");
	store_close(s);

	s = new_store();
	store_reserve_answer(s, &one, NOW + 1000);
	CHECK_INT(store_reserve_answer(s, &two, NOW + 2000), STORE_OK, "another one may take its place");
	CHECK_INT(keep(s, &one, "late"), STORE_NOT_FOUND, "... which the late one does not");
	CHECK_INT(keep(s, &two, "second"), STORE_OK, "... take away");
	CHECK_STR(found(s, &two), "201 X: ysecond", "... again");
	store_close(s);
}

static void test_prune(void)
{
	struct store *s = new_store();
	struct store_once c = make_call("acme", "kept", "r", NOW);
	struct store_retention r = { 0 };
	char key[16];
	size_t removed;
	int i, steps = 0;

	keep(s, &c, "body");
	for (i = 0; i < 450; i++) {
		snprintf(key, sizeof key, "k%d", i);
		c = make_call("acme", key, "r", NOW - STORE_ANSWER_KEEP_MS);
		keep(s, &c, "body");
	}
	while (!r.done && steps < 100) {
		store_prune(s, &r, NOW, 50, &removed);
		steps++;
	}
	CHECK(steps == 3, "what has lapsed is removed in steps, of which there are %d", steps);
	c = make_call("acme", "k449", "r", NOW - STORE_ANSWER_KEEP_MS);
	CHECK_STR(found(s, &c), "first", "all of it");
	c = make_call("acme", "kept", "r", NOW);
	CHECK_STR(found(s, &c), "201 X: ybody", "and nothing else");
	store_close(s);
}

/* --- a transaction around others ------------------------------------------------------------ */

static enum store_status put_key(struct store *s, const char *prefix)
{
	struct store_key key = { .org = "acme", .scope = "read", .created_ms = NOW };

	snprintf(key.prefix, sizeof key.prefix, "%s", prefix);
	return store_put_key(s, &key);
}

static int add_prefix(void *ctx, const struct store_key *key)
{
	buf_addf(ctx, "%s ", key->prefix);
	return 0;
}

static const char *keys_of(struct store *s)
{
	static char text[100];
	struct buf all = BUF_INIT;

	store_list_keys(s, NULL, add_prefix, &all);
	snprintf(text, sizeof text, "%s", buf_str(&all));
	buf_free(&all);
	return text;
}

static void test_around(void)
{
	struct store *s = new_store();
	struct store_stats stats;

	CHECK_INT(store_begin_around(s), STORE_OK, "a transaction begins around others");
	put_key(s, "a");
	CHECK_INT(store_begin(s), STORE_OK, "one within it");
	put_key(s, "b");
	CHECK_INT(store_commit(s), STORE_OK, "... is committed");
	store_rollback(s);
	CHECK_STR(keys_of(s), "a b ", "... and not taken back when nothing has begun");
	store_begin(s);
	put_key(s, "c");
	store_rollback(s);
	CHECK_STR(keys_of(s), "a b ", "one that is taken back is taken back alone");
	CHECK_INT(store_stats(s, NULL, NOW, NOW + 1, &stats), STORE_OK, "what reads in a transaction of its own can");
	CHECK_INT(store_end_around(s, true), STORE_OK, "all of it is committed");
	CHECK_STR(keys_of(s), "a b ", "... and there");

	store_begin_around(s);
	store_begin(s);
	put_key(s, "d");
	store_commit(s);
	put_key(s, "e");
	store_begin(s);
	put_key(s, "f");
	CHECK_INT(store_end_around(s, false), STORE_OK, "or all of it is taken back");
	CHECK_STR(keys_of(s), "a b ", "... also what was committed within it");
	CHECK(store_begin(s) == STORE_OK && put_key(s, "g") == STORE_OK && store_commit(s) == STORE_OK,
	      "afterwards a transaction is one by itself");
	CHECK_STR(keys_of(s), "a b g ", "... again");
	store_close(s);
}

/* SQLite has rolled back by itself, as it does where the disk is full. */
static void test_around_broken(void)
{
	struct store *s = new_store();

	store_begin_around(s);
	put_key(s, "a");
	sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	CHECK_INT(store_begin(s), STORE_UNAVAILABLE, "nothing begins within what was rolled back");
	CHECK_INT(store_end_around(s, true), STORE_UNAVAILABLE, "... and it can't be committed");
	CHECK_STR(keys_of(s), "", "nothing of it is there");
	CHECK(store_begin(s) == STORE_OK && put_key(s, "b") == STORE_OK && store_commit(s) == STORE_OK, "the store goes on");
	CHECK_STR(keys_of(s), "b ", "... as ever");
	store_close(s);
}

int main(void)
{
	test_keep();
	test_reserve();
	test_lapse();
	test_prune();
	test_around();
	test_around_broken();
	return tap_done();
}
