/* The URL of a webhook, judged by libcurl's own parser, so that what is checked here is what is called. */
#ifndef NTRVSTA_DELIVERY_URL_H
#define NTRVSTA_DELIVERY_URL_H

#include "lib/base/buf.h"
#include "lib/conf/conf.h"

#define URL_MAX 2048 /* bytes */

/* URL in its normal form, the caller's to free. NULL with the reason in ERR, and the setting that would allow
 * it where there is one: another scheme than https (http with allow_http), credentials, a fragment, a port
 * outside 1-65535, an address that guard.h refuses. What a name leads to is judged when it is called. */
char *url_check(const char *url, const struct conf_webhooks *settings, struct buf *err);

#endif
