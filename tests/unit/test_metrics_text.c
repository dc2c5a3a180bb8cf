/* The text format: every sample in its family, labels escaped, sums over workers. */

#include "ackd/metrics/text.h"

#include "ackd/metrics/stats.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_WORKERS 3

static const uint64_t cpu_ns[N_WORKERS] = {0, 250000000, 1000000000001};

/* The listener "t" has TLS. Its context is not read. */
static char tls_context;
static char name_a[] = "a", name_t[] = "t";
static struct config_listener listeners[] = {
	{.name = name_a},
	{.name = name_t, .tls_context = (struct tls_context *)(void *)&tls_context},
};
static const struct config config = {.listeners = listeners, .n_listeners = 2};

static const struct metrics_view view = {
	.max_connections = 10000,
	.held_bytes = 4711,
	.max_held_bytes = UINT64_MAX,
	.reloads_done = 3,
	.reloads_failed = 2,
	.has_reloaded = true,
	.reloaded_s = 1793456000.25,
	.started_s = 1793455000.125,
	.worker_cpu_ns = cpu_ns,
	.n_workers = N_WORKERS,
	.config = &config,
	.process = {.cpu_seconds = 12.5, .resident_bytes = 4096, .open_fds = 17, .max_fds = 1024},
};

static long countdown = -1; /* allocations until one fails; negative: none does */

/* The linker puts these in place of the allocating functions. */
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

int64_t __wrap_tls_context_expiry(const struct tls_context *context);

int64_t __wrap_tls_context_expiry(const struct tls_context *context)
{
	assert_ptr_equal(context, &tls_context);
	return 1893456000;
}

static bool fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

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

static char *render(void)
{
	char *text;
	size_t length;

	assert_int_equal(metrics_text(&view, &text, &length), 0);
	assert_int_equal(strlen(text), length);
	return text;
}

/* Asserts that there is exactly one line like this. */
static void expect_line(const char *text, const char *line)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && at[strlen(line)] == '\n')
			n++;
	if (n != 1)
		fail_msg("%zu lines \"%s\" in:\n%s", n, line, text);
}

static void test_values(void **state)
{
	struct counters *a = stats_listener("a"), *b = stats_listener("b");
	char *text;

	for (unsigned w = 0; w < N_WORKERS; w++) {
		counter_add(&a[w], COUNTER_RECEIVED_BYTES, UINT64_C(1) << 60);
		counter_add(&a[w], COUNTER_SENT_BYTES, 10 + w);
		counter_add(&a[w], COUNTER_MESSAGES, 20 + w);
		counter_add(&a[w], COUNTER_CONNECTIONS, 5);
		for (unsigned i = 0; i < w; i++)
			counters_close(&a[w], CONN_IDLE);
		counter_add(&a[w], COUNTER_ACCEPT_ERRORS, 40 + w);
		counter_add(&a[w], COUNTER_NAKS + NAK_CANNOT_ENCODE, 50 + w);
		counter_add(&b[w], COUNTER_REFUSED + REFUSAL_DENIED, 60 + w);
		counter_add(&b[w], COUNTER_HEALTH_CHECKS, 70 + w);
	}
	text = render();
	expect_line(text, "ackd_received_bytes_total{listener=\"a\"} 3458764513820540928");
	expect_line(text, "ackd_received_bytes_total{listener=\"b\"} 0");
	expect_line(text, "ackd_sent_bytes_total{listener=\"a\"} 33");
	expect_line(text, "ackd_messages_total{listener=\"a\"} 63");
	expect_line(text, "ackd_connections_total{listener=\"a\"} 15");
	expect_line(text, "ackd_open_connections{listener=\"a\"} 12");
	expect_line(text,
		    "ackd_connections_closed_total{listener=\"a\",reason=\"idle_timeout\"} 3");
	expect_line(text,
		    "ackd_connections_closed_total{listener=\"a\",reason=\"end_of_input\"} 0");
	expect_line(text, "ackd_accept_errors_total{listener=\"a\"} 123");
	expect_line(text, "ackd_naks_total{listener=\"a\",reason=\"cannot_encode\"} 153");
	expect_line(text, "ackd_naks_total{listener=\"b\",reason=\"cannot_encode\"} 0");
	expect_line(text, "ackd_connections_refused_total{listener=\"b\",reason=\"denied\"} 183");
	expect_line(text, "ackd_health_checks_total{listener=\"b\"} 213");
	expect_line(text, "ackd_max_connections 10000");
	expect_line(text, "ackd_held_bytes 4711");
	expect_line(text, "ackd_max_held_bytes 18446744073709551615");
	expect_line(text, "ackd_reloads_total{result=\"success\"} 3");
	expect_line(text, "ackd_reloads_total{result=\"failure\"} 2");
	expect_line(text, "ackd_log_dropped_total 0");
	expect_line(text, "ackd_config_last_reload_success 1");
	expect_line(text, "ackd_config_last_reload_timestamp_seconds 1793456000.250");
	expect_line(text, "ackd_start_time_seconds 1793455000.125");
	expect_line(text, "ackd_worker_cpu_seconds_total{worker=\"0\"} 0.000000");
	expect_line(text, "ackd_worker_cpu_seconds_total{worker=\"1\"} 0.250000");
	expect_line(text, "ackd_worker_cpu_seconds_total{worker=\"2\"} 1000.000000");
	expect_line(text, "process_cpu_seconds_total 12.500");
	expect_line(text, "process_open_fds 17");
	expect_line(text, "process_max_fds 1024");
	expect_line(text, "process_resident_memory_bytes 4096");
	expect_line(text, "process_start_time_seconds 1793455000.125");
	free(text);
}

/* A number that the system does not give is left out, not written as 0. */
static void test_unknown_numbers(void **state)
{
	struct metrics_view unknown = view;
	size_t length;
	char *text;

	unknown.process = (struct process_usage){.cpu_seconds = 1, .max_fds = 1024};
	unknown.has_reloaded = false;
	assert_int_equal(metrics_text(&unknown, &text, &length), 0);
	assert_null(strstr(text, "process_open_fds"));
	assert_null(strstr(text, "process_resident_memory_bytes"));
	expect_line(text, "process_max_fds 1024");
	expect_line(text, "ackd_config_last_reload_success 0");
	free(text);
}

static void test_tls(void **state)
{
	struct counters *t = stats_listener("t");
	char *text;

	stats_listener("a");
	for (unsigned w = 0; w < N_WORKERS; w++) {
		counter_add(&t[w], stats_handshake(TLS_VERSION_1_3, TLS_RESULT_SUCCESS), 10 + w);
		counter_add(&t[w], stats_handshake(TLS_VERSION_NONE, TLS_RESULT_NOT_TLS), 20 + w);
		counter_add(&t[w], stats_handshake(TLS_VERSION_1_2, TLS_RESULT_SHUTDOWN), 30 + w);
		counter_add(&t[w], COUNTER_HANDSHAKE_BUCKETS, 1);
		counter_add(&t[w], COUNTER_HANDSHAKE_BUCKETS + 1, w);
		counter_add(&t[w], COUNTER_HANDSHAKE_BUCKETS + STATS_BUCKETS - 1, 1);
		counter_add(&t[w], COUNTER_HANDSHAKE_US, 1500 + w);
	}
	text = render();
#define HANDSHAKES "ackd_tls_handshakes_total{listener=\"t\","
	expect_line(text, HANDSHAKES "version=\"1.3\",result=\"success\"} 33");
	expect_line(text, HANDSHAKES "version=\"1.2\",result=\"success\"} 0");
	expect_line(text, HANDSHAKES "version=\"none\",result=\"not_tls\"} 63");
	expect_line(text, HANDSHAKES "version=\"1.2\",result=\"shutdown\"} 93");
	assert_null(strstr(text, "version=\"none\",result=\"success\""));
#define DURATION "ackd_tls_handshake_duration_seconds_"
	expect_line(text, DURATION "bucket{listener=\"t\",le=\"0.001\"} 3");
	expect_line(text, DURATION "bucket{listener=\"t\",le=\"0.0025\"} 6");
	expect_line(text, DURATION "bucket{listener=\"t\",le=\"10\"} 6");
	expect_line(text, DURATION "bucket{listener=\"t\",le=\"+Inf\"} 9");
	expect_line(text, DURATION "sum{listener=\"t\"} 0.004503");
	expect_line(text, DURATION "count{listener=\"t\"} 9");
	expect_line(text,
		    "ackd_tls_certificate_expiry_timestamp_seconds{listener=\"t\"} 1893456000");
	assert_null(strstr(text, "_tls_handshakes_total{listener=\"a\""));
	free(text);
}

/* A listener that is without TLS since a reload keeps the counts of its handshakes. */
static void test_tls_of_the_past(void **state)
{
	struct counters *a = stats_listener("a");
	char *text;

	counter_add(a, stats_handshake(TLS_VERSION_1_2, TLS_RESULT_CLOSED), 1);
	text = render();
	expect_line(text, "ackd_tls_handshakes_total{listener=\"a\",version=\"1.2\","
			  "result=\"closed\"} 1");
	assert_null(strstr(text, "expiry_timestamp_seconds{listener=\"a\""));
	free(text);
}

static void test_labels_are_escaped(void **state)
{
	char *text;

	stats_listener("q\"b\\n\nx\xc3\xa4");
	text = render();
	expect_line(text, "ackd_messages_total{listener=\"q\\\"b\\\\n\\nx\xc3\xa4\"} 0");
	free(text);
}

/* HELP and TYPE stand before a family's samples, once, and its samples together. */
static void test_families(void **state)
{
	char family[64] = "", *text, *rest;
	size_t n_families = 0;

	stats_listener("a");
	stats_listener("b");
	rest = text = render();
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			size_t length = strcspn(line + 7, " ");

			assert_true(length < sizeof(family));
			memcpy(family, line + 7, length);
			family[length] = '\0';
			n_families++;
			line = strsep(&rest, "\n");
			assert_memory_equal(line, "# TYPE ", 7);
			line += 7;
		}
		assert_memory_equal(line, family, strlen(family));
		assert_non_null(strchr(" {", line[strlen(family)]));
	}
	assert_null(rest ? strchr(rest, 'a') : NULL);
	assert_int_equal(n_families, 30);
	free(text);
}

/* The values of reasons are words without spaces. */
static void test_reasons_have_no_spaces(void **state)
{
	const char label[] = "reason=\"";
	char *text, *end;
	unsigned n = 0;

	stats_listener("a");
	text = render();
	for (char *at = text; (at = strstr(at, label)); at = end, n++) {
		at += strlen(label);
		end = strchr(at, '"');
		assert_null(memchr(at, ' ', (size_t)(end - at)));
	}
	assert_int_equal(n, NAK_REASON_COUNT + REFUSAL_COUNT - 1 + CONN_REASON_COUNT - CONN_END);
	free(text);
}

/* Out of memory yields no text, never an incomplete one. */
static void test_out_of_memory(void **state)
{
	char name[200], *text;
	size_t length;
	unsigned n = 0;

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	for (int c = 'a'; c <= 'z'; c++) { /* many listeners: the text grows several times */
		name[0] = (char)c;
		stats_listener(name);
	}
	do {
		countdown = n++;
	} while (metrics_text(&view, &text, &length) == -ENOMEM);
	assert_true(countdown >= 0); /* succeeded because none failed */
	countdown = -1;
	assert_true(n > 4);
	assert_int_equal(strlen(text), length);
	expect_line(text, "ackd_max_connections 10000");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_values, start, finish),
		cmocka_unit_test_setup_teardown(test_unknown_numbers, start, finish),
		cmocka_unit_test_setup_teardown(test_tls, start, finish),
		cmocka_unit_test_setup_teardown(test_tls_of_the_past, start, finish),
		cmocka_unit_test_setup_teardown(test_labels_are_escaped, start, finish),
		cmocka_unit_test_setup_teardown(test_families, start, finish),
		cmocka_unit_test_setup_teardown(test_reasons_have_no_spaces, start, finish),
		cmocka_unit_test_setup_teardown(test_out_of_memory, start, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
