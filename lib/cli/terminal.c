#include "lib/cli/terminal.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_USUAL 80
#define WIDTH_MAX 1000

static volatile sig_atomic_t interrupted;

bool terminal_locale_utf8(const char *lc_all, const char *lc_ctype, const char *lang)
{
	const char *const names[] = { lc_all, lc_ctype, lang };
	const char *charset;
	size_t i;

	for (i = 0; i < 3; i++) {
		if (!names[i] || !*names[i])
			continue;
		charset = strchr(names[i], '.');
		return charset && (strncasecmp(charset, ".utf-8", 6) == 0 || strncasecmp(charset, ".utf8", 5) == 0);
	}
	return false;
}

static unsigned look_at_width(bool present)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	long width = 0;

	if (present && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		width = size.ws_col;
	if (width == 0 && columns)
		width = strtol(columns, NULL, 10);
	if (width <= 0)
		width = WIDTH_USUAL;
	return width < WIDTH_MAX ? (unsigned)width : WIDTH_MAX;
}

void terminal_look(struct terminal *out)
{
	const char *no_color = getenv("NO_COLOR"), *kind = getenv("TERM");

	out->present = isatty(STDOUT_FILENO);
	out->width = look_at_width(out->present);
	out->unicode = out->present && terminal_locale_utf8(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG"));
	out->color = out->present && !(no_color && *no_color) && kind && strcmp(kind, "dumb") != 0;
}

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

void terminal_catch_interrupt(void)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART | SA_RESETHAND };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool terminal_interrupted(void)
{
	return interrupted;
}

bool terminal_pause(int64_t ms)
{
	/* No event is asked for; an error, as of a pipe without a reader, is reported in any case. */
	struct pollfd out = { .fd = STDOUT_FILENO };

	return !interrupted && poll(&out, 1, (int)ms) <= 0 && !interrupted;
}
