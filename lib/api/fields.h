/* What a request says, checked by tables: of the members of its body, and of the parameters of its query. Everything
 * that is wrong is found, not only the first; what is not in the table is wrong too. */
#ifndef NTRVSTA_API_FIELDS_H
#define NTRVSTA_API_FIELDS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

/* Everything that any route takes. A route's tables say which of it; the rest stays as fields_init() sets it. */
struct input_candidate {
	const char *email, *name, *first_name, *last_name, *external_id; /* NULL: not said */
};

struct input {
	const char *url, *description, *secret, *log_level, *key;
	struct json_object *events; /* an array of names without repetition, or of "*" alone */
	struct json_object *test_data, *data;
	int active, debug, preview; /* -1: not said */
	int64_t overlap_s;          /* -1: not said */
	const char *status, *event, *time_range, *cursor;
	const char *title, *posting_id, *template_id, *email;
	int64_t expires_days;       /* 0: not said */
	struct json_object *candidate;
	struct input_candidate nested, prefixed, plain; /* of an invitation: three ways to say whom */
	const char *webhook;        /* or a handler */
	const char *event_id, *search, *include;
	int64_t limit;              /* 0: not said */
	int64_t since_ms, until_ms; /* 0: not said */
	int64_t timestamp_ms;       /* INT64_MIN: not said */
};

struct fields {
	const struct field *items;
	size_t n;
};

enum field_type {
	FIELD_TEXT,   /* const char *; MIN to MAX bytes */
	FIELD_LINE,   /* the same, see fields_line_valid() */
	FIELD_EMAIL,  /* const char *; see fields_email_valid() */
	FIELD_CHOICE, /* const char *; one of CHOICES */
	FIELD_EVENT,  /* const char *; an event's name */
	FIELD_EVENTS, /* struct json_object *; see above */
	FIELD_OBJECT, /* struct json_object *; of a body only; no whole number in it has more than 64 bits. Its MEMBERS are
	               * read too, where there are any */
	FIELD_BOOL,   /* int */
	FIELD_NUMBER, /* int64_t; MIN to MAX */
	FIELD_TIME,   /* int64_t; RFC 3339 */
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset; /* in struct input */
	bool required;
	int64_t min, max;
	const char *const *choices; /* NULL-terminated */
	struct fields members;
};

/* Note that FIELD is wrong. ERRORS is an array of {field, message}. */
void fields_refuse(struct json_object *errors, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void fields_init(struct input *in);

/* Is TEXT one line that can be shown anywhere: UTF-8 without control characters and what turns text around? */
bool fields_line_valid(const char *text);

/* Is TEXT an address for mail as people have them: ASCII, at most 254 bytes (RFC 5321, section 4.5.3.1.3), nothing
 * that would have to be quoted in a header (RFC 5322, section 3.2.3)? */
bool fields_email_valid(const char *text);

/* IN points into BODY (NULL: there is none, as if it were {}) afterwards, or into TEXTS, which the caller frees.
 * What is wrong is added to ERRORS. */
void fields_read_body(const struct fields *f, struct json_object *body, struct input *in, struct json_object *errors);
void fields_read_query(const struct fields *f, const char *query, struct input *in, struct json_object **texts,
                       struct json_object *errors);

/* BODY as a JSON object, the caller's to put; NULL with the reason in ERR. Stricter than JSON has to be: no name
 * twice in one object, no NUL in a string, nothing nested deeper than 16. */
struct json_object *fields_parse(const char *body, size_t len, struct buf *err);

#endif
