/* The resources of the process, on a kernel that does not count descriptors itself. */

#include "ackd/metrics/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#define N 100

int __wrap_stat(const char *path, struct stat *status);
int __wrap_stat64(const char *path, struct stat *status);

/* As before Linux 6.2. */
int __wrap_stat(const char *path, struct stat *status)
{
	*status = (struct stat){0};
	return 0;
}

int __wrap_stat64(const char *path, struct stat *status)
{
	return __wrap_stat(path, status);
}

static void test_descriptors(void **state)
{
	uint64_t before = process_usage().open_fds;
	int fds[N];

	assert_in_range(before, 1, 1000);
	for (int i = 0; i < N; i++)
		assert_true((fds[i] = dup(0)) >= 0);
	assert_int_equal(process_usage().open_fds, before + N);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	assert_int_equal(process_usage().open_fds, before);
}

/* There is no descriptor left for the directory. */
static void test_all_descriptors(void **state)
{
	struct rlimit before, limit;
	uint64_t open_fds;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	open_fds = process_usage().open_fds;
	assert_int_equal(process_usage().max_fds, 3);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(open_fds, 3);
}

static void test_time_and_memory(void **state)
{
	struct process_usage a = process_usage(), b;

	assert_true(a.cpu_seconds >= 0 && a.cpu_seconds < 1000);
	do {
		b = process_usage();
	} while (b.cpu_seconds <= a.cpu_seconds);
	if (!getenv("MESON_EXE_WRAPPER")) /* qemu reports no memory */
		assert_in_range(a.resident_bytes, 1, UINT64_C(1) << 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_all_descriptors),
		cmocka_unit_test(test_time_and_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
