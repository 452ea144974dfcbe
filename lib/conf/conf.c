#include "lib/conf/conf.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/id.h"
#include "lib/base/xalloc.h"
#include "lib/conf/inifile.h"
#include "lib/conf/keys.h"
#include "lib/conf/problems.h"
#include "lib/event/compose.h"
#include "lib/event/envelope.h"

#define DEFAULT_SOURCE "ntrvsta"
#define SECRET_VARIABLE "NTRVSTA_WEBHOOK_SECRET" /* instead of DEFAULT_SOURCE's file */
#define SOURCE_NAME_MAX 64
#define ANSWER_KEPT 8192 /* bytes of what a webhook answered */

/* A file as it was when it was read. */
struct stamp {
	char *path;
	bool exists;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	struct timespec ctime; /* tells a copy that kept the time of its original */
};

struct conf_private {
	atomic_uint references;
	struct stamp *stamps;
	size_t nstamps;
};

struct loading {
	struct conf *conf;
	struct inifile file;
	struct problems problems;
};

/* --- has a file changed? ----------------------------------------------------------------- */

static struct stamp take_stamp(char *path)
{
	struct stamp s = { .path = path };
	struct stat st;

	if (stat(path, &st) == 0) {
		s.exists = true;
		s.dev = st.st_dev;
		s.ino = st.st_ino;
		s.size = st.st_size;
		s.mtime = st.st_mtim;
		s.ctime = st.st_ctim;
	}
	return s;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Called before the file is read, so that a change meanwhile shows up as one afterwards. */
static void remember_file(struct conf *c, const char *path)
{
	struct conf_private *p = c->priv;

	p->stamps = xreallocarray(p->stamps, p->nstamps + 1, sizeof *p->stamps);
	p->stamps[p->nstamps++] = take_stamp(xstrdup(path));
}

bool conf_changed(const struct conf *c)
{
	for (size_t i = 0; i < c->priv->nstamps; i++) {
		const struct stamp *was = &c->priv->stamps[i];
		struct stamp is = take_stamp(was->path);

		if (is.exists != was->exists || is.dev != was->dev || is.ino != was->ino ||
		    is.size != was->size || !same_time(is.mtime, was->mtime) ||
		    !same_time(is.ctime, was->ctime))
			return true;
	}
	return false;
}

bool conf_secret_from_environment(const struct conf_source *source)
{
	const char *value = getenv(SECRET_VARIABLE);

	return value && *value && strcmp(source->name, DEFAULT_SOURCE) == 0;
}

bool conf_secrets_usable(const struct conf *c)
{
	for (size_t i = 0; i < c->nsources; i++) {
		struct buf err = BUF_INIT;
		bool from_file = !getenv(SECRET_VARIABLE) || strcmp(c->sources[i].name, DEFAULT_SOURCE) != 0;
		struct secrets *secrets = from_file ? secrets_load(c->sources[i].secret_file, &err) : NULL;

		secrets_free(secrets);
		buf_free(&err);
		if (from_file && !secrets)
			return false;
	}
	return true;
}

void conf_remember(struct conf *c)
{
	for (size_t i = 0; i < c->priv->nstamps; i++)
		c->priv->stamps[i] = take_stamp(c->priv->stamps[i].path);
}

/* --- life and death ---------------------------------------------------------------------- */

static struct conf *new_conf(char *path)
{
	struct conf *c = xcalloc(1, sizeof *c);

	c->path = path;
	c->dir = fdio_dirname(path);
	c->priv = xcalloc(1, sizeof *c->priv);
	atomic_init(&c->priv->references, 1);
	c->webhooks.call.batch = 1;
	c->webhooks.call.output_limit = ANSWER_KEPT;
	return c;
}

static void free_handler(struct conf_handler *h)
{
	free(h->name);
	free(h->retry_schedule.delay_ms);
	conf_sandbox_free(&h->sandbox);
}

static void free_source(struct conf_source *s)
{
	free(s->name);
	free(s->path);
	free(s->secret_file);
	secrets_free(s->secrets);
}

static void free_private(struct conf_private *p)
{
	for (size_t i = 0; i < p->nstamps; i++)
		free(p->stamps[i].path);
	free(p->stamps);
	free(p);
}

static void free_conf(struct conf *c)
{
	for (size_t i = 0; i < c->nsources; i++)
		free_source(&c->sources[i]);
	free(c->sources);
	for (size_t i = 0; i < c->nhandlers; i++)
		free_handler(&c->handlers[i]);
	free(c->handlers);
	free_handler(&c->handler_defaults);
	free_handler(&c->webhooks.call);
	free(c->webhooks.allow_private.items);
	free(c->web_trusted_proxies.items);
	free(c->webhooks.ca_file);
	for (size_t i = 0; c->pass_env && c->pass_env[i]; i++)
		free(c->pass_env[i]);
	free(c->pass_env);
	free(c->path);
	free(c->dir);
	free(c->store_path);
	free(c->state_dir);
	free(c->web_base);
	free(c->handlers_dir);
	free(c->invite_base_url);
	free(c->log_target);
	free(c->log_security);
	free_private(c->priv);
	free(c);
}

struct conf *conf_ref(struct conf *c)
{
	atomic_fetch_add(&c->priv->references, 1);
	return c;
}

void conf_unref(struct conf *c)
{
	if (c && atomic_fetch_sub(&c->priv->references, 1) == 1)
		free_conf(c);
}

/* --- from the table to the structures ---------------------------------------------------- */

static void *field_of(void *target, const struct conf_key *key)
{
	return (char *)target + key->offset;
}

static void set_defaults(const struct conf *c, const char *section, const char *label, void *target)
{
	struct buf err = BUF_INIT;

	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *key = &conf_keys[i];
		char *value;

		if (strcmp(key->section, section) != 0 || !key->fallback)
			continue;
		value = conf_key_default(key, label);
		/* A default that its own parser refuses is a mistake in the table. */
		if (key->parse(value, field_of(target, key), c, &err) < 0)
			abort();
		free(value);
	}
	buf_free(&err);
}

/* Where else does a key of this name exist? */
static const char *home_of_key(const char *name)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].name, name) == 0)
			return conf_keys[i].section;
	}
	return NULL;
}

static void report_unknown_key(struct loading *l, const struct inifile_section *s,
                               const struct inifile_entry *e)
{
	const char *near = conf_key_near(s->type, e->key), *home = home_of_key(e->key);

	if (home)
		problems_add(&l->problems, e->line, "unknown key '%.60s' in [%s]; it belongs to [%s]",
		             e->key, s->type, home);
	else if (near)
		problems_add(&l->problems, e->line, "unknown key '%.60s' in [%s]; did you mean '%s'?",
		             e->key, s->type, near);
	else
		problems_add(&l->problems, e->line, "unknown key '%.60s' in [%s]; ntrvsta.conf(5) lists all",
		             e->key, s->type);
}

static void apply_section(struct loading *l, const struct inifile_section *s, void *target)
{
	struct buf err = BUF_INIT;

	for (size_t i = 0; i < s->n; i++) {
		const struct inifile_entry *e = &s->entries[i];
		const struct conf_key *key = conf_key_find(s->type, e->key);

		buf_reset(&err);
		if (!key)
			report_unknown_key(l, s, e);
		else if (key->parse(e->value, field_of(target, key), l->conf, &err) < 0)
			problems_add(&l->problems, e->line, "%s %s", key->name, buf_str(&err));
	}
	buf_free(&err);
}

/* --- sections ---------------------------------------------------------------------------- */

static bool is_plain_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789_-.";
	size_t len = strlen(name);

	return len > 0 && strspn(name, allowed) == len && name[0] != '.' && name[len - 1] != '.';
}

static const char *source_name_refusal(const char *name)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): check_header() saw that there is one */
	if (strcmp(name, COMPOSE_SOURCE) == 0)
		return "this is the source of what is published over the API: no sender can have the name";
	if (is_plain_name(name) && strlen(name) <= SOURCE_NAME_MAX)
		return NULL;
	return "a source is named with letters, digits, '_', '-' and dots inside, at most 64 of them";
}

/* The folder, or the file itself, is named like an event; so is "all". */
static const char *handler_name_refusal(const char *name)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): likewise */
	size_t event = strcspn(name, "/");

	if (envelope_name_valid(name, event) && (name[event] == '\0' || is_plain_name(name + event + 1)))
		return NULL;
	return "a handler is named by its path below the handlers' folder, such as "
	       "session.completed/20-warehouse or all/10-log";
}

static void add_source(struct loading *l, const struct inifile_section *s)
{
	struct conf *c = l->conf;
	struct conf_source *source;

	c->sources = xreallocarray(c->sources, c->nsources + 1, sizeof *c->sources);
	source = &c->sources[c->nsources++];
	*source = (struct conf_source){ .name = xstrdup(s->label) };
	set_defaults(c, s->type, s->label, source);
	apply_section(l, s, source);
}

static void copy_schedule(struct conf_schedule *to, const struct conf_schedule *from)
{
	size_t bytes = from->n * sizeof *from->delay_ms;

	to->n = from->n;
	to->delay_ms = from->n ? memcpy(xmalloc(bytes), from->delay_ms, bytes) : NULL;
}

/* The kernel takes rights from a process only where it can't win others. */
static void check_sandbox(struct loading *l, const struct inifile_section *s, const struct conf_handler *h)
{
	const struct inifile_entry *e = inifile_entry(s, "no_new_privs");

	if (!h->sandbox.writable || h->sandbox.no_new_privs)
		return;
	if (!e)
		e = inifile_entry(s, "writable");
	problems_add(&l->problems, e ? e->line : s->line, "no_new_privs = off and a list in writable exclude each other");
}

static void add_handler(struct loading *l, const struct inifile_section *s)
{
	struct conf *c = l->conf;
	struct conf_handler *h;

	c->handlers = xreallocarray(c->handlers, c->nhandlers + 1, sizeof *c->handlers);
	h = &c->handlers[c->nhandlers++];
	*h = c->handler_defaults;
	copy_schedule(&h->retry_schedule, &c->handler_defaults.retry_schedule);
	conf_sandbox_own(&h->sandbox, &c->handler_defaults.sandbox);
	h->name = xstrdup(s->label);
	apply_section(l, s, h);
	check_sandbox(l, s, h);
}

static void report_unknown_section(struct loading *l, const struct inifile_section *s)
{
	const char *near = conf_section_near(s->type);

	if (near)
		problems_add(&l->problems, s->line, "unknown section [%.60s]; did you mean [%s]?", s->type, near);
	else
		problems_add(&l->problems, s->line, "unknown section [%.60s]; ntrvsta.conf(5) lists all",
		             s->type);
}

/* Is the header one that may stand here? Says so where it is not. */
static bool check_header(struct loading *l, const struct inifile_section *s)
{
	const struct conf_section *known = conf_section_find(s->type);
	const char *refusal = NULL;

	if (!known) {
		report_unknown_section(l, s);
		return false;
	}
	if (known->label && !s->label)
		problems_add(&l->problems, s->line, "wants a name, such as [%s %s]", known->name, known->label);
	else if (!known->label && s->label)
		problems_add(&l->problems, s->line, "[%s] takes no name%s", known->name,
		             strcmp(known->name, "handlers") == 0 ? "; did you mean [handler ...]?" : "");
	else if (strcmp(known->name, "source") == 0)
		refusal = source_name_refusal(s->label);
	else if (strcmp(known->name, "handler") == 0)
		refusal = handler_name_refusal(s->label);
	if (refusal)
		problems_add(&l->problems, s->line, "'%.80s': %s", s->label, refusal);
	return !refusal && !known->label == !s->label;
}

/* First what stands once: a [handler NAME] is laid over [handlers], wherever in the file. */
static void apply_file(struct loading *l)
{
	struct inifile *f = &l->file;
	bool *usable = xcalloc(f->n + 1, sizeof *usable);

	for (size_t i = 0; i < conf_nsections; i++) {
		if (!conf_sections[i].label)
			set_defaults(l->conf, conf_sections[i].name, NULL, l->conf);
	}
	for (size_t i = 0; i < f->n; i++) {
		usable[i] = check_header(l, &f->sections[i]);
		if (usable[i] && !f->sections[i].label)
			apply_section(l, &f->sections[i], l->conf);
		if (usable[i] && strcmp(f->sections[i].type, "handlers") == 0)
			check_sandbox(l, &f->sections[i], &l->conf->handler_defaults);
	}
	for (size_t i = 0; i < f->n; i++) {
		if (!usable[i] || !f->sections[i].label)
			continue;
		if (strcmp(f->sections[i].type, "source") == 0)
			add_source(l, &f->sections[i]);
		else
			add_handler(l, &f->sections[i]);
	}
	free(usable);
}

/* --- what holds between settings --------------------------------------------------------- */

static bool has_section(const struct inifile *f, const char *type)
{
	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->sections[i].type, type) == 0)
			return true;
	}
	return false;
}

/* The line at which KEY of the source is set, else that of its section. */
static int source_line(const struct loading *l, const struct conf_source *source, const char *key)
{
	for (size_t i = 0; i < l->file.n; i++) {
		const struct inifile_section *s = &l->file.sections[i];
		const struct inifile_entry *e;

		if (strcmp(s->type, "source") != 0 || !s->label || strcmp(s->label, source->name) != 0)
			continue;
		e = inifile_entry(s, key);
		return e ? e->line : s->line;
	}
	return 0;
}

static void check_paths(struct loading *l)
{
	const struct conf *c = l->conf;

	if (!has_section(&l->file, "source"))
		problems_add(&l->problems, 1, "there is no [source NAME] section: nobody could call");
	for (size_t i = 1; i < c->nsources; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(c->sources[i].path, c->sources[k].path) != 0)
				continue;
			problems_add(&l->problems, source_line(l, &c->sources[i], "path"),
			             "[source %s] has the path of [source %s], %.80s; each needs its own",
			             c->sources[i].name, c->sources[k].name, c->sources[i].path);
			break;
		}
	}
}

static void load_secrets(struct loading *l, struct conf_source *source)
{
	const char *value = getenv(SECRET_VARIABLE);
	int line = source_line(l, source, "secret_file");
	struct buf err = BUF_INIT;

	if (problems_at(&l->problems, line))
		return; /* no file to read, or not the one that was meant */
	if (value && strcmp(source->name, DEFAULT_SOURCE) == 0) {
		source->secrets = secrets_from_value(value, &err);
		if (!source->secrets)
			problems_add(&l->problems, line, "$" SECRET_VARIABLE " %s; unset it to use secret_file",
			             buf_str(&err));
	} else {
		remember_file(l->conf, source->secret_file);
		source->secrets = secrets_load(source->secret_file, &err);
		if (!source->secrets)
			problems_add(&l->problems, line, "secret_file: %s", buf_str(&err));
	}
	buf_free(&err);
}

/* --- loading ----------------------------------------------------------------------------- */

static char *absolute(const char *path)
{
	char *cwd, *full;

	if (path[0] == '/')
		return xstrdup(path);
	cwd = getcwd(NULL, 0);
	full = cwd ? fdio_resolve(cwd, path) : NULL;
	free(cwd);
	return full;
}

static int read_text(struct conf *c, struct problems *problems, struct buf *text)
{
	remember_file(c, c->path);
	if (fdio_read_file(c->path, INIFILE_MAX, text) == 0)
		return 0;
	problems_add(problems, 0, "can't be read: %s", strerror(errno));
	return -1;
}

static void load_file(struct loading *l)
{
	struct conf *c = l->conf;
	struct buf text = BUF_INIT;

	if (read_text(c, &l->problems, &text) < 0)
		goto out;
	inifile_read(buf_str(&text), text.len, &l->file, &l->problems);
	apply_file(l);
	c->state_dir = fdio_dirname(c->store_path);
	check_paths(l);
	for (size_t i = 0; i < c->nsources; i++)
		load_secrets(l, &c->sources[i]);
out:
	buf_free(&text);
}

struct conf *conf_load(const char *path, struct buf *err)
{
	struct loading l = { NULL, { NULL, 0 }, { NULL, 0, 0 } };
	char *found = path ? xstrdup(path) : conf_find(err), *full;

	if (!found)
		return NULL;
	full = absolute(found);
	if (!full)
		buf_addf(err, "%s: the current directory is unknown: %s\n", found, strerror(errno));
	free(found);
	if (!full)
		return NULL;

	l.conf = new_conf(full);
	load_file(&l);
	if (l.problems.n > 0) {
		problems_write(&l.problems, l.conf->path, err);
		conf_unref(l.conf);
		l.conf = NULL;
	}
	inifile_free(&l.file);
	problems_free(&l.problems);
	return l.conf;
}

/* --- asking ------------------------------------------------------------------------------ */

const struct conf_handler *conf_handler(const struct conf *c, const char *name)
{
	if (id_valid(ID_WEBHOOK, name))
		return &c->webhooks.call;
	for (size_t i = 0; i < c->nhandlers; i++) {
		if (strcmp(c->handlers[i].name, name) == 0)
			return &c->handlers[i];
	}
	return &c->handler_defaults;
}

const struct conf_source *conf_source(const struct conf *c, const char *name)
{
	const char *wanted = name ? name : DEFAULT_SOURCE;

	for (size_t i = 0; i < c->nsources; i++) {
		if (strcmp(c->sources[i].name, wanted) == 0)
			return &c->sources[i];
	}
	return name || c->nsources == 0 ? NULL : &c->sources[0];
}
