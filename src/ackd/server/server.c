/*
 * The normal sequence: prepare -> log thread -> workers -> limits -> bind -> plans applied -> ready
 * -> SIGTERM -> workers drain -> their threads end -> stop. A failure before the daemon is ready
 * leads directly to the end, with an exit status for the kind of failure. Signals are caught from
 * the beginning and handled when the loop runs, which it also does while a configuration is
 * prepared.
 */

#include "ackd/server/internal.h"

#include "base/plural.h"
#include "loop/parallelism.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_STOP_MS 2000

/* ---- states ---- */

const struct state_row server_states[] = {
	[SERVER_STARTING] = {"starting", STATES_BIT(SERVER_RUNNING) | STATES_BIT(SERVER_STOPPING)},
	[SERVER_RUNNING] = {"running", STATES_BIT(SERVER_DELAYING) | STATES_BIT(SERVER_DRAINING) |
					       STATES_BIT(SERVER_HANDING_OVER)},
	[SERVER_DELAYING] = {"waiting to drain", STATES_BIT(SERVER_DRAINING)},
	[SERVER_DRAINING] = {"draining", STATES_BIT(SERVER_STOPPING)},
	[SERVER_HANDING_OVER] = {"handing over", 0},
	[SERVER_STOPPING] = {"stopping", 0},
};

bool server_is_up(const struct server *server)
{
	return states_in(server->state, STATES_BIT(SERVER_STARTING) | STATES_BIT(SERVER_RUNNING));
}

void server_check_invariant(const struct server *server)
{
	const struct change *change = &server->change;

	assert((change->state == CHANGE_READING) == !!change->job);
	assert((change->state == CHANGE_APPLYING) == !!change->done);
	if (server->state == SERVER_STARTING)
		assert(states_in(change->state,
				 STATES_BIT(CHANGE_NONE) | STATES_BIT(CHANGE_APPLYING)));
	else if (server->state != SERVER_STOPPING)
		assert(server->config);
	if (server->state == SERVER_HANDING_OVER)
		assert(server->handing_over <= server->n_workers);
}

/* ---- failures ---- */

struct failure failure_of_preparation(int r)
{
	switch (r) {
	case 0:
		return (struct failure){FAILURE_NONE, 0};
	case -EINVAL:
		return (struct failure){FAILURE_CONFIG, r};
	case -EADDRNOTAVAIL:
		return (struct failure){FAILURE_ADDRESS, r};
	case UV_ECANCELED:
		return (struct failure){FAILURE_CANCELED, r};
	default:
		return (struct failure){FAILURE_OS, r};
	}
}

struct failure failure_of_change(int r)
{
	switch (r) {
	case 0:
		return (struct failure){FAILURE_NONE, 0};
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
		return (struct failure){FAILURE_OS, r};
	case UV_ECANCELED:
		return (struct failure){FAILURE_CANCELED, r};
	default:
		return (struct failure){FAILURE_ADDRESS, r};
	}
}

enum exit_status exit_status_of(const struct failure *failure)
{
	static const enum exit_status statuses[] = {
		[FAILURE_NONE] = EXIT_DONE,	      [FAILURE_CONFIG] = EXIT_CONFIG,
		[FAILURE_ADDRESS] = EXIT_UNAVAILABLE, [FAILURE_OS] = EXIT_OS,
		[FAILURE_CANCELED] = EXIT_OS,
	};

	return statuses[failure->kind];
}

const char *failure_text(const struct failure *failure)
{
	return failure->kind == FAILURE_CONFIG ? "error in the configuration"
					       : uv_strerror(failure->error);
}

/* ---- workers ---- */

void server_order(struct server *server, enum worker_order order)
{
	for (unsigned i = 0; i < server->n_workers; i++)
		worker_order(&server->workers[i], order);
}

bool server_has_done(const struct server *server, enum worker_order order)
{
	for (unsigned i = 0; i < server->n_workers; i++)
		if (!worker_has_done(&server->workers[i], order))
			return false;
	return true;
}

bool server_workers_are_in(const struct server *server, uint32_t phases)
{
	for (unsigned i = 0; i < server->n_workers; i++)
		if (!worker_is_in(&server->workers[i], phases))
			return false;
	return true;
}

/* ---- the end ---- */

static const int signums[SERVER_N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

static void close_handle(uv_handle_t *handle, void *data)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/*
 * Ends the loop. Blocks the signals first: the default action of a late signal would make an
 * orderly end look like a crash.
 */
static void server_close_handles(struct server *server)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < SERVER_N_SIGNALS; i++)
		sigaddset(&signals, signums[i]);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	uv_walk(&server->loop, close_handle, NULL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct server *server = handle->data;

	switch (signum) {
	case SIGHUP:
		if (server_is_up(server))
			reload_request(server);
		else
			server_ignore(server, signum);
		break;
	case SIGUSR1:
		report_stats(server);
		break;
	default:
		server_end(server, signum);
		break;
	}
	server_check_invariant(server);
}

static void on_control_request(void *data)
{
	struct server *server = data;

	if (server->state == SERVER_RUNNING)
		reload_request(server);
	else
		control_drop(&server->control);
}

/* Called by workers, in their threads. */
static void on_worker_news(void *data)
{
	struct server *server = data;

	uv_async_send(&server->async);
}

static void on_news(uv_async_t *async)
{
	struct server *server = async->data;
	/* read first: after this phase no news follow, so what came before must be handled below */
	bool ended = server_workers_are_in(server, STATES_BIT(WORKER_ENDED));

	change_continue(server);
	if (server->state == SERVER_DRAINING && server_workers_are_in(server, WORKER_LEAVES)) {
		/* new connections are refused instead of waiting */
		socket_set_close_listeners(&server->sockets);
	}
	server_hand_over_next(server);
	if (ended) {
		reload_cancel(server);
		server_close_handles(server);
	}
	server_check_invariant(server);
}

static void on_prepared(uv_async_t *async)
{
	struct server *server = async->data;

	reload_continue(server); /* server_prepare() waits for the configuration of the start */
	server_check_invariant(server);
}

/* ---- the beginning ---- */

static int server_init_handles(struct server *server)
{
	uv_timer_t *timers[] = {&server->status_timer, &server->watchdog_timer,
				&server->drain_timer, &server->retired_timer};
	int r = uv_async_init(&server->loop, &server->async, on_news);

	if (r == 0)
		r = uv_async_init(&server->loop, &server->prepared, on_prepared);
	if (r < 0)
		return r;
	server->async.data = server;
	server->prepared.data = server;
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		uv_timer_init(&server->loop, timers[i]);
		timers[i]->data = server;
	}
	for (size_t i = 0; i < SERVER_N_SIGNALS && r == 0; i++) {
		r = uv_signal_init(&server->loop, &server->signals[i]);
		if (r < 0)
			break;
		server->signals[i].data = server;
		r = uv_signal_start(&server->signals[i], on_signal, signums[i]);
	}
	return r;
}

int server_init(struct server *server, const struct config_source *source)
{
	int r = uv_loop_init(&server->loop);

	if (r < 0)
		return r;
	socket_set_init(&server->sockets);
	server->source = source;
	server->started_s = server->reloaded_s = wall_clock_s();
	server->has_reloaded = true;
	r = server_init_handles(server);
	if (r < 0) {
		server_close_handles(server);
		uv_run(&server->loop, UV_RUN_DEFAULT);
		uv_loop_close(&server->loop);
	}
	return r;
}

int server_reserve_workers(struct server *server, unsigned n)
{
	server->workers = aligned_alloc(STATS_CACHE_LINE, n * sizeof(struct worker));
	if (!server->workers || report_init(server, n) < 0)
		return -ENOMEM;
	stats_init(n);
	return 0;
}

int server_add_worker(struct server *server)
{
	int r = worker_init(&server->workers[server->n_workers], server->n_workers, &server->limits,
			    server->config->busy_poll_us, on_worker_news, server);

	if (r == 0)
		server->n_workers++;
	return r;
}

static int server_start_workers(struct server *server)
{
	unsigned n = server->config->workers ? server->config->workers : parallelism();
	int r = server_reserve_workers(server, n);

	while (r == 0 && server->n_workers < n) {
		r = server_add_worker(server);
		if (r < 0)
			break;
		r = worker_start(&server->workers[server->n_workers - 1]);
		if (r < 0)
			worker_finish(&server->workers[--server->n_workers]);
	}
	return r;
}

/* Called when all workers have applied the configuration of the start. */
static void server_ready(struct server *server)
{
	if (server->state != SERVER_STARTING)
		return;
	states_move(server_states, &server->state, SERVER_RUNNING);
	server_drop_counters(server);
	log_post(LOG_READY, NULL, "ready: %u worker%s", server->n_workers,
		 plural(server->n_workers));
	log_notify("READY=1");
	report_start(server);
	control_accept(&server->control);
	if (server->end_signal)
		server_end(server, server->end_signal);
	else if (server->change.again)
		reload_request(server);
}

/* Handles the signals that have arrived. Returns whether one of them ends the daemon. */
static bool start_is_canceled(struct server *server)
{
	uv_run(&server->loop, UV_RUN_NOWAIT);
	return server->end_signal || server->state != SERVER_STARTING;
}

/*
 * Creates the sockets that were not passed, and applies the configuration. The hand-over leaves the
 * store only after all addresses are bound: if binding fails or a signal ends the start, a later
 * start can still restore the connections.
 */
static int server_begin(struct server *server, const struct candidate *candidate, FILE *errors)
{
	int r = change_bind(server, candidate, errors);

	if (r < 0)
		return r;
	if (!start_is_canceled(server))
		server_take_over(server);
	else if (server->state == SERVER_STARTING)
		server_stop(server);
	if (server->state != SERVER_STARTING) {
		change_undo(server);
		return UV_ECANCELED;
	}
	return change_commit(server, candidate, server_ready);
}

/*
 * Reads the configuration like candidate_read() while the loop runs. A signal that arrives before
 * the end of the preparation ends the start with UV_ECANCELED.
 */
static int server_prepare(struct server *server, FILE *errors, struct candidate **ret_candidate)
{
	struct candidate_job *job;
	char *lines;
	int r = candidate_job_begin(server->source, &server->prepared, &job);

	if (r < 0)
		return r;
	while (server->state == SERVER_STARTING && !candidate_job_is_done(job))
		uv_run(&server->loop, UV_RUN_ONCE);
	if (start_is_canceled(server)) {
		candidate_job_abandon(job);
		return UV_ECANCELED;
	}
	r = candidate_job_take(job, ret_candidate, &lines);
	if (lines)
		fputs(lines, errors);
	free(lines);
	return r;
}

/* Starts everything that works for the configuration in effect. */
static int server_start_services(struct server *server)
{
	int r = log_start();

	if (r == 0)
		r = limits_init(&server->limits, server->config->max_memory_bytes);
	if (r < 0)
		return r;
	log_post(LOG_START, NULL, "ackd %s, configuration: %s", ACKD_VERSION,
		 server->config->path ? server->config->path : "built-in defaults");
	control_init(&server->control, &server->loop, on_control_request, server);
	return server_start_workers(server);
}

/* Performs the start up to the loop. Errors are written to @errors as lines. */
static struct failure server_start(struct server *server, FILE *errors)
{
	struct failure failure;
	struct candidate *candidate;
	int r = server_prepare(server, errors, &candidate);

	if (r < 0)
		return failure_of_preparation(r);
	server->config = config_ref(candidate->config);
	log_configure(&server->config->log);
	r = server_adopt(server, errors);
	if (r == -EINVAL) {
		failure = (struct failure){FAILURE_CONFIG, r};
		goto out;
	}
	if (r == 0)
		r = server_start_services(server);
	if (r < 0)
		failure = (struct failure){FAILURE_OS, r};
	else
		failure = failure_of_change(server_begin(server, candidate, errors));
out:
	candidate_destroy(candidate);
	return failure;
}

void server_finish(struct server *server)
{
	for (unsigned i = 0; i < server->n_workers; i++)
		worker_finish(&server->workers[i]);
	free(server->workers);
	free(server->counters);
	report_finish(server);
	socket_set_finish(&server->sockets);
	control_finish(&server->control);
	takeover_finish(&server->takeover);
	server_close_passed(server);
	limits_finish(&server->limits);
	stats_finish();
	config_unref(server->config);
	uv_loop_close(&server->loop);
}

/* Starts, and runs the loop until the daemon ends. Errors are written to @errors as lines. */
static struct failure server_serve(struct server *server, FILE *errors)
{
	struct failure failure = server_start(server, errors);

	if (failure.kind != FAILURE_NONE) {
		server_stop(server);
		if (server->n_workers == 0)
			server_close_handles(server);
	}
	uv_run(&server->loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < server->n_workers; i++)
		worker_join(&server->workers[i]);
	server_finish(server);
	if (failure.kind == FAILURE_CANCELED)
		return (struct failure){FAILURE_NONE, 0};
	return failure;
}

enum exit_status server_run(const struct config_source *source)
{
	struct server *server = calloc(1, sizeof(*server));
	struct failure failure = {FAILURE_OS, -ENOMEM};
	char *errors = NULL;
	size_t errors_length = 0;
	FILE *stream = open_memstream(&errors, &errors_length);
	struct log_settings log;

	if (config_load_log(source, &log) == 0)
		log_configure(&log);
	if (server && stream)
		failure = server_take_passed(server, stream);
	if (failure.kind == FAILURE_NONE) {
		int r = server_init(server, source);

		failure = r < 0 ? (struct failure){FAILURE_OS, r} : server_serve(server, stream);
	}
	if (stream)
		fclose(stream);
	if (failure.kind == FAILURE_NONE) {
		log_post(LOG_STOP, NULL, "stopped");
	} else {
		if (errors)
			report_lines(LOG_STOP, errors, UINT32_MAX);
		log_post_at(LOG_LEVEL_ERROR, LOG_STOP, NULL, "cannot start: %s",
			    failure_text(&failure));
	}
	log_stop(LOG_STOP_MS);
	free(errors);
	free(server);
	return exit_status_of(&failure);
}
