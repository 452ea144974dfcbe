/* Heads of HTTP messages, a start line and headers, as they are kept: without what lets somebody in who reads them. */
#ifndef NTRVSTA_DELIVERY_HEAD_H
#define NTRVSTA_DELIVERY_HEAD_H

#include "lib/base/buf.h"

/* HEAD, as it went over the wire, to OUT: its lines up to the empty one, each with a newline behind. Of a signature only
 * the end is left; of cookies, keys, tokens and the like nothing, nor of the user and the password in a URL. */
void head_mask(const struct buf *head, struct buf *out);

#endif
