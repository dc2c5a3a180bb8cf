/* buf and budget: growth, the bounds at N and N + 1; a failure changes nothing. */

#include "core/session/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_budget_bound(void **state)
{
	struct budget budget;

	budget_init(&budget, 100);
	assert_true(budget_take(&budget, 60));
	assert_false(budget_take(&budget, 41));
	assert_false(budget_take(&budget, SIZE_MAX));
	assert_int_equal(budget_used(&budget), 60);
	assert_true(budget_take(&budget, 40));
	budget_give(&budget, 100);
	assert_int_equal(budget_used(&budget), 0);
}

static void test_budget_bound_changes(void **state)
{
	struct budget budget;

	budget_init(&budget, 100);
	assert_true(budget_take(&budget, 60));
	budget_set_max(&budget, 50); /* less than is in use */
	assert_int_equal(budget_max(&budget), 50);
	assert_false(budget_take(&budget, 1));
	assert_int_equal(budget_used(&budget), 60);
	budget_give(&budget, 11);
	assert_true(budget_take(&budget, 1));
	assert_false(budget_take(&budget, 1));
	budget_set_max(&budget, 51);
	assert_true(budget_take(&budget, 1));
	budget_give(&budget, 51);
	assert_int_equal(budget_used(&budget), 0);
}

static void test_buf_keeps_bytes(void **state)
{
	struct budget budget;
	struct buf buf = {0};
	uint8_t bytes[1000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	budget_init(&budget, 1000);
	for (size_t i = 0; i < sizeof(bytes); i += 10)
		assert_int_equal(buf_append(&buf, &budget, 1000, bytes + i, 10), 0);
	assert_int_equal(buf.length, 1000);
	assert_int_equal(buf.capacity, 1000);
	assert_memory_equal(buf.data, bytes, 1000);
	assert_int_equal(budget_used(&budget), 1000);
	buf_finish(&buf, &budget);
	assert_int_equal(budget_used(&budget), 0);
	assert_null(buf.data);
}

static void test_buf_over_budget(void **state)
{
	struct budget budget;
	struct buf buf = {0};

	budget_init(&budget, 256);
	assert_int_equal(buf_append(&buf, &budget, 4096, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(buf_append(&buf, &budget, 4096, (const uint8_t[300]){0}, 300), -ENOBUFS);
	assert_int_equal(buf.length, 3);
	assert_int_equal(budget_used(&budget), 256);
	assert_memory_equal(buf.data, "abc", 3);
	buf_finish(&buf, &budget);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budget_bound),
		cmocka_unit_test(test_budget_bound_changes),
		cmocka_unit_test(test_buf_keeps_bytes),
		cmocka_unit_test(test_buf_over_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
