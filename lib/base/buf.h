/* A byte buffer that grows. data[len] is always a NUL, so that data serves as a C string;
 * an empty buffer has data == NULL until something was added: use buf_str() to read it.
 * Not safe for use by two threads at once. Aborts when memory is out. */
#ifndef NTRVSTA_BASE_BUF_H
#define NTRVSTA_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
};

#define BUF_INIT { NULL, 0, 0 }

void buf_free(struct buf *b);  /* releases the memory and makes B empty */
void buf_reset(struct buf *b); /* makes B empty, keeps the memory */
void buf_reserve(struct buf *b, size_t more_bytes); /* room for MORE_BYTES beyond len */

void buf_add(struct buf *b, const void *data, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addu(struct buf *b, unsigned long long number); /* in decimal */
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* S as a JSON string with its quotes (RFC 8259, section 7). S is UTF-8 already checked by
 * the caller, or ASCII. */
void buf_add_json(struct buf *b, const char *s);

/* LEN bytes of S made safe for a terminal and for a line of a log: control characters, bytes
 * that are no UTF-8 and Unicode's controls and directional marks become \xNN. Newline and
 * tab are kept where KEEP_LINES is nonzero. */
void buf_add_printable(struct buf *b, const char *s, size_t len, int keep_lines);

/* LEN bytes of S as valid UTF-8: each byte that belongs to no character becomes U+FFFD. */
void buf_add_utf8(struct buf *b, const char *s, size_t len);

const char *buf_str(const struct buf *b); /* never NULL */
char *buf_detach(struct buf *b);          /* the string, the caller's to free(); B is empty */

#endif
