/* What the tool prints for programs. */
#include "lib/cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/exchanges.h"
#include "lib/base/clock.h"

void cli_print_json(struct json_object *doc)
{
	printf("%s\n", json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(doc);
}

void cli_add_json_line(struct buf *out, struct json_object *doc)
{
	buf_adds(out, json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	buf_addc(out, '\n');
	json_object_put(doc);
}

struct json_object *cli_json_text(const char *s, size_t len)
{
	struct buf text = BUF_INIT;
	struct json_object *value;

	buf_add_utf8(&text, s, len);
	value = json_object_new_string_len(buf_str(&text), (int)text.len);
	buf_free(&text);
	return value;
}

struct json_object *cli_json_string(const char *s)
{
	return *s ? cli_json_text(s, strlen(s)) : NULL;
}

struct json_object *cli_json_time(int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	return wall_ms ? json_object_new_string(clock_format(wall_ms, text)) : NULL;
}

struct json_object *cli_json_words(const char *s)
{
	struct json_object *words = json_object_new_array();
	size_t len;

	for (; *s; s += len + (s[len] == ' ')) {
		len = strcspn(s, " ");
		json_object_array_add(words, cli_json_text(s, len));
	}
	return words;
}

struct json_object *cli_json_event(const struct store_event_row *row)
{
	struct json_object *o = json_object_new_object();
	struct json_object *counts = json_object_new_object();

	json_object_object_add(o, "id", cli_json_string(row->id));
	json_object_object_add(o, "event", cli_json_string(row->event));
	json_object_object_add(o, "source", cli_json_string(row->source));
	json_object_object_add(o, "org", *row->org ? cli_json_string(row->org) : NULL);
	json_object_object_add(o, "timestamp", cli_json_string(row->timestamp));
	json_object_object_add(o, "received_at", cli_json_time(row->received_ms));
	json_object_object_add(o, "idempotency_key", cli_json_string(row->idempotency_key));
	json_object_object_add(o, "body_bytes", json_object_new_int64((int64_t)row->body_len));
	json_object_object_add(o, "status", json_object_new_string(store_event_status(row)));
	json_object_object_add(counts, "total", json_object_new_int64(row->deliveries));
	json_object_object_add(counts, "success", json_object_new_int64(row->succeeded));
	json_object_object_add(counts, "failed", json_object_new_int64(row->failed));
	json_object_object_add(counts, "waiting", json_object_new_int64(row->waiting));
	json_object_object_add(o, "counts", counts);
	json_object_object_add(o, "test", json_object_new_boolean(row->test));
	return o;
}

struct json_object *cli_json_delivery(const struct store_delivery_row *row)
{
	struct json_object *o = json_object_new_object();
	bool pending = strcmp(row->state, "pending") == 0;
	int64_t due_ms = row->due_ms ? row->due_ms : row->created_ms;

	json_object_object_add(o, "id", cli_json_string(row->id));
	json_object_object_add(o, "event_id", cli_json_string(row->event_id));
	json_object_object_add(o, "event", cli_json_string(row->event));
	json_object_object_add(o, "target", cli_json_string(row->target));
	json_object_object_add(o, "status", cli_json_string(row->state));
	json_object_object_add(o, "attempt_count", json_object_new_int(row->attempts));
	json_object_object_add(o, "created_at", cli_json_time(row->created_ms));
	json_object_object_add(o, "updated_at", cli_json_time(row->updated_ms));
	json_object_object_add(o, "next_attempt_at", pending ? cli_json_time(due_ms) : NULL);
	json_object_object_add(o, "error_code", cli_json_string(row->error_code));
	json_object_object_add(o, "error_message", cli_json_string(row->error_message));
	json_object_object_add(o, "held", cli_json_string(cli_held(row)));
	json_object_object_add(o, "test", json_object_new_boolean(row->test));
	return o;
}

struct json_object *cli_json_attempt(const struct store_attempt_row *row)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "delivery_id", cli_json_string(row->delivery_id));
	json_object_object_add(o, "event_id", cli_json_string(row->event_id));
	json_object_object_add(o, "event", cli_json_string(row->event));
	json_object_object_add(o, "target", cli_json_string(row->target));
	json_object_object_add(o, "status", json_object_new_string(store_attempt_status(row)));
	json_object_object_add(o, "outcome", cli_json_string(row->outcome));
	json_object_object_add(o, "attempt", json_object_new_int(row->attempt));
	json_object_object_add(o, "started_at", cli_json_time(row->started_ms));
	json_object_object_add(o, "duration_ms", json_object_new_int64(row->duration_ms));
	json_object_object_add(o, "exit_code", row->exit_code < 0 ? NULL : json_object_new_int(row->exit_code));
	json_object_object_add(o, "signal", row->signal == 0 ? NULL : json_object_new_int(row->signal));
	json_object_object_add(o, "status_code", row->status_code == 0 ? NULL : json_object_new_int(row->status_code));
	json_object_object_add(o, "error_code", cli_json_string(row->error_code));
	json_object_object_add(o, "error_message", cli_json_string(row->error_message));
	json_object_object_add(o, "output", cli_json_text(row->output, row->output_len));
	json_object_object_add(o, "output_cut", json_object_new_boolean(row->output_cut));
	exchange_add_json(o, row);
	json_object_object_add(o, "test", json_object_new_boolean(row->test));
	return o;
}

struct json_object *cli_json_stats(const struct store_stats *s)
{
	struct json_object *o = json_object_new_object();
	char rate[UNITS_SIZE];

	cli_format_rate(s, rate);
	json_object_object_add(o, "total_deliveries", json_object_new_int64(s->successful + s->failed + s->pending));
	json_object_object_add(o, "successful_deliveries", json_object_new_int64(s->successful));
	json_object_object_add(o, "failed_deliveries", json_object_new_int64(s->failed));
	json_object_object_add(o, "pending_deliveries", json_object_new_int64(s->pending));
	json_object_object_add(o, "success_rate", *rate ? json_object_new_double_s(strtod(rate, NULL), rate) : NULL);
	json_object_object_add(o, "p50_ms", s->p50_ms < 0 ? NULL : json_object_new_int64(s->p50_ms));
	json_object_object_add(o, "p95_ms", s->p95_ms < 0 ? NULL : json_object_new_int64(s->p95_ms));
	json_object_object_add(o, "from", cli_json_time(s->from_ms));
	json_object_object_add(o, "to", cli_json_time(s->to_ms));
	json_object_object_add(o, "attempts", json_object_new_int64(s->attempts));
	json_object_object_add(o, "failed_attempts", json_object_new_int64(s->failed_attempts));
	json_object_object_add(o, "oldest_waiting_at", cli_json_time(s->oldest_waiting_ms));
	return o;
}

struct json_object *cli_json_list(struct json_object *rows, bool more)
{
	struct json_object *doc = json_object_new_object();

	json_object_object_add(doc, "data", rows);
	json_object_object_add(doc, "has_more", json_object_new_boolean(more));
	return doc;
}
