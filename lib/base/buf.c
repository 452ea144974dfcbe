#include "lib/base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t more_bytes)
{
	size_t want, cap;

	if (__builtin_add_overflow(b->len, more_bytes, &want) || want == SIZE_MAX)
		abort();
	if (b->data && want < b->cap)
		return;
	cap = b->cap + b->cap / 2;
	if (cap < want + 1)
		cap = want + 1;
	if (cap < 64)
		cap = 64;
	b->data = xrealloc(b->data, cap);
	b->data[b->len] = '\0';
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addu(struct buf *b, unsigned long long number)
{
	char digits[20]; /* of 2^64 - 1 */
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	buf_add(b, digits + at, sizeof digits - at);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	/* Most texts fit at once; the length of a longer one is known after the first try. */
	buf_reserve(b, 127);
	va_copy(again, ap);
	len = vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	va_end(again);
	if (len < 0)
		abort();
	if ((size_t)len >= b->cap - b->len) {
		buf_reserve(b, (size_t)len);
		vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
	}
	b->len += (size_t)len;
}

void buf_add_json(struct buf *b, const char *s)
{
	static const char short_escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	const char *e;

	buf_addc(b, '"');
	for (; *s; s++) {
		for (e = short_escapes; *e && *e != *s; e += 2)
			;
		if (*e) {
			buf_addc(b, '\\');
			buf_addc(b, e[1]);
		} else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			buf_addf(b, "\\u%04x", (unsigned char)*s);
		} else {
			buf_addc(b, *s);
		}
	}
	buf_addc(b, '"');
}

/* The length of the UTF-8 sequence at S and its code point, or 0 where there is none. */
static size_t decode_utf8(const unsigned char *s, size_t len, uint32_t *cp)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	size_t i;

	if (n == 0 || n > len || s[0] > 0xf4)
		return 0;
	*cp = n == 1 ? s[0] : s[0] & (0x7fU >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	if (*cp < lowest[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return n;
}

/* Controls, and what turns or hides the text around it (Unicode TR 36, bidirectional spoofing). */
static int is_unprintable(uint32_t cp)
{
	static const struct { uint32_t from, to; } ranges[] = {
		{ 0x00, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x200b, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb },
	};
	size_t i;

	for (i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (cp >= ranges[i].from && cp <= ranges[i].to)
			return 1;
	return 0;
}

void buf_add_printable(struct buf *b, const char *s, size_t len, int keep_lines)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t cp;
	size_t n, i;

	while (len > 0) {
		n = decode_utf8(p, len, &cp);
		if (n == 0 || (is_unprintable(cp) && !(keep_lines && (cp == '\n' || cp == '\t')))) {
			for (i = 0; i < (n ? n : 1); i++)
				buf_addf(b, "\\x%02x", p[i]);
			n = n ? n : 1;
		} else {
			buf_add(b, p, n);
		}
		p += n;
		len -= n;
	}
}

void buf_add_utf8(struct buf *b, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t cp;
	size_t n;

	while (len > 0) {
		n = decode_utf8(p, len, &cp);
		if (n)
			buf_add(b, p, n);
		else
			buf_adds(b, "\xef\xbf\xbd");
		p += n ? n : 1;
		len -= n ? n : 1;
	}
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_detach(struct buf *b)
{
	char *s = b->data ? b->data : xstrdup("");

	*b = (struct buf)BUF_INIT;
	return s;
}
