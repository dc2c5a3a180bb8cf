/*
 * Reloads the configuration of a running daemon. The normal sequence: SIGHUP -> prepare (in a
 * separate thread) -> put into effect (apply.c) -> the settings are those in effect. A failure
 * changes nothing. The end of the daemon waits for the workers, never for that thread.
 */

#include "ackd/server/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/*
 * The most errors that are logged one by one; fewer than the log's ring holds, so that the summary
 * fits.
 */
#define RELOAD_LINES_MAX 100

/* A signal has ended the daemon meanwhile. */
static const struct failure canceled = {FAILURE_OS, UV_ECANCELED};

const struct state_row reload_states[] = {
	[RELOAD_NONE] = {"none", STATES_BIT(RELOAD_PREPARING)},
	[RELOAD_PREPARING] = {"preparing", STATES_BIT(RELOAD_NONE) | STATES_BIT(RELOAD_APPLYING)},
	[RELOAD_APPLYING] = {"applying", STATES_BIT(RELOAD_NONE)},
};

static void reload_end(struct server *server, struct failure failure)
{
	struct reload *reload = &server->reload;

	if (failure.kind != FAILURE_NONE) {
		server->reloads_failed++;
		log_post(LOG_RELOAD_FAILED, NULL,
			 "reload failed: %s; the configuration in force stays",
			 failure_text(&failure));
	} else {
		server->reloads_done++;
		log_post(LOG_RELOAD, NULL, "reloaded the configuration");
	}
	states_move(reload_states, &reload->state, RELOAD_NONE);
	if (server->state == SERVER_RUNNING) {
		server_drop_counters(server);
		log_notify("READY=1");
		report_status(server);
	}
	control_report(&server->control, exit_status_of(&failure));
	control_accept(&server->control);
	if (reload->again)
		reload_request(server);
}

/* Called when all workers have applied the configuration. */
static void reload_applied(struct server *server)
{
	reload_end(server, (struct failure){FAILURE_NONE, 0});
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
	if (r == 0)
		r = change_commit(server, candidate, reload_applied);
	if (r < 0 && lines)
		report_lines(LOG_RELOAD_FAILED, lines, RELOAD_LINES_MAX);
	free(lines);
	return failure_of_change(r);
}

void reload_prepared(struct server *server)
{
	struct reload *reload = &server->reload;
	struct candidate *candidate;
	struct failure failure;
	char *lines;

	if (reload->state != RELOAD_PREPARING || !candidate_job_is_done(reload->job))
		return;
	failure = failure_of_preparation(candidate_job_take(reload->job, &candidate, &lines));
	reload->job = NULL;
	if (failure.kind != FAILURE_NONE && lines)
		report_lines(LOG_RELOAD_FAILED, lines, RELOAD_LINES_MAX);
	else if (failure.kind == FAILURE_NONE && server->state != SERVER_RUNNING)
		failure = canceled;
	else if (failure.kind == FAILURE_NONE)
		failure = reload_apply(server, candidate);
	free(lines);
	candidate_destroy(candidate);
	if (failure.kind == FAILURE_NONE)
		states_move(reload_states, &reload->state, RELOAD_APPLYING);
	else
		reload_end(server, failure);
}

void reload_cancel(struct server *server)
{
	if (server->reload.state != RELOAD_PREPARING)
		return;
	candidate_job_abandon(server->reload.job);
	server->reload.job = NULL;
	reload_end(server, canceled);
}

static void reload_begin(struct server *server)
{
	struct reload *reload = &server->reload;
	int r;

	reload->again = false;
	if (server->state != SERVER_RUNNING)
		return;
	states_move(reload_states, &reload->state, RELOAD_PREPARING);
	control_hold(&server->control); /* later requests are answered by the next reload */
	log_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
	r = candidate_job_begin(server->path, server->port, &server->prepared, &reload->job);
	if (r < 0)
		reload_end(server, (struct failure){FAILURE_OS, r});
}

void reload_request(struct server *server)
{
	if (server->reload.state != RELOAD_NONE || server->change.state != CHANGE_NONE ||
	    server->state == SERVER_STARTING)
		server->reload.again = true;
	else
		reload_begin(server);
}
