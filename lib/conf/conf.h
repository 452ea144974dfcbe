/* ntrvsta.conf: found, read with libinih, checked whole, and then immutable.
 *
 * One table (keys.c) holds each key's section, name, type, default and help text; parsing, the
 * sample that `ntrvsta init` writes and the test that holds the manual page to it all read
 * that table. A new setting is one row there and one member here.
 *
 * A struct conf is shared by reference count: conf_ref() and conf_unref() from any thread. */
#ifndef NTRVSTA_CONF_CONF_H
#define NTRVSTA_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/address.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/conf/sandbox.h"
#include "lib/event/secrets.h"

struct conf_source { /* [source NAME] */
	char *name;
	char *path;        /* where this sender posts, begins with "/" */
	char *secret_file; /* absolute */
	size_t max_body;   /* bytes */
	int64_t max_age_ms; /* 0: off */
	struct secrets *secrets; /* from the file, or from $NTRVSTA_WEBHOOK_SECRET */
};

struct conf_schedule { /* delays before the second, third, ... attempt */
	int64_t *delay_ms;
	size_t n;
};

struct conf_handler { /* [handlers], or [handler NAME] laid over it */
	char *name; /* NULL in the defaults */
	int64_t timeout_ms;
	int64_t kill_grace_ms;
	unsigned concurrency;
	struct conf_schedule retry_schedule;
	size_t output_limit; /* bytes */
	unsigned batch;      /* events in one run; 1: one event, as it came */
	struct conf_sandbox sandbox; /* empty for webhooks */
};

struct conf_webhooks { /* [webhooks]: registered URLs */
	struct conf_handler call; /* what a handler has too: time-out, concurrency, schedule */
	int64_t connect_timeout_ms; /* until TLS is agreed upon */
	bool allow_http;
	struct address_blocks allow_private; /* what may be called although it is not public */
	char *ca_file; /* absolute; "": the system's */
};

struct conf {
	char *path; /* of the file, absolute */
	char *dir;  /* its folder: relative paths in it start here */

	struct conf_source *sources;
	size_t nsources;

	char *store_path; /* of the SQLite database, absolute, from [store] url */
	char *state_dir;  /* its folder: lock and wake-up FIFO are there too */
	int64_t retain_events_ms, retain_failed_ms;

	char *web_base;           /* "" or "/prefix", no slash at the end */
	unsigned web_threads;
	bool web_api;             /* serve the management API */
	bool web_dashboard;       /* and the dashboard, which needs it */
	int64_t web_rate_per_hour; /* for each client address; 0: off */
	int64_t web_refused_per_hour; /* of it, with a wrong signature or key; 0: off */
	struct address_blocks web_trusted_proxies; /* whose X-Forwarded-For counts */

	bool dispatch_auto;
	unsigned dispatch_concurrency;

	char *handlers_dir; /* absolute */
	struct conf_handler handler_defaults;
	struct conf_handler *handlers; /* the sections [handler NAME], defaults filled in */
	size_t nhandlers;
	char **pass_env; /* NULL-terminated */

	struct conf_webhooks webhooks;

	char *invite_base_url; /* in front of the "/" and token of an invitation; "": none can be made */

	enum log_level log_level;
	char *log_target;   /* "stderr", "syslog" or an absolute path */
	char *log_security; /* "stderr", "syslog" or an absolute path */

	struct conf_private *priv; /* reference count and what conf_changed() compares */
};

/* Which file conf_load(NULL) would take: $NTRVSTA_CONF, else ~/.config/ntrvsta/ntrvsta.conf, else
 * $(sysconfdir)/ntrvsta/ntrvsta.conf. The caller frees it. NULL, with the places looked at in
 * ERR, where none exists. */
char *conf_find(struct buf *err);

/* Load PATH (NULL: the one that conf_find() names) with the secrets it points to. NULL, with
 * one "file:line: what is wrong and what to do" a line in ERR, where anything is wrong: every
 * error of the file, not just the first. */
struct conf *conf_load(const char *path, struct buf *err);

struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c); /* NULL is allowed */

/* Has the file, or a secret file, changed on disk since this was loaded? Cheap: one stat each. */
bool conf_changed(const struct conf *c);

/* Could the secret files that C was loaded from be used now? */
bool conf_secrets_usable(const struct conf *c);

/* The files as they are now count as the ones that C was loaded from: for who has looked at a
 * change and stays with C. Only the thread that asks conf_changed() may call it. */
void conf_remember(struct conf *c);

/* The settings of the target NAME: a handler (its path below the handlers' folder) or a webhook (its id).
 * Never NULL; lives as long as C. */
const struct conf_handler *conf_handler(const struct conf *c, const char *name);

/* Does $NTRVSTA_WEBHOOK_SECRET stand in for the secret file of SOURCE? */
bool conf_secret_from_environment(const struct conf_source *source);

/* The source called NAME; with NAME NULL the one called "ntrvsta", else the first. NULL where
 * there is no such source. */
const struct conf_source *conf_source(const struct conf *c, const char *name);

/* The commented sample, each setting with its default. */
void conf_write_sample(struct buf *out);

#endif
