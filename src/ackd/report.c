#include "ackd/server.h"

#include <inttypes.h>
#include <string.h>

#define STATUS_EVERY_MS 5000

void report_status(struct server *server)
{
	struct stats s = stats_sum(NULL);

	log_notify("STATUS=%s%" PRIu64 " connections open, %" PRIu64 " served, %" PRIu64
		   " messages, %" PRIu64 " bytes in, %" PRIu64 " bytes out",
		   server->phase == SERVER_RUNNING ? "" : "draining: ", stats_open(&s),
		   s.connections, s.messages, s.received_bytes, s.sent_bytes);
}

static void on_status_timer(uv_timer_t *timer)
{
	report_status(timer->data);
}

/* The watchdog is told that all is well only if every worker's loop has turned since last time. */
static void on_watchdog_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;
	bool all_turned = true;

	for (unsigned i = 0; i < server->n_workers; i++) {
		uint64_t turns =
			atomic_load_explicit(&server->workers[i].turns, memory_order_relaxed);

		if (turns == server->turns[i])
			all_turned = false;
		server->turns[i] = turns;
	}
	if (all_turned)
		log_notify("WATCHDOG=1");
	for (unsigned i = 0; i < server->n_workers; i++)
		worker_order(&server->workers[i], WORKER_TURN);
}

void report_start(struct server *server)
{
	uint64_t watchdog_ms = systemd_watchdog_us() / 1000;

	uv_timer_start(&server->status_timer, on_status_timer, 0, STATUS_EVERY_MS);
	if (watchdog_ms > 0) {
		uint64_t every_ms = watchdog_ms / 4 > 0 ? watchdog_ms / 4 : 1;

		for (unsigned i = 0; i < server->n_workers; i++)
			worker_order(&server->workers[i], WORKER_TURN);
		uv_timer_start(&server->watchdog_timer, on_watchdog_timer, every_ms, every_ms);
	}
}

static uint64_t sum(const uint64_t *values, size_t n)
{
	uint64_t total = 0;

	while (n-- > 0)
		total += values[n];
	return total;
}

void report_stats(void)
{
	const char *name;

	for (size_t i = 0; (name = stats_listener_name(i)); i++) {
		struct stats s = stats_sum(name);
		struct log_fields fields = {
			.listener = name,
			.has = LOG_HAS_BYTES_IN | LOG_HAS_BYTES_OUT | LOG_HAS_MESSAGES,
			.bytes_in = s.received_bytes,
			.bytes_out = s.sent_bytes,
			.messages = s.messages,
		};

		log_post(LOG_STATS, &fields,
			 "%s: %" PRIu64 " connections open, %" PRIu64 " served, %" PRIu64
			 " refused; %" PRIu64 " messages, %" PRIu64 " NAKs, %" PRIu64
			 " bytes in, %" PRIu64 " bytes out, %" PRIu64 " accept errors",
			 name, stats_open(&s), s.connections, sum(s.refused, REFUSAL_COUNT),
			 s.messages, sum(s.naks, NAK_REASON_COUNT), s.received_bytes, s.sent_bytes,
			 s.accept_errors);
	}
}

void report_lines(enum log_event event, char *lines)
{
	for (char *line; (line = strsep(&lines, "\n"));)
		if (*line)
			log_post_at(LOG_LEVEL_ERROR, event, NULL, "%s", line);
}
