/* Counters that all processes of a mount share through a file in the state directory, for who watches the program.
 * Each is a time series by the name that it has in Prometheus' text format (version 0.0.4):
 *
 *   ntrvsta_attempts_total{target="all/10-log",outcome="success"}
 *
 * Memory is fixed: METERS_MAX series, later ones are not counted. They start anew where the file is lost or garbled,
 * which Prometheus expects of counters. Any thread or process, without locks. */
#ifndef NTRVSTA_BASE_METERS_H
#define NTRVSTA_BASE_METERS_H

#include <stdint.h>

#define METERS_MAX 4096
#define METERS_NAME_SIZE 376 /* of a series, with its NUL; longer ones are not counted */

struct meters;

/* NULL with errno where the file can't be made or mapped. */
struct meters *meters_open(const char *state_dir);
void meters_close(struct meters *m); /* NULL is allowed */

/* Add N to the series that FMT names. M may be NULL: nothing is counted. */
void meters_add(struct meters *m, uint64_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Count a time in the histogram NAME (NAME_bucket, NAME_sum, NAME_count, in seconds); LABELS ("kind=\"handler\"",
 * or "") are those of its series besides `le`. */
void meters_observe(struct meters *m, const char *name, const char *labels, int64_t us);

/* Each series, sorted by name. A sum of times is in microseconds: its name ends in _sum, before the labels. */
typedef void meters_fn(void *ctx, const char *series, uint64_t value);
void meters_each(struct meters *m, meters_fn *fn, void *ctx);

#endif
