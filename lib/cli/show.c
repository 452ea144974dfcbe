#include "lib/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/id.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"
#include "lib/event/envelope.h"

#define INDENT_MAX 32 /* levels; what is nested deeper is not moved further */

struct delivery {
	char *id, *heading;
	struct json_object *json;
};

struct show {
	bool found;
	struct json_object *json; /* the document; NULL: for people */
	struct webhooks webhooks;
	struct delivery *deliveries;
	size_t ndeliveries;
};

/* --- the body ------------------------------------------------------------------------------ */

static void new_line(struct buf *out, size_t depth)
{
	buf_addf(out, "\n%*s", (int)(2 * (depth < INDENT_MAX ? depth : INDENT_MAX)), "");
}

/* The string that begins at S[0] == '"', as it stands. Its last character. */
static const char *copy_string(struct buf *out, const char *s, const char *end)
{
	const char *start = s;

	for (s++; s + 1 < end && *s != '"'; s++)
		s += *s == '\\' && s + 2 < end;
	buf_add(out, start, (size_t)(s - start) + 1);
	return s;
}

/* JSON indented token by token: unlike through a tree, duplicate keys, long numbers and any
 * depth are shown as they came. */
static void indent_json(struct buf *out, const char *s, const char *end)
{
	size_t depth = 0;
	bool empty = false; /* just behind an opening bracket */

	for (; s < end; s++) {
		bool closes = *s == '}' || *s == ']';

		if (strchr(" \t\r\n", *s))
			continue;
		depth -= closes && depth > 0;
		if (empty != closes && (empty || closes))
			new_line(out, depth);
		empty = *s == '{' || *s == '[';
		depth += empty;
		if (*s == '"')
			s = copy_string(out, s, end);
		else
			buf_addc(out, *s);
		if (*s == ',')
			new_line(out, depth);
		else if (*s == ':')
			buf_addc(out, ' ');
	}
}

static bool is_json(const char *body, size_t len)
{
	struct envelope e;
	bool json = envelope_parse(body, len, NULL, &e) != ENVELOPE_INVALID_JSON;

	envelope_free(&e);
	return json;
}

static void print_body(const char *body, size_t len)
{
	struct buf text = BUF_INIT;

	if (is_json(body, len))
		indent_json(&text, body, body + len);
	else
		buf_add(&text, body, len);
	putchar('\n');
	cli_print_text("", buf_str(&text), text.len);
	buf_free(&text);
}

/* The body as it came: as a value where it is JSON, so that jq can look into it. */
static struct json_object *json_body(const char *body, size_t len)
{
	struct json_object *value;

	if (!is_json(body, len))
		return cli_json_text(body, len);
	value = json_object_new_object();
	json_object_set_serializer(value, json_object_userdata_to_json_string, xstrndup(body, len),
	                           json_object_free_userdata);
	return value;
}

/* --- the event ----------------------------------------------------------------------------- */

void cli_add_event_counts(struct buf *out, const struct store_event_row *row)
{
	const struct { const char *name; int64_t n; } counts[] = {
		{ "success", row->succeeded }, { "failed", row->failed }, { "waiting", row->waiting },
	};
	size_t before, i;

	if (row->test)
		buf_adds(out, "test: ");
	before = out->len;
	for (i = 0; i < sizeof counts / sizeof counts[0]; i++)
		if (counts[i].n > 0)
			buf_addf(out, "%s%lld %s", out->len > before ? ", " : "", (long long)counts[i].n, counts[i].name);
	if (out->len == before)
		buf_adds(out, store_event_status(row));
}

static void print_event(const struct store_event_row *row)
{
	char time[CLI_TIME_SIZE];
	struct buf counts = BUF_INIT;

	cli_print_field("Event", row->id);
	cli_print_field("Name", row->event);
	cli_print_field("Source", row->source);
	cli_print_field("Organisation", row->org);
	cli_print_field("Timestamp", row->timestamp);
	cli_print_field("Received", cli_format_time(row->received_ms, time));
	cli_print_field("Idempotency key", row->idempotency_key);
	cli_add_event_counts(&counts, row);
	cli_print_field("Deliveries", counts.data);
	buf_free(&counts);
	printf("%-16s %zu bytes\n", "Body", row->body_len);
	print_body(row->body, row->body_len);
}

static int show_event(void *ctx, const struct store_event_row *row)
{
	struct show *show = ctx;

	show->found = true;
	if (!show->json) {
		print_event(row);
		return 1;
	}
	json_object_put(show->json);
	show->json = cli_json_event(row);
	json_object_object_add(show->json, "body", json_body(row->body, row->body_len));
	return 1;
}

int cli_no_such_event(const struct cli *cli, const char *id)
{
	if (id_valid(ID_DELIVERY, id))
		return cli_fail(cli, "%s is a delivery's id; an event's begins with " ID_EVENT, id);
	return cli_fail(cli, "no event %s: see 'ntrvsta events'", id);
}

/* --- deliveries and attempts ----------------------------------------------------------------- */

/* "dlv_...  wh_... (https://...)  pending, held: ..." */
static char *heading(const struct show *show, const struct store_delivery_row *row)
{
	const struct store_webhook *w = webhooks_find(&show->webhooks, row->target);
	struct buf out = BUF_INIT;

	buf_addf(&out, "%s  %s", row->id, row->target);
	if (w)
		buf_addf(&out, " (%s)", w->url);
	buf_addf(&out, "  %s", row->state);
	if (*cli_held(row))
		buf_addf(&out, ", held: %s", row->held);
	return buf_detach(&out);
}

static int note_delivery(void *ctx, const struct store_delivery_row *row)
{
	struct show *show = ctx;
	struct delivery *d;

	show->deliveries = xreallocarray(show->deliveries, show->ndeliveries + 1, sizeof *show->deliveries);
	d = &show->deliveries[show->ndeliveries++];
	d->id = xstrdup(row->id);
	d->heading = heading(show, row);
	d->json = show->json ? cli_json_delivery(row) : NULL;
	return 0;
}

static int print_attempt(void *ctx, const struct store_attempt_row *row)
{
	char time[CLI_TIME_SIZE], took[UNITS_SIZE];
	struct buf line = BUF_INIT;

	(void)ctx;
	buf_addf(&line, "attempt %d  %s  %s after %s", row->attempt, cli_format_time(row->started_ms, time),
	         store_attempt_status(row), units_format_duration(row->duration_ms, took));
	if (row->error_message[0])
		buf_addf(&line, ": %s", row->error_message);
	cli_print_text("  ", line.data, line.len);
	buf_free(&line);
	cli_print_exchange("    ", row);
	return 0;
}

static int add_attempt(void *ctx, const struct store_attempt_row *row)
{
	json_object_array_add(ctx, cli_json_attempt(row));
	return 0;
}

static enum store_status show_attempts(struct store *store, struct delivery *d)
{
	struct store_filter filter = { .delivery_id = d->id, .oldest_first = true };
	struct json_object *rows;

	if (!d->json) {
		putchar('\n');
		cli_print_text("", d->heading, strlen(d->heading));
		return store_list_attempts(store, &filter, print_attempt, NULL);
	}
	rows = json_object_new_array();
	json_object_object_add(d->json, "attempts", rows);
	return store_list_attempts(store, &filter, add_attempt, rows);
}

static enum store_status show_deliveries(struct show *show, struct store *store, const char *id)
{
	struct store_filter filter = { .event_id = id, .oldest_first = true };
	struct json_object *rows = show->json ? json_object_new_array() : NULL;
	enum store_status status = store_list_deliveries(store, &filter, note_delivery, show);
	size_t i;

	for (i = 0; i < show->ndeliveries; i++) {
		if (status == STORE_OK)
			status = show_attempts(store, &show->deliveries[i]);
		if (rows)
			json_object_array_add(rows, show->deliveries[i].json);
		free(show->deliveries[i].id);
		free(show->deliveries[i].heading);
	}
	free(show->deliveries);
	if (rows)
		json_object_object_add(show->json, "deliveries", rows);
	return status;
}

static enum store_status show_all(struct show *show, struct store *store, const char *id)
{
	struct store_filter filter = { .event_id = id, .limit = 1 };
	enum store_status status = store_list_events(store, &filter, show_event, show);

	if (status == STORE_OK && show->found)
		status = webhooks_load(store, &show->webhooks);
	if (status == STORE_OK && show->found)
		status = show_deliveries(show, store, id);
	webhooks_free(&show->webhooks);
	if (status == STORE_OK && show->found && show->json)
		cli_print_json(json_object_get(show->json));
	return status;
}

/* Nothing is written while a query is open: a pager that waits for a key would keep the store's
 * journal growing. The C library lets standard output be replaced. */
int cli_show_event(const struct cli *cli, struct store *store, const char *id)
{
	struct show show = { .json = cli->json ? json_object_new_object() : NULL };
	FILE *out = stdout, *memory;
	enum store_status status;
	char *text = NULL;
	size_t len = 0;

	memory = open_memstream(&text, &len);
	if (!memory)
		return cli_fail(cli, "out of memory");
	stdout = memory;
	status = show_all(&show, store, id);
	stdout = out;
	fclose(memory);
	fwrite(text, 1, len, stdout);
	free(text);
	json_object_put(show.json);
	if (status != STORE_OK)
		return cli_fail(cli, "%s", store_error(store));
	return show.found ? CLI_OK : cli_no_such_event(cli, id);
}
