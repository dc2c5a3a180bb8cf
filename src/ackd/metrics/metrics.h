#pragma once

/*
 * Metrics for Prometheus and health checks over HTTP, on listening sockets of their own in the main
 * loop: GET /metrics and GET /healthz (200 while the daemon accepts connections, else 503). What
 * clients can make it hold is bounded, silent and slow ones do not keep others out, and no worker
 * notices any of it.
 */

#include "ackd/metrics/text.h"

#include <uv.h>

/* Descriptors that HTTP clients can make it open. */
#define METRICS_CONNECTIONS_MAX 64

struct metrics;

/*
 * Makes the HTTP server, which listens nowhere yet. @look is called for each request. Returns 0 and
 * the caller's *@ret_metrics, or a negative errno: -ENOSYS where ackd is built without metrics.
 */
int metrics_create(uv_loop_t *loop, void (*look)(void *data, struct metrics_view *ret_view),
		   void *data, struct metrics **ret_metrics);

/*
 * Accepts from the listening socket @fd too, which stays the caller's. Returns 0 or a negative
 * errno.
 */
int metrics_listen(struct metrics *metrics, int fd);

/* Does not accept from @fd any more; it may be closed then. Requests under way are answered. */
void metrics_unlisten(struct metrics *metrics, int fd);

/* Ends all connections and frees. The loop has closed all its handles. Accepts NULL. */
void metrics_destroy(struct metrics *metrics);
