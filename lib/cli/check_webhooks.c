/* ntrvsta check: the webhooks. */
#include "lib/cli/check.h"

#include <stdlib.h>
#include <string.h>

#include "lib/delivery/url.h"
#include "lib/event/catalogue.h"
#include "lib/event/envelope.h"

static void check_allow_http(struct check *c)
{
	size_t n = 0, i;

	for (i = 0; i < c->webhooks.n; i++)
		n += strncmp(c->webhooks.items[i].url, "http:", 5) == 0;
	if (c->conf->webhooks.allow_http && n > 0)
		check_say(c, CHECK_WARNING, "webhooks", "[webhooks] allow_http = on: what goes to http:// can be read and changed on "
		          "its way, and %zu of %zu webhooks are called so", n, c->webhooks.n);
	else if (c->conf->webhooks.allow_http)
		check_say(c, CHECK_NOTE, "webhooks", "[webhooks] allow_http = on, though no webhook needs it");
}

static void check_allow_private(struct check *c)
{
	const struct conf_webhooks *settings = &c->conf->webhooks;
	struct buf blocks = BUF_INIT;
	char text[ADDRESS_TEXT_SIZE];
	size_t i;

	for (i = 0; i < settings->allow_private.n; i++) {
		const struct address_block *b = &settings->allow_private.items[i];
		unsigned bits = address_is_ipv4(&b->first) && b->bits >= 96 ? b->bits - 96 : b->bits;

		buf_addf(&blocks, "%s%s/%u", i ? " " : "", address_format(&b->first, text), bits);
	}
	if (blocks.len)
		check_say(c, CHECK_WARNING, "webhooks", "[webhooks] allow_private = %s: whoever may register webhooks can reach "
		          "these addresses through this machine", blocks.data);
	buf_free(&blocks);
}

static void check_active(struct check *c, const struct store_webhook *w)
{
	struct store_stats stats = { 0 };

	if (w->active)
		return;
	store_stats_backlog(c->store, w->id, &stats);
	check_say(c, CHECK_WARNING, "webhooks", "%s is not active, %s: %s; %lld %s for it; 'ntrvsta webhooks update %s "
	          "--activate'", w->id, webhooks_why_inactive(w), w->url, (long long)stats.pending,
	          stats.pending == 1 ? "delivery waits" : "deliveries wait", w->id);
}

/* The rules may have become stricter since it was registered. */
static void check_url(struct check *c, const struct store_webhook *w)
{
	struct buf err = BUF_INIT;
	char *normal = url_check(w->url, &c->conf->webhooks, &err);

	if (!normal)
		check_say(c, w->active ? CHECK_PROBLEM : CHECK_WARNING, "webhooks", "%s can't be called, its URL %s: %s", w->id,
		          w->url, buf_str(&err));
	free(normal);
	buf_free(&err);
}

static void check_events(struct check *c, const struct store_webhook *w)
{
	char name[EVENT_NAME_MAX + 1];
	const char *rest = w->events, *near;
	size_t len;

	for (; *rest; rest += len + (rest[len] == ' ')) {
		len = strcspn(rest, " ");
		if (len >= sizeof name)
			continue;
		memcpy(name, rest, len);
		name[len] = '\0';
		if (strcmp(name, "*") == 0 || catalogue_find(name))
			continue;
		near = cli_near_event(name);
		if (near)
			check_say(c, CHECK_WARNING, "webhooks", "%s waits for %s, which is not documented; did you mean %s?", w->id, name,
			          near);
		else
			check_say(c, CHECK_NOTE, "webhooks", "%s waits for %s, which is not documented", w->id, name);
	}
}

void check_webhooks(struct check *c)
{
	size_t i, active = 0;

	for (i = 0; i < c->webhooks.n; i++) {
		const struct store_webhook *w = &c->webhooks.items[i];

		active += w->active;
		check_active(c, w);
		check_url(c, w);
		check_events(c, w);
	}
	check_allow_http(c);
	check_allow_private(c);
	if (c->webhooks.n > 0)
		check_say(c, CHECK_OK, "webhooks", "%zu of %zu are active", active, c->webhooks.n);
}
