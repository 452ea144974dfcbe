/* Which addresses may be called: public ones. Whoever registers a webhook must not reach, through us, what
 * only this machine and its neighbours can (SSRF). Judged on the very address that is connected to, so that
 * no name, redirect or second look-up leads elsewhere.
 *
 * Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates), IANA IPv6 Address
 * Space (only 2000::/3 is global unicast), RFC 6052 and 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo). */
#ifndef NTRVSTA_DELIVERY_GUARD_H
#define NTRVSTA_DELIVERY_GUARD_H

#include <stdbool.h>

#include "lib/base/address.h"
#include "lib/base/buf.h"
#include "lib/conf/conf.h"

/* May A be called? False with the reason, and the setting that would allow it, in WHY (which may be NULL). An
 * address that carries an IPv4 address in it is judged by that one too. */
bool guard_allows(const struct conf_webhooks *settings, const struct address *a, struct buf *why);

#endif
