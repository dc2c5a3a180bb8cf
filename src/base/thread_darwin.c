#include "base/thread.h"

#include "base/clock.h"

#include <mach/mach.h>

int thread_cond_init(pthread_cond_t *ret_cond)
{
	return -pthread_cond_init(ret_cond, NULL);
}

int thread_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_us)
{
	uint64_t now_us = clock_now_us();
	uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
	struct timespec left = {
		.tv_sec = (time_t)(left_us / 1000000),
		.tv_nsec = (long)(left_us % 1000000) * 1000,
	};

	return pthread_cond_timedwait_relative_np(cond, mutex, &left);
}

void thread_set_name(const char *name)
{
	pthread_setname_np(name);
}

uint64_t thread_cpu_ns(pthread_t thread)
{
	thread_basic_info_data_t info;
	mach_msg_type_number_t n = THREAD_BASIC_INFO_COUNT;

	if (thread_info(pthread_mach_thread_np(thread), THREAD_BASIC_INFO, (thread_info_t)&info,
			&n) != KERN_SUCCESS)
		return 0;
	return ((uint64_t)info.user_time.seconds + (uint64_t)info.system_time.seconds) *
		       1000000000 +
	       ((uint64_t)info.user_time.microseconds + (uint64_t)info.system_time.microseconds) *
		       1000;
}
