/* Invitations of candidates to interviews, and the templates that they are made from. Retention removes invitations
 * (store_prune()), some time after they expired; templates stay.
 *
 * Both belong to an organisation. Ids sort by time: lists are the newest first, and go on behind an id.
 * Whoever may make the same row as somebody else looks for it and stores it between store_begin() and store_commit(). */
#ifndef NTRVSTA_STORE_INVITATIONS_H
#define NTRVSTA_STORE_INVITATIONS_H

#include "lib/store/store.h"

struct store_template {
	char id[ID_SIZE];
	char *org, *title, *description;
	char *posting_id;     /* what the organisation's own system calls it; "": nothing */
	int64_t expires_days; /* of its invitations */
	int64_t created_ms;
};

void store_template_free(struct store_template *t);

/* Store T, and fill its id and created_ms; or, where its organisation has one with its posting_id, release what T
 * holds and make it that one: *REUSED. */
enum store_status store_put_template(struct store *s, struct store_template *t, int64_t now_ms, bool *reused);

/* The template ID of ORG (NULL: of any). OUT is the caller's to free. */
enum store_status store_get_template(struct store *s, const char *org, const char *id, struct store_template *out);

/* Those of ORG (NULL: of all) from before BEFORE_ID (NULL: all); valid during the call only. A callback that
 * returns nonzero ends it. */
typedef int store_template_fn(void *ctx, const struct store_template *t);
enum store_status store_list_templates(struct store *s, const char *org, const char *before_id,
                                       store_template_fn *fn, void *ctx);

struct store_invitation {
	char id[ID_SIZE], template_id[ID_SIZE];
	char candidate_id[ID_SIZE]; /* the same in all invitations of an organisation to one address that are there */
	char *org;
	char *email; /* in lower case */
	char *name, *first_name, *last_name, *external_id; /* "": not known */
	char *token; /* the end of its URL, which nobody can guess */
	int64_t created_ms, expires_ms;
};

void store_invitation_free(struct store_invitation *i);

/* The invitation of I's organisation, template and address that has not expired at NOW_MS: I becomes that one, what
 * it held is released. STORE_NOT_FOUND, and I as it was, where there is none. */
enum store_status store_find_invitation(struct store *s, struct store_invitation *i, int64_t now_ms);

/* Store I; fills its id and candidate_id. */
enum store_status store_put_invitation(struct store *s, struct store_invitation *i);

/* The invitation ID of ORG (NULL: of any). OUT is the caller's to free. */
enum store_status store_get_invitation(struct store *s, const char *org, const char *id, struct store_invitation *out);

/* What to list, of one organisation; another member that is NULL does not narrow. */
struct store_invitation_filter {
	const char *org;
	const char *template_id;
	const char *email; /* in lower case */
	const char *before_id;
};

/* As of templates. */
typedef int store_invitation_fn(void *ctx, const struct store_invitation *i);
enum store_status store_list_invitations(struct store *s, const struct store_invitation_filter *f,
                                         store_invitation_fn *fn, void *ctx);

#endif
