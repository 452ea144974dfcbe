/* ntrvsta webhooks: create, update, delete, rotate-secret. */
#include "lib/cli/webhooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"


/* --- create -------------------------------------------------------------------------------- */

/* Twice the same URL is twice each event, which is hardly meant. */
static void note_same_url(const struct cli *cli, struct store *store, const struct store_webhook *w)
{
	struct webhooks all;
	size_t i;

	if (webhooks_load(store, &all) != STORE_OK)
		return;
	for (i = 0; i < all.n; i++)
		if (strcmp(all.items[i].url, w->url) == 0 && strcmp(all.items[i].id, w->id) != 0)
			cli_note(cli, "%s calls the same URL: what both take, it gets twice", all.items[i].id);
	webhooks_free(&all);
}

/* SECRET is shown here and never again; one that was given is known already. */
static void say_secret(const struct webhooks_options *o, const char *secret)
{
	if (o->secret)
		return;
	printf("\nIts secret, shown this once:\n\n  %s\n\n"
	       "The receiver verifies webhook-signature with it, with any library of standardwebhooks.com; or\n"
	       "X-NTRVSTA-Signature: the HMAC-SHA256 of the body as it came, in hex, with the whole line as the key.\n",
	       secret);
}

static void say_row(const struct store_webhook *w)
{
	struct buf line = BUF_INIT;

	buf_addf(&line, "%s is %s: %s gets ", w->id, w->active ? "active" : "not active", w->url);
	cli_add_events(&line, w->events, SIZE_MAX);
	buf_adds(&line, strcmp(w->events, "*") == 0 ? " events." : ".");
	cli_print_text("", line.data, line.len);
	buf_free(&line);
}

static void say_created(const struct cli *cli, const struct webhooks_options *o, const struct store_webhook *w,
                        const char *secret)
{
	struct json_object *doc;

	if (cli->json) {
		doc = webhooks_json(w);
		json_object_object_add(doc, "secret", json_object_new_string(secret));
		cli_print_json(doc);
		return;
	}
	say_row(w);
	say_secret(o, secret);
	printf("\nEvents go there from now on; earlier ones with 'ntrvsta recover %s --since T'.\n", w->id);
}

/* What others type is kept as valid UTF-8: it goes into JSON. */
static char *clean_description(const char *description)
{
	struct buf text = BUF_INIT;

	buf_add_utf8(&text, description ? description : "", description ? strlen(description) : 0);
	return text.data ? buf_detach(&text) : xstrdup("");
}

static bool wants_detail(const struct webhooks_options *o)
{
	return o->log_level && strcmp(o->log_level, "detailed") == 0;
}

int webhooks_create(const struct cli *cli, const struct conf *conf, struct store *store,
                    const struct webhooks_options *o, const char *url)
{
	struct store_webhook w = { .active = !o->inactive, .debug = o->debug, .detailed = wants_detail(o) };
	struct store_webhook stored = { .nsecrets = 0 };
	struct buf events = BUF_INIT;
	char *secret = NULL;
	int result = CLI_FAILED;

	webhooks_collect_events(cli, o, &events);
	w.events = events.len ? buf_detach(&events) : xstrdup("*");
	w.description = clean_description(o->description);
	w.inactive_reason = xstrdup("");
	w.url = webhooks_check_url(cli, conf, url);
	if (w.url)
		secret = webhooks_choose_secret(cli, o);
	if (!secret)
		goto out;
	if (store_put_webhook(store, &w, secret, clock_wall_ms()) != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
		goto out;
	}
	webhooks_note_events(cli, w.events);
	note_same_url(cli, store, &w);
	if (webhooks_get(cli, store, w.id, &stored)) {
		say_created(cli, o, &stored, secret);
		result = CLI_OK;
	}
out:
	webhooks_free_secret(secret);
	store_webhook_free(&w);
	store_webhook_free(&stored);
	buf_free(&events);
	return result;
}

/* --- update -------------------------------------------------------------------------------- */

static void replace(char **field, char *value)
{
	if (!value)
		return;
	free(*field);
	*field = value;
}

/* In one transaction, so that what somebody else changes meanwhile is not undone. W is as it is afterwards. */
static bool change(const struct cli *cli, struct store *store, const char *id, const struct store_webhook *to,
                   const struct webhooks_options *o, struct store_webhook *w)
{
	enum store_status status = store_begin(store);

	if (status != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
		return false;
	}
	if (!webhooks_get(cli, store, id, w)) {
		store_rollback(store);
		return false;
	}
	replace(&w->url, to->url ? xstrdup(to->url) : NULL);
	replace(&w->events, to->events ? xstrdup(to->events) : NULL);
	replace(&w->description, to->description ? xstrdup(to->description) : NULL);
	if (o->debug || o->no_debug)
		w->debug = o->debug;
	if (o->log_level)
		w->detailed = wants_detail(o);
	if (o->activate || o->deactivate)
		w->active = o->activate;
	if (w->active)
		w->inactive_reason[0] = '\0';
	w->updated_ms = clock_wall_ms();
	status = store_change_webhook(store, w, w->updated_ms);
	if (status == STORE_OK)
		status = store_commit(store);
	if (status == STORE_OK)
		return true;
	cli_fail(cli, "%s", store_error(store));
	store_rollback(store);
	return false;
}

int webhooks_update(const struct cli *cli, const struct conf *conf, struct store *store,
                    const struct webhooks_options *o, const char *id)
{
	struct store_webhook to = { 0 }, w = { 0 };
	struct buf events = BUF_INIT;
	int result = CLI_FAILED;

	webhooks_collect_events(cli, o, &events);
	to.events = events.len ? buf_detach(&events) : NULL;
	to.description = o->description ? clean_description(o->description) : NULL;
	to.url = o->url ? webhooks_check_url(cli, conf, o->url) : NULL;
	if ((o->url && !to.url) || !change(cli, store, id, &to, o, &w))
		goto out;
	if (to.events)
		webhooks_note_events(cli, to.events);
	if (to.url)
		note_same_url(cli, store, &w);
	if (cli->json)
		cli_print_json(webhooks_json(&w));
	else
		say_row(&w);
	if (o->activate)
		cli_wake_dispatcher(cli, conf);
	result = CLI_OK;
out:
	store_webhook_free(&to);
	store_webhook_free(&w);
	buf_free(&events);
	return result;
}

/* --- delete -------------------------------------------------------------------------------- */

/* On a terminal somebody may have mistyped. A script means what it says. */
static bool confirmed(const struct cli *cli, struct store *store, const struct webhooks_options *o,
                      const struct store_webhook *w)
{
	struct store_stats stats = { 0 };
	struct buf question = BUF_INIT, safe = BUF_INIT;
	char answer[16] = "";

	if (o->yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	store_stats_backlog(store, w->id, &stats);
	buf_addf(&question, "Delete %s, %s? Its secret is lost, and %lld %s for it will be canceled. [y/N] ", w->id, w->url,
	         (long long)stats.pending, stats.pending == 1 ? "delivery that waits" : "deliveries that wait");
	buf_add_printable(&safe, question.data, question.len, 0);
	fputs(safe.data, stderr);
	buf_free(&question);
	buf_free(&safe);
	if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	cli_fail(cli, "nothing was deleted");
	return false;
}

static void say_deleted(const struct cli *cli, const char *id, int64_t canceled)
{
	struct json_object *doc;

	if (!cli->json) {
		printf("%s is deleted; %lld %s for it %s canceled.\n", id, (long long)canceled,
		       canceled == 1 ? "delivery that waited" : "deliveries that waited", canceled == 1 ? "is" : "are");
		return;
	}
	doc = json_object_new_object();
	json_object_object_add(doc, "id", cli_json_string(id));
	json_object_object_add(doc, "deleted", json_object_new_boolean(true));
	json_object_object_add(doc, "canceled", json_object_new_int64(canceled));
	cli_print_json(doc);
}

int webhooks_delete(const struct cli *cli, const struct conf *conf, struct store *store,
                    const struct webhooks_options *o, const char *id)
{
	struct store_webhook w;
	enum store_status status = STORE_OK;
	int64_t canceled = 0;
	bool go;

	(void)conf;
	if (!webhooks_get(cli, store, id, &w))
		return CLI_FAILED;
	go = confirmed(cli, store, o, &w);
	store_webhook_free(&w);
	if (!go)
		return CLI_FAILED;
	status = store_delete_webhook(store, id, clock_wall_ms(), &canceled);
	if (status == STORE_NOT_FOUND) /* somebody else was faster */
		return webhooks_unknown(cli, id);
	if (status != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	say_deleted(cli, id, canceled);
	return CLI_OK;
}

/* --- rotate-secret ----------------------------------------------------------------------------- */

static void say_rotated(const struct cli *cli, const struct webhooks_options *o, const struct store_webhook *w,
                        const char *secret, int64_t until_ms, int64_t overlap_ms)
{
	char time[CLI_TIME_SIZE], overlap[UNITS_SIZE];
	struct json_object *doc;

	if (cli->json) {
		doc = webhooks_json(w);
		json_object_object_add(doc, "secret", json_object_new_string(secret));
		json_object_object_add(doc, "previous_until", cli_json_time(until_ms));
		cli_print_json(doc);
		return;
	}
	printf("%s has a new secret, which signs from now on.\n", w->id);
	say_secret(o, secret);
	if (overlap_ms == 0)
		printf("\nThe old one signs no more.\n");
	else
		printf("\nUntil %s (%s) webhook-signature holds a signature with the old secret as well, so that a\n"
		       "receiver with either is content. X-NTRVSTA-Signature has room for the new one only.\n",
		       cli_format_time(until_ms, time), units_format_duration(overlap_ms, overlap));
}

int webhooks_rotate(const struct cli *cli, const struct conf *conf, struct store *store,
                    const struct webhooks_options *o, const char *id)
{
	struct store_webhook w = { .nsecrets = 0 };
	int64_t overlap_ms = DAY_MS, now_ms;
	enum store_status status;
	char *secret;
	int result = CLI_FAILED;

	(void)conf;
	if (o->overlap)
		units_parse_duration(o->overlap, &overlap_ms);
	secret = webhooks_choose_secret(cli, o);
	if (!secret)
		return CLI_FAILED;
	now_ms = clock_wall_ms();
	status = store_rotate_webhook(store, id, secret, overlap_ms, now_ms);
	if (status == STORE_NOT_FOUND) {
		webhooks_unknown(cli, id);
	} else if (status != STORE_OK) {
		cli_fail(cli, "%s", store_error(store));
	} else if (webhooks_get(cli, store, id, &w)) {
		say_rotated(cli, o, &w, secret, now_ms + overlap_ms, overlap_ms);
		result = CLI_OK;
	}
	webhooks_free_secret(secret);
	store_webhook_free(&w);
	return result;
}
