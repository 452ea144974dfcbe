/* What of a FastCGI request has arrived, judged by the record headers at the front of a
 * connection's input (FastCGI specification 1.0, sections 3.3 and 5). Nothing is consumed:
 * libfcgi does the reading once we know that it won't block. */
#ifndef NTRVSTA_WEB_PEEK_H
#define NTRVSTA_WEB_PEEK_H

#include <stddef.h>
#include <stdint.h>

enum peek_state {
	PEEK_PARTIAL, /* the parameters are still coming */
	PEEK_HEAD,    /* the parameters are here, and well-formed; the body is still coming */
	PEEK_WHOLE,   /* all of it is here */
	PEEK_BROKEN,  /* this is no FastCGI request */
};

/* Judge LEN bytes of DATA. With PEEK_HEAD and PEEK_WHOLE, *CONTENT_LENGTH is the announced length of the body; 0 where
 * it is missing or no number. */
enum peek_state peek_request(const uint8_t *data, size_t len, uint64_t *content_length);

#endif
