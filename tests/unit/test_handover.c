/* The queue of descriptors holds at least 70,000 of them. */

#include "ackd/handover/handover.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* More than the 70,000 that fit by default; 140,000 do where net.core.wmem_max is the kernel's. */
#define MANY 130000

static int send_segment(struct handover *handover, const int *fds)
{
	struct state_record record = {.address.family = AF_UNIX};
	int r = 0;

	while (r == 0 && !handover_is_full(handover)) {
		r = handover_begin(handover, "l");
		if (r == 0)
			r = handover_end(handover, &record);
	}
	return r < 0 ? r : handover_send(handover, fds);
}

static void test_many_descriptors(void **state)
{
	int fds[HANDOVER_BATCH];
	struct limits limits = {0};
	struct handover handover;
	int writing, reading, r;

	r = handover_queue(&writing, &reading);
	assert_int_equal(r, 0);
	handover_init(&handover, writing, &limits, 1);
	for (size_t i = 0; i < HANDOVER_BATCH; i++)
		fds[i] = STDERR_FILENO;
	for (size_t n = 0; n < MANY && r == 0; n += HANDOVER_BATCH)
		r = send_segment(&handover, fds);
	handover_finish(&handover);
	close(reading);
	assert_int_equal(r, 0);
}

/* A segment can be sent while the kernel refers to one of its pages. */
static void test_page_in_use(void **state)
{
	struct state_record record = {.address.family = AF_UNIX};
	struct limits limits = {0};
	struct handover handover;
	struct takeover takeover;
	struct takeover_connection from;
	int writing, reading, ends[2], fd = dup(STDERR_FILENO);
	off_t start = 0;

	assert_int_equal(handover_queue(&writing, &reading), 0);
	handover_init(&handover, writing, &limits, 1);
	assert_int_equal(handover_begin(&handover, "l"), 0);
	assert_int_equal(handover_end(&handover, &record), 0);
	assert_int_equal(pipe(ends), 0);
	assert_true(splice(handover.memfd, &start, ends[1], NULL, 1, 0) == 1);
	assert_int_equal(handover_send(&handover, &fd), 0);
	handover_complete(&handover);
	assert_int_equal(takeover_receive(reading, 100, &takeover), 0);
	assert_true(takeover_take(&takeover, &from));
	takeover_release(&from);
	takeover_finish(&takeover);
	handover_finish(&handover);
	close(reading);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_in_use),
		cmocka_unit_test(test_many_descriptors),
	};
	struct rlimit limit;

	/* A user may queue as many descriptors as the limit on open files; root any number. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur <= MANY && geteuid() != 0) {
		puts("1..0 # SKIP the limit on open files is too low");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
