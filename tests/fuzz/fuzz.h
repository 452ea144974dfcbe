/* A fuzz target: one function that takes any bytes, and must neither crash nor contradict itself. Built for libFuzzer
 * (./configure CC=clang --enable-fuzzing), or with replay.c into a test that runs the corpus and small changes of it. */
#ifndef NTRVSTA_TESTS_FUZZ_H
#define NTRVSTA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, whatever the input. */
#define REQUIRE(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

/* A copy of exactly this size on the heap, so that a look beyond its end shows; with a NUL behind it where TEXT. */
char *fuzz_copy(const uint8_t *data, size_t size, int text);

/* A folder of its own, removed at the end, with a configuration: its path. */
const char *fuzz_site(void);

/* What the program says goes nowhere. */
void fuzz_be_quiet(void);

#endif
