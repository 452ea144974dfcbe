#include "lib/web/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"

#define HEADERS_SIZE 256 /* mostly enough for them */

int request_setup(void)
{
	/* We close connections ourselves, once their input is read: libfcgi must not wait for the
	 * web server to do so first, least of all on the thread that accepts. It reads this once. */
	setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", 1);
	if (FCGX_Init())
		return -1;
	unsetenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT");
	return 0;
}

void request_begin_cgi(struct request *r)
{
	memset(r, 0, sizeof *r);
	r->cgi = true;
}

int request_begin_fcgi(struct request *r, int fd)
{
	memset(r, 0, sizeof *r);
	/* No listening socket: where the connection is of no use, FCGX_Accept_r() closes it and
	 * would accept another one, which then fails. */
	FCGX_InitRequest(&r->fcgx, -1, 0);
	r->fcgx.ipcFd = fd;
	/* Else FCGX_Accept_r() would close it, as the rest of a request before. */
	r->fcgx.keepConnection = 1;
	return FCGX_Accept_r(&r->fcgx) == 0 ? 0 : -1;
}

const char *request_param(const struct request *r, const char *name)
{
	return r->cgi ? getenv(name) : FCGX_GetParam(name, r->fcgx.envp);
}

static void take_param(const char *param, const struct request_wanted *wanted, size_t n, void *out)
{
	const char *equals = strchr(param, '=');
	size_t len = equals ? (size_t)(equals - param) : 0, i;

	for (i = 0; i < n; i++) {
		const char **value = (const char **)((char *)out + wanted[i].offset);

		/* The first one counts, as with FCGX_GetParam() and getenv(). */
		if (wanted[i].name_len == len && !*value && memcmp(wanted[i].name, param, len) == 0) {
			*value = equals + 1;
			return;
		}
	}
}

void request_params(const struct request *r, const struct request_wanted *wanted, size_t n, void *out)
{
	char **params = r->cgi ? environ : r->fcgx.envp;
	size_t i;

	for (i = 0; i < n; i++)
		*(const char **)((char *)out + wanted[i].offset) = NULL;
	for (; params && *params; params++)
		take_param(*params, wanted, n, out);
}

static size_t read_stdin(struct request *r, char *out, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(STDIN_FILENO, out + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r->failed = true;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

size_t request_read(struct request *r, void *out, size_t len)
{
	int n;

	if (r->cgi)
		return read_stdin(r, out, len);
	n = FCGX_GetStr(out, (int)len, r->fcgx.in);
	if (FCGX_GetError(r->fcgx.in))
		r->failed = true;
	return n > 0 ? (size_t)n : 0;
}

static void respond(struct request *r, unsigned status, const char *reason, const char *cache_control,
                    const char *content_type, const char *headers, const void *body, size_t len)
{
	struct buf out = BUF_INIT;

	/* No printf() here: for the answer to an event it took longer than the rest of this. */
	buf_reserve(&out, HEADERS_SIZE + len);
	buf_adds(&out, "Status: ");
	buf_addu(&out, status);
	buf_addc(&out, ' ');
	buf_adds(&out, reason);
	if (content_type) {
		buf_adds(&out, "\r\nContent-Type: ");
		buf_adds(&out, content_type);
		buf_adds(&out, "\r\nContent-Length: ");
		buf_addu(&out, len);
	}
	buf_adds(&out, "\r\nCache-Control: ");
	buf_adds(&out, cache_control);
	buf_adds(&out, "\r\nX-Content-Type-Options: nosniff\r\n");
	buf_adds(&out, headers ? headers : "");
	buf_adds(&out, "\r\n");
	if (content_type && body)
		buf_add(&out, body, len);
	if (r->cgi)
		r->failed |= fdio_write_all(STDOUT_FILENO, out.data, out.len) != 0;
	else
		r->failed |= FCGX_PutStr(out.data, (int)out.len, r->fcgx.out) < 0;
	buf_free(&out);
}

void request_respond(struct request *r, unsigned status, const char *reason, const char *content_type,
                     const char *headers, const void *body, size_t len)
{
	respond(r, status, reason, "no-store", content_type, headers, body, len);
}

void request_respond_kept(struct request *r, unsigned status, const char *reason, const char *content_type,
                          const char *headers, const void *body, size_t len)
{
	respond(r, status, reason, "no-cache", content_type, headers, body, len);
}

/* How long a web server has to hand over a body that nobody wants. */
#define CGI_DISCARD_MS 2000

/* Apache's mod_cgi does not pass the answer on where it could not write the body: take what it
 * announced. A server that announced none has nothing to write. */
static void discard_stdin(const struct request *r, size_t may_read)
{
	const char *length = request_param(r, "CONTENT_LENGTH");
	bool chunked = request_param(r, "HTTP_TRANSFER_ENCODING") != NULL;
	unsigned long long left = length ? strtoull(length, NULL, 10) : chunked ? ULLONG_MAX : 0;
	int64_t deadline_ms = clock_mono_ms() + CGI_DISCARD_MS, wait_ms;
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char trash[16384];
	ssize_t n;

	if (left > may_read)
		left = may_read;
	while (left > 0 && (wait_ms = deadline_ms - clock_mono_ms()) > 0) {
		if (poll(&input, 1, (int)wait_ms) <= 0)
			continue;
		n = read(STDIN_FILENO, trash, left < sizeof trash ? (size_t)left : sizeof trash);
		if (n <= 0)
			break;
		left -= (unsigned long long)n;
	}
}

/* Up to MAY_READ bytes of what the web server still has to say. True where that was all. */
static bool discard_input(struct request *r, size_t may_read)
{
	char trash[4096];

	while (may_read > 0 && !r->failed && !FCGX_HasSeenEOF(r->fcgx.in)) {
		size_t want = may_read < sizeof trash ? may_read : sizeof trash;

		may_read -= want;
		if (request_read(r, trash, want) < want)
			break;
	}
	return !r->failed && FCGX_HasSeenEOF(r->fcgx.in);
}

/* Is there nothing but the closing record left, and has that come as well? Whoever sent all of the body has mostly
 * sent it along; without it the connection can't be kept. Without waiting: it may never come. */
static bool take_closing_record(struct request *r)
{
	int flags = fcntl(r->fcgx.ipcFd, F_GETFL);
	char more;
	bool seen;

	if (r->failed || flags < 0 || fcntl(r->fcgx.ipcFd, F_SETFL, flags | O_NONBLOCK))
		return false;
	seen = FCGX_GetStr(&more, 1, r->fcgx.in) == 0 && !FCGX_GetError(r->fcgx.in);
	FCGX_ClearError(r->fcgx.in); /* else FCGX_Finish_r() closes what is to be drained first */
	return fcntl(r->fcgx.ipcFd, F_SETFL, flags) == 0 && seen;
}

enum request_end request_finish(struct request *r, size_t may_read, int *fd)
{
	bool read_all, keep;

	*fd = -1;
	if (r->cgi) {
		discard_stdin(r, may_read);
		return REQUEST_CLOSED;
	}
	read_all = discard_input(r, may_read);
	keep = r->fcgx.keepConnection;
	if (!read_all && keep)
		read_all = take_closing_record(r);
	*fd = r->fcgx.ipcFd;
	/* FCGX_Finish_r() closes what it does not keep, at the price of two more system calls. */
	r->fcgx.keepConnection = 1;
	FCGX_Finish_r(&r->fcgx);
	if (r->fcgx.ipcFd < 0) {
		*fd = -1;
		return REQUEST_CLOSED;
	}
	if (!read_all)
		return REQUEST_LINGER;
	if (keep)
		return REQUEST_KEEP;
	close(*fd);
	*fd = -1;
	return REQUEST_CLOSED;
}
