#include "ackd/sockets/preparation.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct preparation {
	const char *path;
	int port;
	struct setup *setup;
	char *errors;
	size_t errors_length;
	int status;
	uv_mutex_t mutex;
	uv_async_t *async; /* protected by the mutex, like @done; NULL: abandoned */
	bool done;
};

static void preparation_destroy(struct preparation *preparation)
{
	setup_destroy(preparation->setup);
	free(preparation->errors);
	uv_mutex_destroy(&preparation->mutex);
	free(preparation);
}

static void preparation_run(void *data)
{
	struct preparation *p = data;
	FILE *errors = open_memstream(&p->errors, &p->errors_length);
	bool abandoned;

	p->status = -ENOMEM;
	if (errors) {
		p->status = setup_prepare(p->path, p->port, errors, &p->setup);
		fclose(errors);
	}
	/* preparation_abandon(), after which the async may be closed, must wait for this */
	uv_mutex_lock(&p->mutex);
	p->done = true;
	abandoned = !p->async;
	if (!abandoned)
		uv_async_send(p->async);
	uv_mutex_unlock(&p->mutex);
	if (abandoned)
		preparation_destroy(p);
}

/*
 * Starts the thread with all signals blocked, because the main thread handles them. Otherwise,
 * after the main thread has abandoned the preparation and ended its handlers, a signal could
 * trigger the default action in this thread.
 */
static int preparation_start_thread(struct preparation *p)
{
	sigset_t all, before;
	uv_thread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = uv_thread_create(&thread, preparation_run, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_detach(thread);
	return r;
}

int preparation_begin(const char *path, int port, uv_async_t *async,
		      struct preparation **ret_preparation)
{
	struct preparation *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return UV_ENOMEM;
	p->path = path;
	p->port = port;
	p->async = async;
	r = uv_mutex_init(&p->mutex);
	if (r < 0) {
		free(p);
		return r;
	}
	r = preparation_start_thread(p);
	if (r < 0) {
		preparation_destroy(p);
		return r;
	}
	*ret_preparation = p;
	return 0;
}

bool preparation_is_done(struct preparation *preparation)
{
	bool done;

	uv_mutex_lock(&preparation->mutex);
	done = preparation->done;
	uv_mutex_unlock(&preparation->mutex);
	return done;
}

int preparation_take(struct preparation *preparation, struct setup **ret_setup, char **ret_errors)
{
	int status = preparation->status;

	*ret_setup = preparation->setup;
	*ret_errors = preparation->errors;
	preparation->setup = NULL;
	preparation->errors = NULL;
	preparation_destroy(preparation);
	return status;
}

void preparation_abandon(struct preparation *preparation)
{
	bool done;

	if (!preparation)
		return;
	uv_mutex_lock(&preparation->mutex);
	preparation->async = NULL;
	done = preparation->done;
	uv_mutex_unlock(&preparation->mutex);
	if (done)
		preparation_destroy(preparation);
}
