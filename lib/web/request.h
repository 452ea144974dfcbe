/* One request and its answer, over FastCGI (libfcgi) or plain CGI: the rest of the program does
 * not know which. Used by one thread at a time. */
#ifndef NTRVSTA_WEB_REQUEST_H
#define NTRVSTA_WEB_REQUEST_H

#include <fcgiapp.h>
#include <stdbool.h>
#include <stddef.h>

struct request {
	bool cgi;
	FCGX_Request fcgx;
	bool failed; /* the peer went away or its input broke off */
};

/* Before anything else of libfcgi, and after the signals are set up: it installs handlers of its
 * own where it finds the default ones. 0, or -1 where libfcgi can't start. */
int request_setup(void);

/* This process's own request: environment, standard input and output. */
void request_begin_cgi(struct request *r);

/* The request that waits on the connection FD, which must have begun to arrive; reads until its
 * parameters are complete. -1 where it is no usable request: FD is closed then. */
int request_begin_fcgi(struct request *r, int fd);

/* A parameter (CGI/1.1 meta-variable); NULL where it is absent. Valid until the end. */
const char *request_param(const struct request *r, const char *name);

/* Several at once, in one pass over all there are (which request_param() makes for each): what is named
 * NAME goes to the const char * at OFFSET of OUT, NULL where it is absent. */
struct request_wanted {
	const char *name;
	size_t name_len, offset;
};
#define REQUEST_WANTED(name, type, member) { name, sizeof(name) - 1, offsetof(type, member) }
void request_params(const struct request *r, const struct request_wanted *wanted, size_t n, void *out);

/* Read up to LEN bytes of the body; less than LEN only at its end or where it breaks off. */
size_t request_read(struct request *r, void *out, size_t len);

/* The whole answer. HEADERS are further lines, each with CR LF. CONTENT_TYPE NULL: there is no body; BODY
 * NULL: there would be one of LEN bytes (HEAD). Errors show in r->failed. */
void request_respond(struct request *r, unsigned status, const char *reason, const char *content_type,
                     const char *headers, const void *body, size_t len);

enum request_end {
	REQUEST_CLOSED, /* nothing is left of it */
	REQUEST_KEEP,   /* the web server wants to use the connection again: *FD */
	REQUEST_LINGER, /* the answer is out, but input is left: *FD is to be drained before it is
	                 * closed, else the peer may lose the answer */
};

/* The same for what a browser may keep, if it asks each time whether that still holds (the above is never kept). */
void request_respond_kept(struct request *r, unsigned status, const char *reason, const char *content_type,
                          const char *headers, const void *body, size_t len);

/* Send what is buffered and release everything but, as said, the connection. Discards what is
 * left of the body as far as MAY_READ bytes of it. */
enum request_end request_finish(struct request *r, size_t may_read, int *fd);

#endif
