/* Tests on demand (lib/store/tests.h), from asking to the end: the dispatcher does them, the caller waits, and looks
 * at the store meanwhile. Any thread, with a store of its own. */
#ifndef NTRVSTA_DELIVERY_TRIAL_H
#define NTRVSTA_DELIVERY_TRIAL_H

#include <json-c/json.h>

#include "lib/conf/conf.h"
#include "lib/store/tests.h"

struct trial {
	const struct conf *conf;
	struct store *store;
	int64_t timeout_ms;        /* how long to wait */
	bool (*pause)(int64_t ms); /* sleeps; false: wait no longer */
	enum store_status status;  /* out, where the store failed */
	char delivery_id[ID_SIZE]; /* out, of a test event */
	bool begun;                /* out: it could not be taken back when the waiting ended without a result */
};

enum trial_result {
	TRIAL_DONE,
	TRIAL_CANCELED,      /* somebody canceled it, or it is gone */
	TRIAL_LATE,          /* no result within the time */
	TRIAL_INTERRUPTED,   /* the pause said so */
	TRIAL_NO_DISPATCHER, /* none runs, and none may be started */
	TRIAL_STORE_FAILED,  /* see store_error() */
};

/* Does a dispatcher run, or may one be started? */
bool trial_possible(const struct conf *conf);

/* Deliver a sample EVENT, with DATA (an object; NULL: nothing) laid over it, to TARGET. DONE: its one attempt is in
 * the store. One that is waited for no longer and has not begun is canceled, so that it surprises nobody later. */
enum trial_result trial_event(struct trial *t, const char *target, const char *event, struct json_object *data);

/* Does WEBHOOK's URL answer? DONE: OUT is filled, and the caller's to free. */
enum trial_result trial_connectivity(struct trial *t, const char *webhook, struct store_probe *out);

/* What came of it, for programs: {success, error, status_code, dns_ms, connect_ms, tls_ms, total_ms}. */
struct json_object *trial_probe_json(const struct store_probe *p);

#endif
