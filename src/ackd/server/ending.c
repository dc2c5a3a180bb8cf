/*
 * The end of the daemon: SIGTERM -> drain_delay, if there is one -> workers drain -> their threads
 * end -> the loop ends (server.c). Meanwhile the service manager is asked for time. SIGUSR2 hands
 * over instead, or drains if that is not possible. A further signal ends the delay. Another one, or
 * the end of drain_timeout, closes everything immediately.
 *
 * During the delay everything works as before, but /healthz says 503 and there are no reloads. A
 * signal without effect is logged.
 */

#include "ackd/server/internal.h"

#include "ackd/sockets/store.h"
#include "base/plural.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#define EXTEND_EVERY_MS 1000

void server_stop(struct server *server)
{
	if (server->state == SERVER_STOPPING)
		return;
	states_move(server_states, &server->state, SERVER_STOPPING);
	server_order(server, WORKER_STOP);
	reload_forget(server);
}

static void server_drain(struct server *server);

/* Extends the service manager's timeout until the deadline of the delay or of the drain. */
static void on_drain_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;
	uint64_t now_ms = uv_now(&server->loop), left_ms;

	if (now_ms >= server->drain_deadline_ms) {
		struct stats s = stats_total();

		if (server->state == SERVER_DELAYING) {
			server_drain(server);
			return;
		}
		if (server->state == SERVER_DRAINING)
			log_post(LOG_DRAIN, NULL,
				 "drain_timeout has expired: closing %" PRIu64 " connection%s",
				 stats_open(&s), plural(stats_open(&s)));
		server_stop(server);
		return;
	}
	log_notify("EXTEND_TIMEOUT_USEC=%u", 5 * EXTEND_EVERY_MS * 1000);
	left_ms = server->drain_deadline_ms - now_ms;
	uv_timer_start(timer, on_drain_timer, left_ms < EXTEND_EVERY_MS ? left_ms : EXTEND_EVERY_MS,
		       0);
}

/* Sets the deadline of the present state to @timeout_ms from now. */
static void set_deadline(struct server *server, uint64_t timeout_ms)
{
	/* Asking the service manager may have blocked. */
	uv_update_time(&server->loop);
	server->drain_deadline_ms = uv_now(&server->loop) + timeout_ms;
	on_drain_timer(&server->drain_timer);
}

static void server_delay(struct server *server)
{
	states_move(server_states, &server->state, SERVER_DELAYING);
	log_post(LOG_DRAIN, NULL,
		 "draining in %" PRIu64 " ms: /healthz says 503, clients are still accepted",
		 server->config->drain_delay_ms);
	set_deadline(server, server->config->drain_delay_ms);
}

static void server_drain(struct server *server)
{
	struct stats s = stats_total();

	states_move(server_states, &server->state, SERVER_DRAINING);
	log_post(LOG_DRAIN, NULL, "draining %" PRIu64 " connection%s, for at most %" PRIu64 " ms",
		 stats_open(&s), plural(stats_open(&s)), server->config->drain_timeout_ms);
	server_order(server, WORKER_DRAIN);
	set_deadline(server, server->config->drain_timeout_ms);
}

/*
 * Returns whether the next process can read its configuration. It runs as the same user in the same
 * sandbox. The contents have been validated before the hand-over was requested. Running out of
 * memory here does not count: the next process may have enough.
 */
static bool next_can_read(const struct server *server)
{
	char *lines = NULL;
	size_t length;
	FILE *errors = open_memstream(&lines, &length);
	int r = errors ? config_readable(server->source->path, errors) : 0;

	if (errors)
		fclose(errors);
	if (r == -EINVAL) {
		if (lines)
			report_lines(LOG_HANDOVER, lines, 1);
		log_post_at(LOG_LEVEL_ERROR, LOG_HANDOVER, NULL,
			    "connections are not handed over: the next process could not read its "
			    "configuration");
	}
	free(lines);
	return r != -EINVAL;
}

/* Begins the end by a hand-over (SIGUSR2), or by draining. */
static void server_leave(struct server *server, int signum)
{
	if (signum == SIGUSR2) {
		if (server->config->keep_connections && systemd_has_store() &&
		    next_can_read(server) && server_hand_over(server) == 0)
			return;
	} else {
		/* no process follows: new connections must be refused */
		store_clear(&server->sockets.endpoints);
	}
	log_notify("STOPPING=1");
	if (server->config->drain_delay_ms > 0)
		server_delay(server);
	else
		server_drain(server);
}

static const char *signal_name(int signum)
{
	switch (signum) {
	case SIGHUP:
		return "SIGHUP";
	case SIGINT:
		return "SIGINT";
	case SIGUSR1:
		return "SIGUSR1";
	case SIGUSR2:
		return "SIGUSR2";
	default:
		return "SIGTERM";
	}
}

/* A restart may send SIGUSR2 twice and SIGTERM once: no news while it hands over as usual. */
static enum log_level ignored_level(const struct server *server, bool is_of_restart)
{
	return is_of_restart && server->state == SERVER_HANDING_OVER ? LOG_LEVEL_DEBUG
								     : LOG_LEVEL_NOTICE;
}

void server_ignore(const struct server *server, int signum)
{
	log_post_at(ignored_level(server, signum == SIGUSR2 && server->term_follows),
		    LOG_SIGNAL_IGNORED, NULL, "%s is ignored: ackd is %s", signal_name(signum),
		    server_states[server->state].name);
}

void server_end(struct server *server, int signum)
{
	if (signum == SIGTERM && server->term_follows) {
		server->term_follows = false;
		log_post_at(ignored_level(server, true), LOG_SIGNAL_IGNORED, NULL,
			    "SIGTERM is ignored: the first one after SIGUSR2 is part of a restart");
	} else if (server->state == SERVER_RUNNING) {
		server->term_follows = signum == SIGUSR2;
		server_leave(server, signum);
		reload_forget(server);
	} else if (signum == SIGUSR2 ||
		   states_in(server->state,
			     STATES_BIT(SERVER_HANDING_OVER) | STATES_BIT(SERVER_STOPPING))) {
		server_ignore(server, signum);
	} else if (server->state == SERVER_DELAYING) {
		server_drain(server);
	} else if (server->state == SERVER_STARTING && server->n_workers > 0 &&
		   !server->end_signal) {
		server->end_signal = signum; /* workers may already have connections */
	} else {
		server_stop(server);
	}
}
