#include "lib/delivery/guard.h"

#include <stdlib.h>
#include <string.h>

/* The first that fits names it. EMBEDDED: where the IPv4 address stands that decides; -1: refused as it is. */
static const struct {
	const char *block;
	const char *what;
	int embedded;
} special[] = {
	{ "0.0.0.0/8", "this network", -1 },
	{ "10.0.0.0/8", "a private network", -1 },
	{ "100.64.0.0/10", "a provider's shared addresses", -1 },
	{ "127.0.0.0/8", "this machine", -1 },
	{ "168.63.129.16", "a cloud provider's own services", -1 },
	{ "169.254.0.0/16", "link-local addresses, cloud metadata among them", -1 },
	{ "172.16.0.0/12", "a private network", -1 },
	{ "192.0.0.0/24", "IETF protocol assignments", -1 },
	{ "192.0.2.0/24", "documentation", -1 },
	{ "192.31.196.0/24", "AS112 service", -1 },
	{ "192.52.193.0/24", "multicast tunneling", -1 },
	{ "192.88.99.0/24", "6to4 relays", -1 },
	{ "192.168.0.0/16", "a private network", -1 },
	{ "192.175.48.0/24", "AS112 service", -1 },
	{ "198.18.0.0/15", "benchmarks", -1 },
	{ "198.51.100.0/24", "documentation", -1 },
	{ "203.0.113.0/24", "documentation", -1 },
	{ "224.0.0.0/4", "multicast", -1 },
	{ "255.255.255.255", "broadcast", -1 },
	{ "240.0.0.0/4", "reserved addresses", -1 },

	{ "::", "no address", -1 },
	{ "::1", "this machine", -1 },
	{ "::/96", "IPv4-compatible addresses", -1 },
	{ "64:ff9b::/96", "NAT64", 12 },
	{ "64:ff9b:1::/48", "a private network's NAT64", -1 },
	{ "100::/64", "discarded addresses", -1 },
	{ "100:0:0:1::/64", "dummy addresses", -1 },
	{ "2001::/32", "Teredo", -1 },
	{ "2001:2::/48", "benchmarks", -1 },
	{ "2001::/23", "IETF protocol assignments", -1 },
	{ "2001:db8::/32", "documentation", -1 },
	{ "2002::/16", "6to4", 2 },
	{ "2620:4f:8000::/48", "AS112 service", -1 },
	{ "3fff::/20", "documentation", -1 },
	{ "5f00::/16", "segment routing", -1 },
	{ "fc00::/7", "a private network", -1 },
	{ "fe80::/10", "link-local addresses", -1 },
	{ "fec0::/10", "a private network", -1 },
	{ "ff00::/8", "multicast", -1 },
};

static bool parse_and_match(const char *text, const struct address *a)
{
	struct address_block block;

	if (address_parse_block(text, &block))
		abort(); /* the table is wrong */
	return address_in(a, &block);
}

static const char global_unicast[] = "2000::/3";

/* What A is where it is not public; NULL where it is. *INNER is the IPv4 address in it that decides, if any. */
static const char *find_special(const struct address *a, bool *has_inner, struct address *inner)
{
	size_t i;

	*has_inner = false;
	for (i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (!parse_and_match(special[i].block, a))
			continue;
		if (special[i].embedded >= 0) {
			*has_inner = true;
			memcpy(inner->bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
			memcpy(inner->bytes + 12, a->bytes + special[i].embedded, 4);
		}
		return special[i].what;
	}
	return address_is_ipv4(a) || parse_and_match(global_unicast, a) ? NULL : "not a public address";
}

bool guard_allows(const struct conf_webhooks *settings, const struct address *a, struct buf *why)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address inner;
	bool has_inner;
	const char *what;

	if (address_in_any(a, &settings->allow_private))
		return true;
	what = find_special(a, &has_inner, &inner);
	if (!what)
		return true;
	if (has_inner)
		return guard_allows(settings, &inner, why);
	if (why)
		buf_addf(why, "%s is not called: it belongs to %s; list it in [webhooks] allow_private to allow it",
		         address_format(a, text), what);
	return false;
}
