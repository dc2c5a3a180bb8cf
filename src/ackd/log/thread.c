#include "ackd/log/thread.h"

#include "base/states.h"
#include "base/thread.h"

#include <errno.h>
#include <signal.h>

static const struct state_row states[] = {
	[LOG_THREAD_OFF] = {"off", STATES_BIT(LOG_THREAD_ON)},
	[LOG_THREAD_ON] = {"on", STATES_BIT(LOG_THREAD_STOPPING) | STATES_BIT(LOG_THREAD_OFF)},
	[LOG_THREAD_STOPPING] = {"stopping",
				 STATES_BIT(LOG_THREAD_ENDED) | STATES_BIT(LOG_THREAD_ABANDONED)},
	[LOG_THREAD_ENDED] = {"ended", STATES_BIT(LOG_THREAD_OFF)},
	[LOG_THREAD_ABANDONED] = {"abandoned", 0},
};

static void *thread_main(void *data)
{
	struct log_thread *t = data;

	thread_set_name(t->name);
	t->run();
	pthread_mutex_lock(&t->mutex);
	if (t->state == LOG_THREAD_STOPPING)
		states_move(states, &t->state, LOG_THREAD_ENDED);
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

int log_thread_start(struct log_thread *t, const char *name, void (*run)(void))
{
	sigset_t all, before;
	int r;

	if (t->state != LOG_THREAD_OFF)
		return -EBUSY;
	r = thread_cond_init(&t->changed);
	if (r < 0)
		return r;
	t->name = name;
	t->run = run;
	states_move(states, &t->state, LOG_THREAD_ON);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		states_move(states, &t->state, LOG_THREAD_OFF);
		pthread_cond_destroy(&t->changed);
		return r;
	}
	return 0;
}

void log_thread_stop(struct log_thread *t)
{
	pthread_mutex_lock(&t->mutex);
	if (t->state == LOG_THREAD_ON) {
		states_move(states, &t->state, LOG_THREAD_STOPPING);
		pthread_cond_broadcast(&t->changed);
	}
	pthread_mutex_unlock(&t->mutex);
}

void log_thread_join(struct log_thread *t, uint64_t deadline_us)
{
	bool ended;

	pthread_mutex_lock(&t->mutex);
	while (t->state == LOG_THREAD_STOPPING && log_thread_wait(t, deadline_us) != ETIMEDOUT)
		;
	ended = t->state == LOG_THREAD_ENDED;
	if (ended) {
		states_move(states, &t->state, LOG_THREAD_OFF);
	} else if (t->state == LOG_THREAD_STOPPING) {
		/* The thread uses @t again if its write ever returns, so nothing is destroyed. */
		states_move(states, &t->state, LOG_THREAD_ABANDONED);
		pthread_detach(t->id);
	}
	pthread_mutex_unlock(&t->mutex);
	if (ended) {
		pthread_join(t->id, NULL);
		pthread_cond_destroy(&t->changed);
	}
}

int log_thread_wait(struct log_thread *t, uint64_t deadline_us)
{
	if (deadline_us == 0)
		return pthread_cond_wait(&t->changed, &t->mutex);
	return thread_wait_until(&t->changed, &t->mutex, deadline_us);
}
