#include "lib/conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "lib/conf/keys.h"

#define HELP_COLUMN 32

/* "TEXT   ; HELP", the help in a line of its own where TEXT is long. */
static void write_line(struct buf *out, const char *text, const char *help)
{
	if (!help)
		buf_addf(out, "%s\n", text);
	else if (strlen(text) < HELP_COLUMN)
		buf_addf(out, "%-*s ; %s\n", HELP_COLUMN, text, help);
	else
		buf_addf(out, "; %s\n%s\n", help, text);
}

static void write_key(struct buf *out, const struct conf_key *key, const char *label)
{
	struct buf line = BUF_INIT;
	char *value = conf_key_default(key, label);

	/* Without a default of its own a setting overrides another: as a comment. */
	buf_addf(&line, "%s%s =%s%s", key->fallback ? "" : ";", key->name, *value ? " " : "", value);
	write_line(out, buf_str(&line), key->help);
	free(value);
	buf_free(&line);
}

static bool overrides(const struct conf_section *section)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].section, section->name) == 0 && conf_keys[i].fallback)
			return false;
	}
	return true;
}

static void write_section(struct buf *out, const struct conf_section *section)
{
	struct buf header = BUF_INIT;

	buf_addf(&header, "%s[%s%s%s]", overrides(section) ? ";" : "", section->name,
	         section->label ? " " : "", section->label ? section->label : "");
	write_line(out, buf_str(&header), section->help);
	buf_free(&header);
	for (size_t i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].section, section->name) == 0)
			write_key(out, &conf_keys[i], section->label);
	}
}

void conf_write_sample(struct buf *out)
{
	buf_adds(out, "; Configuration of ntrvsta-fcgi and ntrvsta; see ntrvsta.conf(5).\n"
	              "; All values are the defaults. Relative paths start at this file's folder.\n");
	for (size_t i = 0; i < conf_nsections; i++) {
		buf_addc(out, '\n');
		write_section(out, &conf_sections[i]);
	}
}
