#include "lib/cli/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "lib/cli/handlers.h"
#include "lib/cli/output.h"
#include "lib/cli/target.h"
#include "lib/cli/terminal.h"

#define LOOK_MS 200
#define AT_ONCE 100 /* attempts in one query: bounds the memory for what they printed */

struct follow {
	const struct cli *cli;
	struct store_filter filter;
	int64_t seen; /* attempts up to this one have been looked at */
	int64_t rows;
	struct buf text; /* what they say; printed once the query has ended, see print_until() */
	int handler_width, event_width; /* of the columns: they grow, since nobody knows what will come */
};

/* --- printing ---------------------------------------------------------------------------- */

static void add_for_people(struct follow *f, const struct store_attempt_row *row)
{
	char time[CLI_TIME_SIZE], took[UNITS_SIZE];
	char attempt[16] = "test";
	struct buf line = BUF_INIT, result = BUF_INIT;
	int handler = (int)strlen(row->target), event = (int)strlen(row->event);

	if (handler > f->handler_width)
		f->handler_width = handler;
	if (event > f->event_width)
		f->event_width = event;
	if (!row->test)
		snprintf(attempt, sizeof attempt, "%d", row->attempt);
	cli_add_result(&result, row);
	buf_addf(&line, "%s  %-7s  %-*s  %-*s  %s  %6s  %s", cli_format_time(row->started_ms, time), store_attempt_status(row),
	         f->handler_width, row->target, f->event_width, row->event, attempt,
	         units_format_duration(row->duration_ms, took), row->delivery_id);
	if (result.len)
		buf_addf(&line, "  %s", result.data);
	buf_add_printable(&f->text, line.data, line.len, 0);
	buf_addc(&f->text, '\n');
	buf_free(&line);
	buf_free(&result);
}

static int add_attempt(void *ctx, const struct store_attempt_row *row)
{
	struct follow *f = ctx;

	f->rows++;
	f->filter.after_seq = row->seq;
	if (f->cli->json)
		cli_add_json_line(&f->text, cli_json_attempt(row));
	else
		add_for_people(f, row);
	return 0;
}

static bool may_go_on(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) && !terminal_interrupted();
}

/* --- looking ----------------------------------------------------------------------------- */

static int note_newest(void *ctx, const struct store_attempt_row *row)
{
	*(int64_t *)ctx = row->seq;
	return 1;
}

static enum store_status find_newest(struct store *store, int64_t *seq)
{
	struct store_filter all = { .limit = 1 };

	*seq = 0;
	return store_list_attempts(store, &all, note_newest, seq);
}

/* Print what is behind f->seen, up to NEWEST. The bound on both sides is what keeps a rare
 * handler's follower from walking over everybody else's attempts again and again. Nothing is
 * printed while a query is open: a reader that pauses would keep the store's journal growing. */
static enum store_status print_until(struct follow *f, struct store *store, int64_t newest)
{
	enum store_status status;

	f->filter.after_seq = f->seen;
	f->filter.before_seq = newest + 1;
	f->filter.oldest_first = true;
	f->filter.limit = AT_ONCE;
	do {
		f->rows = 0;
		buf_reset(&f->text);
		status = store_list_attempts(store, &f->filter, add_attempt, f);
		fwrite(buf_str(&f->text), 1, f->text.len, stdout);
	} while (status == STORE_OK && f->rows == AT_ONCE && may_go_on());
	f->seen = newest;
	return status;
}

static int count_back(void *ctx, const struct store_attempt_row *row)
{
	*(int64_t *)ctx = row->seq;
	return 0;
}

/* Where to begin, so that LIMIT attempts which are there already are printed. */
static enum store_status go_back(struct follow *f, struct store *store, int64_t limit, int64_t newest)
{
	enum store_status status;
	int64_t oldest = newest + 1;

	f->seen = 0;
	if (limit == 0)
		return STORE_OK;
	f->filter.limit = limit;
	status = store_list_attempts(store, &f->filter, count_back, &oldest);
	f->seen = oldest - 1;
	return status;
}

static enum store_status follow(struct follow *f, struct store *store)
{
	int64_t newest;
	enum store_status status = find_newest(store, &newest);

	if (status == STORE_OK)
		status = go_back(f, store, f->filter.limit, newest);
	while (status == STORE_OK) {
		/* Less than before: retention removed the last ones, and their numbers may come again. */
		if (newest < f->seen)
			f->seen = newest;
		if (newest > f->seen)
			status = print_until(f, store, newest);
		if (!may_go_on() || !terminal_pause(LOOK_MS))
			break;
		if (status == STORE_OK)
			status = find_newest(store, &newest);
	}
	return status;
}

/* Opening the database would make it: wait until who receives events has done that. */
static bool wait_for_store(const struct cli *cli, const struct conf *conf)
{
	bool said = false;

	while (access(conf->store_path, F_OK) != 0) {
		if (!said && !cli->json)
			fprintf(stderr, "Nothing was received yet; waiting for the first event.\n");
		said = true;
		if (!terminal_pause(LOOK_MS))
			return false;
	}
	return true;
}

int cli_follow_log(const struct cli *cli, const struct conf *conf, struct store_filter *filter, const char *status)
{
	struct follow f = { .cli = cli, .filter = *filter };
	bool webhook = filter->target && target_is_webhook(filter->target);
	struct store *store;
	int result = CLI_OK;

	f.filter.outcome = status;
	terminal_catch_interrupt();
	/* A handler may come yet; a webhook's id is made here, and is known or wrong. */
	if (webhook && access(conf->store_path, F_OK) != 0)
		return target_unknown(cli, conf, filter->target);
	if (filter->target && !webhook && !handlers_exists(conf, filter->target))
		cli_note(cli, "there is no handler %s at present", filter->target);
	if (!wait_for_store(cli, conf))
		return CLI_OK;
	store = cli_open_store(cli, conf);
	if (!store)
		return CLI_FAILED;
	if (webhook && !target_known(conf, store, filter->target))
		result = target_unknown(cli, conf, filter->target);
	else if (follow(&f, store) != STORE_OK)
		result = cli_fail(cli, "%s", store_error(store));
	store_close(store);
	buf_free(&f.text);
	return result;
}
