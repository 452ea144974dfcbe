/* What was said in an attempt (lib/store/exchanges.h), for programs: the same in the API and in the tool. */
#ifndef NTRVSTA_API_EXCHANGES_H
#define NTRVSTA_API_EXCHANGES_H

#include <json-c/json.h>

#include "lib/store/store.h"

/* Add to O, which shows ROW:
 *   request   {request_line, headers}
 *   response  {status_line, headers, headers_cut, body, body_cut}
 * headers are [{name, value}]. null where nothing is kept, was sent, or came. */
void exchange_add_json(struct json_object *o, const struct store_attempt_row *row);

#endif
