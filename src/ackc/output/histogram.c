#include "ackc/output/histogram.h"

#include <math.h>

#define SUB_COUNT (1U << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < 2 * SUB_COUNT)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift);
}

/* Returns the highest time that bucket @i holds. */
static uint64_t highest_of(unsigned i)
{
	unsigned shift;
	uint64_t lead;

	if (i < 2 * SUB_COUNT)
		return i;
	shift = (i >> HISTOGRAM_SUB_BITS) - 1;
	lead = i - (shift << HISTOGRAM_SUB_BITS);
	return ((lead + 1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t ns)
{
	if (ns > HISTOGRAM_MAX_NS)
		ns = HISTOGRAM_MAX_NS;
	if (h->count == 0 || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->count++;
	h->sum_ns += (double)ns;
	h->sum_squares += (double)ns * (double)ns;
	h->buckets[bucket_of(ns)]++;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0 || from->min_ns < to->min_ns)
		to->min_ns = from->min_ns;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
	to->count += from->count;
	to->sum_ns += from->sum_ns;
	to->sum_squares += from->sum_squares;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	/* The epsilon compensates the rounding of, for example, 99.9 / 100 * 1000. */
	double rank = ceil(percent / 100 * (double)h->count - 1e-6);
	uint64_t wanted = rank < 1 ? 1 : (uint64_t)rank;
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= wanted)
			return highest_of(i) < h->max_ns ? highest_of(i) : h->max_ns;
	}
	return h->max_ns;
}

uint64_t histogram_count_up_to(const struct histogram *h, uint64_t ns)
{
	unsigned last = bucket_of(ns > HISTOGRAM_MAX_NS ? HISTOGRAM_MAX_NS : ns);
	uint64_t seen = 0;

	for (unsigned i = 0; i <= last; i++)
		seen += h->buckets[i];
	return seen;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? h->sum_ns / (double)h->count : 0;
}

double histogram_deviation(const struct histogram *h)
{
	double mean = histogram_mean(h);
	double variance;

	if (h->count == 0)
		return 0;
	variance = h->sum_squares / (double)h->count - mean * mean;
	return variance > 0 ? sqrt(variance) : 0;
}
