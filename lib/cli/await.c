#include "lib/cli/await.h"

#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/units.h"
#include "lib/cli/terminal.h"
#include "lib/delivery/launch.h"
#include "lib/delivery/wake.h"

#define LOOK_MS 20
#define CHECK_MS 1000 /* between two looks whether the dispatcher still lives */

bool await_parse_timeout(const struct cli *cli, const char *text, int64_t *ms)
{
	if (!text || (units_parse_duration(text, ms) == 0 && *ms > 0))
		return true;
	cli_usage(cli, "--timeout wants a duration such as 60s, not '%s'", text);
	return false;
}

static bool dispatcher_runs(const struct conf *conf)
{
	int fd = -1;
	bool runs = wake_is_read(conf->state_dir, &fd);

	if (fd >= 0)
		close(fd);
	return runs;
}

bool await_possible(const struct cli *cli, const struct conf *conf)
{
	if (conf->dispatch_auto || dispatcher_runs(conf))
		return true;
	cli_fail(cli, "no dispatcher runs, and [dispatch] start = off: start 'ntrvsta dispatch' first");
	return false;
}

static enum await_result give_up(const struct cli *cli, int64_t timeout_ms)
{
	char waited[UNITS_SIZE];

	if (terminal_interrupted())
		cli_fail(cli, "interrupted before there was a result");
	else
		cli_fail(cli, "no result after %s (--timeout): see 'ntrvsta check'", units_format_duration(timeout_ms, waited));
	return AWAIT_LATE;
}

enum await_result await_dispatcher(const struct cli *cli, const struct conf *conf, int64_t timeout_ms, await_fn *done,
                                   void *ctx)
{
	int64_t now_ms = clock_mono_ms(), until_ms = now_ms + timeout_ms, check_ms = now_ms + CHECK_MS;
	enum await_result result;

	terminal_catch_interrupt();
	launch_or_wake(conf);
	while ((result = done(ctx)) == AWAIT_LATE) {
		now_ms = clock_mono_ms();
		if (now_ms >= until_ms || !terminal_pause(LOOK_MS))
			return give_up(cli, timeout_ms);
		if (now_ms < check_ms)
			continue;
		check_ms = now_ms + CHECK_MS;
		if (dispatcher_runs(conf))
			continue;
		if (!await_possible(cli, conf))
			return AWAIT_FAILED;
		launch_or_wake(conf);
	}
	return result;
}
