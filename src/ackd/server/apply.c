/*
 * Puts a configuration into effect, at start and in a reload, completely or not at all. The normal
 * sequence: the sockets are bound -> each worker gets a plan -> all workers open the new sockets ->
 * the new sockets listen, and those no longer needed are retired -> the workers carry out their
 * plans -> the configuration is in effect -> later the workers and then the daemon close the
 * retired sockets.
 *
 * A failure before all workers have opened the sockets changes nothing: the new sockets are closed
 * again. They do not listen before that point, so closing them loses no connection. The later steps
 * cannot fail, because the plans contain all memory that they take.
 */

#include "ackd/server/server.h"

#include "ackd/conn/conn.h"
#include "ackd/sockets/store.h"
#include "base/plural.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Descriptors that each worker's loop and the rest of the process need besides connections. They
 * include room for the segments of a hand-over, which count as open descriptors of the user.
 */
#define RESERVE_PER_WORKER 8
_Static_assert(RESERVE_PER_WORKER >= HANDOVER_SEGMENTS_PER_WORKER, "room for segments");
#define RESERVE 64

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

static size_t listener_index(const struct config *config, const char *name)
{
	size_t i = 0;

	while (i < config->n_listeners && strcmp(config->listeners[i].name, name) != 0)
		i++;
	return i;
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
		counter_add(counters, COUNTER_CLOSED, 1);
	log_post_at(LOG_LEVEL_WARNING, LOG_RESTORE, &fields,
		    "%s: connection %" PRIu64 " from %s closed: %s", fields.listener,
		    fields.connection, peer, fields.reason);
}

/* Adds @from to @plan, or closes it if its listener no longer exists. */
static void plan_restore(struct worker_plan *plan, struct takeover_connection *from)
{
	struct state_connection state = state_read(from->connection);
	size_t listener = listener_index(plan->config, state.listener);

	if (listener == plan->config->n_listeners) {
		server_count_lost(&state, "the listener is not in the configuration any more");
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

	list_for_each(e, &server->sockets.endpoints, node) n += e->n_fds;
	plan = worker_plan_create(candidate->config, server->counters, n);
	if (!plan)
		return NULL;
	list_for_each(e, &server->sockets.endpoints, node) plan_endpoint(server, plan, w, e);
	if (plan_restored(server, plan, w) < 0) {
		worker_plan_destroy(plan);
		return NULL;
	}
	return plan;
}

static int send_plans(struct server *server, const struct candidate *candidate)
{
	struct worker_plan **plans = calloc(server->n_workers, sizeof(struct worker_plan *));
	int r = plans ? prepare_counters(server, candidate->config) : -ENOMEM;

	for (unsigned w = 0; w < server->n_workers && r == 0; w++) {
		plans[w] = plan_create(server, candidate, w);
		if (!plans[w])
			r = -ENOMEM;
	}
	for (unsigned w = 0; plans && w < server->n_workers; w++) {
		if (r == 0)
			worker_open(&server->workers[w], plans[w]);
		else
			worker_plan_destroy(plans[w]);
	}
	free(plans);
	return r;
}

/* ---- sockets ---- */

/*
 * Returns how many descriptors are reserved for other uses than connections. Listening sockets
 * count twice, because a reload binds new ones before it closes the old ones.
 */
static uint64_t descriptors_reserved(const struct server *server)
{
	const struct endpoint *e;
	size_t n_sockets = 0;
	uint64_t n;

	list_for_each(e, &server->sockets.endpoints, node) n_sockets +=
		e->next.needed ? e->n_fds : 0;
	n = RESERVE + (uint64_t)server->n_workers * RESERVE_PER_WORKER + 2 * n_sockets +
	    LIMITS_REFUSALS_MAX +
	    (server->change.config->metrics_address ? METRICS_CONNECTIONS_MAX : 0);
	/* a hand-over sends a segment per batch of connections */
	return n + limits_descriptor_room(n) / HANDOVER_BATCH;
}

uint64_t server_descriptor_room(const struct server *server)
{
	return limits_descriptor_room(descriptors_reserved(server));
}

/* Logs the upper bound of the memory for @max_connections connections and the workers. */
static void log_memory_bound(const struct server *server, uint64_t max_connections)
{
	const uint64_t mib = 1 << 20;
	uint64_t held = server->change.config->max_memory_bytes;
	uint64_t connections = max_connections * sizeof(struct conn);
	uint64_t workers = (uint64_t)server->n_workers * (TURN_BUFFER_BYTES + SESSION_AREA_BYTES);

	log_post_at(LOG_LEVEL_DEBUG, LOG_START, NULL,
		    "memory: at most %" PRIu64 " MiB: %" PRIu64
		    " MiB of data (limits.max_memory), %" PRIu64 " MiB for %" PRIu64
		    " connection%s, %" PRIu64 " MiB for %u worker%s; a restart takes 1.3 times "
		    "what connections hold",
		    (held + connections + workers + mib - 1) / mib, (held + mib - 1) / mib,
		    (connections + mib - 1) / mib, max_connections, plural(max_connections),
		    (workers + mib - 1) / mib, server->n_workers, plural(server->n_workers));
}

/* Puts the limits of the change into effect and logs them. */
static void configure_limits(struct server *server)
{
	const struct config *config = server->change.config;
	uint64_t max =
		limits_configure(&server->limits, config->max_connections,
				 config->max_connections_per_address, descriptors_reserved(server));

	budget_set_max(&server->limits.budget, config->max_memory_bytes);
	if (max < config->max_connections)
		log_post_at(LOG_LEVEL_NOTICE, LOG_START, NULL,
			    "limits.max_connections is %" PRIu64 " instead of %" PRIu64
			    ": the descriptor limit allows no more",
			    max, config->max_connections);
	log_memory_bound(server, max);
}

/* Puts the sockets of the change into effect. Nothing can fail from here on. */
static void change_commit(struct server *server)
{
	configure_limits(server);
	socket_set_commit(&server->sockets, server->change.config);
	report_metrics_unlisten(server, false);
}

/* Closes the retired sockets, which no worker uses any more. */
static void close_retired(struct server *server)
{
	report_metrics_unlisten(server, true);
	socket_set_close_retired(&server->sockets);
}

/* ---- step by step ---- */

int server_bind(struct server *server, const struct candidate *candidate, FILE *errors)
{
	server->change.config = candidate->config;
	return socket_set_bind(&server->sockets, candidate, (unsigned)server->n_handed,
			       server->n_workers, errors);
}

int server_apply(struct server *server, const struct candidate *candidate)
{
	struct change *change = &server->change;
	int r;

	change->error = 0;
	atomic_store(&server->n_applied, 0);
	atomic_store(&server->open_error, 0);
	r = send_plans(server, candidate);
	if (r < 0) {
		socket_set_rollback(&server->sockets);
		return r;
	}
	change->phase = CHANGE_OPENING;
	return 0;
}

static void order_all(struct server *server, enum worker_order order)
{
	for (unsigned w = 0; w < server->n_workers; w++)
		worker_order(&server->workers[w], order);
}

/* Commits the change after all workers have opened the new sockets, or undoes it after an error. */
static void change_decide(struct server *server, int error)
{
	struct change *change = &server->change;

	if (error == 0)
		error = socket_set_listen(&server->sockets, change->config);
	if (error == 0)
		error = report_metrics_listen(server);
	change->error = error;
	if (error == 0) {
		change->phase = CHANGE_APPLYING;
		change_commit(server);
		order_all(server, WORKER_APPLY);
	} else {
		change->phase = CHANGE_UNDOING;
		report_metrics_unlisten(server, false);
		order_all(server, WORKER_FORGET);
	}
}

/* Closes the retired sockets, unless the daemon is ending, which closes them itself. */
static void on_retired_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;

	if (server->phase != SERVER_RUNNING)
		return;
	server->change.phase = CHANGE_CLOSING;
	order_all(server, WORKER_CLOSE);
}

/* Retires sockets after all workers have carried out their plans. */
static void change_retire(struct server *server)
{
	struct change *change = &server->change;
	bool ends = server->phase != SERVER_STARTING && server->phase != SERVER_RUNNING;

	takeover_finish(&server->takeover);
	/* a daemon that ends stores no more sockets: clients would wait on them in vain */
	if (!ends || server->phase == SERVER_HANDING_OVER)
		store_sync(&server->sockets.endpoints);
	change->phase = CHANGE_NONE;
	if (ends || !socket_set_has_retired(&server->sockets))
		return;
	change->phase = CHANGE_RETIRING;
	uv_timer_start(&server->retired_timer, on_retired_timer, ENDPOINT_RETIRED_MS, 0);
}

/* Closes the retired sockets after all workers have closed them. */
static void change_close(struct server *server)
{
	server->change.phase = CHANGE_NONE;
	/*
	 * A hand-over needs the sockets in the store, and forgetting an old socket would remove new
	 * ones of the same name. The next process closes the old sockets.
	 */
	if (server->phase == SERVER_HANDING_OVER)
		return;
	close_retired(server);
	if (server->phase == SERVER_RUNNING)
		store_sync(&server->sockets.endpoints);
	if (server->reload.again)
		reload_request(server);
}

bool server_applied(struct server *server, int *ret_error)
{
	struct change *change = &server->change;
	bool ends = server->phase != SERVER_STARTING && server->phase != SERVER_RUNNING;

	switch (change->phase) {
	case CHANGE_OPENING:
		if (!ends) {
			change_decide(server, atomic_load(&server->open_error));
			return false;
		}
		/* the workers drop their plans themselves; new sockets are closed later */
		change->phase = CHANGE_NONE;
		*ret_error = UV_ECANCELED;
		return true;
	case CHANGE_UNDOING:
		takeover_finish(&server->takeover);
		socket_set_rollback(&server->sockets);
		change->phase = CHANGE_NONE;
		*ret_error = change->error;
		return true;
	case CHANGE_APPLYING:
		change_retire(server);
		*ret_error = 0;
		return true;
	case CHANGE_CLOSING:
		change_close(server);
		return false;
	case CHANGE_NONE:
	case CHANGE_RETIRING:
		break;
	}
	return false;
}

bool server_is_changing(const struct server *server)
{
	return server->change.phase != CHANGE_NONE;
}
