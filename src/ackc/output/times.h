#pragma once

/* Prints a histogram of times as text and as JSON, for all commands. */

#include "ackc/output/histogram.h"
#include "ackc/output/json.h"

/* The percentiles, each with its JSON member name. */
struct percentile {
	double percent;
	const char *name;
};

#define N_PERCENTILES 6

extern const struct percentile percentiles[N_PERCENTILES];

static inline double ms_of_ns(double ns)
{
	return ns / 1e6;
}

static inline double percentile_ms(const struct histogram *h, double percent)
{
	return ms_of_ns((double)histogram_percentile(h, percent));
}

/* The buffer size for time_text(). */
#define TIME_TEXT_MAX 32

/* Writes the current time in RFC 3339 format: "2026-11-28T17:55:31.123Z". */
void time_text(char ret_text[TIME_TEXT_MAX]);

/* Prints the line "@name min/avg/max/mdev = ..."; nothing if @h is empty. */
void times_print(const char *name, const struct histogram *h);

/* Writes the object @name, with all percentiles; null if @h is empty. */
void times_json(struct json *j, const char *name, const struct histogram *h);
