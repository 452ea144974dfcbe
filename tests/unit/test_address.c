#include "lib/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "tests/unit/tap.h"

static void test_addresses(void)
{
	static const struct {
		const char *text, *shown; /* NULL: refused */
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "2001:DB8::1", "2001:db8::1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "::ffff:c000:201", "192.0.2.1" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "", NULL },
		{ "192.0.2", NULL },
		{ "192.0.2.256", NULL },
		{ "192.0.2.01", NULL },
		{ "0x7f.0.0.1", NULL },
		{ "2130706433", NULL },
		{ " 192.0.2.1", NULL },
		{ "192.0.2.1 ", NULL },
		{ "192.0.2.1/32", NULL },
		{ "[::1]", NULL },
		{ "::1%lo", NULL },
		{ "1::2::3", NULL },
		{ "localhost", NULL },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char shown[ADDRESS_TEXT_SIZE];
		struct address a;
		int result = address_parse(rows[i].text, &a);

		CHECK_INT(result, rows[i].shown ? 0 : -1, "'%s' is %s", rows[i].text, rows[i].shown ? "an address" : "none");
		if (result == 0 && rows[i].shown)
			CHECK_STR(address_format(&a, shown), rows[i].shown, "... and its usual form");
	}
}

static void test_blocks(void)
{
	static const struct {
		const char *block;
		const char *first, *last;     /* in it; NULL: no block */
		const char *before, *behind;  /* not in it any more; NULL: there is none */
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0" },
		{ "172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0" },
		{ "192.0.2.7/32", "192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.8" },
		{ "192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.8" },
		{ "192.0.2.6/31", "192.0.2.6", "192.0.2.7", "192.0.2.5", "192.0.2.8" },
		{ "0.0.0.0/0", "0.0.0.0", "255.255.255.255", "::fffe:ffff:ffff", "::1:0:0:0" },
		{ "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL, NULL },
		{ "::1", "::1", "::1", "::", "::2" },
		{ "fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0" },
		{ "10.0.0.1/8", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/33", NULL, NULL, NULL, NULL },
		{ "::/129", NULL, NULL, NULL, NULL },
		{ "::1/127", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/8x", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/-8", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/ 8", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/4294967304", NULL, NULL, NULL, NULL },
		{ "10.0.0.0/8/8", NULL, NULL, NULL, NULL },
		{ "/8", NULL, NULL, NULL, NULL },
		{ "10/8", NULL, NULL, NULL, NULL },
		{ "localhost/8", NULL, NULL, NULL, NULL },
		{ "0000000000000000000000000000000000000000000000000000000000000000000000000000/8", NULL, NULL, NULL, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *texts[] = { rows[i].first, rows[i].last, rows[i].before, rows[i].behind };
		struct address_block b;
		struct address a;
		size_t k;

		CHECK_INT(address_parse_block(rows[i].block, &b), rows[i].first ? 0 : -1, "'%s' is %s", rows[i].block,
		          rows[i].first ? "a block" : "none");
		for (k = 0; k < 4 && rows[i].first; k++)
			if (texts[k] && CHECK_INT(address_parse(texts[k], &a), 0, "... %s", texts[k]))
				CHECK_INT(address_in(&a, &b), k < 2, "... is %s it", k < 2 ? "in" : "not in");
	}
}

static void test_sockets(void)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	char shown[ADDRESS_TEXT_SIZE];
	struct address a;

	CHECK_INT(address_from_socket((const struct sockaddr *)&four, &a), 0, "a socket address of IPv4 is taken");
	CHECK_STR(address_format(&a, shown), "192.0.2.1", "... as it is");
	CHECK(address_is_ipv4(&a), "... as IPv4");
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &six.sin6_addr);
	CHECK_INT(address_from_socket((const struct sockaddr *)&six, &a), 0, "one of IPv6 too");
	CHECK(address_is_ipv4(&a), "... where an IPv4 address is mapped into it, as that one");
	inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr);
	CHECK_INT(address_from_socket((const struct sockaddr *)&six, &a), 0, "another of IPv6");
	CHECK(!address_is_ipv4(&a), "... is none of IPv4");
	CHECK_INT(address_from_socket((const struct sockaddr *)&local, &a), -1, "a socket in the file system is no address");
}

int main(void)
{
	test_addresses();
	test_blocks();
	test_sockets();
	return tap_done();
}
