#include <fastcgi.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/web/peek.h"
#include "tests/unit/tap.h"

static void add_record(struct buf *b, unsigned type, const void *content, size_t len, unsigned padding)
{
	const unsigned char header[FCGI_HEADER_LEN] = {
		FCGI_VERSION_1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len,
		(unsigned char)padding, 0,
	};

	buf_add(b, header, sizeof header);
	buf_add(b, content, len);
	while (padding-- > 0)
		buf_addc(b, '\0');
}

static void add_begin(struct buf *b)
{
	static const char responder[8] = { 0, FCGI_RESPONDER };

	add_record(b, FCGI_BEGIN_REQUEST, responder, sizeof responder, 0);
}

static void add_param(struct buf *b, const char *name, const char *value)
{
	buf_addc(b, (char)strlen(name));
	buf_addc(b, (char)strlen(value));
	buf_adds(b, name);
	buf_adds(b, value);
}

/* A request with BODY, whose parameters are cut into records of PIECE bytes. */
static struct buf make_request(const char *content_length, const char *body, size_t piece)
{
	struct buf b = BUF_INIT, params = BUF_INIT;
	size_t at, n;

	add_begin(&b);
	add_param(&params, "REQUEST_METHOD", "POST");
	add_param(&params, "NOT_CONTENT_LENGTH", "7");
	if (content_length)
		add_param(&params, "CONTENT_LENGTH", content_length);
	for (at = 0; at < params.len; at += n) {
		n = params.len - at < piece ? params.len - at : piece;
		add_record(&b, FCGI_PARAMS, params.data + at, n, 3);
	}
	add_record(&b, FCGI_PARAMS, "", 0, 0);
	if (*body)
		add_record(&b, FCGI_STDIN, body, strlen(body), 1);
	add_record(&b, FCGI_STDIN, "", 0, 0);
	buf_free(&params);
	return b;
}

static enum peek_state judge(const struct buf *b, size_t len, uint64_t *content_length)
{
	*content_length = 0;
	return peek_request((const uint8_t *)buf_str(b), len, content_length);
}

static void test_every_prefix(void)
{
	struct buf b = make_request("5", "hello", 4096);
	size_t len, head = 0, whole = 0, other = 0;
	uint64_t announced;

	for (len = 0; len <= b.len; len++) {
		switch (judge(&b, len, &announced)) {
		case PEEK_WHOLE: whole++; break;
		case PEEK_HEAD: head += announced == 5; break;
		case PEEK_PARTIAL: break;
		case PEEK_BROKEN: other++; break;
		}
	}
	CHECK_INT(whole, 1, "only the request to its last byte is whole");
	CHECK_INT(head, 8 + 5 + 1 + 8, "once its parameters are there, the length of the body is known");
	CHECK_INT(other, 0, "no prefix of a request is taken for a broken one");
	buf_free(&b);
}

static void test_content_length(void)
{
	static const struct { const char *text; uint64_t want; } rows[] = {
		{ "0", 0 }, { "1073741824", 1073741824 }, { "18446744073709551615", UINT64_MAX },
		{ "18446744073709551616", 0 }, { "-1", 0 }, { "1e3", 0 }, { "", 0 }, { NULL, 0 },
	};
	uint64_t announced;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = make_request(rows[i].text, "", 7);

		CHECK_INT(judge(&b, b.len - FCGI_HEADER_LEN, &announced), PEEK_HEAD, "parameters in many records");
		CHECK(announced == rows[i].want, "CONTENT_LENGTH %s", rows[i].text ? rows[i].text : "absent");
		buf_free(&b);
	}
}

static void test_broken(void)
{
	uint64_t announced;
	struct buf b = BUF_INIT;

	buf_adds(&b, "GET / HTTP/1.1\r\n\r\n");
	CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "HTTP is no FastCGI");
	buf_reset(&b);
	add_record(&b, FCGI_PARAMS, "", 0, 0);
	CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "parameters before the request begins");
	buf_reset(&b);
	add_begin(&b);
	add_begin(&b);
	CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "a request within a request");
	buf_reset(&b);
	add_begin(&b);
	add_record(&b, FCGI_PARAMS, "", 0, 0);
	add_record(&b, FCGI_ABORT_REQUEST, "", 0, 0);
	CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "an aborted request");
	buf_free(&b);
	b = make_request("0", "", 7);
	b.data[FCGI_HEADER_LEN + sizeof(FCGI_BeginRequestBody) + 3] ^= 2; /* the request's id, in the record behind the first */
	CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "records of another request, which libfcgi would pass over");
	buf_free(&b);
}

/* Records of no request. */
static void test_management(void)
{
	static const struct { unsigned type; enum peek_state wanted; const char *what; } rows[] = {
		{ FCGI_GET_VALUES, PEEK_WHOLE, "a question for values" },
		{ FCGI_STDIN, PEEK_BROKEN, "input, for whose answer libfcgi loses memory" },
		{ FCGI_MAXTYPE + 1, PEEK_BROKEN, "a type that nobody knows" },
	};
	uint64_t announced;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = BUF_INIT;

		add_begin(&b);
		add_record(&b, FCGI_PARAMS, "", 0, 0);
		add_record(&b, rows[i].type, "", 0, 0);
		b.data[b.len - FCGI_HEADER_LEN + 3] = FCGI_NULL_REQUEST_ID;
		add_record(&b, FCGI_STDIN, "", 0, 0);
		CHECK_INT(judge(&b, b.len, &announced), rows[i].wanted, "%s", rows[i].what);
		buf_free(&b);
	}
}

/* Behind the first record, and where a stream ends, libfcgi takes padding for the next record, and may wait for the
 * rest of that. */
static void test_padding(void)
{
	static const char responder[8] = { 0, FCGI_RESPONDER };
	uint64_t announced;
	unsigned params, input;
	struct buf first = BUF_INIT;

	add_record(&first, FCGI_BEGIN_REQUEST, responder, sizeof responder, 8);
	CHECK_INT(judge(&first, first.len, &announced), PEEK_BROKEN, "padding behind the first record");
	buf_free(&first);
	for (params = 0; params < 2; params++) {
		for (input = 0; input < 2; input++) {
			struct buf b = BUF_INIT;
			bool good = !params && !input;

			add_begin(&b);
			add_record(&b, FCGI_PARAMS, "", 0, params * 8);
			CHECK_INT(judge(&b, b.len, &announced), params ? PEEK_BROKEN : PEEK_HEAD, "padding behind the parameters: %u", params * 8);
			add_record(&b, FCGI_STDIN, "", 0, input * 8);
			CHECK_INT(judge(&b, b.len, &announced), good ? PEEK_WHOLE : PEEK_BROKEN, "... and behind the input: %u", input * 8);
			buf_free(&b);
		}
	}
}

/* A pair that claims to be longer than all parameters is not handed to libfcgi. */
static void test_lying_lengths(void)
{
	static const unsigned char liars[][6] = {
		{ 14, 200, 'C', 'O', 'N', 'T' }, { 0x80, 0xff, 0xff }, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 1, 0, 'A', 1, 1, 'B' }, { 1 },
	};
	uint64_t announced;
	size_t i;

	for (i = 0; i < sizeof liars / sizeof liars[0]; i++) {
		struct buf b = BUF_INIT;

		add_begin(&b);
		add_record(&b, FCGI_PARAMS, liars[i], sizeof liars[i], 0);
		add_record(&b, FCGI_PARAMS, "", 0, 0);
		CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "lying lengths, case %zu", i);
		add_record(&b, FCGI_STDIN, "", 0, 0);
		CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "... with the whole request there");
		b.data[FCGI_HEADER_LEN + sizeof(FCGI_BeginRequestBody) + 3] = 0;
		CHECK_INT(judge(&b, b.len, &announced), PEEK_BROKEN, "... in a record of no request");
		buf_free(&b);
	}
}

int main(void)
{
	test_every_prefix();
	test_content_length();
	test_broken();
	test_lying_lengths();
	test_management();
	test_padding();
	return tap_done();
}
