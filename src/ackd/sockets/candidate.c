#include "ackd/sockets/candidate.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* Resolves the addresses of @user. Errors are written to @errors as lines. */
static int resolve_user(struct candidate *candidate, size_t user, FILE *errors)
{
	const struct config_listener *listener = config_user(candidate->config, user);
	const char *why;
	int r = resolve_listener(listener, &candidate->resolved[user], &why);

	if (r < 0)
		fprintf(errors, "listener \"%s\": cannot resolve \"%s\": %s\n", listener->name,
			listener->address, why);
	return r;
}

int candidate_read(const struct config_source *source, FILE *errors,
		   struct candidate **ret_candidate)
{
	struct candidate *candidate = calloc(1, sizeof(*candidate));
	struct config *config;
	int r;

	if (!candidate)
		return -ENOMEM;
	r = config_load(source, errors, &candidate->config);
	if (r < 0)
		goto fail;
	config = candidate->config;
	candidate->resolved = calloc(config->n_listeners + 1, sizeof(*candidate->resolved));
	if (!candidate->resolved)
		r = -ENOMEM;
	for (size_t user = 0; candidate->resolved && user <= config->n_listeners; user++) {
		int resolved = 0;

		if (user < config->n_listeners || config->metrics.address)
			resolved = resolve_user(candidate, user, errors);
		r = resolved < 0 ? resolved : r;
	}
	if (r < 0)
		goto fail;
	*ret_candidate = candidate;
	return 0;

fail:
	candidate_destroy(candidate);
	return r;
}

void candidate_destroy(struct candidate *candidate)
{
	if (!candidate)
		return;
	config_unref(candidate->config);
	free(candidate->resolved);
	free(candidate);
}

/* ---- the thread ---- */

struct candidate_job {
	const struct config_source *source;
	struct candidate *candidate;
	char *errors;
	size_t errors_length;
	int status;
	uv_mutex_t mutex;
	uv_async_t *async; /* protected by the mutex, like @done; NULL: abandoned */
	bool done;
};

static void job_destroy(struct candidate_job *job)
{
	candidate_destroy(job->candidate);
	free(job->errors);
	uv_mutex_destroy(&job->mutex);
	free(job);
}

static void job_run(void *data)
{
	struct candidate_job *job = data;
	FILE *errors = open_memstream(&job->errors, &job->errors_length);
	bool abandoned;

	job->status = -ENOMEM;
	if (errors) {
		job->status = candidate_read(job->source, errors, &job->candidate);
		fclose(errors);
	}
	/* candidate_job_abandon(), after which the async may be closed, must wait for this */
	uv_mutex_lock(&job->mutex);
	job->done = true;
	abandoned = !job->async;
	if (!abandoned)
		uv_async_send(job->async);
	uv_mutex_unlock(&job->mutex);
	if (abandoned)
		job_destroy(job);
}

/*
 * Starts the thread with all signals blocked, because the main thread handles them. Otherwise,
 * after the main thread has abandoned the job and ended its handlers, a signal could trigger the
 * default action in this thread.
 */
static int job_start_thread(struct candidate_job *job)
{
	sigset_t all, before;
	uv_thread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = uv_thread_create(&thread, job_run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_detach(thread);
	return r;
}

int candidate_job_begin(const struct config_source *source, uv_async_t *async,
			struct candidate_job **ret_job)
{
	struct candidate_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return UV_ENOMEM;
	job->source = source;
	job->async = async;
	r = uv_mutex_init(&job->mutex);
	if (r < 0) {
		free(job);
		return r;
	}
	r = job_start_thread(job);
	if (r < 0) {
		job_destroy(job);
		return r;
	}
	*ret_job = job;
	return 0;
}

bool candidate_job_is_done(struct candidate_job *job)
{
	bool done;

	uv_mutex_lock(&job->mutex);
	done = job->done;
	uv_mutex_unlock(&job->mutex);
	return done;
}

int candidate_job_take(struct candidate_job *job, struct candidate **ret_candidate,
		       char **ret_errors)
{
	int status = job->status;

	*ret_candidate = job->candidate;
	*ret_errors = job->errors;
	job->candidate = NULL;
	job->errors = NULL;
	job_destroy(job);
	return status;
}

void candidate_job_abandon(struct candidate_job *job)
{
	bool done;

	if (!job)
		return;
	uv_mutex_lock(&job->mutex);
	job->async = NULL;
	done = job->done;
	uv_mutex_unlock(&job->mutex);
	if (done)
		job_destroy(job);
}
