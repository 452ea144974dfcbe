#include "lib/delivery/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"
#include "lib/delivery/guard.h"

/* Loaded when the first URL is checked: ntrvsta-fcgi seldom has one to check, and to link libcurl would slow
 * down each CGI call. */
static struct {
	CURLU *(*make)(void);
	void (*release)(CURLU *u);
	CURLUcode (*set)(CURLU *u, CURLUPart what, const char *text, unsigned flags);
	CURLUcode (*get)(const CURLU *u, CURLUPart what, char **text, unsigned flags);
	const char *(*explain)(CURLUcode code);
	void (*free)(void *text);
} parser;
static bool parser_loaded;

static void load_parser(void)
{
	static const struct {
		const char *name;
		size_t offset;
	} symbols[] = {
		{ "curl_url", offsetof(__typeof__(parser), make) }, { "curl_url_cleanup", offsetof(__typeof__(parser), release) },
		{ "curl_url_set", offsetof(__typeof__(parser), set) }, { "curl_url_get", offsetof(__typeof__(parser), get) },
		{ "curl_url_strerror", offsetof(__typeof__(parser), explain) }, { "curl_free", offsetof(__typeof__(parser), free) },
	};
	void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL), *symbol;
	size_t i;

	for (i = 0; library && i < sizeof symbols / sizeof symbols[0]; i++) {
		symbol = dlsym(library, symbols[i].name);
		if (!symbol)
			return;
		memcpy((char *)&parser + symbols[i].offset, &symbol, sizeof symbol);
	}
	parser_loaded = library != NULL;
}

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f)
			return false;
	return true;
}

/* Bytes that a URL can't have (RFC 3986, section 2): people paste line ends, blanks and letters of their own. */
static int check_bytes(const char *url, struct buf *err)
{
	size_t len = strlen(url);

	if (len == 0 || len > URL_MAX) {
		buf_addf(err, "wants 1 to %d bytes", URL_MAX);
		return -1;
	}
	if (is_plain(url))
		return 0;
	buf_adds(err, "wants ASCII characters without blanks: others are written as %20, names of hosts in Punycode (xn--)");
	return -1;
}

static char *part(CURLU *u, CURLUPart what)
{
	char *text = NULL;

	return parser.get(u, what, &text, 0) == CURLUE_OK ? text : NULL;
}

static int check_scheme(CURLU *u, const struct conf_webhooks *settings, struct buf *err)
{
	char *scheme = part(u, CURLUPART_SCHEME);
	bool https = scheme && strcmp(scheme, "https") == 0, http = scheme && strcmp(scheme, "http") == 0;

	if (http && !settings->allow_http)
		buf_adds(err, "wants https://; [webhooks] allow_http = on would allow http:// as well");
	else if (!https && !http)
		buf_addf(err, "wants https://, not '%.20s:'", scheme ? scheme : "");
	parser.free(scheme);
	return https || (http && settings->allow_http) ? 0 : -1;
}

/* Parts that have no place in the URL of a webhook. */
static int check_parts(CURLU *u, struct buf *err)
{
	static const struct {
		CURLUPart part;
		const char *refusal;
	} refused[] = {
		{ CURLUPART_USER, "wants no user name in it: a secret signs each call" },
		{ CURLUPART_PASSWORD, "wants no password in it: a secret signs each call" },
		{ CURLUPART_FRAGMENT, "wants no fragment (#...): it would never be sent" },
		{ CURLUPART_ZONEID, "wants no zone (%...): such an address is nobody's but this machine's" },
	};
	size_t i;

	for (i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		char *text = part(u, refused[i].part);

		parser.free(text);
		if (text) {
			buf_adds(err, refused[i].refusal);
			return -1;
		}
	}
	return 0;
}

static int check_port(CURLU *u, struct buf *err)
{
	char *port = part(u, CURLUPART_PORT);
	bool zero = port && strtoul(port, NULL, 10) == 0;

	parser.free(port);
	if (zero)
		buf_adds(err, "wants a port from 1 to 65535");
	return zero ? -1 : 0;
}

/* libcurl has made an address plain (of 0x7f.1 it has made 127.0.0.1), except where a dot follows it. */
static int parse_host(const char *host, struct address *out)
{
	struct sockaddr_in ipv4 = { .sin_family = AF_INET };

	if (address_parse(host, out) == 0)
		return 0;
	return inet_aton(host, &ipv4.sin_addr) ? address_from_socket((const struct sockaddr *)&ipv4, out) : -1;
}

/* An address can be judged at once. */
static int check_host(CURLU *u, const struct conf_webhooks *settings, struct buf *err)
{
	char *host = part(u, CURLUPART_HOST);
	size_t len = host ? strlen(host) : 0, first = 0;
	struct address address;
	int result = 0;

	if (len > 0 && host[len - 1] == '.')
		host[--len] = '\0';
	if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		first = 1;
	}
	if (len == 0) {
		buf_adds(err, "wants the name of a host");
		result = -1;
	} else if (!is_plain(host)) { /* libcurl has decoded what was written as %84 */
		buf_adds(err, "wants the name of the host in ASCII, in Punycode (xn--) where it needs that");
		result = -1;
	} else if (parse_host(host + first, &address) == 0 && !guard_allows(settings, &address, err)) {
		result = -1;
	}
	parser.free(host);
	return result;
}

static char *copy_normal(CURLU *u)
{
	char *text = part(u, CURLUPART_URL), *copy = text ? xstrdup(text) : NULL;

	parser.free(text);
	return copy;
}

char *url_check(const char *url, const struct conf_webhooks *settings, struct buf *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CURLU *u;
	CURLUcode code;
	char *normal = NULL;

	if (check_bytes(url, err))
		return NULL;
	pthread_once(&once, load_parser);
	if (!parser_loaded) {
		buf_adds(err, "can't be checked: libcurl.so.4 is missing");
		return NULL;
	}
	u = parser.make();
	if (!u)
		abort();
	code = parser.set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_BAD_PORT_NUMBER)
		buf_adds(err, "wants a port from 1 to 65535");
	else if (code != CURLUE_OK)
		buf_addf(err, "wants a URL such as https://example.com/hooks: %s", parser.explain(code));
	else if (check_scheme(u, settings, err) == 0 && check_parts(u, err) == 0 && check_port(u, err) == 0 &&
	         check_host(u, settings, err) == 0)
		normal = copy_normal(u);
	parser.release(u);
	return normal;
}
