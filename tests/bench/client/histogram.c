#include "histogram.h"

uint64_t histogram_quantile(const struct histogram *histogram, double q)
{
	uint64_t wanted = (uint64_t)(q * (double)histogram->total), seen = 0;
	size_t i;

	for (i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1; i++) {
		seen += histogram->counts[i];
		if (seen > wanted)
			break;
	}
	if (i < HISTOGRAM_STEPS)
		return i;
	return (uint64_t)(HISTOGRAM_STEPS + i % HISTOGRAM_STEPS) << (i / HISTOGRAM_STEPS - 1);
}
