/*
 * The timer of a loop does not call back early: load generators rely on it, since they set it again
 * only after a time has come. meson.build links the file of this system, and ticker_uv.c.
 */

#include "loop/ticker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
	uv_loop_t loop;
	struct ticker ticker;
	uint64_t at_ns;
	unsigned calls;
};

static void on_tick(void *data)
{
	struct fixture *f = data;

	assert_true(uv_hrtime() >= f->at_ns);
	f->calls++;
}

static void set(struct fixture *f, uint64_t after_ns)
{
	f->at_ns = uv_hrtime() + after_ns;
	ticker_set(&f->ticker, f->at_ns);
}

static void test_calls_back_once_and_not_early(void **state)
{
	struct fixture f = {.calls = 0};

	assert_int_equal(uv_loop_init(&f.loop), 0);
	assert_int_equal(ticker_init(&f.ticker, &f.loop, on_tick, &f), 0);
	for (unsigned i = 1; i <= 100; i++) {
		set(&f, i * 21000);
		while (f.calls < i) /* other events may wake the loop at any time */
			uv_run(&f.loop, UV_RUN_NOWAIT);
		uv_run(&f.loop, UV_RUN_NOWAIT);
		assert_int_equal(f.calls, i);
	}
	ticker_close(&f.ticker);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f.loop), 0);
}

static void test_is_replaced(void **state)
{
	struct fixture f = {.calls = 0};

	assert_int_equal(uv_loop_init(&f.loop), 0);
	assert_int_equal(ticker_init(&f.ticker, &f.loop, on_tick, &f), 0);
	set(&f, 1000);
	set(&f, 5000000);
	while (f.calls == 0)
		uv_run(&f.loop, UV_RUN_ONCE);
	set(&f, UINT64_C(3600) * 1000000000);
	set(&f, 0);
	while (f.calls == 1)
		uv_run(&f.loop, UV_RUN_ONCE);
	ticker_close(&f.ticker);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f.loop), 0);
	assert_int_equal(f.calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_back_once_and_not_early),
		cmocka_unit_test(test_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
