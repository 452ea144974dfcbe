/* A body through our scanner and through json-c: they agree on what is one JSON object, and on its name. */
#include <string.h>

#include "lib/event/envelope.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/second.h"

static void check_id(const struct envelope *e, const char *body, size_t len)
{
	uint8_t one[SHA256_BYTES], two[SHA256_BYTES];

	envelope_identity(e, "ntrvsta", body, len, one);
	envelope_identity(e, "other", body, len, two);
	REQUIRE(memcmp(one, two, sizeof one) != 0);
}

/* The name that json-c finds; NULL where there is none, or one that may be disputed. */
static const char *find_name(struct json_object *o, const char *member)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, member, &value) || !json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *body = fuzz_copy(data, size, 0);
	struct json_object *o = second_opinion(body, size);
	struct envelope e;
	enum envelope_result result = envelope_parse(body, size, "session.completed", &e);
	const char *name;

	/* json-c ends at a depth that we do not have. */
	REQUIRE(!o || result != ENVELOPE_INVALID_JSON);
	REQUIRE(o || result == ENVELOPE_INVALID_JSON || second_gave_up(body, size));
	REQUIRE(result == ENVELOPE_OK || (e.error && e.error_offset <= size));
	if (result == ENVELOPE_OK) {
		REQUIRE(envelope_name_valid(e.event, strlen(e.event)));
		name = o ? find_name(o, "event") : NULL;
		REQUIRE(!name || strcmp(name, e.event) == 0);
		check_id(&e, body, size);
	}
	envelope_free(&e);
	json_object_put(o);
	free(body);
	return 0;
}
