/* The calls for threads of this system, whichever file meson.build has selected. */

#include "base/thread.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond;
static bool has_run;

static void *run(void *data)
{
	thread_set_name("ackd-test");
	while (thread_cpu_ns(pthread_self()) == 0)
		;
	pthread_mutex_lock(&mutex);
	has_run = true;
	pthread_cond_signal(&cond);
	while (has_run)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void test_wait_until(void **state)
{
	uint64_t deadline_us = clock_now_us() + 20000;

	assert_int_equal(thread_cond_init(&cond), 0);
	pthread_mutex_lock(&mutex);
	while (thread_wait_until(&cond, &mutex, deadline_us) == 0)
		; /* a wait may end without a signal */
	assert_true(clock_now_us() >= deadline_us);
	assert_int_equal(thread_wait_until(&cond, &mutex, 0), ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
	pthread_cond_destroy(&cond);
}

static void test_signal_and_cpu_time(void **state)
{
	uint64_t deadline_us = clock_now_us() + 20000000;
	pthread_t thread;
	int r = 0;

	assert_int_equal(thread_cond_init(&cond), 0);
	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	pthread_mutex_lock(&mutex);
	while (!has_run && r == 0)
		r = thread_wait_until(&cond, &mutex, deadline_us);
	assert_true(has_run);
	assert_true(thread_cpu_ns(thread) > 0);
	has_run = false;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&cond);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait_until),
		cmocka_unit_test(test_signal_and_cpu_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
