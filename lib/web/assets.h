/* The dashboard's files, which ntrvsta-fcgi has in itself: dashboard/embed makes the table when it is built. It is
 * empty in a program that was built without them. */
#ifndef NTRVSTA_WEB_ASSETS_H
#define NTRVSTA_WEB_ASSETS_H

#include <stddef.h>

struct asset {
	const char *name;   /* below dashboard/: "index.html" */
	const char *sha256; /* of the file, in hex */
	const unsigned char *plain, *plain_end; /* the file, and the byte behind it */
	const unsigned char *gzip, *gzip_end;   /* the same, compressed */
};

extern const struct asset assets[];
extern const size_t assets_n;

#endif
