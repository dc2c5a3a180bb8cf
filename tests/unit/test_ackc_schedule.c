/* The schedule of a load with a rate: when messages are due, and which connection is next. */

#include "ackc/load/internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N 5

/* A message counts as due at its due time, and not one nanosecond earlier. */
static void test_due_counts_match_due_times(void **state)
{
	static const double rates[] = {0.001, 3, 7000, 123456.789, 1e9};

	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		struct options options = {.connections = N};
		struct load_plan plan = {
			.options = &options,
			.interval_ns = 1e9 / rates[r],
			.start_ns = 1234567890123,
		};

		for (uint32_t id = 0; id < N; id++) {
			assert_int_equal(load_due_count(&plan, id, plan.start_ns - 1), 0);
			for (uint64_t i = 0; i < 2000; i++) {
				uint64_t due_ns = load_due_ns(&plan, id, i);

				assert_int_equal(load_due_count(&plan, id, due_ns), i + 1);
				assert_int_equal(load_due_count(&plan, id, due_ns - 1), i);
			}
		}
	}
}

static void test_connections_are_served_in_slot_order(void **state)
{
	struct options options = {.connections = N};
	struct load_plan plan = {.options = &options, .interval_ns = 1000, .start_ns = 1000000};
	struct load_worker w = {.plan = &plan};
	struct load_connection connections[N];
	static const uint64_t sent[N] = {9, 2, 7, 2, 0};
	static const unsigned order[N] = {4, 1, 3, 2, 0};

	assert_int_equal(load_schedule_init(&w.schedule, N), 0);
	assert_int_equal(load_schedule_next_ns(&w.schedule), UINT64_MAX);
	for (uint32_t i = 0; i < N; i++) {
		connections[i] = (struct load_connection){.worker = &w, .id = i, .sent = sent[i]};
		load_schedule_add(&w.schedule, &connections[i]);
		load_schedule_add(&w.schedule, &connections[i]); /* is there already */
	}
	assert_int_equal(w.schedule.n, N);
	for (unsigned i = 0; i < N; i++) {
		struct load_connection *c = &connections[order[i]];
		uint64_t due_ns = load_due_ns(&plan, c->id, c->sent);

		assert_int_equal(load_schedule_next_ns(&w.schedule), due_ns);
		assert_null(load_schedule_take(&w.schedule, due_ns - 1));
		assert_ptr_equal(load_schedule_take(&w.schedule, due_ns), c);
		assert_false(c->scheduled);
	}
	assert_int_equal(w.schedule.n, 0);
	load_schedule_finish(&w.schedule);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due_counts_match_due_times),
		cmocka_unit_test(test_connections_are_served_in_slot_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
