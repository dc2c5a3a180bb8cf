#pragma once

/*
 * A histogram of times, log-linear in the manner of HdrHistogram: exact below 2048 ns, above that a
 * bucket is never wider than 1/1024 of its values, so that a percentile is at most 0.1 % too high.
 * Its memory is fixed (264 KiB), whatever is recorded.
 *
 * Own code because Debian 12 has no C HdrHistogram (only its Go and Java ones), and this is all of
 * it that is needed.
 */

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 10
/* Longer times, from 73 minutes, are counted as this one. */
#define HISTOGRAM_MAX_NS ((UINT64_C(1) << 42) - 1)
#define HISTOGRAM_BUCKETS ((42 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t min_ns; /* exact; meaningless while count is 0 */
	uint64_t max_ns; /* exact, up to HISTOGRAM_MAX_NS */
	double sum_ns;
	double sum_squares; /* of nanoseconds */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Returns an empty histogram, or NULL without memory. */
struct histogram *histogram_create(void);

/* Accepts NULL. */
void histogram_destroy(struct histogram *h);

/* Counts one time. No allocation, constant time. */
void histogram_record(struct histogram *h, uint64_t ns);

/* Adds what @from has counted to @to. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/*
 * Returns the time in nanoseconds that @percent of the recorded times do not exceed, at most 0.1 %
 * too high and never above max_ns; 0 when nothing was recorded.
 */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* Returns how many recorded times are at most @ns, counting whole buckets. */
uint64_t histogram_count_up_to(const struct histogram *h, uint64_t ns);

/* Return the mean and the standard deviation in nanoseconds; 0 when nothing was recorded. */
double histogram_mean(const struct histogram *h);
double histogram_deviation(const struct histogram *h);
