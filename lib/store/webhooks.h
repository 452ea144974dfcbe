/* Registered URLs. A webhook's id, wh_..., is also its target in the queue of store.h: what is said there of
 * targets holds for webhooks too. */
#ifndef NTRVSTA_STORE_WEBHOOKS_H
#define NTRVSTA_STORE_WEBHOOKS_H

#include "lib/store/store.h"

struct store_webhook_secret {
	char *secret;
	int64_t created_ms;
	int64_t until_ms; /* then it signs no more; 0: no end */
};

#define STORE_DEFAULT_ORG "default" /* of webhooks that were registered without one */

struct store_webhook {
	char id[ID_SIZE];
	char *org; /* whose it is: a label; NULL for a new one: the default */
	char *url, *description;
	char *events; /* names with one blank between them, or "*" */
	bool active;
	bool debug, detailed; /* log level: either keeps request and answer of each attempt, see exchanges.h */
	char *inactive_reason; /* "" where active, or where somebody switched it off; "gone": it answered 410;
	                        * "failing": nothing but failures for days */
	int64_t created_ms, updated_ms;
	struct store_webhook_secret *secrets; /* those that still sign, newest first */
	size_t nsecrets;
};

/* Releases what W holds and wipes its secrets. */
void store_webhook_free(struct store_webhook *w);

/* Store W with a first SECRET; fills W->id, created_ms and updated_ms. */
enum store_status store_put_webhook(struct store *s, struct store_webhook *w, const char *secret, int64_t now_ms);

/* The webhook ID of ORG (NULL: of any), with the secrets that sign at NOW_MS. OUT is the caller's to free. */
enum store_status store_get_webhook(struct store *s, const char *org, const char *id, int64_t now_ms,
                                    struct store_webhook *out);

/* Write url, description, events, active, debug and detailed. Whoever switches it on again gives it a new start. */
enum store_status store_change_webhook(struct store *s, const struct store_webhook *w, int64_t now_ms);

/* Remove it; what waits for it becomes canceled, *CANCELED counts that. What it did before stays in the logs. */
enum store_status store_delete_webhook(struct store *s, const char *id, int64_t now_ms, int64_t *canceled);

/* SECRET signs from now on; those of before sign as well until NOW_MS + OVERLAP_MS, if they would have so long. */
enum store_status store_rotate_webhook(struct store *s, const char *id, const char *secret, int64_t overlap_ms,
                                       int64_t now_ms);

/* Those of ORG (NULL: of all) whose id comes behind AFTER_ID (NULL: all), oldest first; valid during the call
 * only. A callback that returns nonzero ends it. */
typedef int store_webhook_fn(void *ctx, const struct store_webhook *w);
enum store_status store_list_webhooks(struct store *s, const char *org, const char *after_id, int64_t now_ms,
                                      store_webhook_fn *fn, void *ctx);

/* The ids of the active webhooks that EVENT of ORG goes to (NULL or "": of nobody, it goes to any), appended to *IDS of
 * *N, oldest first; each is the caller's to free, and so is the array. */
enum store_status store_webhooks_for(struct store *s, const char *event, const char *org, char ***ids, size_t *n);

/* How a call of webhook ID ended. True in *DEACTIVATED where it was switched off for that: at once when it is
 * GONE; after five days, and at least 20 calls, of nothing but failures. */
enum store_call { STORE_CALL_SUCCESS, STORE_CALL_FAILURE, STORE_CALL_GONE };
enum store_status store_note_call(struct store *s, const char *id, enum store_call how, int64_t now_ms, bool *deactivated);

#endif
