#include "lib/cli/await.h"

#include "lib/base/units.h"
#include "lib/cli/terminal.h"

bool await_parse_timeout(const struct cli *cli, const char *text, int64_t *ms)
{
	if (!text || (units_parse_duration(text, ms) == 0 && *ms > 0))
		return true;
	cli_usage(cli, "--timeout wants a duration such as 60s, not '%s'", text);
	return false;
}

static void say_missing(const struct cli *cli)
{
	cli_fail(cli, "no dispatcher runs, and [dispatch] start = off: start 'ntrvsta dispatch' first");
}

bool await_possible(const struct cli *cli, const struct conf *conf)
{
	bool possible = trial_possible(conf);

	if (!possible)
		say_missing(cli);
	return possible;
}

struct trial await_trial(const struct conf *conf, struct store *store, int64_t timeout_ms)
{
	terminal_catch_interrupt();
	return (struct trial){ .conf = conf, .store = store, .timeout_ms = timeout_ms, .pause = terminal_pause };
}

bool await_succeeded(const struct cli *cli, const struct trial *t, enum trial_result result)
{
	char waited[UNITS_SIZE];

	switch (result) {
	case TRIAL_DONE:
		return true;
	case TRIAL_CANCELED:
		cli_fail(cli, "the test was canceled before it began");
		break;
	case TRIAL_LATE:
		cli_fail(cli, "no result after %s (--timeout): see 'ntrvsta check'", units_format_duration(t->timeout_ms, waited));
		break;
	case TRIAL_INTERRUPTED:
		cli_fail(cli, "interrupted before there was a result");
		break;
	case TRIAL_NO_DISPATCHER:
		say_missing(cli);
		break;
	case TRIAL_STORE_FAILED:
		cli_fail(cli, "%s", store_error(t->store));
		break;
	}
	return false;
}
