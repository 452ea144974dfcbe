#include "lib/web/dashboard.h"

#include <string.h>
#include <strings.h>

#include "lib/api/api.h"
#include "lib/base/buf.h"
#include "lib/web/assets.h"

/* Scripts, styles and data come from here alone, nothing stands in the page itself, and no other page may have it in
 * a frame. */
static const char security_headers[] =
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
	" connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n"
	"Referrer-Policy: no-referrer\r\n"
	"Cross-Origin-Opener-Policy: same-origin\r\n";

static const struct {
	const char *suffix, *content_type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".css", "text/css; charset=utf-8" },
	{ ".js", "text/javascript; charset=utf-8" },
	{ ".txt", "text/plain; charset=utf-8" },
	{ ".svg", "image/svg+xml" },
};

bool dashboard_owns(const struct conf *conf, const char *path)
{
	size_t len = sizeof DASHBOARD_PATH - 1;

	return conf->web_api && conf->web_dashboard && assets_n > 0 && strncmp(path, DASHBOARD_PATH, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

/* --- which file, and in which form ----------------------------------------------------------- */

static const struct asset *find(const char *name)
{
	size_t i;

	if (name[0] == '\0')
		name = "index.html";
	for (i = 0; i < assets_n; i++)
		if (strcmp(assets[i].name, name) == 0)
			return &assets[i];
	return NULL;
}

static const char *content_type(const char *name)
{
	size_t len = strlen(name), i;

	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		size_t suffix = strlen(types[i].suffix);

		if (len > suffix && strcmp(name + len - suffix, types[i].suffix) == 0)
			return types[i].content_type;
	}
	return "application/octet-stream";
}

/* Is the quality in PARAMS (";q=0.5") nothing? */
static bool is_refused(const char *params, size_t len)
{
	const char *end = params + len, *q;

	for (q = params; q < end && (*q == ';' || *q == ' ' || *q == '\t'); q++)
		;
	if (end - q < 3 || (q[0] != 'q' && q[0] != 'Q') || q[1] != '=')
		return false;
	while (end[-1] == ' ' || end[-1] == '\t') /* ends at the "=" */
		end--;
	return strspn(q + 2, "0.") >= (size_t)(end - q - 2);
}

/* Accept-Encoding (RFC 9110, section 12.5.3). What names "gzip" counts before "*". */
static bool takes_gzip(const char *accepted)
{
	bool any = false;

	while (accepted && *accepted) {
		const char *item = accepted + strspn(accepted, " \t,");
		size_t len = strcspn(item, ","), name = strcspn(item, ",; \t");

		if (name == 4 && strncasecmp(item, "gzip", 4) == 0)
			return !is_refused(item + name, len - name);
		if (name == 1 && item[0] == '*')
			any = !is_refused(item + name, len - name);
		accepted = item + len;
	}
	return any;
}

/* If-None-Match (RFC 9110, section 13.1.2), compared weakly: a proxy may have made W/"..." of it. */
static bool has_etag(const char *list, const char *etag)
{
	while (list && *list) {
		size_t len;

		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		len = strcspn(list, " \t,");
		if (len == strlen(etag) && memcmp(list, etag, len) == 0)
			return true;
		list += len;
	}
	return false;
}

/* --- answers --------------------------------------------------------------------------------- */

static void serve_asset(struct request *r, const struct asset *asset, bool head)
{
	bool gzip = takes_gzip(request_param(r, "HTTP_ACCEPT_ENCODING"));
	const unsigned char *data = gzip ? asset->gzip : asset->plain, *end = gzip ? asset->gzip_end : asset->plain_end;
	struct buf etag = BUF_INIT, headers = BUF_INIT;

	buf_addf(&etag, "\"%s%s\"", asset->sha256, gzip ? "-gzip" : "");
	buf_addf(&headers, "%sETag: %s\r\nVary: Accept-Encoding\r\n", security_headers, buf_str(&etag));
	if (has_etag(request_param(r, "HTTP_IF_NONE_MATCH"), buf_str(&etag))) {
		request_respond_kept(r, 304, "Not Modified", NULL, buf_str(&headers), NULL, 0);
	} else {
		if (gzip)
			buf_adds(&headers, "Content-Encoding: gzip\r\n");
		request_respond_kept(r, 200, "OK", content_type(asset->name), buf_str(&headers), head ? NULL : data,
		                     (size_t)(end - data));
	}
	buf_free(&headers);
	buf_free(&etag);
}

static void refuse(struct request *r, enum problem_code code, bool head)
{
	struct api_answer answer = { 0 };

	api_refuse(&answer, code, NULL);
	buf_adds(&answer.headers, security_headers);
	if (code == PROBLEM_METHOD_NOT_ALLOWED)
		buf_adds(&answer.headers, "Allow: GET, HEAD\r\n");
	request_respond(r, answer.status, answer.reason, answer.content_type, buf_str(&answer.headers),
	                head ? NULL : answer.body.data, answer.body.len);
	api_answer_free(&answer);
}

/* What its files name is relative to the slash. */
static void redirect(struct request *r)
{
	struct buf headers = BUF_INIT;

	buf_addf(&headers, "%sLocation: %s/\r\n", security_headers, strrchr(DASHBOARD_PATH, '/') + 1);
	request_respond_kept(r, 308, "Permanent Redirect", NULL, buf_str(&headers), NULL, 0);
	buf_free(&headers);
}

void dashboard_serve(struct request *r, const char *method, const char *path)
{
	const char *name = path + sizeof DASHBOARD_PATH - 1;
	const struct asset *asset = *name == '/' ? find(name + 1) : NULL;
	bool head = strcmp(method, "HEAD") == 0;

	if (!head && strcmp(method, "GET") != 0)
		refuse(r, PROBLEM_METHOD_NOT_ALLOWED, head);
	else if (*name == '\0')
		redirect(r);
	else if (asset)
		serve_asset(r, asset, head);
	else
		refuse(r, PROBLEM_NOT_FOUND, head);
}
