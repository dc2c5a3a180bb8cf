/* The limit of open files. The test plays the kernel, whose maximum may be below the hard limit. */

#include "base/descriptors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

static struct {
	struct rlimit limit;
	rlim_t maximum; /* setrlimit() refuses more */
	unsigned calls;
} kernel;

/* The names of the parameters in libc's header are reserved. NOLINTNEXTLINE */
int getrlimit(__rlimit_resource_t resource, struct rlimit *ret_limit)
{
	*ret_limit = kernel.limit;
	return 0;
}

/* The same. NOLINTNEXTLINE */
int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	kernel.calls++;
	if (limit->rlim_cur > kernel.maximum || limit->rlim_cur > limit->rlim_max) {
		errno = EINVAL;
		return -1;
	}
	kernel.limit = *limit;
	return 0;
}

static void set(rlim_t soft, rlim_t hard, rlim_t maximum)
{
	kernel.limit = (struct rlimit){soft, hard};
	kernel.maximum = maximum;
	kernel.calls = 0;
}

static void test_hard_limit_is_permitted(void **state)
{
	set(256, 4096, RLIM_INFINITY);
	assert_int_equal(descriptors_raise_limit(), 4096);
	assert_int_equal(kernel.calls, 1);
	set(256, RLIM_INFINITY, RLIM_INFINITY);
	assert_true(descriptors_raise_limit() == UINT64_MAX);
}

static void test_hard_limit_is_refused(void **state)
{
	static const rlim_t maxima[] = {256, 257, 10240, 245760, 1 << 30};

	for (unsigned i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
		set(256, RLIM_INFINITY, maxima[i]);
		assert_int_equal(descriptors_raise_limit(), maxima[i]);
		assert_true(kernel.limit.rlim_max == RLIM_INFINITY);
		assert_true(kernel.calls < 40);
	}
	set(256, 1000, 999);
	assert_int_equal(descriptors_raise_limit(), 999);
	set(256, 1000, 100); /* nothing is permitted */
	assert_int_equal(descriptors_raise_limit(), 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hard_limit_is_permitted),
		cmocka_unit_test(test_hard_limit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
