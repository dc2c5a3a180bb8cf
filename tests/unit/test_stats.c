/* The counters of a name are kept while the configuration has it or a worker uses them. */

#include "ackd/metrics/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_WORKERS 2

static int start(void **state)
{
	stats_init(N_WORKERS);
	return 0;
}

static int finish(void **state)
{
	stats_finish();
	return 0;
}

/* Does what the main thread does after a reload that keeps only the listener @name. */
static void reload(const char *name)
{
	stats_listener(name);
	stats_release();
	stats_listener(name);
	stats_drop_unused();
}

/* Returns the names of all entries, each with a comma after it. Static. */
static const char *names(void)
{
	static char text[256];

	text[0] = '\0';
	for (const struct stats_entry *e = stats_next(NULL); e; e = stats_next(e)) {
		assert_true(strlen(text) + strlen(stats_name(e)) + 2 < sizeof(text));
		strcat(strcat(text, stats_name(e)), ",");
	}
	return text;
}

static void test_name_keeps_its_counters(void **state)
{
	struct counters *a = stats_listener("a");

	counter_add(&a[1], COUNTER_MESSAGES, 3);
	reload("a");
	assert_ptr_equal(stats_listener("a"), a);
	assert_int_equal(stats_total().values[COUNTER_MESSAGES], 3);
	assert_string_equal(names(), "a,");
}

static void test_removed_name_is_dropped(void **state)
{
	counter_add(stats_listener("a"), COUNTER_MESSAGES, 3);
	reload("b");
	assert_string_equal(names(), "b,");
	counter_add(stats_listener("b"), COUNTER_MESSAGES, 4);
	reload("a");
	assert_string_equal(names(), "a,");
	assert_int_equal(stats_read(stats_next(NULL)).values[COUNTER_MESSAGES], 0);
	assert_int_equal(stats_total().values[COUNTER_MESSAGES], 7);
	assert_int_equal(stats_read(NULL).values[COUNTER_MESSAGES], 7);
}

static void test_counters_in_use_are_kept(void **state)
{
	struct counters *a = stats_listener("a");

	counters_use(&a[1], 1);
	counters_use(&a[1], 1);
	counter_add(&a[1], COUNTER_CONNECTIONS, 2);
	reload("b");
	assert_string_equal(names(), "a,b,");
	counter_add(&a[1], COUNTER_CLOSED, 1);
	counters_use(&a[1], -1);
	stats_drop_unused();
	assert_string_equal(names(), "a,b,");
	counters_use(&a[1], -1); /* its closing is not counted: a worker never does this */
	stats_drop_unused();
	assert_string_equal(names(), "b,");
	assert_int_equal(stats_total().values[COUNTER_CONNECTIONS], 2);
	const struct stats total = stats_total();
	assert_int_equal(stats_open(&total), 0);
}

static void test_counters_are_kept_until_change_ends(void **state)
{
	reload("a");
	stats_listener("b"); /* for a change that is being prepared */
	stats_drop_unused();
	assert_string_equal(names(), "a,b,");
	stats_release(); /* it has failed */
	stats_listener("a");
	stats_drop_unused();
	assert_string_equal(names(), "a,");
}

static void test_counters_are_restored(void **state)
{
	const struct stats stats = {.values[COUNTER_MESSAGES] = 5};

	assert_int_equal(stats_carry("a", &stats), 0);
	assert_int_equal(stats_carry("b", &(struct stats){0}), 0);
	assert_int_equal(stats_carry("", &stats), 0);
	assert_string_equal(names(), "a,b,");
	assert_int_equal(stats_read(stats_next(NULL)).values[COUNTER_MESSAGES], 5);
	assert_int_equal(stats_read(NULL).values[COUNTER_MESSAGES], 5);
	assert_int_equal(stats_total().values[COUNTER_MESSAGES], 10);
	reload("b");
	assert_string_equal(names(), "b,");
	assert_int_equal(stats_total().values[COUNTER_MESSAGES], 10);
}

static void assert_name(unsigned counter, const char *expected)
{
	char name[STATS_NAME_MAX];

	assert_string_equal(stats_counter_name(counter, name), expected);
}

/* The names of counters are part of the state: they are unique and never change. */
static void test_names_of_counters(void **state)
{
	char all[COUNTER_COUNT][STATS_NAME_MAX];

	for (unsigned i = 0; i < COUNTER_COUNT; i++) {
		assert_ptr_equal(stats_counter_name(i, all[i]), all[i]);
		assert_true(strlen(all[i]) < STATS_NAME_MAX - 1); /* it was not cut */
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(all[i], all[j]);
	}
	assert_name(COUNTER_RECEIVED_BYTES, "received_bytes");
	assert_name(COUNTER_SENT_BYTES, "sent_bytes");
	assert_name(COUNTER_MESSAGES, "messages");
	assert_name(COUNTER_CONNECTIONS, "connections");
	assert_name(COUNTER_CLOSED, "closed");
	assert_name(COUNTER_ACCEPT_ERRORS, "accept_errors");
	assert_name(COUNTER_HEALTH_CHECKS, "health_checks");
	assert_name(COUNTER_SKIPPED_BYTES, "skipped_bytes");
	assert_name(COUNTER_ILL_FORMED, "ill_formed");
	assert_name(COUNTER_HANDSHAKE_US, "handshake_us");
	assert_name(COUNTER_NAKS + NAK_CANNOT_ENCODE, "nak: cannot encode");
	assert_name(COUNTER_REFUSED + REFUSAL_DENIED, "refused: denied");
	assert_name(stats_handshake(TLS_VERSION_1_3, TLS_RESULT_NOT_TLS), "handshake: 1.3 not_tls");
	assert_name(COUNTER_HANDSHAKE_BUCKETS, "handshake_us: at most 1000");
	assert_name(COUNTER_CLOSED_BY + CONN_IDLE - CONN_END, "closed: idle timeout");
}

/* The number of the reason why a connection ends is part of its record in the state. */
static void test_numbers_of_reasons(void **state)
{
	static const char *const names[] = {
		"open",
		"handed over",
		"no valid PROXY header",
		"end of input",
		"NAK",
		"quit",
		"reply is close",
		"idle timeout",
		"connection lost",
		"limits.max_memory is used up",
		"out of memory",
		"refused",
		"drained",
		"shutdown",
		"lost in a restart",
		"TLS error",
		"TLS alert",
		"closed without close_notify",
		"client certificate no longer accepted",
		"as many records as one key may seal",
		"insufficient TLS",
	};

	/* new ones follow at the end */
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(conn_reason_name(i), names[i]);
}

/* More names than there are buckets, dropped in every order of their places in list and bucket. */
static void test_many_names(void **state)
{
	enum { N = 3000 };
	char name[16];

	for (int step = 1; step <= 3; step++) {
		for (int i = 0; i < N; i++) {
			snprintf(name, sizeof(name), "l%d", i);
			counter_add(stats_listener(name), COUNTER_CONNECTIONS, 1);
		}
		stats_release();
		for (int i = 0; i < N; i += step + 1) {
			snprintf(name, sizeof(name), "l%d", i);
			stats_listener(name);
		}
		stats_drop_unused();
		int n = 0;
		for (const struct stats_entry *e = stats_next(NULL); e; e = stats_next(e)) {
			assert_int_equal(strtol(stats_name(e) + 1, NULL, 10) % (step + 1), 0);
			n++;
		}
		assert_int_equal(n, (N + step) / (step + 1));
		assert_int_equal(stats_total().values[COUNTER_CONNECTIONS], step * N);
		stats_release();
		stats_drop_unused();
		assert_null(stats_next(NULL));
	}
}

/* A duration of exactly the bound belongs to the bucket, a longer one to the next. */
static void test_durations(void **state)
{
	assert_int_equal(stats_duration_bucket(0), 0);
	for (unsigned i = 0; i < STATS_BUCKETS - 1; i++) {
		uint64_t us = (uint64_t)(stats_bucket_seconds(i) * 1e6 + 0.5);

		assert_int_equal(stats_duration_bucket(us), i);
		assert_int_equal(stats_duration_bucket(us + 1), i + 1);
	}
	assert_int_equal(stats_duration_bucket(UINT64_MAX), STATS_BUCKETS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_names_of_counters),
		cmocka_unit_test(test_numbers_of_reasons),
		cmocka_unit_test_setup_teardown(test_name_keeps_its_counters, start, finish),
		cmocka_unit_test_setup_teardown(test_removed_name_is_dropped, start, finish),
		cmocka_unit_test_setup_teardown(test_counters_in_use_are_kept, start, finish),
		cmocka_unit_test_setup_teardown(test_counters_are_kept_until_change_ends, start,
						finish),
		cmocka_unit_test_setup_teardown(test_counters_are_restored, start, finish),
		cmocka_unit_test_setup_teardown(test_many_names, start, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
