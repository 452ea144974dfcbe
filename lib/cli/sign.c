/* ntrvsta sign and ntrvsta verify: signatures by hand, to find out why they do not match. */
#include "lib/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/xalloc.h"
#include "lib/cli/output.h"
#include "lib/event/signature.h"

/* --- sign ---------------------------------------------------------------------------------- */

static int sign(const struct cli *cli, const struct conf_source *source, const struct buf *body)
{
	const struct secret *secret = cli_signing_secret(cli, source);
	char signature[SIGNATURE_HEX_SIZE];
	struct json_object *doc;

	if (!secret)
		return CLI_FAILED;
	signature_sign(secret->bytes, secret->len, buf_str(body), body->len, signature);
	if (!cli->json) {
		printf("%s\n", signature);
		fflush(stdout);
		/* Apart from the signature, so that $(ntrvsta sign FILE) is the signature. */
		fprintf(stderr, "payload %zu bytes, secret %zu bytes, source %s\n", body->len, secret->len, source->name);
		return CLI_OK;
	}
	doc = json_object_new_object();
	json_object_object_add(doc, "source", cli_json_string(source->name));
	json_object_object_add(doc, "signature", json_object_new_string(signature));
	json_object_object_add(doc, "payload_bytes", json_object_new_int64((int64_t)body->len));
	json_object_object_add(doc, "secret_bytes", json_object_new_int64((int64_t)secret->len));
	cli_print_json(doc);
	return CLI_OK;
}

/* --- verify: what would have matched? ------------------------------------------------------- */

static void without_line_end(const struct buf *body, struct buf *out)
{
	size_t len = body->len;

	while (len > 0 && strchr("\r\n", body->data[len - 1]))
		len--;
	buf_add(out, buf_str(body), len);
}

static void with_line_end(const struct buf *body, struct buf *out)
{
	buf_addf(out, "%s\n", buf_str(body));
}

static void with_lf(const struct buf *body, struct buf *out)
{
	size_t i;

	for (i = 0; i < body->len; i++)
		if (body->data[i] != '\r' || body->data[i + 1] != '\n')
			buf_addc(out, body->data[i]);
}

static void with_crlf(const struct buf *body, struct buf *out)
{
	size_t i;

	for (i = 0; i < body->len; i++) {
		if (body->data[i] == '\n')
			buf_addc(out, '\r');
		buf_addc(out, body->data[i]);
	}
}

static void without_bom(const struct buf *body, struct buf *out)
{
	bool bom = body->len >= 3 && memcmp(body->data, "\xef\xbb\xbf", 3) == 0;

	buf_add(out, buf_str(body) + (bom ? 3 : 0), body->len - (bom ? 3 : 0));
}

/* All that JSON allows to leave out between its tokens. */
static void compact(const struct buf *body, struct buf *out)
{
	bool in_string = false;
	size_t i;

	for (i = 0; i < body->len; i++) {
		if (!in_string && strchr(" \t\r\n", body->data[i]))
			continue;
		buf_addc(out, body->data[i]);
		if (in_string && body->data[i] == '\\' && i + 1 < body->len)
			buf_addc(out, body->data[++i]);
		else if (body->data[i] == '"')
			in_string = !in_string;
	}
}

/* As many libraries write it: a blank behind each colon and comma. */
static void spaced(const struct buf *body, struct buf *out)
{
	struct buf dense = BUF_INIT;
	bool in_string = false;
	size_t i;

	compact(body, &dense);
	for (i = 0; i < dense.len; i++) {
		buf_addc(out, dense.data[i]);
		if (in_string && dense.data[i] == '\\' && i + 1 < dense.len)
			buf_addc(out, dense.data[++i]);
		else if (dense.data[i] == '"')
			in_string = !in_string;
		else if (!in_string && strchr(":,", dense.data[i]))
			buf_addc(out, ' ');
	}
	buf_free(&dense);
}

static const struct {
	void (*change)(const struct buf *body, struct buf *out);
	const char *hint;
} changes[] = {
	{ without_line_end, "it fits the payload without the line end at its end: the file has one that was not sent" },
	{ with_line_end, "it fits the payload with a line end behind it: the file lacks one that was sent" },
	{ with_lf, "it fits the payload with LF line ends: the file's were changed to CR LF" },
	{ with_crlf, "it fits the payload with CR LF line ends: the file's were changed to LF" },
	{ without_bom, "it fits the payload without the byte order mark at its beginning" },
	{ compact, "it fits the payload without blanks between its tokens: the body was encoded anew" },
	{ spaced, "it fits the payload with other blanks between its tokens: the body was encoded anew" },
};

static bool fits(const struct secret *secret, const void *body, size_t len, const char *received)
{
	char expected[SIGNATURE_HEX_SIZE];

	signature_sign(secret->bytes, secret->len, body, len, expected);
	return strcasecmp(expected, received) == 0;
}

static const char *hint_of_body(const struct secrets *secrets, const struct buf *body, const char *received)
{
	struct buf changed = BUF_INIT;
	const char *hint = NULL;
	size_t i, k;

	for (i = 0; i < sizeof changes / sizeof changes[0] && !hint; i++) {
		buf_reset(&changed);
		changes[i].change(body, &changed);
		for (k = 0; k < secrets->n && !hint; k++)
			if (fits(&secrets->items[k], buf_str(&changed), changed.len, received))
				hint = changes[i].hint;
	}
	buf_free(&changed);
	return hint;
}

/* The sender uses another key than these bytes. */
static const char *hint_of_secret(const struct secrets *secrets, const struct buf *body, const char *received)
{
	char key[SECRETS_LINE_MAX + 2];
	const char *hint = NULL;
	size_t i;

	for (i = 0; i < secrets->n && !hint; i++) {
		const struct secret *s = &secrets->items[i];
		struct secret other = { key, s->len / 2, SECRETS_FOREVER };

		if (fits(s, buf_str(body), body->len, received))
			return "it fits a secret that has expired: the sender has not got the new one yet";
		if (bytes_from_hex(s->bytes, s->len, key, s->len / 2) == 0 && fits(&other, buf_str(body), body->len, received))
			hint = "it fits the bytes that the secret stands for in hex: the sender decodes it, here it counts as it stands";
		other.len = s->len + 1;
		memcpy(key, s->bytes, s->len);
		key[s->len] = '\n';
		if (fits(&other, buf_str(body), body->len, received))
			hint = "it fits the secret with a line end behind it: the sender's copy of the secret has one";
	}
	explicit_bzero(key, sizeof key);
	return hint;
}

static const char *hint_of_form(const char *received)
{
	size_t len = strlen(received), digits = strspn(received, "0123456789abcdefABCDEF");

	if (digits == 2 * SIGNATURE_BYTES && len == digits)
		return NULL;
	if (len == 0)
		return "the signature is empty";
	if (strncmp(received, "v1,", 3) == 0)
		return "this is a signature of the Standard Webhooks scheme, not of X-NTRVSTA-Signature";
	if (digits == len && len == 40)
		return "40 hex digits are a SHA-1, not a SHA-256";
	if (digits < len && len == 44 && received[43] == '=')
		return "this looks like base64; 64 hex digits are wanted";
	return digits < len ? "it is not made of hex digits alone" : "it has not 64 hex digits: it was cut off, or more was copied";
}

static const char *find_hint(const struct secrets *secrets, const struct buf *body, const char *received)
{
	const char *hint = hint_of_form(received);

	if (!hint)
		hint = hint_of_secret(secrets, body, received);
	if (!hint)
		hint = hint_of_body(secrets, body, received);
	return hint ? hint : "another secret, or another payload than the one that was signed";
}

/* --- verify: the report ---------------------------------------------------------------------- */

struct verdict {
	const struct conf_source *source;
	const struct buf *body;
	const char *received; /* as given */
	const char *digits;   /* the same without "sha256=" */
	bool valid;
	const char *hint; /* NULL where valid */
};

static struct json_object *json_secret(const struct verdict *v, size_t i)
{
	const struct secret *s = &v->source->secrets->items[i];
	struct json_object *o = json_object_new_object();
	char expected[SIGNATURE_HEX_SIZE];

	signature_sign(s->bytes, s->len, buf_str(v->body), v->body->len, expected);
	json_object_object_add(o, "number", json_object_new_int((int)i + 1));
	json_object_object_add(o, "secret_bytes", json_object_new_int64((int64_t)s->len));
	json_object_object_add(o, "expected", json_object_new_string(expected));
	json_object_object_add(o, "match", json_object_new_boolean(strcasecmp(expected, v->digits) == 0));
	return o;
}

static void print_verdict_json(const struct verdict *v)
{
	struct json_object *doc = json_object_new_object(), *rows = json_object_new_array();
	int64_t now_ms = clock_wall_ms();
	size_t i;

	for (i = 0; i < v->source->secrets->n; i++)
		if (secret_live(&v->source->secrets->items[i], now_ms))
			json_object_array_add(rows, json_secret(v, i));
	json_object_object_add(doc, "valid", json_object_new_boolean(v->valid));
	json_object_object_add(doc, "source", cli_json_string(v->source->name));
	json_object_object_add(doc, "received", cli_json_text(v->received, strlen(v->received)));
	json_object_object_add(doc, "payload_bytes", json_object_new_int64((int64_t)v->body->len));
	json_object_object_add(doc, "secrets", rows);
	json_object_object_add(doc, "hint", v->hint ? json_object_new_string(v->hint) : NULL);
	cli_print_json(doc);
}

static void print_verdict(const struct verdict *v)
{
	int64_t now_ms = clock_wall_ms();
	char expected[SIGNATURE_HEX_SIZE];
	size_t i;

	printf("received  ");
	cli_print_text("", *v->received ? v->received : "(nothing)", *v->received ? strlen(v->received) : 9);
	for (i = 0; i < v->source->secrets->n; i++) {
		const struct secret *s = &v->source->secrets->items[i];

		if (!secret_live(s, now_ms))
			continue;
		signature_sign(s->bytes, s->len, buf_str(v->body), v->body->len, expected);
		printf("expected  %s  (secret %zu: %zu bytes)%s\n", expected, i + 1, s->len,
		       strcasecmp(expected, v->digits) == 0 ? "  this one" : "");
	}
	printf("payload   %zu bytes, source %s\n", v->body->len, v->source->name);
	printf("%s\n", v->valid ? "valid" : "INVALID");
	if (v->hint)
		printf("hint      %s\n", v->hint);
}

static int verify(const struct cli *cli, const struct conf_source *source, const struct buf *body, char *signature)
{
	struct verdict v = { .source = source, .body = body };
	int64_t now_ms = clock_wall_ms();
	size_t len;

	signature += strspn(signature, " \t\r\n"); /* as copied with the header around it */
	for (len = strlen(signature); len > 0 && strchr(" \t\r\n", signature[len - 1]); len--)
		signature[len - 1] = '\0';
	v.received = signature;
	v.digits = strncmp(signature, "sha256=", 7) == 0 ? signature + 7 : signature;
	v.valid = signature_verify(source->secrets, now_ms, buf_str(body), body->len, signature) == SIGNATURE_VALID;
	if (secrets_live(source->secrets, now_ms) == 0)
		v.hint = "no secret is live: 'ntrvsta secret list'";
	else if (!v.valid)
		v.hint = find_hint(source->secrets, body, v.digits);
	if (cli->json)
		print_verdict_json(&v);
	else
		print_verdict(&v);
	return v.valid ? CLI_OK : CLI_FAILED;
}

/* --- the commands ---------------------------------------------------------------------------- */

/* Both: load what is needed and go on with sign() or, where there is a SIGNATURE, with verify(). */
static int run_with(const struct cli *cli, const char *file, const char *source_name, const char *signature)
{
	struct conf *conf = cli_load_conf(cli);
	const struct conf_source *source = conf ? cli_source(cli, conf, source_name) : NULL;
	char *copy = signature ? xstrdup(signature) : NULL;
	struct buf body = BUF_INIT;
	int status = CLI_FAILED;

	if (source && cli_read_input(cli, file, &body))
		status = copy ? verify(cli, source, &body, copy) : sign(cli, source, &body);
	free(copy);
	buf_free(&body);
	conf_unref(conf);
	return status;
}

static int run_sign(struct cli *cli, int argc, char **argv)
{
	const char *source = NULL;
	const struct cli_option options[] = { { "source", &source, NULL } };

	argc = cli_parse(cli, options, 1, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1)
		return cli_usage(cli, "wants one file ('-' for standard input)");
	return run_with(cli, argv[0], source, NULL);
}

static int run_verify(struct cli *cli, int argc, char **argv)
{
	const char *source = NULL, *signature = NULL;
	const struct cli_option options[] = { { "source", &source, NULL }, { "signature", &signature, NULL } };

	argc = cli_parse(cli, options, 2, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc != 1)
		return cli_usage(cli, "wants one file ('-' for standard input)");
	if (!signature)
		return cli_usage(cli, "wants --signature, the value of the X-NTRVSTA-Signature header");
	return run_with(cli, argv[0], source, signature);
}

const struct cli_command cli_sign = {
	.name = "sign",
	.summary = "sign a file as the platform signs a call",
	.help =
		"Usage: ntrvsta sign FILE [--source NAME]\n"
		"\n"
		"Prints the value of X-NTRVSTA-Signature for FILE's bytes ('-' for standard input), made with the\n"
		"newest live secret; the lengths of payload and secret go to standard error.\n"
		"\n"
		"  --source NAME  with the secret of [source NAME] (ntrvsta)\n"
		"\n"
		"Examples:\n"
		"  ntrvsta sign body.json\n"
		"  curl -H \"X-NTRVSTA-Signature: $(ntrvsta sign body.json)\" -H 'Content-Type: application/json' \\\n"
		"       --data-binary @body.json http://127.0.0.1:8080/webhooks/ntrvsta\n",
	.run = run_sign,
};

const struct cli_command cli_verify = {
	.name = "verify",
	.summary = "check a signature and say why it does not fit",
	.help =
		"Usage: ntrvsta verify FILE --signature S [--source NAME]\n"
		"\n"
		"Does the signature S fit FILE's bytes ('-' for standard input)? Prints the signature received,\n"
		"the one expected for each live secret, the lengths of payload and secrets, and where it does not\n"
		"fit, what most likely happened. Exit status 0 where it fits, 1 where not.\n"
		"\n"
		"  --signature S  the header's value: 64 hex digits, with or without 'sha256=' in front\n"
		"  --source NAME  with the secrets of [source NAME] (ntrvsta)\n"
		"\n"
		"Examples:\n"
		"  ntrvsta verify body.json --signature 5d41402abc...\n"
		"  ntrvsta verify body.json --signature \"$SIGNATURE\" --json | jq -r .hint\n",
	.run = run_verify,
};
