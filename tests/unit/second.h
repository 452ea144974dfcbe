/* A second opinion on JSON, for tests of our own scanner: json-c's, corrected where it takes more than RFC 8259. */
#ifndef NTRVSTA_TESTS_SECOND_H
#define NTRVSTA_TESTS_SECOND_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define SECOND_DEPTH 1000 /* nested deeper, it has no opinion */

/* The object that TEXT is, the caller's to put; NULL where it is none. */
struct json_object *second_opinion(const char *text, size_t len);

/* May the depth of TEXT be why it is none? */
bool second_gave_up(const char *text, size_t len);

#endif
