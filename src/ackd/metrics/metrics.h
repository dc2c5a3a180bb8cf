#pragma once

/*
 * Metrics for Prometheus and health checks over HTTP, on separate listening sockets in the main
 * loop. It serves GET /metrics and GET /healthz (200 while the daemon accepts connections,
 * otherwise 503). The resources that clients can use are bounded, silent or slow clients do not
 * block others, and workers are not affected.
 */

#include "ackd/metrics/text.h"

#include <uv.h>

/* The most descriptors for HTTP clients. */
#define METRICS_CONNECTIONS_MAX 64

struct metrics;

/*
 * Creates the HTTP server, without listening sockets. @look is called for each request. Returns 0
 * and gives *@ret_metrics to the caller, or a negative errno: -ENOSYS in builds without metrics.
 */
int metrics_create(uv_loop_t *loop, void (*look)(void *data, struct metrics_view *ret_view),
		   void *data, struct metrics **ret_metrics);

/*
 * Also accepts from the listening socket @fd, which stays the caller's. Does nothing if it already
 * does. Returns 0 or a negative errno.
 */
int metrics_listen(struct metrics *metrics, int fd);

/*
 * Stops accepting from @fd, which may then be closed. Pending requests are answered. Does nothing
 * for any other descriptor.
 */
void metrics_unlisten(struct metrics *metrics, int fd);

/* Closes all connections and frees. The loop must have closed all handles. Accepts NULL. */
void metrics_destroy(struct metrics *metrics);
