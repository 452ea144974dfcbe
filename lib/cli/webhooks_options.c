/* ntrvsta webhooks: what its options say. */
#include "lib/cli/webhooks.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/url.h"
#include "lib/event/catalogue.h"
#include "lib/event/envelope.h"
#include "lib/event/standard.h"

#define DESCRIPTION_MAX 1000 /* bytes */

/* --- events ---------------------------------------------------------------------------------- */

/* Is NAME one of the names in LIST, which have one blank between them? */
static bool has_event(const struct buf *list, const char *name)
{
	size_t len = strlen(name);
	const char *at = buf_str(list);

	while ((at = strstr(at, name)) != NULL) {
		if ((at == list->data || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
		at += len;
	}
	return false;
}

/* The names in TEXT, which have commas or blanks between them, to those in OUT. */
static bool add_events(const struct cli *cli, const char *text, struct buf *out)
{
	size_t len;

	for (; *text; text += len) {
		char *name;
		bool valid;

		text += strspn(text, ", ");
		len = strcspn(text, ", ");
		if (len == 0)
			break;
		name = xstrndup(text, len);
		valid = strcmp(name, "*") == 0 || envelope_name_valid(name, len);
		if (!valid)
			cli_usage(cli, "'%s' can't be an event's name, such as session.completed, nor is it * for all", name);
		else if (!has_event(out, name))
			buf_addf(out, "%s%s", out->len ? " " : "", name);
		free(name);
		if (!valid)
			return false;
	}
	return true;
}

bool webhooks_collect_events(const struct cli *cli, const struct webhooks_options *o, struct buf *out)
{
	bool ok = !o->events || add_events(cli, o->events, out);
	size_t i;

	for (i = 0; ok && i < WEBHOOKS_EVENTS_MAX && o->event[i]; i++)
		ok = add_events(cli, o->event[i], out);
	if (!ok)
		return false;
	if (out->len == 0 && (o->events || o->event[0])) {
		cli_usage(cli, "--event%s names no event; * stands for all", o->events ? "s" : "");
		return false;
	}
	if (out->len > 1 && has_event(out, "*")) {
		cli_usage(cli, "* is all events: it does not go with others");
		return false;
	}
	return true;
}

/* What nobody documents may be meant all the same, and is delivered. */
void webhooks_note_events(const struct cli *cli, const char *events)
{
	char *names = xstrdup(events), *rest = NULL, *name;
	const char *near;

	for (name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
		if (strcmp(name, "*") == 0 || catalogue_find(name))
			continue;
		near = cli_near_event(name);
		cli_note(cli, near ? "%s is not documented; did you mean %s?" : "%s is not documented", name, near);
	}
	free(names);
}

bool webhooks_check_options(const struct cli *cli, const struct webhooks_options *o)
{
	struct buf events = BUF_INIT;
	int64_t overlap_ms;
	bool ok = webhooks_collect_events(cli, o, &events);

	buf_free(&events);
	if (!ok)
		return false;
	if (o->activate && o->deactivate)
		cli_usage(cli, "--activate and --deactivate do not go together");
	else if (o->debug && o->no_debug)
		cli_usage(cli, "--debug and --no-debug do not go together");
	else if (o->log_level && strcmp(o->log_level, "normal") != 0 && strcmp(o->log_level, "detailed") != 0)
		cli_usage(cli, "--log-level wants normal or detailed, not '%s'", o->log_level);
	else if (o->overlap && units_parse_duration(o->overlap, &overlap_ms))
		cli_usage(cli, "--overlap wants a duration such as 24h, not '%s'", o->overlap);
	else if (o->description && strlen(o->description) > DESCRIPTION_MAX)
		cli_usage(cli, "--description wants %d bytes at most", DESCRIPTION_MAX);
	else
		return true;
	return false;
}

/* --- URL and secret -------------------------------------------------------------------------- */

char *webhooks_check_url(const struct cli *cli, const struct conf *conf, const char *url)
{
	struct buf err = BUF_INIT;
	char *normal = url_check(url, &conf->webhooks, &err);

	if (!normal)
		cli_fail(cli, "the URL '%s': %s", url, buf_str(&err));
	buf_free(&err);
	return normal;
}

void webhooks_free_secret(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* The line on standard input, without its end. */
static char *read_secret(const struct cli *cli)
{
	struct buf input = BUF_INIT;
	size_t len;
	char *secret = NULL;

	if (cli_read_input(cli, "-", &input)) {
		len = input.len > strlen(buf_str(&input)) ? 0 : input.len; /* a NUL is no part of a secret */
		len -= len > 0 && input.data[len - 1] == '\n';
		len -= len > 0 && input.data[len - 1] == '\r';
		secret = xstrndup(buf_str(&input), len);
	}
	if (input.data)
		explicit_bzero(input.data, input.len);
	buf_free(&input);
	return secret;
}

char *webhooks_choose_secret(const struct cli *cli, const struct webhooks_options *o)
{
	char made[STANDARD_SECRET_SIZE], *secret;
	struct buf err = BUF_INIT;

	if (!o->secret) {
		standard_make_secret(made);
		secret = xstrdup(made);
		explicit_bzero(made, sizeof made);
		return secret;
	}
	secret = strcmp(o->secret, "-") == 0 ? read_secret(cli) : xstrdup(o->secret);
	if (secret && standard_check_secret(secret, &err)) {
		cli_fail(cli, "the secret: %s", buf_str(&err));
		webhooks_free_secret(secret);
		secret = NULL;
	}
	buf_free(&err);
	return secret;
}
