#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const names[] = {"send",    "ping", "load",	  "port",	"address",
				    "timeout", "path", "backlog", "max_message"};

static const char *nearest_to(const char *word)
{
	struct nearest n = {.word = word};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		nearest_offer(&n, names[i]);
	return n.name;
}

static void test_each_kind_of_edit(void **state)
{
	(void)state;
	assert_string_equal(nearest_to("pign"), "ping"); /* swapped */
	assert_string_equal(nearest_to("prot"), "port");
	assert_string_equal(nearest_to("pin"), "ping");	  /* deleted */
	assert_string_equal(nearest_to("pingg"), "ping"); /* inserted */
	assert_string_equal(nearest_to("pong"), "ping");  /* replaced */
	assert_string_equal(nearest_to("adress"), "address");
}

static void test_case_and_dashes_are_ignored(void **state)
{
	(void)state;
	assert_string_equal(nearest_to("PORT"), "port");
	assert_string_equal(nearest_to("max-mesage"), "max_message");
	assert_string_equal(nearest_to("TimeOut"), "timeout");
}

static void test_far_words_suggest_nothing(void **state)
{
	(void)state;
	assert_null(nearest_to("localhost"));
	assert_null(nearest_to("www"));
	assert_null(nearest_to("example.org"));
	assert_null(nearest_to(""));
	assert_null(nearest_to("p"));
}

static void test_closest_then_first_name_wins(void **state)
{
	struct nearest n = {.word = "paht"};

	(void)state;
	nearest_offer(&n, "part");
	nearest_offer(&n, "path");
	nearest_offer(&n, "pact");
	assert_string_equal(n.name, "part");
	assert_int_equal(n.edits, 1);
	n = (struct nearest){.word = "timeot"};
	nearest_offer(&n, "times");
	nearest_offer(&n, "timeout");
	assert_string_equal(n.name, "timeout");
}

static void test_distance_limit_grows_with_word_length(void **state)
{
	struct nearest n = {.word = "abcdef"};

	(void)state;
	nearest_offer(&n, "abcxyz");
	assert_null(n.name);
	nearest_offer(&n, "abcdxy");
	assert_string_equal(n.name, "abcdxy");
}

static void test_long_words(void **state)
{
	char word[NEAREST_WORD_MAX + 2] = {0};
	char name[NEAREST_WORD_MAX + 2] = {0};
	struct nearest n = {.word = word};

	(void)state;
	for (size_t i = 0; i < NEAREST_WORD_MAX; i++)
		word[i] = name[i] = 'a';
	name[7] = 'b';
	nearest_offer(&n, name);
	assert_string_equal(n.name, name);
	n.name = NULL;
	name[NEAREST_WORD_MAX] = 'a';
	nearest_offer(&n, name);
	assert_null(n.name);
	word[NEAREST_WORD_MAX] = 'a';
	name[NEAREST_WORD_MAX] = '\0';
	nearest_offer(&n, name);
	assert_null(n.name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_of_edit),
		cmocka_unit_test(test_case_and_dashes_are_ignored),
		cmocka_unit_test(test_far_words_suggest_nothing),
		cmocka_unit_test(test_closest_then_first_name_wins),
		cmocka_unit_test(test_distance_limit_grows_with_word_length),
		cmocka_unit_test(test_long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
