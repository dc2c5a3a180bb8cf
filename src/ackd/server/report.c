#include "ackd/server/internal.h"

#include "base/plural.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STATUS_EVERY_MS 5000

/* Returns the state in words, or NULL while the server runs. */
static const char *other_state(const struct server *server)
{
	return server->state == SERVER_RUNNING ? NULL : server_states[server->state].name;
}

void report_status(struct server *server)
{
	const char *state = other_state(server);
	struct stats s = stats_total();

	log_notify("STATUS=%s%s%" PRIu64 " connection%s open, %" PRIu64 " served, %" PRIu64
		   " message%s, %" PRIu64 " byte%s in, %" PRIu64 " byte%s out",
		   state ? state : "", state ? ": " : "", stats_open(&s), plural(stats_open(&s)),
		   s.values[COUNTER_CONNECTIONS], s.values[COUNTER_MESSAGES],
		   plural(s.values[COUNTER_MESSAGES]), s.values[COUNTER_RECEIVED_BYTES],
		   plural(s.values[COUNTER_RECEIVED_BYTES]), s.values[COUNTER_SENT_BYTES],
		   plural(s.values[COUNTER_SENT_BYTES]));
}

static void on_status_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;

	if (server->state == SERVER_RUNNING) /* a hand-over must see all counters */
		stats_drop_unused();
	if (!states_in(server->change.state,
		       STATES_BIT(CHANGE_READING) | STATES_BIT(CHANGE_APPLYING)))
		control_accept(&server->control); /* in case there were no descriptors */
	report_status(server);
}

/* Returns whether the loop of @worker has turned since the last check, or has nothing to do. */
static bool has_turned(const struct worker *worker)
{
	return worker_has_done(worker, WORKER_TURN) ||
	       worker_is_in(worker, STATES_BIT(WORKER_ENDED));
}

/* Feeds the watchdog only if every loop has turned since the last check. */
static void on_watchdog_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;
	unsigned n_turned = 0;

	for (unsigned i = 0; i < server->n_workers; i++)
		n_turned += has_turned(&server->workers[i]);
	if (n_turned == server->n_workers)
		log_notify("WATCHDOG=1");
	server_order(server, WORKER_TURN);
}

int report_init(struct server *server, unsigned n_workers)
{
	server->worker_cpu_ns = calloc(n_workers, sizeof(*server->worker_cpu_ns));
	return server->worker_cpu_ns ? 0 : -ENOMEM;
}

void report_finish(struct server *server)
{
	metrics_destroy(server->metrics);
	server->metrics = NULL;
	free(server->worker_cpu_ns);
}

void report_start(struct server *server)
{
	uint64_t watchdog_ms = systemd_watchdog_us() / 1000;

	uv_timer_start(&server->status_timer, on_status_timer, 0, STATUS_EVERY_MS);
	if (watchdog_ms > 0) {
		uint64_t every_ms = watchdog_ms / 4 > 0 ? watchdog_ms / 4 : 1;

		server_order(server, WORKER_TURN);
		uv_timer_start(&server->watchdog_timer, on_watchdog_timer, every_ms, every_ms);
	}
}

/* Writes the part about TLS: "" if the listener has none and had none. */
static void tls_words(const struct server *server, const char *name, const struct stats *s,
		      char *out, size_t size)
{
	uint64_t handshakes = stats_handshakes(s, false);

	out[0] = '\0';
	if (handshakes > 0 || config_find_tls(server->config, name))
		snprintf(out, size, ", %" PRIu64 " TLS handshake%s, %" PRIu64 " of them failed",
			 handshakes, plural(handshakes), stats_handshakes(s, true));
}

static void report_listener(const struct server *server, const char *name, const struct stats *s)
{
	uint64_t naks = stats_sum(s, COUNTER_NAKS, NAK_REASON_COUNT);
	uint64_t accept_errors = s->values[COUNTER_ACCEPT_ERRORS];
	uint64_t ill_formed = s->values[COUNTER_ILL_FORMED];
	char tls[100];
	struct log_fields fields = {
		.listener = name,
		.has = LOG_HAS_BYTES_IN | LOG_HAS_BYTES_OUT | LOG_HAS_MESSAGES,
		.bytes_in = s->values[COUNTER_RECEIVED_BYTES],
		.bytes_out = s->values[COUNTER_SENT_BYTES],
		.messages = s->values[COUNTER_MESSAGES],
	};

	tls_words(server, name, s, tls, sizeof(tls));
	log_post(LOG_STATS, &fields,
		 "%s: %" PRIu64 " connection%s open, %" PRIu64 " served, %" PRIu64
		 " refused; %" PRIu64 " message%s, %" PRIu64 " NAK%s, %" PRIu64
		 " byte%s in, %" PRIu64 " byte%s out, %" PRIu64 " accept error%s, %" PRIu64
		 " ill-formed subsequence%s%s",
		 name, stats_open(s), plural(stats_open(s)), s->values[COUNTER_CONNECTIONS],
		 stats_sum(s, COUNTER_REFUSED, REFUSAL_COUNT), fields.messages,
		 plural(fields.messages), naks, plural(naks), fields.bytes_in,
		 plural(fields.bytes_in), fields.bytes_out, plural(fields.bytes_out), accept_errors,
		 plural(accept_errors), ill_formed, plural(ill_formed), tls);
}

void report_stats(const struct server *server)
{
	if (!stats_next(NULL))
		server_ignore(server, SIGUSR1);
	for (const struct stats_entry *e = stats_next(NULL); e; e = stats_next(e)) {
		struct stats s = stats_read(e);

		report_listener(server, stats_name(e), &s);
	}
}

void report_lines(enum log_event event, char *lines, unsigned max)
{
	unsigned n = 0;

	for (char *line; (line = strsep(&lines, "\n"));)
		if (*line && n++ < max)
			log_post_at(LOG_LEVEL_ERROR, event, NULL, "%s", line);
	if (n > max)
		log_post_at(LOG_LEVEL_ERROR, event, NULL, "%u more error%s; \"ackd -t\" shows all",
			    n - max, plural(n - max));
}

/* ---- metrics ---- */

double wall_clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Reads the CPU time of each worker, at no cost to them. One that has ended keeps its last. */
static void sample_workers(struct server *server)
{
	for (unsigned i = 0; i < server->n_workers; i++) {
		uint64_t cpu_ns = worker_cpu_ns(&server->workers[i]);

		if (cpu_ns > server->worker_cpu_ns[i])
			server->worker_cpu_ns[i] = cpu_ns;
	}
}

static void on_metrics_look(void *data, struct metrics_view *ret_view)
{
	struct server *server = data;

	sample_workers(server);
	*ret_view = (struct metrics_view){
		.not_ready =
			server->state == SERVER_RUNNING ? NULL : server_states[server->state].name,
		.max_connections = atomic_load(&server->limits.max_connections),
		.held_bytes = budget_used(&server->limits.budget),
		.max_held_bytes = budget_max(&server->limits.budget),
		.reloads_done = server->reloads_done,
		.reloads_failed = server->reloads_failed,
		.has_reloaded = server->has_reloaded,
		.reloaded_s = server->reloaded_s,
		.started_s = server->started_s,
		.worker_cpu_ns = server->worker_cpu_ns,
		.n_workers = server->n_workers,
		.config = server->config,
	};
}

int report_metrics_listen(struct server *server, const struct config *config)
{
	struct endpoint *e;
	int r = 0;

	list_for_each (e, &server->sockets.endpoints, node) {
		if (!e->next.needed || e->next.user != config->n_listeners)
			continue;
		if (!server->metrics && r == 0)
			r = metrics_create(&server->loop, on_metrics_look, server,
					   &server->metrics);
		for (unsigned i = 0; i < e->n_fds && r == 0; i++)
			r = metrics_listen(server->metrics, e->fds[i]);
	}
	if (r < 0)
		log_post_at(LOG_LEVEL_ERROR, LOG_LISTEN, NULL, "metrics: %s", uv_strerror(r));
	return r;
}

void report_metrics_unlisten(struct server *server, bool retired)
{
	struct endpoint *e;

	if (!server->metrics)
		return;
	list_for_each (e, &server->sockets.endpoints, node)
		for (unsigned i = 0; i < e->n_fds; i++)
			if (!e->metrics || (retired && e->state == ENDPOINT_RETIRED))
				metrics_unlisten(server->metrics, e->fds[i]);
}
