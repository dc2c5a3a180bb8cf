/* template: accepted sources, positions of errors, and expansion. */

#include "core/session/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct template_values values = {
	.names = "[2001:db8::1]:4711\0id-1\0example.org",
	.host = "example",
	.listener = "ackd",
	.connection = UINT64_MAX,
	.message = 1,
	.bytes = 0,
	.characters = 1234567890,
};

static struct template *compile(const char *source, enum charset charset)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(template_compile(source, charset, TEMPLATE_IN_REPLY, &template, &error),
			 TEMPLATE_OK);
	assert_non_null(template);
	return template;
}

/* Checks what @source expands to, and that nothing is written beyond it. */
static void check(const char *source, enum charset charset, const char *expected)
{
	struct template *template = compile(source, charset);
	uint8_t out[TEMPLATE_EXPANDED_MAX + 1];
	size_t n;

	memset(out, 0x55, sizeof(out));
	n = template_expand(template, &values, out);
	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
	assert_int_equal(out[n], 0x55);
	assert_true(n <= template_length_max(template));
	template_destroy(template);
}

static void test_expand(void **state)
{
	check("Got ", CHARSET_UTF_8, "Got ");
	check("${peer}", CHARSET_UTF_8, "[2001:db8::1]:4711");
	check("${proxy_id} ${authority}", CHARSET_UTF_8, "id-1 example.org");
	check("a${host}b${listener}c", CHARSET_UTF_8, "aexamplebackdc");
	check("${connection}${message}${bytes}${characters}", CHARSET_ASCII,
	      "18446744073709551615101234567890");
	check("$$", CHARSET_UTF_8, "$");
	check("$$$$a$${bytes}", CHARSET_UTF_8, "$$a${bytes}");
	check("{}} ${bytes}}", CHARSET_UTF_8, "{}} 0}");
	check("\xe2\x82\xac ${bytes} \xc3\xa9\n", CHARSET_UTF_8, "\xe2\x82\xac 0 \xc3\xa9\n");
	check("\xe2\x82\xac ${bytes} \xc3\xa9\n", CHARSET_WINDOWS_1252, "\x80 0 \xe9\n");
}

static void test_empty(void **state)
{
	struct template *template = compile("", CHARSET_UTF_8);
	uint8_t out[1] = {0x55};

	assert_true(template_is_empty(template));
	assert_int_equal(template_expand(template, &values, out), 0);
	template_destroy(template);
	assert_true(template_is_empty(NULL));
	assert_int_equal(template_variables(NULL), 0);
	assert_int_equal(template_length_max(NULL), 0);
	assert_int_equal(template_expand(NULL, &values, out), 0);
	template_destroy(NULL);
}

static void test_variables(void **state)
{
	struct template *template = compile("${bytes} ${message}${bytes}", CHARSET_UTF_8);

	assert_int_equal(template_variables(template), TEMPLATE_BYTES | TEMPLATE_MESSAGE);
	assert_false(template_is_empty(template));
	assert_int_equal(template_length_max(template), 61);
	template_destroy(template);
}

/* Checks that @source is refused with @fault at @offset. */
static struct template_error check_refused(const char *source, enum charset charset,
					   unsigned allowed, enum template_fault fault,
					   size_t offset)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(template_compile(source, charset, allowed, &template, &error), fault);
	assert_null(template);
	assert_int_equal(error.fault, fault);
	assert_int_equal(error.offset, offset);
	return error;
}

static void test_refused(void **state)
{
	const unsigned all = TEMPLATE_IN_REPLY;
	struct template_error error;

	check_refused("a\xff", CHARSET_UTF_8, all, TEMPLATE_NOT_UTF_8, 1);
	check_refused("ab\xe2\x82", CHARSET_UTF_8, all, TEMPLATE_NOT_UTF_8, 2);
	check_refused("a$", CHARSET_UTF_8, all, TEMPLATE_BAD_DOLLAR, 1);
	check_refused("$a", CHARSET_UTF_8, all, TEMPLATE_BAD_DOLLAR, 0);
	check_refused("$$${bytes", CHARSET_UTF_8, all, TEMPLATE_BAD_DOLLAR, 2);

	error = check_refused("a${pear}", CHARSET_UTF_8, all, TEMPLATE_UNKNOWN_VARIABLE, 1);
	assert_string_equal(error.name, "pear");
	error = check_refused("${}", CHARSET_UTF_8, all, TEMPLATE_UNKNOWN_VARIABLE, 0);
	assert_string_equal(error.name, "");
	error = check_refused("${byte}", CHARSET_UTF_8, all, TEMPLATE_UNKNOWN_VARIABLE, 0);
	assert_string_equal(error.name, "byte");
	error = check_refused("${bytes}${message}", CHARSET_UTF_8, TEMPLATE_BYTES,
			      TEMPLATE_VARIABLE_NOT_HERE, 8);
	assert_string_equal(error.name, "message");
	error = check_refused("\xc3\xa9\xd0\x80", CHARSET_ISO_8859_1, all, TEMPLATE_NOT_ENCODABLE,
			      2);
	assert_int_equal(error.code_point, 0x400);
}

/* A name that is too long for the error is cut, and not within a character. */
static void test_long_name_in_error_is_truncated(void **state)
{
	struct template_error error;

	error = check_refused("${0123456789012345678901234567890123456789}", CHARSET_UTF_8,
			      TEMPLATE_IN_REPLY, TEMPLATE_UNKNOWN_VARIABLE, 0);
	assert_string_equal(error.name, "0123456789012345678901234567890");
	error = check_refused("${01234567890123456789012345678\xe2\x82\xac}", CHARSET_UTF_8,
			      TEMPLATE_IN_REPLY, TEMPLATE_UNKNOWN_VARIABLE, 0);
	assert_string_equal(error.name, "01234567890123456789012345678");
}

/* The bound holds for variables of their maximum length. */
static void test_too_long(void **state)
{
	char source[TEMPLATE_EXPANDED_MAX + 2] = "${peer}";
	const size_t name = strlen("${peer}");
	size_t literal = TEMPLATE_EXPANDED_MAX - TEMPLATE_PEER_MAX;
	struct template_error error;
	struct template *template;
	uint8_t out[TEMPLATE_EXPANDED_MAX];
	char peer[TEMPLATE_PEER_MAX + 4]; /* with the two empty names behind it */

	memset(source + name, 'x', literal + 1);
	error = check_refused(source, CHARSET_UTF_8, TEMPLATE_IN_REPLY, TEMPLATE_TOO_LONG, 0);
	assert_int_equal(error.length, TEMPLATE_EXPANDED_MAX + 1);

	source[name + literal] = '\0';
	template = compile(source, CHARSET_UTF_8);
	memset(peer, '\0', sizeof(peer));
	memset(peer, 'p', TEMPLATE_PEER_MAX + 1);
	assert_int_equal(template_expand(template, &(struct template_values){.names = peer}, out),
			 TEMPLATE_EXPANDED_MAX);
	template_destroy(template);
}

static void test_names(void **state)
{
	static const char names[] = "\0id\0";
	struct template *template = compile("<${peer}|${proxy_id}|${authority}>", CHARSET_UTF_8);
	uint8_t out[TEMPLATE_EXPANDED_MAX];

	assert_int_equal(template_length_max(template), strlen("<||>") + TEMPLATE_PEER_MAX +
								TEMPLATE_PROXY_ID_MAX +
								TEMPLATE_AUTHORITY_MAX);
	assert_int_equal(template_expand(template, &(struct template_values){0}, out), 4);
	assert_memory_equal(out, "<||>", 4);
	assert_int_equal(template_expand(template, &(struct template_values){.names = names}, out),
			 6);
	assert_memory_equal(out, "<|id|>", 6);
	assert_string_equal(template_name(NULL, NAME_AUTHORITY), "");
	template_destroy(template);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_long_name_in_error_is_truncated),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
