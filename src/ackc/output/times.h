#pragma once

/* What a histogram of times says, in the words and the JSON of every command. */

#include "ackc/output/histogram.h"
#include "ackc/output/json.h"

/* The percentiles, each with its name as a member of JSON. */
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

/* Room for time_text(). */
#define TIME_TEXT_MAX 32

/* Writes the wall-clock time as RFC 3339 has it: "2026-11-28T17:55:31.123Z". */
void time_text(char ret_text[TIME_TEXT_MAX]);

/* Prints the line "@name min/avg/max/mdev = ..."; nothing for NULL, or when nothing was recorded.
 */
void times_print(const char *name, const struct histogram *h);

/* Writes the object @name, with all percentiles; null for NULL, or when nothing was recorded. */
void times_json(struct json *j, const char *name, const struct histogram *h);
