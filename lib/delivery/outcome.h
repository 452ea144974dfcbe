/* What the end of an attempt means: one table. */
#ifndef NTRVSTA_DELIVERY_OUTCOME_H
#define NTRVSTA_DELIVERY_OUTCOME_H

#include "lib/base/buf.h"
#include "lib/delivery/call.h"
#include "lib/delivery/child.h"

enum outcome_kind {
	OUTCOME_SUCCESS,
	OUTCOME_RETRY,     /* at the next step of the schedule */
	OUTCOME_PERMANENT, /* never again */
};

struct outcome {
	enum outcome_kind kind;
	const char *error_code; /* "" | exit | permanent | signal | timeout | spawn_failed | interrupted; of a call:
	                         * http_status | gone | call_failed | what call.h names; static */
	struct buf message;     /* for people: "exit status 75", "killed by SIGSEGV", ... */
};

/* All fill OUT, whose message the caller releases with buf_free(). */
void outcome_of_exit(const struct child_exit *e, struct outcome *out);
/* ERROR is the errno of child_spawn(), WHY its reason, "" where the script itself is it. */
void outcome_of_spawn_error(int error, const char *path, const char *why, struct outcome *out);
void outcome_of_call(const struct call_end *e, struct outcome *out); /* the contract, section 6 */
void outcome_of_interruption(struct outcome *out); /* the dispatcher died meanwhile */

const char *outcome_name(enum outcome_kind kind); /* "success" "retry" "permanent": as stored */

#endif
