/*
 * config: each allocation of the loader fails once, in turn. The outcome is -ENOMEM or the correct
 * one, never a crash, a leak (AddressSanitizer detects it) or an incomplete configuration. The
 * loader is compiled with the functions below in place of the allocating ones. Allocations of
 * libconfig and libc do not fail, because libconfig does not survive that.
 */

#define FAILING_ALLOC_DEFINED_HERE
#include "failing_alloc.h"

#include "config_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static long countdown = -1; /* allocations until one fails; negative: none does */
static bool failed;

static bool fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

#define FAILING(type, name, parameters, arguments)                                                 \
	type failing_##name parameters                                                             \
	{                                                                                          \
		return fails() ? NULL : name arguments;                                            \
	}
FAILING(void *, malloc, (size_t n), (n))
FAILING(void *, calloc, (size_t n, size_t size), (n, size))
FAILING(void *, realloc, (void *p, size_t n), (p, n))
FAILING(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
FAILING(char *, strdup, (const char *text), (text))
FAILING(char *, strndup, (const char *text, size_t n), (text, n))
FAILING(FILE *, open_memstream, (char **text, size_t *n), (text, n))

/* Loads @text and the assignments with each allocation failing in turn; without a failure the
 * outcome is @expected. */
static void check_every_failure(const char *text, const char **assignments, size_t n_assignments,
				int expected)
{
	const struct config_source source = {.path = "F",
					     .port = -1,
					     .assignments = assignments,
					     .n_assignments = n_assignments};
	char *errors = NULL;
	size_t n;
	FILE *out = open_memstream(&errors, &n);
	long i = 0;
	int r;

	files_write_text("F", text);
	assert_non_null(out);
	do {
		struct config *config = NULL;

		failed = false;
		countdown = i++;
		r = config_load(&source, out, &config);
		countdown = -1;
		assert_int_equal(r, failed ? -ENOMEM : expected);
		assert_true((config != NULL) == (r == 0));
		config_unref(config);
	} while (failed);
	assert_int_equal(fclose(out), 0);
	free(errors);
	assert_true(i > 10);
}

static void test_good(void **state)
{
	files_write_text("inc", "limits = { idle_timeout = \"5min\"; };\n");
	check_every_failure("@include \"inc\"\n"
			    "greeting = \"${host} ${connection}\\n\";\n"
			    "allow = [\"10.0.0.0/8\", \"::1\", \"192.0.2.0/24\"];\n"
			    "listeners = ( { name = \"a\"; ack_suffix = \"!\"; },\n"
			    "{ name = \"b\"; path = \"/x\"; } );\n",
			    NULL, 0, 0);
}

static void test_bad(void **state)
{
	check_every_failure("port = 99999999999;\nnothing = 1;\ngreeting = \"$\\q\";\n"
			    "allow = [\"10.0.0.1/8\"];\n",
			    NULL, 0, -EINVAL);
	check_every_failure("port = 1;\nport = 2;\nworkers = 99999999999;\n"
			    "@include \"nothing\"\n",
			    NULL, 0, -EINVAL);
}

static void test_assignments(void **state)
{
	const char *good[] = {"listeners=({name=\"a\"; port=1;}, {name=\"b\";})",
			      "allow=[\"::1\"]",
			      "listeners.a.greeting=hello",
			      "reply=text",
			      "reply_text=\"x\"",
			      "limits.max_memory=1MiB"};
	const char *bad[] = {"prot=1", "listeners.x.port=1", "port=70000", "greeting=\"\\q\""};

	check_every_failure("port = 7;\n", good, sizeof(good) / sizeof(good[0]), 0);
	check_every_failure("port = 7;\n", bad, sizeof(bad) / sizeof(bad[0]), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_assignments),
	};

	return cmocka_run_group_tests_name("config_memory", tests, files_setup, files_teardown);
}
