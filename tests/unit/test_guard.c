#include "lib/delivery/guard.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/tap.h"

#define PUBLIC NULL

/* WHAT is a part of the reason; PUBLIC: may be called. */
static const struct {
	const char *address, *what;
} rows[] = {
	/* IPv4: the first and the last address of each block, and its neighbours. */
	{ "0.0.0.0", "this network" },
	{ "0.255.255.255", "this network" },
	{ "1.0.0.0", PUBLIC },
	{ "1.1.1.1", PUBLIC },
	{ "8.8.8.8", PUBLIC },
	{ "9.255.255.255", PUBLIC },
	{ "10.0.0.0", "private" },
	{ "10.255.255.255", "private" },
	{ "11.0.0.0", PUBLIC },
	{ "100.63.255.255", PUBLIC },
	{ "100.64.0.0", "shared" },
	{ "100.100.100.200", "shared" }, /* Alibaba Cloud's metadata */
	{ "100.127.255.255", "shared" },
	{ "100.128.0.0", PUBLIC },
	{ "126.255.255.255", PUBLIC },
	{ "127.0.0.0", "this machine" },
	{ "127.0.0.1", "this machine" },
	{ "127.255.255.255", "this machine" },
	{ "128.0.0.0", PUBLIC },
	{ "168.63.129.15", PUBLIC },
	{ "168.63.129.16", "cloud" }, /* Azure's */
	{ "168.63.129.17", PUBLIC },
	{ "169.253.255.255", PUBLIC },
	{ "169.254.0.0", "link-local" },
	{ "169.254.169.254", "metadata" },
	{ "169.254.170.2", "metadata" }, /* Amazon's for containers */
	{ "169.254.255.255", "link-local" },
	{ "169.255.0.0", PUBLIC },
	{ "172.15.255.255", PUBLIC },
	{ "172.16.0.0", "private" },
	{ "172.31.255.255", "private" },
	{ "172.32.0.0", PUBLIC },
	{ "191.255.255.255", PUBLIC },
	{ "192.0.0.0", "IETF" },
	{ "192.0.0.192", "IETF" }, /* Oracle Cloud's metadata */
	{ "192.0.0.255", "IETF" },
	{ "192.0.1.0", PUBLIC },
	{ "192.0.2.0", "documentation" },
	{ "192.0.2.255", "documentation" },
	{ "192.0.3.0", PUBLIC },
	{ "192.31.195.255", PUBLIC },
	{ "192.31.196.0", "AS112" },
	{ "192.31.196.255", "AS112" },
	{ "192.31.197.0", PUBLIC },
	{ "192.52.192.255", PUBLIC },
	{ "192.52.193.0", "multicast" },
	{ "192.52.193.255", "multicast" },
	{ "192.52.194.0", PUBLIC },
	{ "192.88.98.255", PUBLIC },
	{ "192.88.99.0", "6to4" },
	{ "192.88.99.255", "6to4" },
	{ "192.88.100.0", PUBLIC },
	{ "192.167.255.255", PUBLIC },
	{ "192.168.0.0", "private" },
	{ "192.168.255.255", "private" },
	{ "192.169.0.0", PUBLIC },
	{ "192.175.47.255", PUBLIC },
	{ "192.175.48.0", "AS112" },
	{ "192.175.48.255", "AS112" },
	{ "192.175.49.0", PUBLIC },
	{ "198.17.255.255", PUBLIC },
	{ "198.18.0.0", "benchmarks" },
	{ "198.19.255.255", "benchmarks" },
	{ "198.20.0.0", PUBLIC },
	{ "198.51.99.255", PUBLIC },
	{ "198.51.100.0", "documentation" },
	{ "198.51.100.255", "documentation" },
	{ "198.51.101.0", PUBLIC },
	{ "203.0.112.255", PUBLIC },
	{ "203.0.113.0", "documentation" },
	{ "203.0.113.255", "documentation" },
	{ "203.0.114.0", PUBLIC },
	{ "223.255.255.255", PUBLIC },
	{ "224.0.0.0", "multicast" },
	{ "239.255.255.255", "multicast" },
	{ "240.0.0.0", "reserved" },
	{ "255.255.255.254", "reserved" },
	{ "255.255.255.255", "broadcast" },

	/* IPv6. */
	{ "::", "no address" },
	{ "::1", "this machine" },
	{ "::2", "IPv4-compatible" },
	{ "::127.0.0.1", "IPv4-compatible" },
	{ "::8.8.8.8", "IPv4-compatible" },
	{ "::1:0:0", "not a public" },
	{ "::ffff:127.0.0.1", "this machine" },
	{ "::ffff:169.254.169.254", "metadata" },
	{ "::ffff:8.8.8.8", PUBLIC },
	{ "::ffff:0:127.0.0.1", "not a public" }, /* SIIT, RFC 2765 */
	{ "64:ff9a:ffff::", "not a public" },
	{ "64:ff9b::", "this network" },
	{ "64:ff9b::7f00:1", "this machine" },
	{ "64:ff9b::a9fe:a9fe", "metadata" },
	{ "64:ff9b::ffff:ffff", "broadcast" },
	{ "64:ff9b::808:808", PUBLIC },
	{ "64:ff9b::1:0:0", "not a public" },
	{ "64:ff9b:1::", "NAT64" },
	{ "64:ff9b:1:ffff:ffff:ffff:808:808", "NAT64" },
	{ "64:ff9b:2::", "not a public" },
	{ "100::", "discarded" },
	{ "100::ffff:ffff:ffff:ffff", "discarded" },
	{ "100:0:0:1::", "dummy" },
	{ "100:0:0:1:ffff:ffff:ffff:ffff", "dummy" },
	{ "100:0:0:2::", "not a public" },
	{ "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not a public" },
	{ "2000::", PUBLIC },
	{ "2001::", "Teredo" },
	{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo" },
	{ "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo" },
	{ "2001:1::1", "IETF" },
	{ "2001:2::", "benchmarks" },
	{ "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarks" },
	{ "2001:10::1", "IETF" },
	{ "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "IETF" },
	{ "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "IETF" },
	{ "2001:200::", PUBLIC },
	{ "2001:4860:4860::8888", PUBLIC },
	{ "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2001:db8::", "documentation" },
	{ "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation" },
	{ "2001:db9::", PUBLIC },
	{ "2002:7f00:1::1", "this machine" },
	{ "2002:a00::", "private" },
	{ "2002:a9fe:a9fe::1", "metadata" },
	{ "2002:808:808::1", PUBLIC },
	{ "2003::", PUBLIC },
	{ "2606:4700:4700::1111", PUBLIC },
	{ "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "2620:4f:8000::", "AS112" },
	{ "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "AS112" },
	{ "2620:4f:8001::", PUBLIC },
	{ "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PUBLIC },
	{ "3fff::", "documentation" },
	{ "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation" },
	{ "3fff:1000::", PUBLIC },
	{ "4000::", "not a public" },
	{ "5f00::", "segment routing" },
	{ "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing" },
	{ "fc00::", "private" },
	{ "fd00:ec2::254", "private" }, /* Amazon's metadata */
	{ "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private" },
	{ "fe00::", "not a public" },
	{ "fe80::", "link-local" },
	{ "fe80::a9fe:a9fe", "link-local" },
	{ "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local" },
	{ "fec0::", "private" },
	{ "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private" },
	{ "ff00::", "multicast" },
	{ "ff02::1", "multicast" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast" },
};

static void test_addresses(void)
{
	struct conf_webhooks settings = { 0 };
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = BUF_INIT;
		struct address a;
		bool parsed = address_parse(rows[i].address, &a) == 0;
		bool allowed = parsed && guard_allows(&settings, &a, &why);

		CHECK(parsed && allowed == !rows[i].what, "%s is %s", rows[i].address, rows[i].what ? "refused" : "called");
		if (rows[i].what && !CHECK(strstr(buf_str(&why), rows[i].what) && strstr(buf_str(&why), "[webhooks] allow_private"),
		                           "... because of '%s', and the setting is named", rows[i].what))
			printf("# %s\n", buf_str(&why));
		buf_free(&why);
	}
}

static void test_allow_private(void)
{
	static const struct {
		const char *block, *address;
		bool allowed;
	} lists[] = {
		{ "10.0.0.0/8", "10.1.2.3", true },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
		{ "10.0.0.0/8", "64:ff9b::a01:203", true },
		{ "10.0.0.0/8", "2002:a01:203::", true },
		{ "10.0.0.0/8", "64:ff9b::7f00:1", false },
		{ "10.0.0.0/8", "11.1.2.3", true },
		{ "10.0.0.0/8", "192.168.0.1", false },
		{ "10.0.0.0/8", "::1", false },
		{ "::1", "::1", true },
		{ "::1", "::2", false },
		{ "::1", "127.0.0.1", false },
		{ "fc00::/7", "fd00::1", true },
		{ "fc00::/7", "fe80::1", false },
		{ "64:ff9b::/96", "64:ff9b::7f00:1", true },
		{ "0.0.0.0/0", "127.0.0.1", true },
		{ "0.0.0.0/0", "::1", false },
	};
	size_t i;

	for (i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		struct address_block block;
		struct conf_webhooks settings = { .allow_private = { &block, 1 } };
		struct address a;

		CHECK(address_parse_block(lists[i].block, &block) == 0 && address_parse(lists[i].address, &a) == 0 &&
		      guard_allows(&settings, &a, NULL) == lists[i].allowed,
		      "allow_private = %s: %s is %s", lists[i].block, lists[i].address, lists[i].allowed ? "called" : "refused");
	}
}

int main(void)
{
	test_addresses();
	test_allow_private();
	return tap_done();
}
