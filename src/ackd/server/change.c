/*
 * A change to another configuration, at start and in a reload: completely or not at all. A reload
 * begins with SIGHUP or "ackd --reload". A separate thread reads the configuration; the end of the
 * daemon never waits for that thread. The rest is the same for both: the sockets are bound -> each
 * worker's plan is made -> the new sockets listen, and those no longer needed are retired -> the
 * configuration is in effect -> the workers carry out their plans -> the result is reported ->
 * later the workers and then the daemon close the retired sockets.
 *
 * Everything that can fail comes before the retiring, and changes nothing: the new sockets are
 * closed again. The plans contain all memory that the workers take.
 */

#include "ackd/server/internal.h"

#include "ackd/conn/conn.h"
#include "ackd/sockets/store.h"
#include "base/clock.h"
#include "base/plural.h"
#include "base/sock.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Descriptors that each worker's loop and the rest of the process need besides connections. They
 * include room for the segments of a hand-over, which count as open descriptors of the user.
 */
#define RESERVE_PER_WORKER 8
static_assert(RESERVE_PER_WORKER >= HANDOVER_SEGMENTS_PER_WORKER, "room for segments");
#define RESERVE 64

/*
 * The most errors that are logged one by one; fewer than the log's ring holds, so that the summary
 * fits.
 */
#define RELOAD_LINES_MAX 100

const struct state_row change_states[] = {
	[CHANGE_NONE] = {"none", STATES_BIT(CHANGE_READING) | STATES_BIT(CHANGE_APPLYING)},
	[CHANGE_READING] = {"reading", STATES_BIT(CHANGE_NONE) | STATES_BIT(CHANGE_APPLYING)},
	[CHANGE_APPLYING] = {"applying", STATES_BIT(CHANGE_NONE) | STATES_BIT(CHANGE_RETIRING)},
	[CHANGE_RETIRING] = {"retiring", STATES_BIT(CHANGE_CLOSING)},
	[CHANGE_CLOSING] = {"closing", STATES_BIT(CHANGE_NONE)},
};

/* ---- plans ---- */

static int prepare_counters(struct server *server, const struct config *config)
{
	struct counters **counters = calloc(config->n_listeners, sizeof(struct counters *));

	if (!counters)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_listeners; i++) {
		counters[i] = stats_listener(config->listeners[i].name);
		if (!counters[i]) {
			free(counters);
			return -ENOMEM;
		}
	}
	free(server->counters);
	server->counters = counters;
	return 0;
}

void server_drop_counters(const struct server *server)
{
	const struct config *config = server->config;

	stats_release();
	for (size_t i = 0; i < config->n_listeners; i++)
		stats_listener(config->listeners[i].name);
	stats_drop_unused();
}

/*
 * Returns whether worker @w serves socket @s: if s mod workers = w, or if w mod sockets = s where
 * workers share fewer sockets.
 */
static bool serves(const struct server *server, unsigned w, unsigned s, unsigned n_fds)
{
	return n_fds >= server->n_workers ? s % server->n_workers == w : w % n_fds == s;
}

void server_count_lost(const struct state_connection *state, const char *reason)
{
	struct counters *counters = stats_listener(state->listener);
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = state->listener,
		.peer = address_format(&state->record.address, peer),
		.reason = reason,
		.has = LOG_HAS_CONNECTION,
		.connection = state->record.connection,
	};

	if (counters && state->record.connection != 0)
		counters_close(counters, CONN_LOST);
	log_post_at(LOG_LEVEL_WARNING, LOG_RESTORE, &fields,
		    "%s: connection %" PRIu64 " from %s closed: %s", fields.listener,
		    fields.connection, peer, fields.reason);
}

/* Adds @from to @plan, or closes it if its listener no longer exists. */
static void plan_restore(struct worker_plan *plan, struct takeover_connection *from)
{
	struct state_connection state = state_read(from->connection);
	size_t listener = config_find_listener(plan->config, state.listener);

	if (listener == plan->config->n_listeners) {
		server_count_lost(&state, "the listener is no longer in the configuration");
		takeover_release(from);
		return;
	}
	plan->restored[plan->n_restored++] =
		(struct worker_restored){.from = *from, .listener = listener};
}

/* Adds the share of worker @w of the handed-over connections to its @plan. */
static int plan_restored(struct server *server, struct worker_plan *plan, unsigned w)
{
	struct takeover *takeover = &server->takeover;
	size_t end = takeover->n * (w + 1) / server->n_workers;
	struct takeover_connection from;

	if (takeover->n_taken >= end)
		return 0;
	plan->restored = calloc(end - takeover->n_taken, sizeof(*plan->restored));
	if (!plan->restored)
		return -ENOMEM;
	while (takeover->n_taken < end && takeover_take(takeover, &from))
		plan_restore(plan, &from);
	return 0;
}

/*
 * Adds the share of worker @w of the sockets of @endpoint to its @plan: for the listener that needs
 * them, or else, unless they stay the service manager's, as retired ones.
 */
static void plan_endpoint(const struct server *server, struct worker_plan *plan, unsigned w,
			  const struct endpoint *endpoint)
{
	const struct config *config = plan->config;
	bool retired = !endpoint->next.needed;
	size_t listener = retired ? socket_set_successor(config, endpoint) : endpoint->next.user;

	if (retired ? endpoint->metrics || endpoint->passed : listener == config->n_listeners)
		return;
	for (unsigned s = 0; s < endpoint->n_fds; s++)
		if (serves(server, w, s, endpoint->n_fds))
			plan->sockets[plan->n_sockets++] = (struct worker_socket){
				.fd = endpoint->fds[s],
				.passed = endpoint->passed,
				.retired = retired,
				.listener = listener,
			};
}

static struct worker_plan *plan_create(struct server *server, const struct candidate *candidate,
				       unsigned w)
{
	const struct endpoint *e;
	struct worker_plan *plan;
	size_t n = 0;

	list_for_each (e, &server->sockets.endpoints, node)
		n += e->n_fds;
	plan = worker_plan_create(candidate->config, server->counters, n);
	if (!plan)
		return NULL;
	list_for_each (e, &server->sockets.endpoints, node)
		plan_endpoint(server, plan, w, e);
	if (plan_restored(server, plan, w) < 0) {
		worker_plan_destroy(plan);
		return NULL;
	}
	return plan;
}

/* Creates the plans of all workers. Returns NULL when out of memory. */
static struct worker_plan **plans_create(struct server *server, const struct candidate *candidate)
{
	struct worker_plan **plans = calloc(server->n_workers, sizeof(struct worker_plan *));

	if (!plans || prepare_counters(server, candidate->config) < 0)
		goto fail;
	for (unsigned w = 0; w < server->n_workers; w++) {
		plans[w] = plan_create(server, candidate, w);
		if (!plans[w])
			goto fail;
	}
	return plans;

fail:
	for (unsigned w = 0; plans && w < server->n_workers; w++)
		worker_plan_destroy(plans[w]);
	free(plans);
	return NULL;
}

/* ---- sockets ---- */

/*
 * Returns how many descriptors are reserved for other uses than connections. Listening sockets
 * count twice, because a reload binds new ones before it closes the old ones.
 */
static uint64_t descriptors_reserved(const struct server *server, const struct config *config)
{
	const struct endpoint *e;
	size_t n_sockets = 0;
	uint64_t n;

	list_for_each (e, &server->sockets.endpoints, node)
		n_sockets += e->next.needed ? e->n_fds : 0;
	n = RESERVE + (uint64_t)server->n_workers * RESERVE_PER_WORKER + 2 * n_sockets +
	    LIMITS_REFUSALS_MAX + (config->metrics.address ? METRICS_CONNECTIONS_MAX : 0);
	/* a hand-over sends a segment per batch of connections */
	return n + limits_descriptor_room(n) / HANDOVER_BATCH;
}

uint64_t server_descriptor_room(const struct server *server)
{
	return limits_descriptor_room(descriptors_reserved(server, server->config));
}

static bool has_tls(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].tls_context)
			return true;
	return false;
}

/* Logs the upper bound of the memory for @max_connections connections and the workers. */
static void log_memory_bound(const struct server *server, const struct config *config,
			     uint64_t max_connections)
{
	const uint64_t mib = 1 << 20;
	uint64_t held = config->max_memory_bytes;
	bool tls = has_tls(config);
	uint64_t connections = max_connections * conn_bytes(tls);
	uint64_t workers = (uint64_t)server->n_workers * reactor_bytes(tls);

	log_post_at(LOG_LEVEL_DEBUG, LOG_START, NULL,
		    "memory: at most %" PRIu64 " MiB: %" PRIu64
		    " MiB of data (limits.max_memory), %" PRIu64 " MiB for %" PRIu64
		    " connection%s, %" PRIu64 " MiB for %u worker%s; a restart needs 1.3 times "
		    "what connections hold",
		    (held + connections + workers + mib - 1) / mib, (held + mib - 1) / mib,
		    (connections + mib - 1) / mib, max_connections, plural(max_connections),
		    (workers + mib - 1) / mib, server->n_workers, plural(server->n_workers));
}

static void warn_of_keys(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *l = &config->listeners[i];
		const char *warning = l->tls_context ? tls_context_warning(l->tls_context) : NULL;
		const struct log_fields fields = {.listener = l->name};

		if (warning)
			log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, &fields, "%s: %s", l->name,
				    warning);
	}
}

/* Puts the limits of the change into effect and logs them. */
static void configure_limits(struct server *server, const struct config *config)
{
	uint64_t max = limits_configure(&server->limits, config->max_connections,
					config->max_connections_per_address,
					descriptors_reserved(server, config));

	limits_configure_handshakes(&server->limits, config->max_handshakes);
	budget_set_max(&server->limits.budget, config->max_memory_bytes);
	if (max < config->max_connections)
		log_post_at(LOG_LEVEL_NOTICE, LOG_START, NULL,
			    "limits.max_connections is %" PRIu64 " instead of %" PRIu64
			    ": the descriptor limit allows no more",
			    max, config->max_connections);
	log_memory_bound(server, config, max);
}

static void on_needs_restart(void *data, const char *setting)
{
	log_post_at(LOG_LEVEL_NOTICE, LOG_RELOAD, NULL,
		    "%s has changed: the change needs a restart", setting);
}

/* Makes @config the configuration in effect, and its sockets the server's. Cannot fail. */
static void put_into_effect(struct server *server, struct config *config)
{
	configure_limits(server, config);
	socket_set_commit(&server->sockets, config);
	report_metrics_unlisten(server, false);
	config_diff_restart(server->config, config, on_needs_restart, NULL);
	log_configure(&config->log);
	warn_of_keys(config);
	config_ref(config);
	config_unref(server->config);
	server->config = config;
}

/* Closes the retired sockets, which no worker uses any more. */
static void close_retired(struct server *server)
{
	report_metrics_unlisten(server, true);
	socket_set_close_retired(&server->sockets);
}

/* ---- step by step ---- */

int change_bind(struct server *server, const struct candidate *candidate, FILE *errors)
{
	return socket_set_bind(&server->sockets, candidate, (unsigned)server->n_handed,
			       sock_spreads() ? server->n_workers : 1, errors);
}

void change_undo(struct server *server)
{
	report_metrics_unlisten(server, false);
	socket_set_rollback(&server->sockets);
}

int change_commit(struct server *server, const struct candidate *candidate,
		  void (*done)(struct server *server))
{
	struct worker_plan **plans = plans_create(server, candidate);
	int r = plans ? socket_set_listen(&server->sockets, candidate->config) : -ENOMEM;

	if (r == 0)
		r = report_metrics_listen(server, candidate->config);
	if (r == 0) {
		states_move(change_states, &server->change.state, CHANGE_APPLYING);
		server->change.done = done;
		put_into_effect(server, candidate->config);
	} else {
		change_undo(server);
	}
	for (unsigned w = 0; plans && w < server->n_workers; w++) {
		if (r == 0)
			worker_apply(&server->workers[w], plans[w]);
		else
			worker_plan_destroy(plans[w]);
	}
	free(plans);
	return r;
}

/* Closes the retired sockets, unless the daemon is ending, which closes them itself. */
static void on_retired_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;

	if (server->state != SERVER_RUNNING)
		return;
	states_move(change_states, &server->change.state, CHANGE_CLOSING);
	server_order(server, WORKER_CLOSE_RETIRED);
	server_check_invariant(server);
}

/* All workers have carried out their plans. */
static void on_applied(struct server *server)
{
	struct change *change = &server->change;
	void (*done)(struct server * server) = change->done;

	change->done = NULL;
	takeover_finish(&server->takeover);
	/* a daemon that ends stores no more sockets: clients would wait on them in vain */
	if (server_is_up(server) || server->state == SERVER_HANDING_OVER)
		store_sync(&server->sockets.endpoints);
	if (server_is_up(server) && socket_set_has_retired(&server->sockets)) {
		states_move(change_states, &change->state, CHANGE_RETIRING);
		uv_timer_start(&server->retired_timer, on_retired_timer, ENDPOINT_RETIRED_MS, 0);
	} else {
		states_move(change_states, &change->state, CHANGE_NONE);
	}
	done(server);
}

/* All workers have closed the retired sockets. */
static void on_closed(struct server *server)
{
	states_move(change_states, &server->change.state, CHANGE_NONE);
	/* a hand-over leaves the store as it is; the next process closes the old sockets */
	if (server->state == SERVER_HANDING_OVER)
		return;
	close_retired(server);
	if (server->state == SERVER_RUNNING)
		store_sync(&server->sockets.endpoints);
	if (server->change.again)
		reload_request(server);
}

void change_continue(struct server *server)
{
	if (server->change.state == CHANGE_APPLYING && server_has_done(server, WORKER_APPLY))
		on_applied(server);
	else if (server->change.state == CHANGE_CLOSING &&
		 server_has_done(server, WORKER_CLOSE_RETIRED))
		on_closed(server);
}

/* ---- a reload ---- */

static const struct failure canceled = {FAILURE_CANCELED, UV_ECANCELED};

static void reload_end(struct server *server, struct failure failure)
{
	if (failure.kind != FAILURE_CANCELED) {
		server->reloaded_s = wall_clock_s();
		server->has_reloaded = failure.kind == FAILURE_NONE;
	}
	if (failure.kind != FAILURE_NONE) {
		server->reloads_failed++;
		log_post(LOG_RELOAD_FAILED, NULL,
			 "reload failed: %s; the old configuration stays in force",
			 failure_text(&failure));
	} else {
		server->reloads_done++;
		log_post(LOG_RELOAD, NULL, "reloaded the configuration");
	}
	if (server->state == SERVER_RUNNING) {
		server_drop_counters(server);
		log_notify("READY=1");
		report_status(server);
	}
	control_report(&server->control, exit_status_of(&failure));
	control_accept(&server->control);
	if (server->change.again)
		reload_request(server);
}

static void reload_done(struct server *server)
{
	reload_end(server, (struct failure){FAILURE_NONE, 0});
}

/* Ends a reload that has not begun to be applied. */
static void reload_fail(struct server *server, struct failure failure)
{
	states_move(change_states, &server->change.state, CHANGE_NONE);
	reload_end(server, failure);
}

static void log_errors(char *lines)
{
	if (lines)
		report_lines(LOG_RELOAD_FAILED, lines, RELOAD_LINES_MAX);
}

/* Puts the configuration of @candidate into effect. Logs errors line by line. */
static struct failure reload_apply(struct server *server, const struct candidate *candidate)
{
	char *lines = NULL;
	size_t length;
	FILE *errors = open_memstream(&lines, &length);
	int r = -ENOMEM;

	if (errors) {
		r = change_bind(server, candidate, errors);
		fclose(errors);
	}
	if (r < 0)
		log_errors(lines);
	else
		r = change_commit(server, candidate, reload_done);
	free(lines);
	return failure_of_change(r);
}

void reload_continue(struct server *server)
{
	struct change *change = &server->change;
	struct candidate *candidate;
	struct failure failure;
	char *lines;

	if (change->state != CHANGE_READING || !candidate_job_is_done(change->job))
		return;
	failure = failure_of_preparation(candidate_job_take(change->job, &candidate, &lines));
	change->job = NULL;
	if (failure.kind != FAILURE_NONE)
		log_errors(lines);
	else if (server->state != SERVER_RUNNING)
		failure = canceled;
	else
		failure = reload_apply(server, candidate);
	free(lines);
	candidate_destroy(candidate);
	if (failure.kind != FAILURE_NONE)
		reload_fail(server, failure);
}

void reload_cancel(struct server *server)
{
	if (server->change.state != CHANGE_READING)
		return;
	candidate_job_abandon(server->change.job);
	server->change.job = NULL;
	reload_fail(server, canceled);
}

static void reload_begin(struct server *server)
{
	struct change *change = &server->change;
	int r;

	change->again = false;
	states_move(change_states, &change->state, CHANGE_READING);
	control_hold(&server->control); /* later requests are answered by the next reload */
	log_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
	r = candidate_job_begin(server->source, &server->prepared, &change->job);
	if (r < 0)
		reload_fail(server, (struct failure){FAILURE_OS, r});
}

void reload_request(struct server *server)
{
	if (server->change.state != CHANGE_NONE || server->state == SERVER_STARTING)
		server->change.again = true;
	else
		reload_begin(server);
}

void reload_forget(struct server *server)
{
	if (server->change.again)
		log_post(LOG_SIGNAL_IGNORED, NULL, "the requested reload is ignored: ackd is %s",
			 server_states[server->state].name);
	server->change.again = false;
}
