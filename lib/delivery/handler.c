#include "lib/delivery/handler.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/fdio.h"
#include "lib/delivery/environment.h"

/* JSON Lines: each body on a line of its own. A line break in valid JSON can only be blank space
 * between its parts, so that a blank in its place changes nothing. */
static void add_line(struct buf *out, const struct store_claim *c)
{
	size_t from = out->len, i;

	buf_add(out, c->body, c->body_len);
	for (i = from; i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->data[i] = ' ';
	buf_addc(out, '\n');
}

static void drop_body(struct store_claim *c)
{
	free(c->body);
	c->body = NULL;
}

/* A batch is in memory once: each body goes as its line comes. */
static void add_lines(struct buf *out, struct run *r)
{
	size_t bytes = 0, i;

	for (i = 0; i < r->n; i++)
		bytes += r->claims[i].body_len + 1;
	buf_reserve(out, bytes);
	for (i = 0; i < r->n; i++) {
		add_line(out, &r->claims[i]);
		drop_body(&r->claims[i]);
	}
}

bool handler_start(struct dispatcher *d, struct run *r)
{
	const struct conf_handler *settings = conf_handler(d->conf, r->target->name);
	char *path = fdio_resolve(d->conf->handlers_dir, r->target->name), *cwd = fdio_dirname(path);
	/* A group that the configuration would not make any more still has to run. */
	bool batch = settings->batch > 1 || r->n > 1;
	char **envp = environment_make(d->conf, r->target->name, &r->claims[0], batch ? r->n : 0);
	struct buf input = BUF_INIT, why = BUF_INIT;
	struct child_spec spec = {
		.path = path, .cwd = cwd, .envp = envp,
		.timeout_ms = settings->timeout_ms,
		.kill_grace_ms = settings->kill_grace_ms,
		.output_limit = settings->output_limit,
		.input = r->claims[0].body,
		.input_len = r->claims[0].body_len,
		.sandbox = &settings->sandbox,
		.why = &why,
	};

	if (batch) {
		add_lines(&input, r);
		spec.input = buf_str(&input);
		spec.input_len = input.len;
	}
	r->child = child_spawn(&spec);
	if (!r->child) {
		outcome_of_spawn_error(errno, path, buf_str(&why), &r->outcome);
		r->exit.code = -1;
	}
	if (!batch)
		drop_body(&r->claims[0]); /* the child has it */
	buf_free(&input);
	buf_free(&why);
	environment_free(envp);
	free(cwd);
	free(path);
	return r->child != NULL;
}
