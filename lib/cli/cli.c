#include "lib/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/api/fields.h"
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/wake.h"
#include "lib/event/catalogue.h"

#define INPUT_MAX_BYTES ((size_t)256 << 20)
#define NEAR_MAX 32 /* longer words are near to nothing */

static void __attribute__((format(printf, 2, 0))) say(const struct cli *cli, const char *fmt, va_list ap)
{
	struct buf text = BUF_INIT, line = BUF_INIT;

	buf_vaddf(&text, fmt, ap);
	buf_adds(&line, cli->command ? "ntrvsta " : "ntrvsta");
	buf_addf(&line, "%s: ", cli->command ? cli->command : "");
	buf_add_printable(&line, buf_str(&text), text.len, 1);
	fflush(stdout);
	fprintf(stderr, "%s\n", line.data);
	buf_free(&text);
	buf_free(&line);
}

int cli_fail(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(cli, fmt, ap);
	va_end(ap);
	return CLI_FAILED;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(cli, fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try 'ntrvsta %s%s--help'.\n", cli->command ? cli->command : "", cli->command ? " " : "");
	return CLI_USAGE;
}

void cli_note(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(cli, fmt, ap);
	va_end(ap);
}

/* --- "did you mean" ---------------------------------------------------------------------- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* How many letters to insert, drop, change or swap (optimal string alignment). */
static unsigned edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned rows[3][NEAR_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2], *spare;
	size_t i, j;

	for (j = 0; j <= nb; j++)
		last[j] = (unsigned)j;
	memcpy(before, last, sizeof rows[0]);
	for (i = 1; i <= na; i++) {
		row[0] = (unsigned)i;
		for (j = 1; j <= nb; j++) {
			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[nb];
}

void cli_near_try(struct cli_near *near, const char *name)
{
	size_t nword = strlen(near->word), nname = strlen(name);
	unsigned distance;

	if (nword == 0 || nword > NEAR_MAX || nname > NEAR_MAX)
		return;
	distance = edit_distance(near->word, nword, name, nname);
	/* The beginning of a name means that name, however much is missing. */
	if (nword >= 3 && strncmp(near->word, name, nword) == 0)
		distance = 1;
	if (distance > (nname < 5 ? 1 : 2) || (near->best && distance >= near->distance))
		return;
	near->best = name;
	near->distance = distance;
}

const char *cli_near_event(const char *event)
{
	struct cli_near near = { .word = event };
	const struct catalogue_event *events;
	size_t n, i;

	events = catalogue_events(&n);
	for (i = 0; i < n; i++)
		cli_near_try(&near, events[i].name);
	return near.best;
}

/* --- options ----------------------------------------------------------------------------- */

static int unknown_option(const struct cli *cli, const struct cli_option *options, size_t n,
                          const char *arg, size_t name_len)
{
	char word[NEAR_MAX + 1] = "";
	struct cli_near near = { .word = word };
	size_t i;

	if (name_len <= NEAR_MAX)
		memcpy(word, arg + 2, name_len);
	for (i = 0; i < n; i++)
		cli_near_try(&near, options[i].name);
	cli_usage(cli, near.best ? "unknown option %.*s; did you mean --%s?" : "unknown option %.*s",
	          (int)(name_len + 2), arg, near.best);
	return -1;
}

/* Of the options called like number I, the first whose value is not given yet; N where there is none left. */
static size_t next_of_name(const struct cli_option *options, size_t n, size_t i)
{
	const char *name = options[i].name;

	if (i + 1 == n || strcmp(options[i + 1].name, name) != 0)
		return i; /* once: the last one counts */
	for (; i < n && strcmp(options[i].name, name) == 0; i++)
		if (!*options[i].value)
			return i;
	return n;
}

/* Take the option at ARGV[0], whose value may be ARGV[1]. How many words it was, or -1. */
static int take_option(const struct cli *cli, const struct cli_option *options, size_t n, int argc, char **argv)
{
	const char *arg = argv[0], *equals = strchr(arg, '=');
	size_t name_len, i;

	if (arg[1] != '-') {
		cli_usage(cli, "unknown option %s", arg);
		return -1;
	}
	name_len = (equals ? (size_t)(equals - arg) : strlen(arg)) - 2;
	for (i = 0; i < n; i++)
		if (strlen(options[i].name) == name_len && strncmp(arg + 2, options[i].name, name_len) == 0)
			break;
	if (i == n)
		return unknown_option(cli, options, n, arg, name_len);
	if (!options[i].value && equals) {
		cli_usage(cli, "--%s takes no value", options[i].name);
		return -1;
	}
	if (!options[i].value) {
		*options[i].flag = true;
		return 1;
	}
	if (!equals && argc < 2) {
		cli_usage(cli, "--%s wants a value", options[i].name);
		return -1;
	}
	i = next_of_name(options, n, i);
	if (i == n) {
		cli_usage(cli, "too many --%.*s", (int)name_len, arg + 2);
		return -1;
	}
	*options[i].value = equals ? equals + 1 : argv[1];
	return equals ? 1 : 2;
}

int cli_parse(const struct cli *cli, const struct cli_option *options, size_t noptions, int argc, char **argv)
{
	int i = 0, operands = 0, words;

	while (i < argc && strcmp(argv[i], "--") != 0) {
		if (argv[i][0] != '-' || argv[i][1] == '\0') { /* "-" is standard input */
			argv[operands++] = argv[i++];
			continue;
		}
		words = take_option(cli, options, noptions, argc - i, argv + i);
		if (words < 0)
			return -1;
		i += words;
	}
	for (i++; i < argc; i++)
		argv[operands++] = argv[i];
	return operands;
}

bool cli_parse_limit(const struct cli *cli, const char *text, int64_t *limit)
{
	char *end;
	long long value;

	if (!text)
		return true;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno) {
		cli_usage(cli, "--limit wants a number (0 for all), not '%s'", text);
		return false;
	}
	*limit = value;
	return true;
}

bool cli_check_line(const struct cli *cli, const char *option, const char *text, size_t min, size_t max)
{
	if (!text || (strlen(text) >= min && strlen(text) <= max && fields_line_valid(text)))
		return true;
	cli_usage(cli, "--%s wants one line of %zu to %zu bytes, without control characters", option, min, max);
	return false;
}

bool cli_parse_time(const struct cli *cli, const char *option, const char *text, int64_t *wall_ms)
{
	if (!text || clock_parse_since(text, clock_wall_ms(), wall_ms) == 0)
		return true;
	cli_usage(cli, "--%s wants a time such as 2026-12-31T00:00:00Z, a date such as 2026-12-31, or how long "
	          "ago, such as 2h; not '%s'", option, text);
	return false;
}

/* --- configuration and store --------------------------------------------------------------- */

struct conf *cli_load_conf(const struct cli *cli)
{
	struct buf err = BUF_INIT, safe = BUF_INIT;
	struct conf *conf = conf_load(cli->config_file, &err);

	if (!conf) {
		/* As they stand, "file:line: what", so that an editor can jump there. */
		buf_add_printable(&safe, buf_str(&err), err.len, 1);
		fprintf(stderr, "%s%s", buf_str(&safe), safe.len && safe.data[safe.len - 1] == '\n' ? "" : "\n");
	}
	buf_free(&err);
	buf_free(&safe);
	return conf;
}

bool cli_may_change_state(const struct cli *cli, const struct conf *conf)
{
	struct stat st;
	struct passwd *owner;

	if (geteuid() != 0 || stat(conf->state_dir, &st) || st.st_uid == 0)
		return true;
	owner = getpwuid(st.st_uid);
	if (owner)
		cli_fail(cli, "%s belongs to %s: run this as that user, with sudo -u %s", conf->state_dir,
		         owner->pw_name, owner->pw_name);
	else
		cli_fail(cli, "%s belongs to the user id %u: run this as that user", conf->state_dir, st.st_uid);
	return false;
}

struct store *cli_open_store(const struct cli *cli, const struct conf *conf)
{
	struct buf err = BUF_INIT;
	enum store_status status = STORE_OK;
	struct store *store = NULL;

	if (!cli_may_change_state(cli, conf))
		return NULL;
	store = store_open(conf->store_path, STORE_TOOL, &status, &err);
	if (!store)
		cli_fail(cli, "%s", buf_str(&err));
	buf_free(&err);
	return store;
}

const struct conf_source *cli_source(const struct cli *cli, const struct conf *conf, const char *name)
{
	const struct conf_source *source = conf_source(conf, name);
	struct buf known = BUF_INIT;
	size_t i;

	if (source)
		return source;
	for (i = 0; i < conf->nsources; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", conf->sources[i].name);
	cli_fail(cli, "%s has no source '%s'; it has: %s", conf->path, name ? name : "ntrvsta", buf_str(&known));
	buf_free(&known);
	return NULL;
}

const struct secret *cli_signing_secret(const struct cli *cli, const struct conf_source *source)
{
	int64_t now_ms = clock_wall_ms();
	size_t i;

	for (i = 0; i < source->secrets->n; i++)
		if (secret_live(&source->secrets->items[i], now_ms))
			return &source->secrets->items[i];
	cli_fail(cli, "every secret of the source '%s' has expired: 'ntrvsta secret rotate'", source->name);
	return NULL;
}

void cli_wake_dispatcher(const struct cli *cli, const struct conf *conf)
{
	launch_or_wake(conf);
	if (!conf->dispatch_auto && !wake_is_read_now(conf->state_dir))
		cli_note(cli, "no dispatcher runs, and [dispatch] start = off: this waits for 'ntrvsta dispatch'");
}

static int note_state(void *ctx, const struct store_delivery_row *row)
{
	snprintf(ctx, CLI_STATE_SIZE, "%s", row->state);
	return 1;
}

enum store_status cli_delivery_state(struct store *store, const char *id, char state[CLI_STATE_SIZE])
{
	struct store_filter filter = { .delivery_id = id, .limit = 1 };

	state[0] = '\0';
	return store_list_deliveries(store, &filter, note_state, state);
}

bool cli_read_input(const struct cli *cli, const char *path, struct buf *out)
{
	bool standard = strcmp(path, "-") == 0;

	if ((standard ? fdio_read_all(STDIN_FILENO, INPUT_MAX_BYTES, out)
	              : fdio_read_file(path, INPUT_MAX_BYTES, out)) == 0)
		return true;
	cli_fail(cli, "%s: can't be read: %s", standard ? "standard input" : path, strerror(errno));
	return false;
}

void cli_make_secret(char out[CLI_SECRET_SIZE])
{
	unsigned char bytes[(CLI_SECRET_SIZE - 1) / 2];

	bytes_random(bytes, sizeof bytes);
	bytes_to_hex(bytes, sizeof bytes, out);
	explicit_bzero(bytes, sizeof bytes);
}
