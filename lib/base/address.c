#include "lib/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define IPV4_OFFSET 12

static const uint8_t ipv4_prefix[IPV4_OFFSET] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static void set_ipv4(const void *bytes, struct address *out)
{
	memcpy(out->bytes, ipv4_prefix, IPV4_OFFSET);
	memcpy(out->bytes + IPV4_OFFSET, bytes, 4);
}

int address_from_socket(const struct sockaddr *sa, struct address *out)
{
	if (sa->sa_family == AF_INET) {
		set_ipv4(&((const struct sockaddr_in *)sa)->sin_addr, out);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(out->bytes, &((const struct sockaddr_in6 *)sa)->sin6_addr, ADDRESS_BYTES);
		return 0;
	}
	return -1;
}

int address_parse(const char *text, struct address *out)
{
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		set_ipv4(&ipv4, out);
		return 0;
	}
	return inet_pton(AF_INET6, text, out->bytes) == 1 ? 0 : -1;
}

static bool has_bits_behind(const struct address_block *b)
{
	unsigned i;

	for (i = b->bits; i < 8 * ADDRESS_BYTES; i++)
		if (b->first.bytes[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

int address_parse_block(const char *text, struct address_block *out)
{
	char address[ADDRESS_TEXT_SIZE];
	size_t len = strcspn(text, "/"), digits;
	unsigned most, bits;

	if (len >= sizeof address)
		return -1;
	memcpy(address, text, len);
	address[len] = '\0';
	if (address_parse(address, &out->first))
		return -1;
	/* As it is written: ::ffff:0:0/96 is a block of IPv6. */
	most = strchr(address, ':') ? 128 : 32;
	bits = most;
	if (text[len] == '/') {
		digits = strspn(text + len + 1, "0123456789");
		if (digits == 0 || digits > 3 || text[len + 1 + digits])
			return -1;
		bits = (unsigned)strtoul(text + len + 1, NULL, 10);
	}
	if (bits > most)
		return -1;
	out->bits = bits + 128 - most;
	return has_bits_behind(out) ? -1 : 0;
}

bool address_is_ipv4(const struct address *a)
{
	return memcmp(a->bytes, ipv4_prefix, IPV4_OFFSET) == 0;
}

bool address_in(const struct address *a, const struct address_block *block)
{
	unsigned whole = block->bits / 8, rest = block->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	return memcmp(a->bytes, block->first.bytes, whole) == 0 &&
	       (rest == 0 || ((a->bytes[whole] ^ block->first.bytes[whole]) & mask) == 0);
}

bool address_in_any(const struct address *a, const struct address_blocks *blocks)
{
	size_t i;

	for (i = 0; i < blocks->n; i++)
		if (address_in(a, &blocks->items[i]))
			return true;
	return false;
}

char *address_format(const struct address *a, char out[ADDRESS_TEXT_SIZE])
{
	const void *bytes = address_is_ipv4(a) ? a->bytes + IPV4_OFFSET : a->bytes;

	if (!inet_ntop(address_is_ipv4(a) ? AF_INET : AF_INET6, bytes, out, ADDRESS_TEXT_SIZE))
		out[0] = '\0';
	return out;
}
