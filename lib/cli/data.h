/* The option --data of commands that make an event. */
#ifndef NTRVSTA_CLI_DATA_H
#define NTRVSTA_CLI_DATA_H

#include <json-c/json.h>

#include "lib/cli/cli.h"

/* One JSON value, in strict syntax and valid UTF-8, with nothing behind it. NULL where it is none, and for `null`. */
struct json_object *data_parse(const char *text);

void data_trim(struct buf *text); /* drop the blanks at the end */

/* Append to OUT what --data gave: OPTION itself or, behind "@", the content of a file, without blanks at the
 * end. False after it said what is wrong. */
bool data_read(const struct cli *cli, const char *option, struct buf *out);

/* Say so where there is no sample of EVENT's data. */
void data_note_undocumented(const struct cli *cli, const char *event);

/* Say that --data holds no JSON. */
void data_refuse(const struct cli *cli);

#endif
