#include "lib/conf/inifile.h"

#include <ini.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/xalloc.h"

#define NONE ((size_t)-1)

struct reading {
	const char *next;
	const char *end;
	int line;
	bool pair_due;     /* LINE went to libinih as a setting and has not come back yet */
	bool crlf_told;    /* once is enough: it is every line or an accident */
	bool skip_section; /* its header was refused: its settings belong nowhere */
	size_t current;    /* section, or NONE */
	struct inifile *out;
	struct problems *problems;
};

/* Debian's libinih takes its limits from variables; as shipped, a line ends after 197 bytes and
 * the rest is read as the next one. */
static void configure_libinih(void)
{
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_initial_alloc = INIFILE_LINE_MAX + 3;
	ini_max_line = INIFILE_LINE_MAX + 3;
	ini_allow_multiline = false;
	ini_allow_bom = false;
	ini_allow_no_value = false;
	ini_allow_inline_comments = true;
	ini_stop_on_first_error = false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void trim(const char **s, size_t *len)
{
	while (*len > 0 && is_blank((*s)[0])) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*s)[*len - 1]))
		(*len)--;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* Make [TYPE LABEL] the current section, which takes over both strings. */
static void enter_section(struct reading *r, char *type, char *label)
{
	struct inifile *f = r->out;

	for (size_t i = 0; i < f->n; i++) {
		if (!same_text(f->sections[i].type, type) || !same_text(f->sections[i].label, label))
			continue;
		problems_add(r->problems, r->line,
		             "this section was begun at line %d already; keep its settings in one place",
		             f->sections[i].line);
		free(type);
		free(label);
		r->current = i;
		return;
	}
	f->sections = xreallocarray(f->sections, f->n + 1, sizeof *f->sections);
	f->sections[f->n] = (struct inifile_section){ type, label, r->line, NULL, 0 };
	r->current = f->n++;
}

/* A header is taken apart here and not by libinih, which keeps 49 bytes of it: a handler's name may
 * be longer. It also takes whatever stands behind the bracket for a comment. */
static const char *take_header(struct reading *r, const char *s, size_t len)
{
	const char *close = memchr(s, ']', len);
	const char *rest, *name = s + 1;
	size_t rest_len, name_len, type_len = 0;

	r->skip_section = true;
	if (!close)
		return "the ']' of this section is missing";
	rest = close + 1;
	rest_len = len - (size_t)(rest - s);
	trim(&rest, &rest_len);
	if (rest_len > 0 && rest[0] != ';')
		return "only a comment that begins with ';' may follow the ']'";
	name_len = (size_t)(close - name);
	trim(&name, &name_len);
	if (name_len == 0)
		return "a section wants a name, such as [store]";

	while (type_len < name_len && !is_blank(name[type_len]))
		type_len++;
	rest = name + type_len;
	rest_len = name_len - type_len;
	trim(&rest, &rest_len);
	r->skip_section = false;
	enter_section(r, xstrndup(name, type_len), rest_len ? xstrndup(rest, rest_len) : NULL);
	return NULL;
}

static int control_character(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return c;
	}
	return -1;
}

/* Does the line go to libinih as a setting? Sections are done here and the refused is told. */
static bool is_setting(struct reading *r, const char *s, size_t len)
{
	const char *refusal = NULL;
	int control = control_character(s, len);

	trim(&s, &len);
	if (len == 0 || s[0] == ';' || s[0] == '#')
		return false;
	if (control >= 0) {
		problems_add(r->problems, r->line, "holds the control character 0x%02x; this is a text file",
		             (unsigned)control);
		return false;
	}
	if (s[0] != '[' && strcspn(s, ":") < strcspn(s, "=") && memchr(s, ':', len))
		refusal = "a setting is written 'key = value', with '=' and not ':'";
	else if (s[0] == '=')
		refusal = "the key in front of the '=' is missing";
	else if (s[0] == '[')
		refusal = take_header(r, s, len);
	else
		return true;
	if (refusal)
		problems_add(r->problems, r->line, "%s", refusal);
	return false;
}

static void notice_lost_pair(struct reading *r)
{
	if (r->pair_due)
		problems_add(r->problems, r->line,
		             "is neither 'key = value' nor a [section] nor a comment (a value can't go on "
		             "in the next line)");
	r->pair_due = false;
}

/* An fgets() for libinih: every call ends one line, so that both count the same. A line that is
 * no setting is handed over empty. */
static char *read_line(char *line, int size, void *arg)
{
	struct reading *r = arg;
	const char *start = r->next, *newline;
	size_t len;

	notice_lost_pair(r);
	if (start == r->end)
		return NULL;
	newline = memchr(start, '\n', (size_t)(r->end - start));
	len = (size_t)((newline ? newline : r->end) - start);
	r->next = newline ? newline + 1 : r->end;
	r->line++;
	line[0] = '\0';
	if (len > 0 && start[len - 1] == '\r') {
		len--;
		if (!r->crlf_told)
			problems_add(r->problems, r->line,
			             "the line ends in CR LF; make it a Unix text file: sed -i 's/\\r$//' FILE");
		r->crlf_told = true;
	}
	if (len > INIFILE_LINE_MAX || len + 3 > (size_t)size) {
		problems_add(r->problems, r->line, "the line is longer than %d bytes", INIFILE_LINE_MAX);
		return line;
	}
	memcpy(line, start, len);
	line[len] = '\0';
	r->pair_due = is_setting(r, line, len);
	if (!r->pair_due)
		line[0] = '\0';
	return line;
}

/* What libinih leaves in a value although its writer meant something else. */
static const char *value_refusal(const char *value)
{
	size_t len = strlen(value);

	if (value[0] == '"' || value[0] == '\'')
		return "values are written without quotes";
	if (value[0] == ';')
		return "a comment behind '=' wants a blank in front of its ';'";
	if (value[0] == '#' || strstr(value, " #") || strstr(value, "\t#"))
		return "a comment behind a value begins with ';', not with '#'";
	if (len > 0 && value[len - 1] == '\\')
		return "a value can't go on in the next line";
	return NULL;
}

static int take_pair(void *arg, const char *cut_section, const char *key, const char *value)
{
	struct reading *r = arg;
	struct inifile_section *s;
	const struct inifile_entry *before;
	const char *refusal = value_refusal(value);

	(void)cut_section;
	r->pair_due = false;
	if (r->skip_section)
		return 1;
	if (r->current == NONE) {
		problems_add(r->problems, r->line, "'%.60s' stands in front of the first [section]", key);
		return 1;
	}
	s = &r->out->sections[r->current];
	before = inifile_entry(s, key);
	if (before)
		problems_add(r->problems, r->line, "'%.60s' is set at line %d already; remove one of the two",
		             key, before->line);
	else if (refusal)
		problems_add(r->problems, r->line, "%.60s: %s", key, refusal);
	if (before || refusal)
		return 1;
	s->entries = xreallocarray(s->entries, s->n + 1, sizeof *s->entries);
	s->entries[s->n++] = (struct inifile_entry){ xstrdup(key), xstrdup(value), r->line };
	return 1;
}

void inifile_read(const char *text, size_t len, struct inifile *out, struct problems *problems)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct reading r = {
		.next = text, .end = text + len, .current = NONE, .out = out, .problems = problems,
	};

	*out = (struct inifile){ NULL, 0 };
	pthread_once(&once, configure_libinih);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		problems_add(problems, 1, "begins with a byte order mark; save it as UTF-8 without one");
		r.next += 3;
	}
	if (ini_parse_stream(read_line, &r, take_pair, &r) < 0)
		problems_add(problems, 0, "libinih ran out of memory");
}

void inifile_free(struct inifile *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct inifile_section *s = &f->sections[i];

		for (size_t k = 0; k < s->n; k++) {
			free(s->entries[k].key);
			free(s->entries[k].value);
		}
		free(s->entries);
		free(s->type);
		free(s->label);
	}
	free(f->sections);
	*f = (struct inifile){ NULL, 0 };
}

const struct inifile_entry *inifile_entry(const struct inifile_section *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->entries[i].key, key) == 0)
			return &s->entries[i];
	}
	return NULL;
}
