#pragma once

/*
 * A candidate: a configuration that has been read and whose addresses have been resolved, but that
 * is not in effect. Nothing has been changed for it.
 *
 * It is read in a separate thread, because reading files and looking up names can take arbitrarily
 * long. The caller may abandon the thread at any time. The thread does not belong to libuv's pool,
 * because libuv ends the process if it cannot start the pool's threads.
 */

#include "ackd/sockets/resolve.h"

#include <stdio.h>
#include <uv.h>

struct candidate {
	struct config *config;
	struct resolved *resolved; /* one per config_user(); without addresses if there are no
				      metrics */
};

/*
 * Reads the configuration (see config_load()) and resolves its addresses. May block. Errors are
 * written to @errors as lines. Returns 0 and gives *@ret_candidate to the caller, -EINVAL for an
 * error in the configuration, -EADDRNOTAVAIL when an address could not be resolved, or another
 * negative errno.
 */
int candidate_read(const struct config_source *source, FILE *errors,
		   struct candidate **ret_candidate);

/* Accepts NULL. */
void candidate_destroy(struct candidate *candidate);

/* A thread that reads a candidate. */
struct candidate_job;

/*
 * Starts a thread for candidate_read(). @source must stay valid for the life of the process. @async
 * is sent when the job is done. Returns 0 and *@ret_job, which must be ended by
 * candidate_job_take() or candidate_job_abandon(), or a libuv error.
 */
int candidate_job_begin(const struct config_source *source, uv_async_t *async,
			struct candidate_job **ret_job);

/* Returns whether @job has succeeded or failed, so that candidate_job_take() may be called. */
bool candidate_job_is_done(struct candidate_job *job);

/*
 * Ends @job, which must be done. Returns the result of candidate_read() and gives the caller
 * *@ret_candidate (NULL after a failure) and the lines *@ret_errors (free(3); NULL when out of
 * memory).
 */
int candidate_job_take(struct candidate_job *job, struct candidate **ret_candidate,
		       char **ret_errors);

/*
 * Abandons @job, done or not, without waiting. Its async is no longer sent. Its thread continues
 * until the look-up returns or the process ends, and uses only its own data. Accepts NULL.
 */
void candidate_job_abandon(struct candidate_job *job);
