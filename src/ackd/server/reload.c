/*
 * Reloads the configuration of a running daemon. The normal sequence: SIGHUP -> prepare (in a
 * separate thread) -> put into effect (apply.c) -> the settings are those in effect. A failure
 * changes nothing. The end of the daemon waits for the workers, never for that thread.
 */

#include "ackd/server/server.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/*
 * The most errors that are logged one by one; fewer than the log's ring holds, so that the summary
 * fits.
 */
#define RELOAD_LINES_MAX 100

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
	candidate_destroy(reload->candidate);
	reload->candidate = NULL;
	reload->running = false;
	if (server->phase == SERVER_RUNNING) {
		server_drop_counters(server);
		log_notify("READY=1");
		report_status(server);
	}
	control_report(&server->control, exit_status_of(status));
	control_accept(&server->control);
	if (reload->again)
		reload_request(server);
}

static void on_needs_restart(void *data, const char *setting)
{
	log_post_at(LOG_LEVEL_NOTICE, LOG_RELOAD, NULL, "%s has changed: that needs a restart",
		    setting);
}

void reload_applied(struct server *server, int error)
{
	struct config *config = server->reload.candidate->config;

	if (error == 0) {
		config_diff_restart(server->config, config, on_needs_restart, NULL);
		config_unref(server->config);
		server->config = config_ref(config);
		log_configure(config->log_level, config->log_target);
	}
	reload_end(server, error);
}

static int reload_bind(struct server *server)
{
	struct reload *reload = &server->reload;
	size_t errors_length;
	FILE *errors;
	int r;

	free(reload->errors);
	reload->errors = NULL;
	errors = open_memstream(&reload->errors, &errors_length);
	if (!errors)
		return -ENOMEM;
	r = server_bind(server, reload->candidate, errors);
	fclose(errors);
	return r < 0 ? r : server_apply(server, reload->candidate);
}

void reload_prepared(struct server *server)
{
	struct reload *reload = &server->reload;
	int r;

	if (!reload->job || !candidate_job_is_done(reload->job))
		return;
	r = candidate_job_take(reload->job, &reload->candidate, &reload->errors);
	reload->job = NULL;
	if (r == 0 && server->phase != SERVER_RUNNING)
		r = UV_ECANCELED; /* a signal has ended the daemon meanwhile */
	if (r == 0)
		r = reload_bind(server);
	if (r < 0)
		reload_end(server, r);
}

void reload_cancel(struct server *server)
{
	if (!server->reload.job)
		return;
	candidate_job_abandon(server->reload.job);
	server->reload.job = NULL;
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
	control_hold(&server->control); /* later requests are answered by the next reload */
	log_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
	r = candidate_job_begin(server->path, server->port, &server->prepared, &reload->job);
	if (r < 0)
		reload_end(server, r);
}

void reload_request(struct server *server)
{
	if (server->reload.running || server->phase == SERVER_STARTING ||
	    server_is_changing(server))
		server->reload.again = true;
	else
		reload_begin(server);
}
