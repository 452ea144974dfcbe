#include "lib/delivery/call.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/xalloc.h"
#include "lib/delivery/guard.h"
#include "lib/delivery/kept.h"

/* Kept for the next call, at most. By itself libcurl keeps four for each call that is under way at the moment, and so
 * closes most of them whenever there is a lull. */
#define KEPT_CONNECTIONS 128L

struct call {
	struct call *next; /* of those in flight */
	CURL *easy;
	struct curl_slist *headers;
	void *owner;
	struct conf_webhooks settings; /* what the guard needs of it, as it was at the start */
	struct buf refused;            /* what the guard said last */
	char error[CURL_ERROR_SIZE];
	struct buf answer, request_head, answer_head;
	size_t keep, header_bytes, body_bytes;
	bool read_enough, head_ended, headers_too_large;
	bool keep_heads, answer_head_cut;
	struct kept *kept; /* the caller's */
	bool stale;        /* no request was sent: the connection that was kept for it was none to be used */
};

struct caller {
	CURLM *multi;
	struct call *calls;
	size_t in_flight;
	struct kept kept;
	int64_t anew_ms; /* clock_mono_ms(): connections from before are not to be used any more; 0: all are */
};

struct caller *caller_new(void)
{
	struct caller *c = xcalloc(1, sizeof *c);

	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		c->multi = curl_multi_init();
	if (c->multi) {
		curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
		/* Calls that share a connection of HTTP/2 fail or hang in libcurl 7.88, one of some thousand. */
		curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
		return c;
	}
	log_error("libcurl can't start: no webhook is called");
	free(c);
	return NULL;
}

/* --- one call ----------------------------------------------------------------------------- */

static void call_free(struct call *call)
{
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	free(call->settings.allow_private.items);
	buf_free(&call->refused);
	buf_free(&call->answer);
	buf_free(&call->request_head);
	buf_free(&call->answer_head);
	free(call);
}

/* The one place where a connection is begun: whatever the URL, a name or a redirect said, this is the address. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *target)
{
	struct call *call = ctx;
	struct address address;
	curl_socket_t fd;

	(void)purpose;
	buf_reset(&call->refused);
	if (address_from_socket(&target->addr, &address)) {
		buf_adds(&call->refused, "only IPv4 and IPv6 are called");
		return CURL_SOCKET_BAD;
	}
	if (!guard_allows(&call->settings, &address, &call->refused))
		return CURL_SOCKET_BAD;
	fd = socket(target->family, target->socktype | SOCK_CLOEXEC, target->protocol);
	if (fd >= 0)
		kept_note_opened(call->kept, fd);
	return fd;
}

/* Connected, and about to send the request. */
static int before_request(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
	struct call *call = ctx;

	(void)local;
	call->stale = kept_is_stale(call->kept, peer, peer_port, local_port);
	return call->stale ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* The request as it goes out. Where a kept connection turns out to be closed it goes out once more, the same. */
static int on_debug(CURL *easy, curl_infotype type, char *data, size_t len, void *ctx)
{
	struct call *call = ctx;

	(void)easy;
	if (type == CURLINFO_HEADER_OUT)
		buf_add(&call->request_head, data, len);
	return 0;
}

static void keep_header(struct call *call, const char *data, size_t len)
{
	call->answer_head_cut |= call->answer_head.len + len > CALL_HEAD_KEPT;
	if (call->keep_heads && !call->answer_head_cut)
		buf_add(&call->answer_head, data, len);
}

/* One line of a head, or behind a chunked body of its trailer. An empty line ends a head. Another may follow: that of an
 * informational answer comes first. */
static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct call *call = ctx;

	if (n > 5 && memcmp(data, "HTTP/", 5) == 0) {
		call->head_ended = call->answer_head_cut = false;
		buf_reset(&call->answer_head);
	} else if (n <= 2 && (data[0] == '\r' || data[0] == '\n')) {
		call->head_ended = true;
	}
	if (!call->head_ended)
		keep_header(call, data, size * n);
	call->header_bytes += size * n;
	call->headers_too_large = call->header_bytes > CALL_ANSWER_READ;
	return call->headers_too_large ? 0 : size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct call *call = ctx;
	size_t room = call->keep - call->answer.len;

	buf_add(&call->answer, data, n < room ? n : room);
	call->body_bytes += size * n;
	call->read_enough = call->body_bytes >= CALL_ANSWER_READ;
	return call->read_enough ? 0 : size * n;
}

static void set_options(struct call *call, const struct call_spec *spec)
{
	CURL *e = call->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, call);
	curl_easy_setopt(e, CURLOPT_URL, spec->url);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
	if (spec->body) {
		curl_easy_setopt(e, CURLOPT_POST, 1L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, spec->body);
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len);
	} else {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
		curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* its times are wanted, of each step */
	}
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->settings->call.timeout_ms);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->settings->connect_timeout_ms);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, spec->settings->allow_http ? "http,https" : "https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else the end of a call waits for a silent name server */
	if (spec->settings->ca_file[0]) {
		curl_easy_setopt(e, CURLOPT_CAINFO, spec->settings->ca_file);
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL); /* those that Debian's libcurl adds by itself */
	}
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 16384L);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, call);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
	if (call->keep_heads) {
		curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
		curl_easy_setopt(e, CURLOPT_DEBUGDATA, call);
		curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
	}
}

static void copy_settings(struct conf_webhooks *to, const struct conf_webhooks *from)
{
	size_t bytes = from->allow_private.n * sizeof *from->allow_private.items;

	*to = (struct conf_webhooks){ .allow_private.n = from->allow_private.n };
	if (bytes)
		to->allow_private.items = memcpy(xmalloc(bytes), from->allow_private.items, bytes);
}

/* Connections are libcurl's, which closes those that are older than so many whole seconds. Rounded down, so that it
 * closes one too many rather than one too few; until there is a second to speak of, none is reused. */
static void set_oldest_connection(const struct caller *c, CURL *easy)
{
	int64_t most_s = (clock_mono_ms() - c->anew_ms) / 1000 - 1;

	if (c->anew_ms == 0)
		return;
	if (most_s > 0)
		curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)most_s);
	else
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
}

int call_start(struct caller *c, const struct call_spec *spec, void *owner, struct buf *err)
{
	struct call *call;
	const char *const *h;
	CURLMcode code;

	if (!spec->settings->allow_http && strncasecmp(spec->url, "http:", 5) == 0) {
		buf_adds(err, "http:// is not called: [webhooks] allow_http = on would allow it");
		return -1;
	}
	call = xcalloc(1, sizeof *call);
	call->owner = owner;
	call->kept = &c->kept;
	call->keep = spec->settings->call.output_limit;
	call->keep_heads = spec->keep_heads;
	copy_settings(&call->settings, spec->settings);
	call->easy = curl_easy_init();
	for (h = spec->headers; *h; h++)
		call->headers = curl_slist_append(call->headers, *h);
	call->headers = curl_slist_append(call->headers, "Expect:"); /* else it waits before it sends a large body */
	if (!call->easy || !call->headers)
		abort();
	set_options(call, spec);
	set_oldest_connection(c, call->easy);
	if (!spec->body) /* a connection that stands would tell nothing of the way to it */
		curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
	code = curl_multi_add_handle(c->multi, call->easy);
	if (code != CURLM_OK) {
		buf_addf(err, "libcurl does not begin the call: %s", curl_multi_strerror(code));
		call_free(call);
		return -1;
	}
	call->next = c->calls;
	c->calls = call;
	c->in_flight++;
	return 0;
}

/* --- how it ended ------------------------------------------------------------------------- */

static const struct {
	CURLcode code;
	const char *error_code;
} errors[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, "dns" },
	{ CURLE_COULDNT_CONNECT, "connect" },
	{ CURLE_OPERATION_TIMEDOUT, "timeout" },
	{ CURLE_PEER_FAILED_VERIFICATION, "tls" },
	{ CURLE_SSL_CONNECT_ERROR, "tls" },
	{ CURLE_SSL_CERTPROBLEM, "tls" },
	{ CURLE_SSL_CIPHER, "tls" },
	{ CURLE_SSL_CACERT_BADFILE, "tls" },
	{ CURLE_GOT_NOTHING, "connection" },
	{ CURLE_SEND_ERROR, "connection" },
	{ CURLE_RECV_ERROR, "connection" },
	{ CURLE_PARTIAL_FILE, "connection" },
};

static const char *error_code_of(CURLcode code)
{
	size_t i;

	for (i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].code == code)
			return errors[i].error_code;
	return "protocol";
}

static int64_t read_ms(CURL *easy, CURLINFO what)
{
	curl_off_t us = 0;

	curl_easy_getinfo(easy, what, &us);
	return (us + 500) / 1000; /* libcurl begins to count a little late: 499.9 ms of a time-out are 500 */
}

static void describe_error(const struct call *call, CURLcode code, struct call_end *out)
{
	out->error_code = error_code_of(code);
	if (code == CURLE_COULDNT_CONNECT && call->refused.len) {
		out->error_code = "address_refused";
		buf_adds(&out->message, buf_str(&call->refused));
	} else if (call->headers_too_large || code == CURLE_OUT_OF_MEMORY) {
		/* libcurl has no memory for a line of more than 100 KB, and calls it so. */
		out->error_code = "protocol";
		buf_addf(&out->message, "the answer's headers are larger than %d bytes", CALL_ANSWER_READ);
	} else {
		buf_adds(&out->message, call->error[0] ? call->error : curl_easy_strerror(code));
	}
}

/* A receiver may answer before it has read the body, and then wants no more of it (RFC 9113, section 8.1). libcurl 7.88
 * fails all the same, when it goes on to send; as it has been told of no error, it has nothing to say then. */
static bool answered_early(const struct call *call, CURLcode code)
{
	return code == CURLE_HTTP2_STREAM && call->head_ended && !call->error[0];
}

static struct buf take(struct buf *b)
{
	struct buf taken = *b;

	*b = (struct buf)BUF_INIT;
	return taken;
}

static void describe_end(struct call *call, CURLcode code, struct call_end *out)
{
	curl_off_t retry_after_s = 0;
	long status = 0;

	*out = (struct call_end){ .error_code = "" };
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	out->status = (int)status;
	if (retry_after_s > 0)
		out->retry_after_ms = retry_after_s < INT64_MAX / 1000 ? retry_after_s * 1000 : INT64_MAX;
	out->dns_ms = read_ms(call->easy, CURLINFO_NAMELOOKUP_TIME_T);
	out->connect_ms = read_ms(call->easy, CURLINFO_CONNECT_TIME_T);
	out->tls_ms = read_ms(call->easy, CURLINFO_APPCONNECT_TIME_T);
	out->duration_ms = read_ms(call->easy, CURLINFO_TOTAL_TIME_T);
	out->answer_cut = call->body_bytes > call->answer.len;
	out->answer = take(&call->answer);
	out->request_head = take(&call->request_head);
	out->answer_head = take(&call->answer_head);
	out->answer_head_cut = call->answer_head_cut;
	if (code != CURLE_OK && !call->read_enough && !answered_early(call, code)) {
		describe_error(call, code, out);
	} else if (!call->head_ended) {
		/* libcurl is content with that; RFC 9112, section 8, is not. */
		out->error_code = "connection";
		buf_adds(&out->message, "the answer ended within its headers");
	}
}

static void note_answered(struct kept *kept, CURL *easy)
{
	curl_socket_t fd = CURL_SOCKET_BAD; /* stays so where the connection was closed */
	long version = 0;

	curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
	curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
	if (fd != CURL_SOCKET_BAD && version < CURL_HTTP_VERSION_2_0)
		kept_note_answered(kept, fd);
}

/* Once more from the start, on a new connection. libcurl has closed the one that it had chosen. */
static bool begin_anew(struct caller *c, struct call *call)
{
	call->stale = false;
	curl_multi_remove_handle(c->multi, call->easy);
	curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
	return curl_multi_add_handle(c->multi, call->easy) == CURLM_OK;
}

static CURLMsg *next_message(struct caller *c)
{
	CURLMsg *message;
	int left;

	do {
		message = curl_multi_info_read(c->multi, &left);
	} while (message && message->msg != CURLMSG_DONE);
	return message;
}

static struct call *next_ended(struct caller *c, CURLcode *code)
{
	struct call *call = NULL;
	CURLMsg *message;

	while ((message = next_message(c))) {
		*code = message->data.result; /* gone with the handle */
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		if (!call->stale || !begin_anew(c, call))
			return call;
	}
	return NULL;
}

static void forget(struct caller *c, struct call *call)
{
	struct call **link = &c->calls;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	c->in_flight--;
	curl_multi_remove_handle(c->multi, call->easy);
	call_free(call);
}

void *caller_next_ended(struct caller *c, struct call_end *out)
{
	CURLcode code = CURLE_OK;
	struct call *call = next_ended(c, &code);
	void *owner;
	int running;

	if (!call && c->in_flight > 0) {
		curl_multi_perform(c->multi, &running);
		call = next_ended(c, &code);
	}
	if (!call)
		return NULL;
	note_answered(&c->kept, call->easy);
	describe_end(call, code, out);
	owner = call->owner;
	forget(c, call);
	return owner;
}

/* --- all of them -------------------------------------------------------------------------- */

size_t caller_in_flight(const struct caller *c)
{
	return c ? c->in_flight : 0;
}

void caller_poll(struct caller *c, struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct curl_waitfd *extra = xcalloc(n + 1, sizeof *extra);
	int ready;
	nfds_t i;

	for (i = 0; i < n; i++) {
		extra[i].fd = fds[i].fd;
		extra[i].events = CURL_WAIT_POLLIN;
	}
	curl_multi_poll(c->multi, extra, (unsigned)n, timeout_ms, &ready);
	for (i = 0; i < n; i++)
		fds[i].revents = extra[i].revents ? POLLIN : 0;
	free(extra);
}

void caller_forget_connections(struct caller *c)
{
	if (c)
		c->anew_ms = clock_mono_ms();
}

void caller_free(struct caller *c)
{
	if (!c)
		return;
	while (c->calls)
		forget(c, c->calls);
	curl_multi_cleanup(c->multi);
	kept_free(&c->kept);
	free(c);
}
