/* What the tool prints: tables for people, JSON for programs. */
#ifndef NTRVSTA_CLI_OUTPUT_H
#define NTRVSTA_CLI_OUTPUT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/units.h"
#include "lib/store/store.h"

/* --- for people ------------------------------------------------------------------------ */

/* A table: columns as wide as they need to be, cells made safe for a terminal. */
struct cli_table;
struct cli_table *cli_table_new(const char *const *headings, size_t ncolumns);
void cli_table_cell(struct cli_table *t, const char *text); /* row by row, left to right */
void cli_table_print(struct cli_table *t, const char *when_empty); /* prints and frees */
void cli_table_free(struct cli_table *t); /* where it came to nothing; NULL is allowed */

/* Text of others on standard output, made safe for a terminal. Its lines stay lines, each with
 * PREFIX in front and a newline behind. */
void cli_print_text(const char *prefix, const char *text, size_t len);

/* "NAME    VALUE" on a line, made safe; "-" for "". */
void cli_print_field(const char *name, const char *value);

/* Local time, "2026-12-31 13:05:09"; "-" for 0. Returns OUT. */
#define CLI_TIME_SIZE 32
char *cli_format_time(int64_t wall_ms, char out[CLI_TIME_SIZE]);

/* Why an attempt ended as it did, and the last line that it printed. */
void cli_add_result(struct buf *out, const struct store_attempt_row *row);

/* What an attempt printed or was answered, and what else is kept of what was said: a line for each, behind INDENT and
 * "| ", "> " for what was sent, "< " for the head of the answer. */
void cli_print_exchange(const char *indent, const struct store_attempt_row *row);

/* Why a delivery that waits is not run at present; "" where it would be. */
const char *cli_held(const struct store_delivery_row *row);

/* The share of success among what ended, in percent and rounded down: 100 is said of nothing but a whole success.
 * "" where nothing ended. Returns OUT. */
const char *cli_format_rate(const struct store_stats *s, char out[UNITS_SIZE]);

/* Names of EVENTS, which have a blank between them, with commas; cut behind about MAX bytes; "all" for "*". */
void cli_add_events(struct buf *out, const char *events, size_t max);

/* S as one word of a shell's command line. */
void cli_add_quoted(struct buf *out, const char *s);

/* --- for programs ---------------------------------------------------------------------- */

/* Print DOC on standard output, pretty, with a newline; releases it. */
void cli_print_json(struct json_object *doc);

/* DOC on one line, with a newline; releases it. */
void cli_add_json_line(struct buf *out, struct json_object *doc);

/* Values: text of others (made valid UTF-8), RFC 3339 in UTC; null for "" and for 0. */
struct json_object *cli_json_text(const char *s, size_t len);
struct json_object *cli_json_string(const char *s);
struct json_object *cli_json_time(int64_t wall_ms);
struct json_object *cli_json_words(const char *s); /* an array of what has a blank between it */

/* Rows, the same in every command that shows them. */
struct json_object *cli_json_event(const struct store_event_row *row);
struct json_object *cli_json_delivery(const struct store_delivery_row *row);
struct json_object *cli_json_attempt(const struct store_attempt_row *row);
struct json_object *cli_json_stats(const struct store_stats *s);

/* A list's document: {"data": ROWS, "has_more": MORE}. */
struct json_object *cli_json_list(struct json_object *rows, bool more);

#endif
