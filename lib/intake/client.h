/* Which client a request came from. */
#ifndef NTRVSTA_INTAKE_CLIENT_H
#define NTRVSTA_INTAKE_CLIENT_H

#include "lib/base/address.h"

/* The client's address: REMOTE, as the web server has it, or where that is one of the PROXIES the last address in
 * FORWARDED (X-Forwarded-For, which may be NULL) that is none of them: what stands before it anybody may have
 * written. An entry that is no address ends the search at the proxy that passed it on. Returns REMOTE or OUT;
 * NULL where REMOTE is. */
const char *client_address(const struct address_blocks *proxies, const char *remote, const char *forwarded,
                           char out[ADDRESS_TEXT_SIZE]);

#endif
