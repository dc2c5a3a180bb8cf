/* histogram: exact below 2048, and at most 0.1 % too high elsewhere. */

#include "ackc/output/histogram.h"
#include "sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct histogram));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_empty(void **state)
{
	struct histogram *h = *state;

	assert_int_equal(histogram_percentile(h, 50), 0);
	assert_int_equal(histogram_count_up_to(h, UINT64_MAX), 0);
	assert_true(histogram_mean(h) == 0 && histogram_deviation(h) == 0);
}

/* A single value is exact below 2048, else at most 1/1024 too high; neighbours keep their order. */
static void test_precision(void **state)
{
	struct histogram *h = *state;
	uint64_t last = 0;

	for (uint64_t v = 0; v <= HISTOGRAM_MAX_NS; v += (v < 5000 ? 1 : v / 777) * sample_step()) {
		uint64_t p;

		*h = (struct histogram){0};
		histogram_record(h, v);
		histogram_record(h, HISTOGRAM_MAX_NS); /* or the maximum would hide the bucket */
		p = histogram_percentile(h, 50);
		assert_true(p >= v && p - v <= v / 1024);
		assert_true(v >= 2048 || p == v);
		assert_true(p >= last);
		assert_int_equal(histogram_count_up_to(h, v), p == HISTOGRAM_MAX_NS ? 2 : 1);
		last = p;
	}
}

static void test_bounds(void **state)
{
	static const uint64_t values[] = {2047,
					  2048,
					  2049,
					  4095,
					  4096,
					  HISTOGRAM_MAX_NS - 1,
					  HISTOGRAM_MAX_NS,
					  HISTOGRAM_MAX_NS + 1,
					  UINT64_MAX};
	struct histogram *h = *state;

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		histogram_record(h, values[i]);
	assert_int_equal(h->count, 9);
	assert_int_equal(h->min_ns, 2047);
	assert_int_equal(h->max_ns, HISTOGRAM_MAX_NS);
	assert_int_equal(histogram_percentile(h, 100), HISTOGRAM_MAX_NS);
}

static void test_percentiles(void **state)
{
	struct histogram *h = *state;

	for (uint64_t v = 1000; v >= 1; v--)
		histogram_record(h, v);
	assert_int_equal(histogram_percentile(h, 0), 1);
	assert_int_equal(histogram_percentile(h, 0.1), 1);
	assert_int_equal(histogram_percentile(h, 50), 500);
	assert_int_equal(histogram_percentile(h, 50.05), 501);
	assert_int_equal(histogram_percentile(h, 99), 990);
	assert_int_equal(histogram_percentile(h, 99.9), 999);
	assert_int_equal(histogram_percentile(h, 99.99), 1000);
	assert_int_equal(histogram_count_up_to(h, 250), 250);
	assert_true(histogram_mean(h) == 500.5);
	assert_true(histogram_deviation(h) > 288.6 && histogram_deviation(h) < 288.7);
}

static void test_merge(void **state)
{
	struct histogram *h = *state;
	struct histogram *other = calloc(1, sizeof(*other));

	assert_non_null(other);
	histogram_merge(h, other);
	assert_int_equal(h->count, 0);
	histogram_record(other, 7);
	histogram_record(other, 9000);
	histogram_merge(h, other);
	histogram_record(h, 100);
	histogram_merge(other, h);
	assert_int_equal(other->count, 5);
	assert_int_equal(other->min_ns, 7);
	assert_int_equal(other->max_ns, 9000);
	assert_int_equal(histogram_percentile(other, 60), 100);
	assert_true(fabs(histogram_mean(other) - (2 * 9007 + 100) / 5.0) < 1e-6);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_precision, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_percentiles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
