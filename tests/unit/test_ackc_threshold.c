/*
 * Thresholds of a monitoring plugin: what is accepted, when it alerts, and how it is written.
 */

#include "ackc/cli/threshold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text;
	const char *printed; /* NULL: refused */
	double quiet[2];
	double alerting[2];
} ranges[] = {
	{"10", "10", {0, 10}, {10.5, -1}},
	{"0", "0", {0, 0}, {0.001, -1}},
	{"10:", "10:", {10, 1e9}, {9.9, 0}},
	{"~:10", "~:10", {10, -5}, {10.1, 1e9}},
	{"10:20", "10:20", {10, 20}, {9.9, 20.1}},
	{"0:20", "20", {0, 20}, {-1, 20.1}},
	{"@10:20", "@10:20", {9.9, 20.1}, {10, 20}},
	{"@20", "@20", {20.1, -1}, {0, 20}},
	{"@~:20", "@~:20", {20.1, 1e9}, {-5, 20}},
	{"0:", "0:", {0, 1e9}, {-1, -2}},
	{"~:", "~:", {-1e9, 1e9}, {1, 0}}, /* never */
	{"500ms:1s", "500:1000", {500, 1000}, {499, 1001}},
	{"", NULL, {0}, {0}},
	{"@", NULL, {0}, {0}},
	{":", NULL, {0}, {0}},
	{":5", NULL, {0}, {0}},
	{"20:10", NULL, {0}, {0}},
	{"~", NULL, {0}, {0}},
	{"10:~", NULL, {0}, {0}},
	{"1:2:3", NULL, {0}, {0}},
	{"@@1", NULL, {0}, {0}},
	{"x", NULL, {0}, {0}},
	{"-1", NULL, {0}, {0}},
	{"1%", NULL, {0}, {0}},
	{"inf", NULL, {0}, {0}},
	{"0x10", NULL, {0}, {0}},
};

#define N_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static void check_printed(const struct range *r, const char *expected)
{
	char *printed = NULL;
	size_t n;
	FILE *out = open_memstream(&printed, &n);

	assert_non_null(out);
	range_print(r, out);
	fclose(out);
	assert_string_equal(printed, expected);
	free(printed);
}

static void test_ranges(void **state)
{
	for (size_t i = 0; i < N_RANGES; i++) {
		struct threshold t;
		bool good = threshold_parse(ranges[i].text, &t);

		assert_int_equal(good, ranges[i].printed != NULL);
		if (!good)
			continue;
		assert_false(t.loss_percent.given);
		check_printed(&t.ms, ranges[i].printed);
		for (int j = 0; j < 2; j++) {
			assert_false(range_alerts(&t.ms, ranges[i].quiet[j]));
			assert_int_equal(range_alerts(&t.ms, ranges[i].alerting[j]),
					 strcmp(ranges[i].text, "~:") != 0);
		}
	}
}

static void test_loss(void **state)
{
	static const char *const bad[] = {"10,",   "10,20",  "10,%",	 "10,101%", "10,20%%",
					  ",20%",  "10%",    "10,20%,3", "10,2s%",  "10,60:101%",
					  "10,~%", "10, 5%", "10,-1%"};
	char text[256];
	struct threshold t;

	assert_true(threshold_parse("10,20%", &t));
	assert_false(range_alerts(&t.loss_percent, 20));
	assert_true(range_alerts(&t.loss_percent, 20.5));
	assert_true(threshold_parse("1:2,@50:%", &t));
	assert_true(range_alerts(&t.loss_percent, 50));
	check_printed(&t.loss_percent, "@50:");
	assert_true(threshold_parse("10,100%", &t));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(threshold_parse(bad[i], &t));
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(threshold_parse(text, &t));
}

static void test_no_threshold_given(void **state)
{
	struct range r = {0};

	assert_false(range_alerts(&r, 1e9));
	check_printed(&r, "");
}

static bool above(const char *warning, const char *critical)
{
	struct threshold w;
	struct threshold c;

	assert_true(threshold_parse(warning, &w) && threshold_parse(critical, &c));
	return range_above(&w.ms, &c.ms);
}

static void test_warning_above_critical_is_detected(void **state)
{
	assert_true(above("10", "5"));
	assert_true(above("~:10", "5"));
	assert_false(above("5", "10"));
	assert_false(above("5", "5"));
	/* The order of others is not known. */
	assert_false(above("10:", "5:"));
	assert_false(above("@10", "5"));
	assert_false(above("10:20", "5"));
}

static void test_days(void **state)
{
	static const char *const refused[] = {"",  ",",	 "7,", ",7",	"7,30",
					      "x", "-1", "7:", "7,5,3", "30d"};
	struct days d = {.warning = {.given = true, .end = 5}};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_false(days_parse(refused[i], &d));
	assert_true(d.warning.end == 5);
	assert_true(days_parse("30", &d));
	check_printed(&d.warning, "30:");
	assert_false(d.critical.given);
	assert_true(days_parse("30,7.5", &d));
	check_printed(&d.critical, "7.5:");
	assert_true(range_alerts(&d.warning, 29.99) && !range_alerts(&d.warning, 30));
	assert_true(range_alerts(&d.critical, -1) && !range_alerts(&d.critical, 7.5));
	assert_true(days_parse("7,7", &d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_loss),
		cmocka_unit_test(test_no_threshold_given),
		cmocka_unit_test(test_warning_above_critical_is_detected),
		cmocka_unit_test(test_days),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
