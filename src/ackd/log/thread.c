#include "ackd/log/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static void *thread_main(void *data)
{
	struct log_thread *t = data;

	t->run();
	pthread_mutex_lock(&t->mutex);
	t->alive = false;
	pthread_cond_signal(&t->ended);
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

/* Initializes @cond to use CLOCK_MONOTONIC. */
static int cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;
	int r = pthread_condattr_init(&attributes);

	if (r > 0)
		return -r;
	r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
	return -r;
}

int log_thread_start(struct log_thread *t, const char *name, void (*run)(void))
{
	sigset_t all, before;
	int r;

	if (t->state != LOG_THREAD_OFF)
		return -EBUSY;
	r = cond_init(&t->changed);
	if (r < 0)
		return r;
	r = cond_init(&t->ended);
	if (r < 0)
		goto fail_changed;
	t->run = run;
	t->state = LOG_THREAD_ON;
	t->alive = true;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		goto fail_ended;
	pthread_setname_np(t->id, name);
	return 0;

fail_ended:
	t->state = LOG_THREAD_OFF;
	pthread_cond_destroy(&t->ended);
fail_changed:
	pthread_cond_destroy(&t->changed);
	return r;
}

void log_thread_stop(struct log_thread *t)
{
	pthread_mutex_lock(&t->mutex);
	if (t->state == LOG_THREAD_ON) {
		t->state = LOG_THREAD_STOPPING;
		pthread_cond_signal(&t->changed);
	}
	pthread_mutex_unlock(&t->mutex);
}

static struct timespec timespec_of(uint64_t us)
{
	return (struct timespec){
		.tv_sec = (time_t)(us / 1000000),
		.tv_nsec = (long)(us % 1000000) * 1000,
	};
}

void log_thread_join(struct log_thread *t, uint64_t deadline_us)
{
	struct timespec deadline = timespec_of(deadline_us);
	int r = 0;

	pthread_mutex_lock(&t->mutex);
	if (t->state != LOG_THREAD_STOPPING) {
		pthread_mutex_unlock(&t->mutex);
		return;
	}
	while (t->alive && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&t->ended, &t->mutex, &deadline);
	if (t->alive) {
		/* The thread uses @t again if its write ever returns, so nothing is destroyed. */
		t->state = LOG_THREAD_ABANDONED;
		pthread_detach(t->id);
		pthread_mutex_unlock(&t->mutex);
		return;
	}
	t->state = LOG_THREAD_OFF;
	pthread_mutex_unlock(&t->mutex);
	pthread_join(t->id, NULL);
	pthread_cond_destroy(&t->changed);
	pthread_cond_destroy(&t->ended);
}

void log_thread_wait(struct log_thread *t, uint64_t deadline_us)
{
	struct timespec deadline = timespec_of(deadline_us);

	if (deadline_us > 0)
		pthread_cond_timedwait(&t->changed, &t->mutex, &deadline);
	else
		pthread_cond_wait(&t->changed, &t->mutex);
}
