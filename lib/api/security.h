/* Private to lib/api: what was refused, for more than one answer. */
#ifndef NTRVSTA_API_SECURITY_H
#define NTRVSTA_API_SECURITY_H

#include "lib/api/stats.h"

/* [{code, count}] over the range, the most frequent first. */
struct json_object *security_count(const struct api_call *c, const struct stats_range *r);

#endif
