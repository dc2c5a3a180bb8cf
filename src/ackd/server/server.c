/*
 * The normal sequence: prepare -> log thread -> workers -> limits -> bind -> plans applied -> ready
 * -> SIGTERM -> workers drain -> their threads end -> stop. A failure before the daemon is ready
 * leads directly to the end, with an exit status for the kind of failure. Signals are caught from
 * the beginning and handled when the loop runs, which it also does while a configuration is
 * prepared.
 */

#include "ackd/server/server.h"
#include "ackd/sockets/store.h"
#include "base/plural.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_STOP_MS 2000

enum exit_status exit_status_of(int error)
{
	switch (error) {
	case 0:
		return EXIT_DONE;
	case -EINVAL:
		return EXIT_CONFIG;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -ECANCELED:
		return EXIT_OS;
	default:
		return EXIT_UNAVAILABLE;
	}
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
		reload_request(server);
		break;
	case SIGUSR1:
		report_stats();
		break;
	default:
		server_end(server, signum);
		break;
	}
}

static void on_control_request(void *data)
{
	struct server *server = data;

	if (server->phase == SERVER_RUNNING)
		reload_request(server);
	else
		control_drop(&server->control);
}

/* ---- events from workers ---- */

static void on_worker_done(void *data, struct worker *worker, unsigned order, int status)
{
	struct server *server = data;

	if (order == WORKER_OPEN || order == WORKER_APPLY || order == WORKER_FORGET ||
	    order == WORKER_CLOSE) {
		if (status < 0)
			atomic_store(&server->open_error, status);
		atomic_fetch_add(&server->n_applied, 1);
	} else if (order == WORKER_HAND_OVER) {
		atomic_fetch_add(&server->n_handed_over, 1);
	} else if (order == WORKER_DRAIN) {
		atomic_fetch_add(&server->n_not_accepting, 1);
	} else {
		atomic_fetch_add(&server->n_ended, 1);
	}
	uv_async_send(&server->async);
}

static void server_ready(struct server *server)
{
	server->phase = SERVER_RUNNING;
	server_drop_counters(server);
	log_post(LOG_READY, NULL, "ready: %u worker%s", server->n_workers,
		 plural(server->n_workers));
	log_notify("READY=1");
	report_start(server);
	control_accept(&server->control);
	if (server->end_signal)
		server_end(server, server->end_signal);
	else if (server->reload.again)
		reload_request(server);
}

/* Continues the change after all workers have completed a step. */
static void server_step(struct server *server)
{
	int error;

	if (!server_applied(server, &error))
		return;
	if (server->reload.running) {
		reload_applied(server, error);
	} else if (server->phase == SERVER_STARTING && error == 0) {
		server_ready(server);
	} else if (server->phase == SERVER_STARTING) {
		server->start_error = error;
		server_stop(server);
	}
}

static void on_news(uv_async_t *async)
{
	struct server *server = async->data;
	/*
	 * Read in the reverse of the order in which workers write. The last event of all workers
	 * must not be seen without their earlier ones, because no further wake-up follows.
	 */
	bool all_ended = atomic_load(&server->n_ended) == server->n_workers;
	bool nobody_accepts = atomic_load(&server->n_not_accepting) == server->n_workers;

	if (atomic_load(&server->n_applied) == server->n_workers) {
		atomic_store(&server->n_applied, 0);
		server_step(server);
	}
	if (nobody_accepts) {
		/* closes the sockets: new connections are refused instead of waiting */
		atomic_store(&server->n_not_accepting, 0);
		socket_set_close_listeners(&server->sockets);
	}
	server_hand_over_next(server);
	if (all_ended) {
		reload_cancel(server);
		server_close_handles(server);
	}
}

static void on_prepared(uv_async_t *async)
{
	reload_prepared(async->data); /* server_prepare() handles the preparation of the start */
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

static int server_start_workers(struct server *server)
{
	server->n_workers = server->config->workers;
	if (server->n_workers == 0)
		server->n_workers = uv_available_parallelism();
	server->workers =
		aligned_alloc(STATS_CACHE_LINE, server->n_workers * sizeof(struct worker));
	server->turns = calloc(server->n_workers, sizeof(*server->turns));
	if (!server->workers || !server->turns || report_init(server) < 0)
		return -ENOMEM;
	stats_init(server->n_workers);
	for (unsigned i = 0; i < server->n_workers; i++) {
		struct worker *worker = &server->workers[i];
		int r = worker_init(worker, i, &server->limits, server->config->busy_poll_us,
				    on_worker_done, server);

		if (r < 0)
			return r;
		r = worker_start(worker);
		if (r < 0) {
			worker_finish(worker);
			return r;
		}
		server->n_started++;
	}
	return 0;
}

/*
 * Creates the sockets that were not passed, and applies the configuration. The hand-over leaves the
 * store only after all addresses are bound: if binding fails, a later start can still restore the
 * connections.
 */
static int server_begin(struct server *server, const struct candidate *candidate, FILE *errors)
{
	int r = server_bind(server, candidate, errors);

	if (r < 0)
		return r;
	server_take_over(server);
	return server_apply(server, candidate);
}

/*
 * Reads the configuration like candidate_read() while the loop runs. A signal that arrives before
 * the end of the preparation ends the start with UV_ECANCELED.
 */
static int server_prepare(struct server *server, FILE *errors, struct candidate **ret_candidate)
{
	struct candidate_job *job;
	char *lines;
	int r = candidate_job_begin(server->path, server->port, &server->prepared, &job);

	if (r < 0)
		return r;
	while (server->phase == SERVER_STARTING && !candidate_job_is_done(job))
		uv_run(&server->loop, UV_RUN_ONCE);
	uv_run(&server->loop, UV_RUN_NOWAIT); /* signals that arrived with the last event */
	if (server->phase != SERVER_STARTING) {
		candidate_job_abandon(job);
		return UV_ECANCELED;
	}
	r = candidate_job_take(job, ret_candidate, &lines);
	if (lines)
		fputs(lines, errors);
	free(lines);
	return r;
}

/* Performs the start up to the loop. Errors are written to @errors as lines. */
static int server_start(struct server *server, FILE *errors)
{
	struct candidate *candidate;
	int r = server_prepare(server, errors, &candidate);

	server->exit_status = exit_status_of(r);
	if (r < 0)
		return r;
	server->config = config_ref(candidate->config);
	r = server_adopt(server, errors);
	server->exit_status = r == -EINVAL ? EXIT_CONFIG : EXIT_OS;
	if (r == 0)
		r = log_start(server->config->log_level, server->config->log_target);
	if (r == 0)
		r = limits_init(&server->limits, server->config->max_memory_bytes);
	if (r == 0) {
		log_post(LOG_START, NULL, "ackd %s, configuration: %s", ACKD_VERSION,
			 server->config->path ? server->config->path : "built-in defaults");
		control_init(&server->control, &server->loop, on_control_request, server);
		r = server_start_workers(server);
	}
	if (r == 0) {
		r = server_begin(server, candidate, errors);
		server->exit_status = r < 0 ? exit_status_of(r) : EXIT_OS;
	}
	candidate_destroy(candidate);
	return r;
}

/* Releases everything that server_start() created, after joining the workers' threads. */
static void server_finish(struct server *server)
{
	for (unsigned i = 0; i < server->n_started; i++)
		worker_join(&server->workers[i]);
	free(server->workers);
	free(server->turns);
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

enum exit_status server_run(const char *path, int port)
{
	struct server *server = calloc(1, sizeof(*server));
	char *errors = NULL;
	size_t errors_length = 0;
	FILE *stream = open_memstream(&errors, &errors_length);
	enum exit_status status = EXIT_OS;
	int r = server && stream ? server_take_passed(server, stream) : UV_ENOMEM;

	if (r == 0)
		r = uv_loop_init(&server->loop);
	if (r < 0) {
		status = r == -EINVAL ? EXIT_CONFIG : EXIT_OS;
		goto out;
	}
	server->exit_status = EXIT_OS;
	socket_set_init(&server->sockets);
	server->path = path;
	server->port = port;
	r = server_init_handles(server);
	if (r == 0)
		r = server_start(server, stream);
	if (r < 0) {
		server_stop(server);
		if (server->n_started == 0)
			server_close_handles(server);
		server->n_workers = server->n_started;
	}
	uv_run(&server->loop, UV_RUN_DEFAULT);
	if (r == UV_ECANCELED)
		r = 0; /* a signal ended the start */
	if (r == 0)
		r = server->start_error;
	status = r == 0 ? EXIT_DONE : server->exit_status;
	server_finish(server);
out:
	if (stream)
		fclose(stream);
	if (r < 0 && errors)
		report_lines(LOG_STOP, errors, UINT32_MAX);
	log_post_at(r < 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, LOG_STOP, NULL,
		    r < 0 ? "cannot start: %s" : "%s",
		    r == 0	   ? "stopped"
		    : r == -EINVAL ? "error in the configuration"
				   : uv_strerror(r));
	log_stop(LOG_STOP_MS);
	free(errors);
	free(server);
	return status;
}
