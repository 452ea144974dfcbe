#include "lib/api/security.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/xalloc.h"
#include "lib/intake/refusals.h"

#define ADDRESSES_MAX 100

/* --- by reason ------------------------------------------------------------------------------ */

struct counts {
	const struct stats_range *range;
	int64_t (*steps)[REFUSALS_CODES]; /* for each step of the range */
};

static void note_row(void *ctx, const struct refusals_row *row)
{
	struct counts *counts = ctx;
	size_t step = stats_step(counts->range, row->start_ms);

	if (step < counts->range->steps)
		counts->steps[step][row->code] += row->count;
}

static void read_counts(const struct api_call *c, struct refusals *refusals, const struct stats_range *r, struct counts *out)
{
	out->range = r;
	out->steps = xcalloc(r->steps, sizeof *out->steps);
	refusals_each(refusals, r->span == STORE_MINUTE, r->from_ms, c->now_ms + 1, note_row, out);
}

static struct json_object *show_count(unsigned code, int64_t count)
{
	struct json_object *o = json_object_new_object();
	const char *name = refusals_code_name(code);

	json_add_text(o, "code", name ? name : "other"); /* of a newer version */
	json_add_number(o, "count", count);
	return o;
}

static int64_t count_of(struct json_object *o)
{
	struct json_object *count = NULL;

	json_object_object_get_ex(o, "count", &count);
	return json_object_get_int64(count);
}

static int most_first(const void *a, const void *b)
{
	int64_t x = count_of(*(struct json_object *const *)a), y = count_of(*(struct json_object *const *)b);

	return x > y ? -1 : x < y;
}

struct json_object *security_count(const struct api_call *c, const struct stats_range *r)
{
	struct refusals *refusals = refusals_new(c->conf->state_dir);
	struct json_object *rows = json_object_new_array();
	struct counts counts;
	unsigned code;
	int64_t sum;
	size_t i;

	read_counts(c, refusals, r, &counts);
	for (code = 0; code < REFUSALS_CODES; code++) {
		for (sum = 0, i = 0; i < r->steps; i++)
			sum += counts.steps[i][code];
		if (sum > 0)
			json_object_array_add(rows, show_count(code, sum));
	}
	json_object_array_sort(rows, most_first);
	free(counts.steps);
	refusals_free(refusals);
	return rows;
}

static struct json_object *list_steps(const struct stats_range *r, const struct counts *counts)
{
	struct json_object *rows = json_object_new_array(), *row;
	unsigned code;
	size_t i;

	for (i = 0; i < r->steps; i++) {
		for (code = 0; code < REFUSALS_CODES; code++) {
			if (counts->steps[i][code] == 0)
				continue;
			row = show_count(code, counts->steps[i][code]);
			json_add_time(row, "start", r->from_ms + (int64_t)i * r->step_ms);
			json_object_array_add(rows, row);
		}
	}
	return rows;
}

/* --- by address ----------------------------------------------------------------------------- */

static void note_address(void *ctx, const struct refusals_address *row)
{
	struct json_object *o = show_count(row->code, row->count);

	json_add_text(o, "address", row->address);
	json_add_time(o, "last_at", row->last_ms);
	json_object_array_add(ctx, o);
}

/* Addresses are the operator's to see, who has the default organisation. */
static struct json_object *list_addresses(const struct api_call *c, struct refusals *refusals, int64_t since_ms)
{
	struct json_object *rows = json_object_new_array();
	size_t n;

	if (strcmp(c->who->org, STORE_DEFAULT_ORG) != 0)
		return rows;
	refusals_each_address(refusals, since_ms, note_address, rows);
	json_object_array_sort(rows, most_first);
	n = json_object_array_length(rows);
	if (n > ADDRESSES_MAX)
		json_object_array_del_idx(rows, ADDRESSES_MAX, n - ADDRESSES_MAX);
	return rows;
}

/* --- secrets -------------------------------------------------------------------------------- */

/* Since when the newest secret of a file is there: rotation writes the file, and so does who edits it. */
static int64_t written_ms(const struct conf_source *source)
{
	struct stat st;

	if (conf_secret_from_environment(source) || stat(source->secret_file, &st))
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

static struct json_object *list_secrets(const struct api_call *c)
{
	struct json_object *rows = json_object_new_array(), *row;
	size_t i, k;

	for (i = 0; i < c->conf->nsources; i++) {
		const struct conf_source *source = &c->conf->sources[i];

		for (k = 0; k < source->secrets->n; k++) {
			const struct secret *secret = &source->secrets->items[k];

			row = json_object_new_object();
			json_add_text(row, "source", source->name);
			json_add_time(row, "created_at", k == 0 ? written_ms(source) : 0);
			json_add_time(row, "until", secret->until_ms == SECRETS_FOREVER ? 0 : secret->until_ms);
			json_add_bool(row, "live", secret_live(secret, c->now_ms));
			json_object_array_add(rows, row);
		}
	}
	return rows;
}

/* --- the answer ----------------------------------------------------------------------------- */

static void security(struct api_call *c)
{
	struct json_object *doc = json_object_new_object(), *refused = json_object_new_object();
	struct refusals *refusals = refusals_new(c->conf->state_dir);
	struct stats_range range;
	struct counts counts;

	stats_find_range(c, &range);
	read_counts(c, refusals, &range, &counts);
	json_object_object_add(refused, "buckets", list_steps(&range, &counts));
	json_object_object_add(refused, "addresses", list_addresses(c, refusals, range.from_ms));
	json_add_time(doc, "from", range.from_ms);
	json_add_time(doc, "to", c->now_ms);
	json_add_number(doc, "bucket_seconds", range.step_ms / 1000);
	json_object_object_add(doc, "refusals", refused);
	json_object_object_add(doc, "secrets", list_secrets(c));
	free(counts.steps);
	refusals_free(refusals);
	call_answer(c, 200, "OK", doc);
}

static const struct field security_fields[] = { TIME_RANGE_FIELD };

const struct route security_routes[] = {
	{ "GET", "/v1/security", AUTH_READ, FIELDS(security_fields), NO_FIELDS, security },
};
const size_t security_nroutes = sizeof security_routes / sizeof security_routes[0];
