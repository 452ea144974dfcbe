#include "lib/store/invitations.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "tests/unit/stores.h"
#include "tests/unit/tap.h"

#define NOW 1000000

/* --- templates ----------------------------------------------------------------------------- */

/* The id of what was stored, and whether that was there already. */
static bool put_template(struct store *s, const char *org, const char *title, const char *posting_id, int64_t now_ms,
                         char id[ID_SIZE])
{
	struct store_template t = {
		.org = xstrdup(org), .title = xstrdup(title), .description = xstrdup("what it is about"),
		.posting_id = xstrdup(posting_id), .expires_days = 30,
	};
	bool reused;

	CHECK_INT(store_put_template(s, &t, now_ms, &reused), STORE_OK, "%s of %s is stored", title, org);
	memcpy(id, t.id, ID_SIZE);
	store_template_free(&t);
	return reused;
}

static void test_template(void)
{
	struct store *s = new_store();
	struct store_template t;
	char id[ID_SIZE];

	CHECK(!put_template(s, "acme", "Engineer", "job-7", NOW, id), "a template is new");
	CHECK(id_valid(ID_TEMPLATE, id), "... and has an id");
	CHECK_INT(store_get_template(s, "acme", id, &t), STORE_OK, "it is there");
	CHECK_STR(t.id, id, "... with its id");
	CHECK_STR(t.org, "acme", "... its organisation");
	CHECK_STR(t.title, "Engineer", "... its title");
	CHECK_STR(t.description, "what it is about", "... its description");
	CHECK_STR(t.posting_id, "job-7", "... the id that others gave it");
	CHECK_INT(t.expires_days, 30, "... how long its invitations hold");
	CHECK_INT(t.created_ms, NOW, "... and when it was made");
	store_template_free(&t);
	CHECK_INT(store_get_template(s, NULL, id, &t), STORE_OK, "it is there for who asks for any organisation's");
	store_template_free(&t);
	CHECK_INT(store_get_template(s, "other", id, &t), STORE_NOT_FOUND, "another organisation does not see it");
	store_template_free(&t);
	CHECK_INT(store_get_template(s, NULL, "tpl_none", &t), STORE_NOT_FOUND, "another is not there");
	store_template_free(&t);
	store_close(s);
}

static void test_template_again(void)
{
	struct store *s = new_store();
	char first[ID_SIZE], again[ID_SIZE];
	struct store_template t = {
		.org = xstrdup("acme"), .title = xstrdup("Another title"), .description = xstrdup(""), .posting_id = xstrdup("job-7"),
		.expires_days = 1,
	};
	bool reused;

	put_template(s, "acme", "Engineer", "job-7", NOW, first);
	CHECK_INT(store_put_template(s, &t, NOW + 1, &reused), STORE_OK, "the same posting once more");
	CHECK(reused, "... is reused");
	CHECK_STR(t.id, first, "... is the one that is there");
	CHECK_STR(t.title, "Engineer", "... as it was");
	CHECK_INT(t.created_ms, NOW, "... since then");
	store_template_free(&t);
	CHECK(!put_template(s, "other", "Engineer", "job-7", NOW, again), "another organisation's is another one");
	CHECK(!put_template(s, "acme", "Engineer", "job-8", NOW, again), "so is another posting's");
	CHECK(!put_template(s, "acme", "Engineer", "JOB-7", NOW, again), "case counts");
	CHECK(!put_template(s, "acme", "Engineer", "", NOW, first), "one without a posting is new");
	CHECK(!put_template(s, "acme", "Engineer", "", NOW, again) && strcmp(first, again) != 0, "... each time");
	store_close(s);
}

/* Titles of a list, with blanks between them. */
struct titles {
	char text[200];
	size_t n, max;
};

static int add_title(void *ctx, const struct store_template *t)
{
	struct titles *titles = ctx;

	snprintf(titles->text + strlen(titles->text), sizeof titles->text - strlen(titles->text), "%s%s",
	         titles->n ? " " : "", t->title);
	return ++titles->n == titles->max;
}

static void check_titles(struct store *s, const char *org, const char *before, size_t max, const char *want, const char *what)
{
	struct titles titles = { .max = max };

	CHECK_INT(store_list_templates(s, org, before, add_title, &titles), STORE_OK, "%s", what);
	CHECK_STR(titles.text, want, "... %s", want);
}

static void test_list_templates(void)
{
	struct store *s = new_store();
	char ids[4][ID_SIZE];

	put_template(s, "acme", "a", "", NOW, ids[0]);
	put_template(s, "acme", "b", "", NOW + 1, ids[1]);
	put_template(s, "other", "c", "", NOW + 2, ids[2]);
	put_template(s, "acme", "d", "", NOW + 3, ids[3]);
	check_titles(s, "acme", NULL, 9, "d b a", "an organisation's, the newest first");
	check_titles(s, NULL, NULL, 9, "d c b a", "all");
	check_titles(s, "acme", NULL, 1, "d", "a callback ends it");
	check_titles(s, "acme", ids[3], 9, "b a", "behind one");
	check_titles(s, NULL, ids[2], 1, "b", "behind another organisation's");
	check_titles(s, "nobody", NULL, 9, "", "nobody's");
	store_close(s);
}

/* --- invitations --------------------------------------------------------------------------- */

static struct store_invitation make(const char *org, const char *template_id, const char *email, int64_t now_ms)
{
	static int n;
	struct store_invitation i = {
		.org = xstrdup(org), .email = xstrdup(email), .name = xstrdup("Mira Lindqvist"), .first_name = xstrdup("Mira"),
		.last_name = xstrdup("Lindqvist"), .external_id = xstrdup("A-7"), .token = xasprintf("token%d", n++),
		.created_ms = now_ms, .expires_ms = now_ms + DAY_MS,
	};

	snprintf(i.template_id, sizeof i.template_id, "%s", template_id);
	return i;
}

static void put(struct store *s, const char *org, const char *template_id, const char *email, int64_t now_ms,
                struct store_invitation *out)
{
	*out = make(org, template_id, email, now_ms);
	CHECK_INT(store_put_invitation(s, out), STORE_OK, "%s is invited by %s", email, org);
}

static void test_invitation(void)
{
	struct store *s = new_store();
	struct store_invitation made, found;

	put(s, "acme", "tpl_1", "mira@example.org", NOW, &made);
	CHECK(id_valid(ID_INVITATION, made.id), "an invitation has an id");
	CHECK(id_valid(ID_CANDIDATE, made.candidate_id), "... and so has the candidate");
	CHECK_INT(store_get_invitation(s, "acme", made.id, &found), STORE_OK, "it is there");
	CHECK_STR(found.id, made.id, "... with its id");
	CHECK_STR(found.template_id, "tpl_1", "... its template");
	CHECK_STR(found.candidate_id, made.candidate_id, "... its candidate");
	CHECK_STR(found.org, "acme", "... its organisation");
	CHECK_STR(found.email, "mira@example.org", "... the address");
	CHECK_STR(found.name, "Mira Lindqvist", "... the name");
	CHECK_STR(found.first_name, "Mira", "... its first part");
	CHECK_STR(found.last_name, "Lindqvist", "... and its last");
	CHECK_STR(found.external_id, "A-7", "... the id that others gave the candidate");
	CHECK_STR(found.token, made.token, "... its token");
	CHECK(found.created_ms == NOW && found.expires_ms == NOW + DAY_MS, "... and its times");
	store_invitation_free(&found);
	CHECK_INT(store_get_invitation(s, NULL, made.id, &found), STORE_OK, "it is there for who asks for any organisation's");
	store_invitation_free(&found);
	CHECK_INT(store_get_invitation(s, "other", made.id, &found), STORE_NOT_FOUND, "another organisation does not see it");
	store_invitation_free(&found);
	store_invitation_free(&made);
	store_close(s);
}

static void test_find(void)
{
	static const struct {
		const char *org, *template_id, *email;
		int64_t now_ms;
		bool found;
		const char *what;
	} rows[] = {
		{ "acme", "tpl_1", "mira@example.org", NOW, true, "the same again" },
		{ "acme", "tpl_1", "mira@example.org", NOW + DAY_MS - 1, true, "... until it expires" },
		{ "acme", "tpl_1", "mira@example.org", NOW + DAY_MS, false, "... and no longer" },
		{ "acme", "tpl_2", "mira@example.org", NOW, false, "of another template" },
		{ "other", "tpl_1", "mira@example.org", NOW, false, "of another organisation" },
		{ "acme", "tpl_1", "mira@example.com", NOW, false, "of another address" },
	};
	struct store *s = new_store();
	struct store_invitation made;
	size_t n;

	put(s, "acme", "tpl_1", "mira@example.org", NOW, &made);
	for (n = 0; n < sizeof rows / sizeof rows[0]; n++) {
		struct store_invitation i = make(rows[n].org, rows[n].template_id, rows[n].email, rows[n].now_ms);

		free(i.name);
		i.name = xstrdup("somebody else");
		CHECK_INT(store_find_invitation(s, &i, rows[n].now_ms), rows[n].found ? STORE_OK : STORE_NOT_FOUND, "%s", rows[n].what);
		CHECK_STR(i.id, rows[n].found ? made.id : "", "... %s", rows[n].found ? "is that one" : "is none");
		CHECK_STR(i.name, rows[n].found ? "Mira Lindqvist" : "somebody else", "... as it was");
		store_invitation_free(&i);
	}
	store_invitation_free(&made);
	store_close(s);
}

static void test_candidate(void)
{
	static const struct {
		const char *org, *template_id, *email;
		bool same;
	} rows[] = {
		{ "acme", "tpl_2", "mira@example.org", true }, { "acme", "tpl_1", "mira@example.org", true },
		{ "acme", "tpl_1", "max@example.org", false }, { "other", "tpl_1", "mira@example.org", false },
	};
	struct store *s = new_store();
	struct store_invitation first, next;
	size_t n;

	put(s, "acme", "tpl_1", "mira@example.org", NOW, &first);
	for (n = 0; n < sizeof rows / sizeof rows[0]; n++) {
		put(s, rows[n].org, rows[n].template_id, rows[n].email, NOW + 2 * DAY_MS, &next);
		CHECK((strcmp(first.candidate_id, next.candidate_id) == 0) == rows[n].same, "... %s candidate",
		      rows[n].same ? "the same" : "another");
		CHECK(strcmp(first.id, next.id) != 0, "... another invitation");
		store_invitation_free(&next);
	}
	store_invitation_free(&first);
	store_close(s);
}

static int add_address(void *ctx, const struct store_invitation *i)
{
	struct titles *titles = ctx;

	snprintf(titles->text + strlen(titles->text), sizeof titles->text - strlen(titles->text), "%s%.1s",
	         titles->n ? " " : "", i->email);
	return ++titles->n == titles->max;
}

static void check_list(struct store *s, const struct store_invitation_filter *f, size_t max, const char *want, const char *what)
{
	struct titles titles = { .max = max };

	CHECK_INT(store_list_invitations(s, f, add_address, &titles), STORE_OK, "%s", what);
	CHECK_STR(titles.text, want, "... %s", want);
}

static void test_list_invitations(void)
{
	static const struct {
		const char *org, *template_id, *email;
	} rows[] = {
		{ "acme", "tpl_1", "a@x.org" }, { "acme", "tpl_2", "b@x.org" }, { "other", "tpl_3", "c@x.org" },
		{ "acme", "tpl_2", "a@x.org" }, { "acme", "tpl_1", "e@x.org" },
	};
	struct store *s = new_store();
	char ids[5][ID_SIZE];
	struct store_invitation i;
	size_t n;

	for (n = 0; n < sizeof rows / sizeof rows[0]; n++) {
		put(s, rows[n].org, rows[n].template_id, rows[n].email, NOW + (int64_t)n, &i);
		memcpy(ids[n], i.id, ID_SIZE);
		store_invitation_free(&i);
	}
	check_list(s, &(struct store_invitation_filter){ .org = "acme" }, 9, "e a b a", "an organisation's, the newest first");
	check_list(s, &(struct store_invitation_filter){ .org = "acme" }, 2, "e a", "a callback ends it");
	check_list(s, &(struct store_invitation_filter){ .org = "acme", .before_id = ids[3] }, 9, "b a", "behind one");
	check_list(s, &(struct store_invitation_filter){ .org = "acme", .template_id = "tpl_2" }, 9, "a b", "of a template");
	check_list(s, &(struct store_invitation_filter){ .org = "acme", .email = "a@x.org" }, 9, "a a", "of an address");
	check_list(s, &(struct store_invitation_filter){ .org = "acme", .email = "a@x.org", .template_id = "tpl_1", .before_id = ids[3] },
	           9, "a", "of all that narrows");
	check_list(s, &(struct store_invitation_filter){ .org = "other", .template_id = "tpl_1" }, 9, "", "not of another's template");
	store_close(s);
}

/* --- retention ----------------------------------------------------------------------------- */

/* Prune until nothing is left to do, at most 20 times; how often that took. */
static int prune(struct store *s, int64_t before_ms)
{
	struct store_retention r = { .events_before_ms = before_ms, .failed_before_ms = before_ms };
	size_t removed;
	int n;

	for (n = 0; n < 20 && !r.done; n++)
		if (store_prune(s, &r, NOW, 10, &removed) != STORE_OK)
			return -1;
	return n;
}

static void test_retention(void)
{
	struct store *s = new_store();
	struct store_invitation old, kept;
	char template_id[ID_SIZE];
	int n;

	put_template(s, "acme", "Engineer", "", NOW, template_id);
	store_begin(s);
	for (n = 0; n < 500; n++) {
		old = make("acme", template_id, "mira@example.org", NOW - 2 * DAY_MS);
		store_put_invitation(s, &old);
		store_invitation_free(&old);
	}
	CHECK_INT(store_commit(s), STORE_OK, "500 invitations are stored");
	put(s, "acme", template_id, "max@example.org", NOW - DAY_MS, &kept); /* expires now */
	CHECK_INT(prune(s, NOW - DAY_MS), 1, "nothing is left to do where none expired before");
	check_list(s, &(struct store_invitation_filter){ .org = "acme", .email = "mira@example.org" }, 3, "m m m", "... all are there");
	n = prune(s, NOW);
	CHECK(n > 2 && n < 20, "those that expired before go, in steps");
	check_list(s, &(struct store_invitation_filter){ .org = "acme" }, 9, "m", "... the others stay");
	CHECK_INT(store_get_invitation(s, "acme", kept.id, &old), STORE_OK, "... as it should");
	store_invitation_free(&old);
	store_invitation_free(&kept);
	check_titles(s, "acme", NULL, 9, "Engineer", "... and so do templates");
	store_close(s);
}

/* --- at once ------------------------------------------------------------------------------- */

#define THREADS 8

struct race {
	const char *path;
	bool made;
	char template_id[ID_SIZE], id[ID_SIZE];
};

static void *race(void *arg)
{
	struct race *r = arg;
	struct store *s = must_open(r->path, STORE_TOOL);
	struct store_template t = {
		.org = xstrdup("acme"), .title = xstrdup("t"), .description = xstrdup(""), .posting_id = xstrdup("p"), .expires_days = 1,
	};
	struct store_invitation i;
	bool reused;

	if (store_put_template(s, &t, NOW, &reused) == STORE_OK)
		memcpy(r->template_id, t.id, ID_SIZE);
	i = make("acme", t.id, "mira@example.org", NOW);
	free(i.token);
	i.token = xasprintf("token-%p", arg);
	if (store_begin(s) == STORE_OK) {
		r->made = store_find_invitation(s, &i, NOW) == STORE_NOT_FOUND;
		if (!r->made || store_put_invitation(s, &i) == STORE_OK)
			store_commit(s);
		memcpy(r->id, i.id, ID_SIZE);
	}
	store_invitation_free(&i);
	store_template_free(&t);
	store_close(s);
	return NULL;
}

static void test_at_once(void)
{
	char *path = xasprintf("%s/race.db", tap_tmpdir());
	struct race races[THREADS] = { { .path = path } };
	pthread_t threads[THREADS];
	int n, made = 0, same = 0;

	store_close(must_open(path, STORE_TOOL));
	for (n = 0; n < THREADS; n++) {
		races[n].path = path;
		pthread_create(&threads[n], NULL, race, &races[n]);
	}
	for (n = 0; n < THREADS; n++)
		pthread_join(threads[n], NULL);
	for (n = 0; n < THREADS; n++) {
		made += races[n].made;
		same += id_valid(ID_INVITATION, races[n].id) && strcmp(races[n].id, races[0].id) == 0 &&
		        strcmp(races[n].template_id, races[0].template_id) == 0;
	}
	CHECK_INT(made, 1, "of %d who invite somebody at once one makes the invitation", THREADS);
	CHECK_INT(same, THREADS, "... and all have that one, of one template");
	free(path);
}

int main(void)
{
	test_template();
	test_template_again();
	test_list_templates();
	test_invitation();
	test_find();
	test_candidate();
	test_list_invitations();
	test_retention();
	test_at_once();
	return tap_done();
}
