/* Private to lib/api: calls that bring an Idempotency-Key are done once, and answered again with the first answer. */
#ifndef NTRVSTA_API_ONCE_H
#define NTRVSTA_API_ONCE_H

#include "lib/api/call.h"

#define ONCE_KEY_MAX 255 /* visible characters of ASCII */

/* Run ROUTE for R, unless the same call with the same key was answered before: then C gets that answer. Not kept are
 * answers that ask to try again later, 429 and 5xx. What is not SLOW is one transaction with its answer. */
void once_run(struct api_call *c, const struct route *route, bool slow, const struct api_request *r);

#endif
