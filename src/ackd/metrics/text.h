#pragma once

/* The counters and gauges in Prometheus' text format, version 0.0.4. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The state of the daemon that counters.h and log.h do not provide. */
struct metrics_view {
	bool accepting; /* ready and neither draining nor handing over */
	uint64_t max_connections;
	uint64_t held_bytes;
	uint64_t max_held_bytes;
	uint64_t reloads_done;
	uint64_t reloads_failed;
	const double *busy_ratios; /* per worker; the server's */
	size_t n_workers;
};

/* Writes all metrics. Main thread. Returns 0 or a negative errno. */
int metrics_write(FILE *out, const struct metrics_view *view);
