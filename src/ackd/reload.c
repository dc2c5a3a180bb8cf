/*
 * Puts configurations into effect. The happy path of a reload: SIGHUP -> prepare (in a thread of
 * its own) -> bind -> a plan to each worker -> all have applied it -> what is not needed any more
 * is closed. The end of the daemon waits for the workers, never for that thread.
 *
 * Until the plans are sent, a failure changes nothing: new sockets are closed again, and the reload
 * ends with the error. The plans bring all the memory that it takes to apply them. A worker whose
 * loop the kernel refuses a new socket keeps what it had; then nothing is closed, and the next
 * reload tries again.
 */

#include "ackd/control.h"
#include "ackd/server.h"
#include "ackd/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Descriptors that a worker's loop and the rest of the process need, beside connections. */
#define RESERVE_PER_WORKER 8
#define RESERVE 64

/* So many errors leave room in the log's ring for what they amount to. */
#define RELOAD_LINES_MAX 100

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

/* Worker @w serves socket s if s mod workers = w; sockets that are fewer than workers are shared.
 */
static bool serves(const struct server *server, unsigned w, unsigned s, unsigned n_fds)
{
	return n_fds >= server->n_workers ? s % server->n_workers == w : w % n_fds == s;
}

static struct worker_plan *plan_create(struct server *server, struct config *config,
				       const struct bound *bound, unsigned w)
{
	struct worker_plan *plan;
	size_t n = 0;

	for (size_t i = 0; i < bound->n; i++)
		n += bound->items[i].binding->n_fds;
	plan = worker_plan_create(config, server->counters, n);
	if (!plan)
		return NULL;
	for (size_t i = 0; i < bound->n; i++) {
		const struct binding *b = bound->items[i].binding;

		for (unsigned s = 0; s < b->n_fds; s++)
			if (serves(server, w, s, b->n_fds))
				plan->sockets[plan->n_sockets++] = (struct worker_socket){
					.fd = b->fds[s],
					.passed = b->passed,
					.listener = bound->items[i].listener,
				};
	}
	return plan;
}

static size_t listener_index(const struct config *config, const char *name)
{
	size_t i = 0;

	while (i < config->n_listeners && strcmp(config->listeners[i].name, name) != 0)
		i++;
	return i;
}

static void count_not_restored(const struct state_connection *state)
{
	struct counters *counters = stats_listener(state->listener);
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = state->listener,
		.peer = address_format(&state->address, peer),
		.reason = "the listener is not in the configuration any more",
		.has = LOG_HAS_CONNECTION,
		.connection = state->connection,
	};

	if (counters)
		counter_add(&counters->closed, 1);
	log_post_at(LOG_LEVEL_WARNING, LOG_RESTORE, &fields,
		    "%s: connection %" PRIu64 " from %s closed: %s", fields.listener,
		    fields.connection, peer, fields.reason);
}

/* Gives the workers the connections that were handed over, in turn. */
static int plan_restored(struct server *server, struct worker_plan **plans,
			 const struct config *config)
{
	struct takeover *takeover = &server->takeover;
	size_t per_worker = takeover->n_fds / server->n_workers + 1;
	struct state_connection state;
	unsigned w = 0;

	for (unsigned i = 0; i < server->n_workers && takeover->n_fds > 0; i++) {
		plans[i]->restored = calloc(per_worker, sizeof(*plans[i]->restored));
		if (!plans[i]->restored)
			return -ENOMEM;
	}
	for (size_t i = 0; i < takeover->n_fds && state_next(&takeover->reader, &state); i++) {
		struct worker_plan *plan = plans[w];
		size_t listener = listener_index(config, state.listener);

		if (listener == config->n_listeners) {
			count_not_restored(&state);
			continue;
		}
		plan->restored[plan->n_restored++] = (struct worker_restored){
			.fd = takeover->fds[i], .listener = listener, .state = state};
		takeover->fds[i] = -1;
		w = (w + 1) % server->n_workers;
	}
	return 0;
}

static int send_plans(struct server *server, struct config *config, const struct bound *bound)
{
	struct worker_plan **plans = calloc(server->n_workers, sizeof(struct worker_plan *));
	int r = plans ? prepare_counters(server, config) : -ENOMEM;

	for (unsigned w = 0; w < server->n_workers && r == 0; w++) {
		plans[w] = plan_create(server, config, bound, w);
		if (!plans[w])
			r = -ENOMEM;
	}
	if (r == 0)
		r = plan_restored(server, plans, config);
	for (unsigned w = 0; plans && w < server->n_workers; w++) {
		if (r == 0)
			worker_apply(&server->workers[w], plans[w]);
		else
			worker_plan_destroy(plans[w]);
	}
	free(plans);
	return r;
}

/* ---- sockets ---- */

static void binding_rename(struct binding *binding, const char *name)
{
	char *copy;

	if (strcmp(binding->listener, name) == 0)
		return;
	copy = strdup(name);
	if (!copy)
		return; /* the next reload prefers another name's address, that is all */
	free(binding->listener);
	binding->listener = copy;
}

/*
 * Makes @bound the server's sockets; those that were and are not any more become the unwanted ones,
 * which may be closed only once no worker accepts from them.
 */
static void take_sockets(struct server *server, const struct config *config, struct bound *bound)
{
	bound_take(bound, &server->bindings, &server->unwanted);
	for (size_t i = 0; i < bound->n; i++)
		binding_rename(bound->items[i].binding,
			       config->listeners[bound->items[i].listener].name);
}

void server_log_listening(const struct bound *bound, bool all)
{
	for (size_t i = 0; i < bound->n; i++) {
		const struct binding *b = bound->items[i].binding;
		char text[ADDRESS_TEXT_MAX];
		struct log_fields fields = {
			.listener = b->listener,
			.address = sockaddr_format((const struct sockaddr *)&b->bound, text),
		};

		if (bound->items[i].is_new || all)
			log_post(LOG_LISTEN, &fields, "%s: listening on %s", b->listener, text);
	}
}

int server_apply(struct server *server, struct config *config, struct bound *bound)
{
	int r;

	atomic_store(&server->n_applied, 0);
	atomic_store(&server->apply_error, 0);
	r = send_plans(server, config, bound);
	if (r == 0) {
		take_sockets(server, config, bound);
		server_log_listening(bound, server->phase == SERVER_STARTING);
	}
	bound_finish(bound, r < 0);
	return r;
}

int server_applied(struct server *server)
{
	int error = atomic_load(&server->apply_error);

	takeover_finish(&server->takeover);
	while (error == 0 && server->unwanted) {
		struct binding *next = server->unwanted->next;

		store_forget(server->unwanted, server->bindings);
		binding_destroy(server->unwanted);
		server->unwanted = next;
	}
	/* once the end has begun nobody is to connect to a socket that only the store holds */
	if (error == 0 && server->phase != SERVER_DRAINING && server->phase != SERVER_STOPPING)
		store_sync(server->bindings);
	return error;
}

void server_configure_limits(struct server *server, const struct config *config)
{
	uint64_t reserve = RESERVE + LIMITS_REFUSALS_MAX +
			   (config->metrics_address ? METRICS_CONNECTIONS_MAX : 0) +
			   server->n_workers * (RESERVE_PER_WORKER + 2 * config->n_listeners);
	uint64_t max = limits_configure(&server->limits, config->max_connections,
					config->max_connections_per_address, reserve);

	budget_set_max(&server->limits.budget, config->max_memory_bytes);
	if (max < config->max_connections)
		log_post_at(LOG_LEVEL_NOTICE, LOG_START, NULL,
			    "limits.max_connections is %" PRIu64 " instead of %" PRIu64
			    ": the descriptor limit allows no more",
			    max, config->max_connections);
	log_post(LOG_START, NULL,
		 "worst case: %" PRIu64 " connections of %zu bytes, holding %zu KiB together; "
		 "%u workers of %zu KiB",
		 max, sizeof(struct conn), config->max_memory_bytes / 1024, server->n_workers,
		 (TURN_BUFFER_BYTES + SESSION_AREA_BYTES) / 1024);
}

/* ---- reload ---- */

static void reload_begin(struct server *server);

static void reload_end(struct server *server, int status)
{
	struct reload *reload = &server->reload;

	if (status < 0) {
		server->reloads_failed++;
		if (reload->errors)
			report_lines(LOG_RELOAD_FAILED, reload->errors, RELOAD_LINES_MAX);
		log_post(LOG_RELOAD_FAILED, NULL,
			 "reload failed: %s; the configuration in force stays",
			 status == -EINVAL ? "error in the configuration" : uv_strerror(status));
	} else {
		server->reloads_done++;
		log_post(LOG_RELOAD, NULL, "reloaded the configuration");
	}
	free(reload->errors);
	reload->errors = NULL;
	setup_destroy(reload->setup);
	reload->setup = NULL;
	reload->running = false;
	if (server->phase == SERVER_RUNNING) {
		log_notify("READY=1");
		report_status(server);
	}
	control_report(reload->begun_us, exit_status_of(status));
	if (reload->again)
		reload_begin(server);
}

static void on_needs_restart(void *data, const char *setting)
{
	log_post_at(LOG_LEVEL_NOTICE, LOG_RELOAD, NULL, "%s has changed: that needs a restart",
		    setting);
}

void reload_applied(struct server *server, int error)
{
	struct config *config = server->reload.setup->config;

	if (error == 0) {
		config_diff_restart(server->config, config, on_needs_restart, NULL);
		config_unref(server->config);
		server->config = config_ref(config);
		server_configure_limits(server, config);
		log_configure(config->log_level, config->log_target);
	}
	reload_end(server, error);
}

static int reload_bind(struct server *server)
{
	struct reload *reload = &server->reload;
	struct bound bound;
	size_t errors_length;
	FILE *errors;
	int r;

	free(reload->errors);
	reload->errors = NULL;
	errors = open_memstream(&reload->errors, &errors_length);
	if (!errors)
		return -ENOMEM;
	r = setup_bind(reload->setup, server->bindings,
		       store_share(reload->setup, server->n_workers), errors, &bound);
	if (r == 0) {
		r = report_metrics(server, reload->setup, errors);
		if (r < 0)
			bound_finish(&bound, true);
	}
	fclose(errors);
	return r < 0 ? r : server_apply(server, reload->setup->config, &bound);
}

void reload_prepared(struct server *server)
{
	struct reload *reload = &server->reload;
	int r;

	if (!reload->preparation || !preparation_is_done(reload->preparation))
		return;
	r = preparation_take(reload->preparation, &reload->setup, &reload->errors);
	reload->preparation = NULL;
	if (r == 0 && server->phase != SERVER_RUNNING)
		r = UV_ECANCELED; /* a signal to end came meanwhile */
	if (r == 0)
		r = reload_bind(server);
	if (r < 0)
		reload_end(server, r);
}

void reload_cancel(struct server *server)
{
	if (!server->reload.preparation)
		return;
	preparation_abandon(server->reload.preparation);
	server->reload.preparation = NULL;
	reload_end(server, UV_ECANCELED);
}

static void reload_begin(struct server *server)
{
	struct reload *reload = &server->reload;
	int r;

	reload->again = false;
	if (server->phase != SERVER_RUNNING)
		return;
	reload->running = true;
	reload->begun_us = control_now_us();
	log_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, reload->begun_us);
	r = preparation_begin(server->path, server->port, &server->prepared, &reload->preparation);
	if (r < 0)
		reload_end(server, r);
}

void reload_request(struct server *server)
{
	if (server->reload.running || server->phase == SERVER_STARTING)
		server->reload.again = true;
	else
		reload_begin(server);
}
