/* The queue of descriptors has room for very many of them. */

#include "ackd/handover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

/* More than the 70,000 that fit by default; 140,000 do where net.core.wmem_max is the kernel's. */
#define MANY 130000

static void test_many_descriptors(void **state)
{
	int fds[HANDOVER_BATCH];
	struct handover handover;
	int r = handover_init(&handover);

	assert_int_equal(r, 0);
	for (size_t i = 0; i < HANDOVER_BATCH; i++)
		fds[i] = STDERR_FILENO;
	for (size_t n = 0; n < MANY && r == 0; n += HANDOVER_BATCH)
		r = handover_send(&handover, fds, HANDOVER_BATCH);
	handover_finish(&handover);
	if (r == -ETOOMANYREFS) /* a user's limit, which is that on open files */
		skip();
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
