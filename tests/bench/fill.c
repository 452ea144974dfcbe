/* Fill a store with events, as intake would: fill DATABASE COUNT AGE-IN-DAYS [TARGET]. With a TARGET each of them
 * has a pending delivery for it; "-": the dispatcher is done with them; without one they are new. Prints what it took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"

#define GROUP 256
#define BODY_MAX 400
#define DAY_MS 86400000

static char bodies[GROUP][BODY_MAX];
static struct store_event_in events[GROUP], *in[GROUP];

static void make_event(struct store_event_in *e, char *body, long number, int64_t received_ms)
{
	snprintf(body, BODY_MAX,
	         "{\"event\":\"session.completed\",\"timestamp\":\"2026-03-15T15:00:00Z\",\"data\":{\"session\":{"
	         "\"id\":\"fill_%010ld\",\"interview_id\":\"int_1234567890\",\"candidate\":{\"id\":\"cand_555666777\","
	         "\"email\":\"candidate@example.com\",\"name\":\"A Candidate\"},"
	         "\"completed_at\":\"2026-03-15T15:00:00Z\",\"duration_minutes\":58,\"overall_score\":85}}}", number);
	*e = (struct store_event_in){
		.source = "ntrvsta", .event = "session.completed", .timestamp = "2026-03-15T15:00:00Z",
		.idempotency_key = "", .body = body, .body_len = strlen(body), .received_ms = received_ms,
	};
	bytes_sha256(body, e->body_len, e->identity);
}

static enum store_status put(struct store *s, long total, int64_t received_ms)
{
	enum store_status status = STORE_OK;
	long n;
	size_t i;

	for (n = 0; status == STORE_OK && n < total; n += (long)i) {
		for (i = 0; i < GROUP && n + (long)i < total; i++) {
			make_event(&events[i], bodies[i], n + (long)i, received_ms);
			in[i] = &events[i];
		}
		status = store_put_events(s, in, i);
	}
	return status;
}

static enum store_status expand(struct store *s, const char *target)
{
	struct store_new_event found[GROUP];
	enum store_status status = STORE_OK;
	size_t ntargets = strcmp(target, "-") != 0, n = 1, i;

	while (status == STORE_OK && n > 0) {
		status = store_begin(s);
		if (status == STORE_OK)
			status = store_new_events(s, found, GROUP, &n);
		for (i = 0; status == STORE_OK && i < n; i++)
			status = store_expand_event(s, found[i].seq, &target, ntargets, clock_wall_ms());
		if (status != STORE_OK)
			return status;
		store_new_events_free(found, n);
		status = store_commit(s);
	}
	return status;
}

int main(int argc, char **argv)
{
	struct buf err = BUF_INIT;
	enum store_status status;
	int64_t began_us = clock_mono_us();
	struct store *s;

	if (argc < 4) {
		fprintf(stderr, "usage: fill DATABASE COUNT AGE-IN-DAYS [TARGET]\n");
		return 2;
	}
	/* Not as durable as intake: nobody was told that these are on disk. */
	s = store_open(argv[1], STORE_DISPATCH, &status, &err);
	if (!s) {
		fprintf(stderr, "fill: %s\n", buf_str(&err));
		return EXIT_FAILURE;
	}
	status = put(s, atol(argv[2]), clock_wall_ms() - atol(argv[3]) * DAY_MS);
	if (status == STORE_OK && argc > 4)
		status = expand(s, argv[4]);
	if (status != STORE_OK)
		fprintf(stderr, "fill: %s\n", store_error(s));
	else
		printf("%s events in %.1f s\n", argv[2], (double)(clock_mono_us() - began_us) / 1e6);
	store_close(s);
	return status == STORE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
