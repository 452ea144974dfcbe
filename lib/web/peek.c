#include "lib/web/peek.h"

#include <ctype.h>
#include <fastcgi.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base/buf.h"

struct record {
	unsigned type, request_id;
	const uint8_t *content;
	size_t content_len;
	size_t total_len; /* with header and padding */
};

/* The record at the front of LEN bytes. 1 where it is whole, 0 where more must come, -1 where
 * it is none. */
static int next_record(const uint8_t *data, size_t len, struct record *r)
{
	if (len > 0 && data[0] != FCGI_VERSION_1)
		return -1;
	if (len < FCGI_HEADER_LEN)
		return 0;
	r->type = data[1];
	r->request_id = (unsigned)data[2] << 8 | data[3];
	r->content = data + FCGI_HEADER_LEN;
	r->content_len = (size_t)data[4] << 8 | data[5];
	r->total_len = FCGI_HEADER_LEN + r->content_len + data[6];
	return len >= r->total_len;
}

/* Call FN with each whole record until it returns nonzero; returns what it did, -1 for a
 * broken record, 0 where the input ends. */
static int each_record(const uint8_t *data, size_t len, int (*fn)(void *ctx, const struct record *r), void *ctx)
{
	struct record r;
	int result;

	while ((result = next_record(data, len, &r)) == 1) {
		result = fn(ctx, &r);
		if (result)
			return result;
		data += r.total_len;
		len -= r.total_len;
	}
	return result;
}

/* One length of a name-value pair (section 3.4) at *P. */
static bool take_length(const uint8_t **p, const uint8_t *end, size_t *len)
{
	if (*p == end)
		return false;
	if (!(**p & 0x80)) {
		*len = *(*p)++;
		return true;
	}
	if (end - *p < 4)
		return false;
	*len = (size_t)((*p)[0] & 0x7f) << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
	*p += 4;
	return true;
}

static uint64_t parse_number(const uint8_t *p, size_t len)
{
	uint64_t n = 0;

	for (; len > 0; p++, len--)
		if (!isdigit(*p) || __builtin_mul_overflow(n, 10U, &n) || __builtin_add_overflow(n, *p - '0', &n))
			return 0;
	return n;
}

/* Walk through the parameters. False where a pair says that it is longer than they are: libfcgi allocates what it
 * says, and without Debian's correction writes beyond that (CVE-2025-23016). */
static bool walk_params(const uint8_t *p, size_t len, uint64_t *content_length)
{
	static const char wanted[] = "CONTENT_LENGTH";
	const uint8_t *end = p + len;
	size_t name_len, value_len;

	*content_length = 0;
	while (p < end) {
		if (!take_length(&p, end, &name_len) || !take_length(&p, end, &value_len) || name_len > (size_t)(end - p) ||
		    value_len > (size_t)(end - p) - name_len)
			return false;
		if (name_len == sizeof wanted - 1 && memcmp(p, wanted, name_len) == 0)
			*content_length = parse_number(p + name_len, value_len);
		p += name_len + value_len;
	}
	return true;
}

enum stage { EXPECT_BEGIN, EXPECT_PARAMS, EXPECT_STDIN };

struct progress {
	enum stage expect;
	unsigned request_id;
};

/* Behind the first record, and where a stream ends, libfcgi takes padding for the next record. Web servers, whose
 * padding fills up words of eight bytes, have none there. */
static bool has_lost_padding(const struct record *r)
{
	return (r->type == FCGI_BEGIN_REQUEST || r->content_len == 0) && r->total_len > FCGI_HEADER_LEN + r->content_len;
}

/* How far a request has come, record by record. Records of another request would be passed over by libfcgi, which
 * then waits for those of its own. */
static int follow(void *ctx, const struct record *r)
{
	struct progress *p = ctx;
	uint64_t ignored;

	/* A management record: libfcgi reads pairs in it, and answers. For each of a type that it does not know, which no
	 * web server sends, it loses some memory. */
	if (r->request_id == FCGI_NULL_REQUEST_ID)
		return r->type == FCGI_GET_VALUES && walk_params(r->content, r->content_len, &ignored) ? 0 : -1;
	if ((p->expect != EXPECT_BEGIN && r->request_id != p->request_id) || has_lost_padding(r))
		return -1;
	switch (p->expect) {
	case EXPECT_BEGIN:
		if (r->type != FCGI_BEGIN_REQUEST || r->content_len != sizeof(FCGI_BeginRequestBody))
			return -1;
		p->expect = EXPECT_PARAMS;
		p->request_id = r->request_id;
		return 0;
	case EXPECT_PARAMS:
		if (r->type != FCGI_PARAMS)
			return -1;
		if (r->content_len == 0)
			p->expect = EXPECT_STDIN;
		return 0;
	case EXPECT_STDIN:
		break;
	}
	if (r->type != FCGI_STDIN)
		return -1;
	return r->content_len == 0;
}

static int collect_params(void *ctx, const struct record *r)
{
	if (r->type == FCGI_PARAMS && r->request_id != FCGI_NULL_REQUEST_ID)
		buf_add(ctx, r->content, r->content_len);
	return 0;
}

enum peek_state peek_request(const uint8_t *data, size_t len, uint64_t *content_length)
{
	struct buf params = BUF_INIT;
	bool good;
	struct progress progress = { .expect = EXPECT_BEGIN };
	int result = each_record(data, len, follow, &progress);

	if (result < 0)
		return PEEK_BROKEN;
	if (progress.expect != EXPECT_STDIN)
		return PEEK_PARTIAL;
	each_record(data, len, collect_params, &params);
	good = walk_params((const uint8_t *)buf_str(&params), params.len, content_length);
	buf_free(&params);
	return !good ? PEEK_BROKEN : result > 0 ? PEEK_WHOLE : PEEK_HEAD;
}
