#pragma once

/*
 * A histogram of times, log-linear like HdrHistogram. It is exact below 2048 ns. Above that, a
 * bucket is at most 1/1024 as wide as its values, so a percentile is at most 0.1 % too high. Its
 * memory is fixed at 264 KiB.
 *
 * It is our own code because Debian 12 packages HdrHistogram only for Go and Java, and this small
 * part of it suffices.
 */

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 10
/* Longer times (73 minutes or more) are recorded as this one. */
#define HISTOGRAM_MAX_NS ((UINT64_C(1) << 42) - 1)
#define HISTOGRAM_BUCKETS ((42 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* Initially zero. */
struct histogram {
	uint64_t count;
	uint64_t min_ns; /* exact; meaningless while count is 0 */
	uint64_t max_ns; /* exact, up to HISTOGRAM_MAX_NS */
	double sum_ns;
	double sum_squares; /* of nanoseconds */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Records one time. Does not allocate; takes constant time. */
void histogram_record(struct histogram *h, uint64_t ns);

/* Adds the counts of @from to @to. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/*
 * Returns a percentile in nanoseconds: the smallest time that at least @percent of the recorded
 * times do not exceed. It is at most 0.1 % too high and never above max_ns. Returns 0 if nothing
 * was recorded.
 */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* Returns the number of recorded times of at most @ns, to the precision of a bucket. */
uint64_t histogram_count_up_to(const struct histogram *h, uint64_t ns);

/* Return the mean and the standard deviation in nanoseconds; 0 if nothing was recorded. */
double histogram_mean(const struct histogram *h);
double histogram_deviation(const struct histogram *h);
