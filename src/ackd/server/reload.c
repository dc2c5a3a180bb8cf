/*
 * Reloads the configuration of a running daemon. The normal sequence: SIGHUP -> read (in a
 * separate thread) -> put into effect (apply.c) -> report. A failure changes nothing. The end of
 * the daemon waits for the workers, never for that thread.
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

static const struct failure canceled = {FAILURE_CANCELED, UV_ECANCELED};

static void reload_end(struct server *server, struct failure failure)
{
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
	if (server->state != SERVER_RUNNING)
		return;
	states_move(change_states, &change->state, CHANGE_READING);
	control_hold(&server->control); /* later requests are answered by the next reload */
	log_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
	r = candidate_job_begin(server->path, server->port, &server->prepared, &change->job);
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
