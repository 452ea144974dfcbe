#include "lib/conf/values.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/conf/conf.h"

#define BODY_MAX ((size_t)512 << 20)  /* SQLite takes values of less than 1 GB */
#define OUTPUT_MAX ((size_t)16 << 20) /* kept with each attempt */
#define BASE_URL_MAX 1000 /* bytes */
#define COUNT_MAX 1000
#define BATCH_MAX 10000
#define NUMBER_DIGITS 7
#define STEPS_MAX 100
#define NAMES_MAX 40 /* with what ntrvsta sets itself, less than environment.c has room for */
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

int value_refuse(struct buf *err, const char *wanted, const char *value)
{
	buf_addf(err, "wants %s, not '%.80s'", wanted, value);
	return -1;
}

static void set_string(void *field, char *s)
{
	char **to = field;

	free(*to);
	*to = s;
}

/* --- places ------------------------------------------------------------------------------ */

static bool has_odd_segment(const char *path)
{
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		if ((len == 0 && *path) || (len <= 2 && len > 0 && strspn(path, ".") == len))
			return true;
		path += len;
	}
	return false;
}

/* As the web server hands it over: decoded, without a query. The slash at the end goes. */
static int parse_url_path(const char *value, void *field, const char *wanted, struct buf *err)
{
	static const char allowed[] = LETTERS DIGITS "/-._~!$&'()*+,;=:@";
	size_t len = strlen(value);

	if (value[0] != '/' || strspn(value, allowed) != len || has_odd_segment(value))
		return value_refuse(err, wanted, value);
	if (len > 1 && value[len - 1] == '/')
		len--;
	set_string(field, xstrndup(value, len));
	return 0;
}

int conf_parse_path(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_url_path(value, field, "the path of a URL such as /webhooks/ntrvsta", err);
}

int conf_parse_base(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (value[0] == '\0' || strcmp(value, "/") == 0) {
		set_string(field, xstrdup(""));
		return 0;
	}
	return parse_url_path(value, field, "nothing or the path of a URL such as /hooks", err);
}

/* Something is put behind it: no query, no fragment; and everybody gets to see it: no user name, no password. */
int conf_parse_base_url(const char *value, void *field, const struct conf *c, struct buf *err)
{
	static const char allowed[] = LETTERS DIGITS "/-._~!$&'()*+,;=:%[]";
	static const char wanted[] = "nothing, or a URL such as https://interviews.example.com/i, without user name, query and fragment";
	size_t len = strlen(value), scheme = strncmp(value, "https://", 8) == 0 ? 8 : strncmp(value, "http://", 7) == 0 ? 7 : 0;

	(void)c;
	if (len > 0 && (scheme == 0 || len > BASE_URL_MAX || strspn(value, allowed) != len || strcspn(value + scheme, "/:") == 0))
		return value_refuse(err, wanted, value);
	while (len > 0 && value[len - 1] == '/')
		len--;
	set_string(field, xstrndup(value, len));
	return 0;
}

/* A file or folder, made absolute. */
int conf_parse_file(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (value[0] == '\0')
		return value_refuse(err, "the name of a file or folder", value);
	if (value[0] == '~' || value[0] == '$') {
		buf_addf(err, "wants the path in full: '%c' is not expanded", value[0]);
		return -1;
	}
	set_string(field, fdio_resolve(c->dir, value));
	return 0;
}

int conf_parse_optional_file(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (value[0] != '\0')
		return conf_parse_file(value, field, c, err);
	set_string(field, xstrdup(""));
	return 0;
}

/* Says nothing of what follows the scheme: a URL may hold a password. */
int conf_parse_store_url(const char *value, void *field, const struct conf *c, struct buf *err)
{
	static const char scheme[] = "sqlite:";
	const char *path = value + sizeof scheme - 1;
	size_t len = strlen(value);

	if (strncmp(value, scheme, sizeof scheme - 1) != 0) {
		buf_adds(err, "wants sqlite:PATH; this version stores events in SQLite only");
		return -1;
	}
	if (path[0] == '\0' || path[0] == ':' || strncmp(path, "//", 2) == 0 ||
	    strncmp(path, "file:", 5) == 0 || value[len - 1] == '/') {
		buf_adds(err, "wants the path of a file behind 'sqlite:', such as sqlite:state/ntrvsta.db");
		return -1;
	}
	return conf_parse_file(path, field, c, err);
}

/* A file is told from a misspelt word by its slash. */
int conf_parse_log_target(const char *value, void *field, const struct conf *c, struct buf *err)
{
	if (strcmp(value, "stderr") == 0 || strcmp(value, "syslog") == 0) {
		set_string(field, xstrdup(value));
		return 0;
	}
	if (!strchr(value, '/'))
		return value_refuse(err, "stderr, syslog or a file's path with a slash in it", value);
	return conf_parse_file(value, field, c, err);
}

/* --- numbers ----------------------------------------------------------------------------- */

int conf_parse_duration(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (units_parse_duration(value, field) < 0)
		return value_refuse(err, "a duration such as 500ms, 30s, 5m, 2h or 7d", value);
	return 0;
}

int conf_parse_timeout(const char *value, void *field, const struct conf *c, struct buf *err)
{
	int64_t ms;

	(void)c;
	if (units_parse_duration(value, &ms) < 0 || ms == 0)
		return value_refuse(err, "a duration above 0 such as 500ms, 30s or 5m", value);
	*(int64_t *)field = ms;
	return 0;
}

static int parse_size(const char *value, size_t *field, size_t max, const char *wanted,
                      struct buf *err)
{
	size_t bytes;

	if (units_parse_size(value, &bytes) < 0 || bytes == 0 || bytes > max)
		return value_refuse(err, wanted, value);
	*field = bytes;
	return 0;
}

int conf_parse_body_size(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_size(value, field, BODY_MAX, "a size such as 64K or 1M, from 1 byte to 512M", err);
}

int conf_parse_output_size(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_size(value, field, OUTPUT_MAX, "a size such as 64K or 1M, from 1 byte to 16M", err);
}

int value_number(const char *value, unsigned long min, unsigned long max, bool or_zero, unsigned long *out, struct buf *err)
{
	size_t len = strlen(value);
	unsigned long n = strtoul(value, NULL, 10);

	if (len == 0 || len > NUMBER_DIGITS || strspn(value, DIGITS) != len || n > max || (n < min && !(or_zero && n == 0))) {
		buf_addf(err, "wants a number from %lu to %lu%s, not '%.80s'", min, max, or_zero ? ", or 0" : "", value);
		return -1;
	}
	*out = n;
	return 0;
}

static int parse_unsigned(const char *value, unsigned *field, unsigned long max, struct buf *err)
{
	unsigned long n;

	if (value_number(value, 1, max, false, &n, err) < 0)
		return -1;
	*field = (unsigned)n;
	return 0;
}

int conf_parse_count(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_unsigned(value, field, COUNT_MAX, err);
}

int conf_parse_batch(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	return parse_unsigned(value, field, BATCH_MAX, err);
}

int conf_parse_rate(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (units_parse_rate(value, field) < 0)
		return value_refuse(err, "a rate such as 200/s, 50/m or 1000/h, or 0", value);
	return 0;
}

/* --- words and lists --------------------------------------------------------------------- */

int conf_parse_start(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (strcmp(value, "auto") != 0 && strcmp(value, "off") != 0)
		return value_refuse(err, "auto or off", value);
	*(bool *)field = value[0] == 'a';
	return 0;
}

int conf_parse_switch(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return value_refuse(err, "on or off", value);
	*(bool *)field = value[1] == 'n';
	return 0;
}

int conf_parse_level(const char *value, void *field, const struct conf *c, struct buf *err)
{
	(void)c;
	if (log_level_parse(value, field) < 0)
		return value_refuse(err, "error, warn, info or debug", value);
	return 0;
}

char *value_next_word(const char **list)
{
	size_t len;
	char *word;

	*list += strspn(*list, " \t");
	len = strcspn(*list, " \t");
	if (len == 0)
		return NULL;
	word = xstrndup(*list, len);
	*list += len;
	return word;
}

int conf_parse_schedule(const char *value, void *field, const struct conf *c, struct buf *err)
{
	struct conf_schedule *to = field, steps = { NULL, 0 };
	int result = 0;
	char *word;

	(void)c;
	while (result == 0 && (word = value_next_word(&value)) != NULL) {
		int64_t ms;

		if (units_parse_duration(word, &ms) < 0) {
			result = value_refuse(err, "durations with blanks between them such as 1s 5m 2h", word);
		} else if (steps.n == STEPS_MAX) {
			buf_addf(err, "wants at most %d steps", STEPS_MAX);
			result = -1;
		} else {
			steps.delay_ms = xreallocarray(steps.delay_ms, steps.n + 1, sizeof *steps.delay_ms);
			steps.delay_ms[steps.n++] = ms;
		}
		free(word);
	}
	free(result == 0 ? to->delay_ms : steps.delay_ms);
	if (result == 0)
		*to = steps;
	return result;
}

/* "off", or blocks of addresses. */
int conf_parse_blocks(const char *value, void *field, const struct conf *c, struct buf *err)
{
	struct address_blocks *to = field, blocks = { NULL, 0 };
	char *word;

	(void)c;
	if (strcmp(value, "off") == 0)
		value = "";
	while ((word = value_next_word(&value)) != NULL) {
		blocks.items = xreallocarray(blocks.items, blocks.n + 1, sizeof *blocks.items);
		if (address_parse_block(word, &blocks.items[blocks.n++]) < 0) {
			value_refuse(err, "off, or blocks of addresses with blanks between them such as 10.0.0.0/8 fd00::/8", word);
			free(word);
			free(blocks.items);
			return -1;
		}
		free(word);
	}
	free(to->items);
	*to = blocks;
	return 0;
}

/* What handlers are told by the program itself can't be passed through as well. */
static const char *env_name_refusal(const char *name, char *const *before, size_t n)
{
	static const char *const own[] = { "PATH", "HOME", "LANG" };

	if (strspn(name, LETTERS DIGITS "_") != strlen(name) || isdigit((unsigned char)name[0]))
		return "wants names of environment variables with blanks between them; wrong is";
	if (strncmp(name, "NTRVSTA_", 8) == 0)
		return "can't pass what ntrvsta sets or keeps to itself:";
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		if (strcmp(name, own[i]) == 0)
			return "can't pass what every handler gets from ntrvsta:";
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, before[i]) == 0)
			return "holds this name twice:";
	}
	if (n == NAMES_MAX)
		return "wants at most 40 names; too many is";
	return NULL;
}

void value_free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

int conf_parse_names(const char *value, void *field, const struct conf *c, struct buf *err)
{
	char **names = xcalloc(1, sizeof *names), ***to = field, *word;
	size_t n = 0;

	(void)c;
	while ((word = value_next_word(&value)) != NULL) {
		const char *refusal = env_name_refusal(word, names, n);

		if (refusal) {
			buf_addf(err, "%s '%.80s'", refusal, word);
			free(word);
			value_free_list(names);
			return -1;
		}
		names = xreallocarray(names, n + 2, sizeof *names);
		names[n++] = word;
		names[n] = NULL;
	}
	value_free_list(*to);
	*to = names;
	return 0;
}
