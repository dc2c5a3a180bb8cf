#include "ackc/output/times.h"

#include <stdio.h>
#include <time.h>

const struct percentile percentiles[N_PERCENTILES] = {
	{50, "p50"}, {75, "p75"}, {90, "p90"}, {99, "p99"}, {99.9, "p99_9"}, {99.99, "p99_99"},
};

void time_text(char ret_text[TIME_TEXT_MAX])
{
	struct timespec now;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	n = strftime(ret_text, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(ret_text + n, TIME_TEXT_MAX - n, ".%03ldZ", now.tv_nsec / 1000000);
}

void times_print(const char *name, const struct histogram *h)
{
	if (h->count == 0)
		return;
	printf("%s min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", name, ms_of_ns((double)h->min_ns),
	       ms_of_ns(histogram_mean(h)), ms_of_ns((double)h->max_ns),
	       ms_of_ns(histogram_deviation(h)));
}

void times_json(struct json *j, const char *name, const struct histogram *h)
{
	if (h->count == 0) {
		json_null(j, name);
		return;
	}
	json_open(j, name, '{');
	json_number(j, "count", h->count);
	json_ms(j, "min", h->min_ns);
	json_double(j, "avg", ms_of_ns(histogram_mean(h)));
	json_ms(j, "max", h->max_ns);
	json_double(j, "mdev", ms_of_ns(histogram_deviation(h)));
	for (size_t i = 0; i < N_PERCENTILES; i++)
		json_ms(j, percentiles[i].name, histogram_percentile(h, percentiles[i].percent));
	json_close(j, '}');
}
