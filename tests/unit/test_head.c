#include "lib/delivery/head.h"

#include "tests/unit/tap.h"

static const struct {
	const char *head, *kept, *what;
} rows[] = {
	{ "", "", "nothing is nothing" },
	{ "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n", "HTTP/1.1 200 OK\nContent-Type: a/b\n", "lines, without their ends" },
	{ "HTTP/1.1 200 OK\nA: b\n\nC: d\n", "HTTP/1.1 200 OK\nA: b\n", "up to the empty line, also without carriage returns" },
	{ "HTTP/1.1 200 OK\r\nA: b", "HTTP/1.1 200 OK\nA: b\n", "a head that broke off" },
	{ "HTTP/2 200 \r\n", "HTTP/2 200\n", "a status line without a reason" },
	{ "POST /x?token=y HTTP/1.1\r\nHost: a\r\n", "POST /x?token=y HTTP/1.1\nHost: a\n", "the path stays: the webhook shows it too" },
	/* what is hidden */
	{ "P\r\nX-NTRVSTA-Signature: 0123456789abcdef0123\r\n", "P\nX-NTRVSTA-Signature: ***0123\n", "of a signature the end" },
	{ "P\r\nX-Ntrvsta-SIGNATURE:0123456789abcdef\r\n", "P\nX-Ntrvsta-SIGNATURE: ***cdef\n", "... in whatever case, without a blank" },
	{ "P\r\nwebhook-signature: v1,AAAA v1,BBBBBBBBBBBB=\r\n", "P\nwebhook-signature: ***BBB=\n", "... of several the last one's" },
	{ "P\r\nX-Signature: 0123456789abcde\r\n", "P\nX-Signature: ***\n", "of a short one nothing" },
	{ "P\r\nAuthorization: Bearer abcdefghijklmnop\r\n", "P\nAuthorization: ***\n", "no authorization" },
	{ "P\r\nProxy-Authorization:\tBasic abc\r\n", "P\nProxy-Authorization: ***\n", "... for a proxy either" },
	{ "P\r\nSet-Cookie: id=abcdefghijklmnopqrst; Secure\r\n", "P\nSet-Cookie: ***\n", "no cookie" },
	{ "P\r\nCookie: id=abcdefghijklmnopqrst\r\n", "P\nCookie: ***\n", "... that is sent back either" },
	{ "P\r\nX-Api-Key: ntr_abc\r\nX-CSRF-Token: abc\r\nClient-Secret: s\r\n",
	  "P\nX-Api-Key: ***\nX-CSRF-Token: ***\nClient-Secret: ***\n", "no key, token or secret" },
	{ "P\r\nCookie:\r\n", "P\nCookie: ***\n", "not even that there was none" },
	{ "P\r\nSet-Cookie: a=b;\r\n c=d\r\n\te=f\r\nX: y\r\n", "P\nSet-Cookie: ***\nX: y\n", "nor the lines that it goes on with" },
	{ "P\r\nX: a\r\n b\r\n", "P\nX: a\n b\n", "others go on with theirs" },
	{ "P\r\nCookie abc\r\n", "P\nCookie abc\n", "without a colon it is no header" },
	/* users in URLs */
	{ "P\r\nLocation: https://u:p@a.example/x\r\n", "P\nLocation: https://***@a.example/x\n", "no user of a URL" },
	{ "P\r\nLink: <ftp://u@a/>, <http://u:p@q@b/>\r\n", "P\nLink: <ftp://***@a/>, <http://***@b/>\n", "... of each in a value" },
	{ "P\r\nLocation: https://a.example/x@y?z@\r\n", "P\nLocation: https://a.example/x@y?z@\n", "another @ is none" },
	{ "P\r\nLocation: https://\r\n", "P\nLocation: https://\n", "nor is there one in half a URL" },
	{ "P\r\nFrom: u@a.example\r\n", "P\nFrom: u@a.example\n", "an address of mail is no URL" },
};

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf head = BUF_INIT, kept = BUF_INIT;

		buf_adds(&head, rows[i].head);
		head_mask(&head, &kept);
		CHECK_STR(buf_str(&kept), rows[i].kept, "%s", rows[i].what);
		buf_free(&head);
		buf_free(&kept);
	}
	return tap_done();
}
