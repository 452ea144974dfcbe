#include "lib/intake/client.h"

#include <string.h>

#define BLANK " \t"

/* Some proxies add the port: "192.0.2.1:5678", "[2001:db8::1]:443". */
static int parse_entry(const char *entry, size_t len, struct address *out)
{
	char text[ADDRESS_TEXT_SIZE];
	size_t skip = strspn(entry, BLANK), end;
	char *colon;

	skip = skip < len ? skip : len;
	entry += skip;
	len -= skip;
	while (len > 0 && strchr(BLANK, entry[len - 1]))
		len--;
	if (len >= sizeof text)
		return -1;
	memcpy(text, entry, len);
	text[len] = '\0';
	if (text[0] == '[') {
		end = strcspn(text, "]");
		text[end] = '\0';
		return address_parse(text + 1, out);
	}
	colon = strchr(text, ':');
	if (colon && colon == strrchr(text, ':'))
		*colon = '\0';
	return address_parse(text, out);
}

const char *client_address(const struct address_blocks *proxies, const char *remote, const char *forwarded,
                           char out[ADDRESS_TEXT_SIZE])
{
	struct address client, next;
	size_t end = forwarded ? strlen(forwarded) : 0, begin;

	if (!remote || proxies->n == 0 || address_parse(remote, &client) || !address_in_any(&client, proxies))
		return remote;
	while (end > 0 && address_in_any(&client, proxies)) {
		for (begin = end; begin > 0 && forwarded[begin - 1] != ',';)
			begin--;
		if (parse_entry(forwarded + begin, end - begin, &next))
			break;
		client = next;
		end = begin > 0 ? begin - 1 : 0;
	}
	return address_format(&client, out);
}
