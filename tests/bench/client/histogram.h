#pragma once

/* Latencies in nanoseconds, counted in buckets of at most 1/64 of their value. */

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 64
#define HISTOGRAM_OCTAVES 40

struct histogram {
	uint64_t counts[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
	uint64_t total;
};

static inline size_t histogram_bucket(uint64_t ns)
{
	size_t octave, bucket;

	if (ns < HISTOGRAM_STEPS)
		return (size_t)ns;
	octave = (size_t)(63 - __builtin_clzll(ns)) - 5;
	bucket = octave * HISTOGRAM_STEPS + (size_t)(ns >> (octave - 1) & (HISTOGRAM_STEPS - 1));
	return bucket < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS
		       ? bucket
		       : HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
	histogram->counts[histogram_bucket(ns)]++;
	histogram->total++;
}

/* Returns the lower edge, in nanoseconds, of the bucket in which the quantile @q lies. */
uint64_t histogram_quantile(const struct histogram *histogram, double q);
