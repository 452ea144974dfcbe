/* Internet addresses and blocks of them. An IPv4 address a.b.c.d is held as ::ffff:a.b.c.d (RFC 4291,
 * section 2.5.5.2), so that there is one kind. */
#ifndef NTRVSTA_BASE_ADDRESS_H
#define NTRVSTA_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_BYTES 16
#define ADDRESS_TEXT_SIZE 64 /* of an address as text, with its NUL */

struct address {
	uint8_t bytes[ADDRESS_BYTES];
};

struct address_block { /* the addresses whose first BITS bits are those of FIRST */
	struct address first;
	unsigned bits;
};

struct address_blocks {
	struct address_block *items; /* allocated; NULL where N is 0 */
	size_t n;
};

/* -1 where SA is neither of IPv4 nor of IPv6. */
int address_from_socket(const struct sockaddr *sa, struct address *out);

/* "192.0.2.1" or "2001:db8::1", nothing else. */
int address_parse(const char *text, struct address *out);

/* "10.0.0.0/8", "fd00::/8", or an address alone. -1 also where bits behind the prefix are set. */
int address_parse_block(const char *text, struct address_block *out);

bool address_is_ipv4(const struct address *a);
bool address_in(const struct address *a, const struct address_block *block);
bool address_in_any(const struct address *a, const struct address_blocks *blocks);

char *address_format(const struct address *a, char out[ADDRESS_TEXT_SIZE]); /* returns OUT */

#endif
