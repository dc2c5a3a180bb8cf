#pragma once

/* The counters and gauges in Prometheus' text format, version 0.0.4. */

#include "ackd/config/config.h"
#include "ackd/metrics/process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The state of the daemon that stats.h and log.h do not provide. */
struct metrics_view {
	const char *not_ready; /* NULL, or what the daemon does instead of running; static */
	uint64_t max_connections;
	uint64_t held_bytes;
	uint64_t max_held_bytes;
	uint64_t reloads_done;
	uint64_t reloads_failed;
	bool has_reloaded;	       /* the last reload, or the start, has succeeded */
	double reloaded_s;	       /* when it ended, in seconds since 1970 */
	double started_s;	       /* when the process began */
	const uint64_t *worker_cpu_ns; /* per worker; the server's */
	size_t n_workers;
	const struct config *config; /* in effect; the server's */
	struct process_usage process;
};

/*
 * Writes all metrics to *@ret_text (free), which ends with NUL after *@ret_length bytes. Main
 * thread. Returns 0 or -ENOMEM: the text is complete or there is none.
 */
int metrics_text(const struct metrics_view *view, char **ret_text, size_t *ret_length);
