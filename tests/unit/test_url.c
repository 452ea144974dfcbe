#include "lib/delivery/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"

static struct address_block machine;
static const struct conf_webhooks strict = { 0 };
static const struct conf_webhooks lenient = { .allow_http = true, .allow_private = { &machine, 1 } };

static void check(const struct conf_webhooks *settings, const char *url, const char *normal, const char *why)
{
	struct buf err = BUF_INIT;
	char *got = url_check(url, settings, &err);
	int shown = strcspn(url, "\r\n") < 60 ? (int)strcspn(url, "\r\n") : 60;

	if (normal) {
		CHECK_STR(got ? got : buf_str(&err), normal, "'%.*s' is taken", shown, url);
	} else if (!CHECK(!got && strstr(buf_str(&err), why), "'%.*s' is refused: %s", shown, url, why)) {
		printf("# %s\n", got ? got : buf_str(&err));
	}
	free(got);
	buf_free(&err);
}

static void test_taken(void)
{
	static const char *const rows[][2] = {
		{ "https://example.com/hooks", "https://example.com/hooks" },
		{ "https://example.com", "https://example.com/" },
		{ "HTTPS://example.com/Hooks?A=b&c=%20", "https://example.com/Hooks?A=b&c=%20" },
		{ "https://example.com:8443/", "https://example.com:8443/" },
		{ "https://example.com:1/", "https://example.com:1/" },
		{ "https://example.com:65535/", "https://example.com:65535/" },
		{ "https://example.com./", "https://example.com./" },
		{ "https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/" },
		{ "https://1.1.1.1/", "https://1.1.1.1/" },
		{ "https://16843009/", "https://1.1.1.1/" },
		{ "https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/" },
		{ "https://example.com/a/../b", "https://example.com/b" },
		{ "https://example.com/@x", "https://example.com/@x" },
		{ "https://example.com#", "https://example.com/" },
		{ "https://localhost/", "https://localhost/" }, /* names are judged when they are called */
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check(&strict, rows[i][0], rows[i][1], NULL);
}

static void test_refused(void)
{
	static const char *const rows[][2] = {
		{ "", "1 to 2048 bytes" },
		{ "https:// example.com/", "without blanks" },
		{ "https://example.com/a b", "without blanks" },
		{ " https://example.com/", "without blanks" },
		{ "https://example.com/\n", "without blanks" },
		{ "https://example.com/\r\nX: y", "without blanks" },
		{ "https://example.com/\t", "without blanks" },
		{ "https://example.com/\x7f", "without blanks" },
		{ "https://example.com/\x01", "without blanks" },
		{ "https://b\xc3\xbc" "cher.example/", "Punycode" },
		{ "https://example.com/\xff", "Punycode" },
		{ "https://b%C3%BCcher.example/", "Punycode" },
		{ "https://exam%84ple.com/", "Punycode" },
		{ "http://example.com/", "[webhooks] allow_http = on" },
		{ "HTTP://example.com/", "[webhooks] allow_http = on" },
		{ "ftp://example.com/", "'ftp:'" },
		{ "file:///etc/passwd", "'file:'" },
		{ "gopher://example.com/", "'gopher:'" },
		{ "javascript:alert(1)", "https://" },
		{ "dict://example.com:11211/", "'dict:'" },
		{ "unix:/run/x.sock", "https://" },
		{ "example.com/hooks", "https://" },
		{ "//example.com/hooks", "https://" },
		{ "/hooks", "https://" },
		{ "https:", "https://" },
		{ "https://", "https://" },
		{ "https://:443/", "https://" },
		{ "https://user@example.com/", "no user name" },
		{ "https://user:password@example.com/", "no user name" },
		{ "https://:password@example.com/", "wants no" },
		{ "https://@example.com/", "wants no" },
		{ "https://example.com\\@127.0.0.1/", "wants" },
		{ "https://example.com/#top", "no fragment" },
		{ "https://example.com:0/", "1 to 65535" },
		{ "https://example.com:65536/", "1 to 65535" },
		{ "https://example.com:99999999999/", "1 to 65535" },
		{ "https://example.com:-1/", "1 to 65535" },
		{ "https://example.com:http/", "1 to 65535" },
		{ "https://127.0.0.1/", "this machine" },
		{ "https://127.0.0.1:8443/", "this machine" },
		{ "https://127.1/", "this machine" },
		{ "https://2130706433/", "this machine" },
		{ "https://0x7f000001/", "this machine" },
		{ "https://0x7F.1/", "this machine" },
		{ "https://017700000001/", "this machine" },
		{ "https://0177.0.0.1/", "this machine" },
		{ "https://127.0.0.1./", "this machine" },
		{ "https://0x7f.1./", "this machine" },
		{ "https://2130706433./", "this machine" },
		{ "https://%31%32%37.0.0.1/", "this machine" },
		{ "https://0/", "this network" },
		{ "https://0.0.0.0/", "this network" },
		{ "https://10.0.0.1/", "a private network" },
		{ "https://169.254.169.254/latest/meta-data/", "metadata" },
		{ "https://[::1]/", "this machine" },
		{ "https://[0:0:0:0:0:0:0:1]/", "this machine" },
		{ "https://[::]/", "no address" },
		{ "https://[::ffff:127.0.0.1]/", "this machine" },
		{ "https://[::FFFF:7F00:1]/", "this machine" },
		{ "https://[64:ff9b::7f00:1]/", "this machine" },
		{ "https://[fd00:ec2::254]/", "a private network" },
		{ "https://[::1%25lo]/", "no zone" },
		{ "https://[fe80::1%25eth0]/", "no zone" },
		{ "https://[::1%lo]/", "wants" },
		{ "https://[::1]x/", "wants" },
		{ "https://[::1/", "wants" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check(&strict, rows[i][0], NULL, rows[i][1]);
	check(&strict, "https://127.0.0.1/", NULL, "[webhooks] allow_private");
}

static void test_allowed(void)
{
	check(&lenient, "http://example.com/", "http://example.com/", NULL);
	check(&lenient, "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x", NULL);
	check(&lenient, "https://2130706433/", "https://127.0.0.1/", NULL);
	check(&lenient, "https://[::ffff:127.0.0.1]/", "https://[::ffff:127.0.0.1]/", NULL);
	check(&lenient, "https://10.0.0.1/", NULL, "a private network");
	check(&lenient, "ftp://127.0.0.1/", NULL, "'ftp:'");
	check(&lenient, "http://127.0.0.1:0/", NULL, "1 to 65535");
}

static void test_length(void)
{
	char url[URL_MAX + 2] = "https://example.com/";

	memset(url + strlen(url), 'x', sizeof url - strlen(url) - 1);
	check(&strict, url, NULL, "1 to 2048 bytes");
	url[URL_MAX] = '\0';
	check(&strict, url, url, NULL);
}

int main(void)
{
	address_parse_block("127.0.0.0/8", &machine);
	test_taken();
	test_refused();
	test_allowed();
	test_length();
	return tap_done();
}
