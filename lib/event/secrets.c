#include "lib/event/secrets.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"

#define FILE_MAX_BYTES (60 * 1024) /* less than one read of fdio_read_all(), see read_secret_file() */
#define UNTIL "until="
#define UNTIL_LEN (sizeof UNTIL - 1)

struct line {
	const char *text;
	size_t len;      /* without line end */
	size_t full_len; /* with it */
};

static bool next_line(const struct buf *text, size_t *pos, struct line *out)
{
	const char *start = buf_str(text) + *pos;
	size_t left = text->len - *pos;
	const char *newline;

	if (left == 0)
		return false;
	newline = memchr(start, '\n', left);
	out->text = start;
	out->full_len = newline ? (size_t)(newline - start) + 1 : left;
	out->len = newline ? out->full_len - 1 : left;
	if (out->len > 0 && start[out->len - 1] == '\r')
		out->len--;
	*pos += out->full_len;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool holds_secret(const struct line *line)
{
	size_t i = 0;

	while (i < line->len && is_blank(line->text[i]))
		i++;
	return i < line->len && line->text[i] != '#';
}

/* Where the last "until=" of the line stands that begins a word, or NULL. */
static const char *find_until(const struct line *line)
{
	size_t i;

	for (i = line->len; i-- > 0;)
		if (line->len - i >= UNTIL_LEN && (i == 0 || is_blank(line->text[i - 1])) &&
		    memcmp(line->text + i, UNTIL, UNTIL_LEN) == 0)
			return line->text + i;
	return NULL;
}

/* The time at TEXT, which ends the line but for blanks. */
static int parse_until(const char *text, size_t len, int64_t *until_ms)
{
	char copy[64];

	while (len > 0 && is_blank(text[len - 1]))
		len--;
	if (len >= sizeof copy)
		return -1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return clock_parse(copy, until_ms);
}

/* LINE, which holds a secret, to OUT, whose bytes still point into the line. NULL, or what is
 * wrong with it. */
static const char *parse_line(const struct line *line, struct secret *out)
{
	const char *until = find_until(line);

	out->bytes = (char *)line->text;
	out->len = line->len;
	out->until_ms = SECRETS_FOREVER;
	/* A zero byte would end the string for the tools that made the file, not for us. */
	if (memchr(line->text, '\0', line->len))
		return "holds a zero byte; a secret is one line of text";
	if (until == line->text)
		return "has no secret before until=";
	if (until) {
		size_t value = (size_t)(until - line->text) + UNTIL_LEN;

		out->len = (size_t)(until - line->text) - 1;
		if (parse_until(line->text + value, line->len - value, &out->until_ms))
			return "until= wants a time such as 2026-12-31T00:00:00Z";
	}
	if (out->len == 0)
		return "has no secret before until=";
	if (out->len > SECRETS_LINE_MAX)
		return "is too long for a secret";
	return NULL;
}

static void add_secret(struct secrets *s, const struct secret *from)
{
	struct secret *to = &s->items[s->n++];

	*to = *from;
	to->bytes = xmalloc(from->len + 1);
	memcpy(to->bytes, from->bytes, from->len);
	to->bytes[from->len] = '\0';
}

static struct secrets *secrets_new(void)
{
	struct secrets *s = xmalloc(sizeof *s);

	/* Room for all from the start: growing would leave copies behind that nobody wipes. */
	s->items = xcalloc(SECRETS_MAX, sizeof *s->items);
	s->n = 0;
	return s;
}

static struct secrets *parse_secrets(const struct buf *text, const char *path, struct buf *err)
{
	struct secrets *s = secrets_new();
	struct line line;
	struct secret secret;
	const char *why = NULL;
	size_t pos = 0;
	unsigned number = 0;

	if (text->len >= 3 && memcmp(text->data, "\xef\xbb\xbf", 3) == 0) {
		buf_addf(err, "%s:1: begins with a byte order mark; save it without", path);
		goto fail;
	}
	while (!why && next_line(text, &pos, &line)) {
		number++;
		if (!holds_secret(&line))
			continue;
		why = parse_line(&line, &secret);
		if (!why && s->n == SECRETS_MAX)
			why = "is one secret too many; remove those that have expired";
		if (!why)
			add_secret(s, &secret);
	}
	if (why)
		buf_addf(err, "%s:%u: %s", path, number, why);
	else if (s->n == 0)
		buf_addf(err, "%s: holds no secret; put one on a line", path);
	else
		return s;
fail:
	secrets_free(s);
	return NULL;
}

static void wipe(struct buf *text)
{
	if (text->data)
		OPENSSL_cleanse(text->data, text->cap);
	buf_free(text);
}

static int read_secret_file(const char *path, struct buf *text, struct buf *err)
{
	/* One allocation that is never moved, so that wipe() gets all of it. */
	buf_reserve(text, FILE_MAX_BYTES + 1);
	if (fdio_read_file(path, FILE_MAX_BYTES, text) == 0)
		return 0;
	buf_addf(err, "%s: can't be read: %s", path, strerror(errno));
	return -1;
}

struct secrets *secrets_load(const char *path, struct buf *err)
{
	struct buf text = BUF_INIT;
	struct secrets *s = NULL;

	if (read_secret_file(path, &text, err) == 0)
		s = parse_secrets(&text, path, err);
	wipe(&text);
	return s;
}

struct secrets *secrets_from_value(const char *value, struct buf *err)
{
	struct line line = { value, strlen(value), strlen(value) };
	struct secret secret = { (char *)value, line.len, SECRETS_FOREVER };
	struct secrets *s;

	if (value[strspn(value, " \t\r\n")] == '\0' || line.len > SECRETS_LINE_MAX) {
		buf_adds(err, line.len > SECRETS_LINE_MAX ? "is too long for a secret" : "is empty");
		return NULL;
	}
	s = secrets_new();
	add_secret(s, &secret);
	return s;
}

bool secret_live(const struct secret *secret, int64_t wall_ms)
{
	return wall_ms <= secret->until_ms;
}

size_t secrets_live(const struct secrets *s, int64_t wall_ms)
{
	size_t i, n = 0;

	for (i = 0; i < s->n; i++)
		n += secret_live(&s->items[i], wall_ms);
	return n;
}

/* TEXT with NEW_SECRET before it and no end later than UNTIL_MS in it. DROP secrets that have
 * expired are left out. */
static void write_rotated(const struct buf *text, const char *new_secret, int64_t until_ms,
                          size_t drop, struct buf *out)
{
	char until[CLOCK_RFC3339_SIZE];
	int64_t now_ms = clock_wall_ms();
	struct secret secret;
	struct line line;
	size_t pos = 0;

	buf_reserve(out, text->len + strlen(new_secret) + 1 +
	            SECRETS_MAX * (1 + UNTIL_LEN + sizeof until));
	buf_adds(out, new_secret);
	buf_addc(out, '\n');
	clock_format(until_ms, until);
	while (next_line(text, &pos, &line)) {
		if (!holds_secret(&line) || parse_line(&line, &secret)) {
			buf_add(out, line.text, line.full_len);
		} else if (drop > 0 && !secret_live(&secret, now_ms)) {
			drop--;
		} else if (secret.until_ms <= until_ms) {
			buf_add(out, line.text, line.full_len);
		} else {
			buf_add(out, secret.bytes, secret.len);
			buf_addf(out, " " UNTIL "%s", until);
			buf_add(out, line.text + line.len, line.full_len - line.len);
		}
	}
}

/* Read back what is about to be written: a new secret with a line end, a # in front or an
 * `until` in it would not be the secret that the operator hands to the sender. */
static int check_rotated(const struct buf *text, const char *path, const char *new_secret, struct buf *err)
{
	struct secrets *s = parse_secrets(text, path, err);
	int result = 0;

	if (!s)
		return -1;
	if (strcmp(s->items[0].bytes, new_secret) != 0 || s->items[0].until_ms != SECRETS_FOREVER) {
		buf_adds(err, "the new secret can't stand on a line of its own");
		result = -1;
	}
	secrets_free(s);
	return result;
}

/* A replacement that the owner's programs can still read, also when root rotates. */
static int replace_keeping_owner(const char *path, const struct buf *text, struct buf *err)
{
	struct stat st;
	uint8_t random[8];
	char suffix[2 * sizeof random + 1];
	char *temporary;
	int result = -1;

	bytes_random(random, sizeof random);
	bytes_to_hex(random, sizeof random, suffix);
	temporary = xasprintf("%s.%s", path, suffix);
	if (stat(path, &st) || fdio_create_file(temporary, 0600, text->data, text->len)) {
		buf_addf(err, "%s: can't be replaced: %s", path, strerror(errno));
		goto out;
	}
	if (chown(temporary, st.st_uid, st.st_gid) || chmod(temporary, st.st_mode & 0777) ||
	    rename(temporary, path)) {
		buf_addf(err, "%s: can't be replaced with the same owner: %s", path, strerror(errno));
		unlink(temporary);
		goto out;
	}
	result = 0;
out:
	free(temporary);
	return result;
}

int secrets_rotate(const char *path, const char *new_secret, int64_t until_ms, struct buf *err)
{
	char *real = realpath(path, NULL); /* a link to the file stays a link */
	struct buf text = BUF_INIT, rotated = BUF_INIT;
	struct secrets *s = NULL;
	int result = -1;

	if (!real) {
		buf_addf(err, "%s: can't be read: %s", path, strerror(errno));
		return -1;
	}
	if (read_secret_file(real, &text, err) || !(s = parse_secrets(&text, real, err)))
		goto out;
	write_rotated(&text, new_secret, until_ms, s->n == SECRETS_MAX, &rotated);
	if (check_rotated(&rotated, real, new_secret, err) == 0)
		result = replace_keeping_owner(real, &rotated, err);
out:
	secrets_free(s);
	wipe(&text);
	wipe(&rotated);
	free(real);
	return result;
}

void secrets_free(struct secrets *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < s->n; i++) {
		OPENSSL_cleanse(s->items[i].bytes, s->items[i].len);
		free(s->items[i].bytes);
	}
	free(s->items);
	free(s);
}
