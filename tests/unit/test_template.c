/* template: accepted sources, positions of errors, and expansion. */

#include "core/session/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct template_text fields[TEMPLATE_FIELDS_MAX] = {
	{(const uint8_t *)"one", 3},
	{NULL, 0},
	{(const uint8_t *)"3", 1},
};

static const struct template_values values = {
	.names = "[2001:db8::1]:4711\0id-1\0example.org\0"
		 "192.0.2.1:7\0CN=me",
	.host = "example",
	.listener = "ackd",
	.connection = UINT64_MAX,
	.message = 1,
	.bytes = 0,
	.characters = 1234567890,
	.fields = fields,
	.offset = 5,
	.reason = "cannot encode U+10FFFF",
};

#define ALL_VARIABLES (TEMPLATE_IN_REPLY | TEMPLATE_IN_NAK)

static struct template *compile(const char *source, enum charset charset)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(template_compile(source, charset, ALL_VARIABLES, &template, &error),
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
	check("${local} ${tls_subject}", CHARSET_ISO_8859_1, "192.0.2.1:7 CN=me");
	check("${local}", CHARSET_UTF_8, "192.0.2.1:7");
	check("NAK ${offset} ${reason}", CHARSET_UTF_8, "NAK 5 cannot encode U+10FFFF");
	check("a${field:,:7}b${field:,:1}${field:;:2}", CHARSET_UTF_8, "aoneb3");
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

/* Checks that @source is one field with this separator and number. */
static void check_field(const char *source, uint32_t separator, uint32_t number)
{
	struct template *template = compile(source, CHARSET_ASCII);
	const struct template_field *found;
	size_t n;

	found = template_fields(template, &n);
	assert_int_equal(n, 1);
	assert_int_equal(found->separator, separator);
	assert_int_equal(found->number, number);
	assert_int_equal(template_variables(template), TEMPLATE_FIELD);
	assert_int_equal(template_length_max(template), TEMPLATE_FIELD_MAX);
	template_destroy(template);
}

static void test_fields(void **state)
{
	static const char *const bad[] = {
		"${field}",
		"${field:}",
		"${field:,}",
		"${field:,:}",
		"${field:,:0}",
		"${field:,:01}",
		"${field:,:1x}",
		"${field:ab:1}",
		"${field::1}",
		"${field:,:-1}",
		"${field:,:+1}",
		"${field:,: 1}",
		"${field:,:65536}",
		"${field:,:100000}",
		"${field:,:1:}",
		"${field:S:N}",
		"${field:\xc3\xa9,:1}",
	};
	size_t n = 1;

	check_field("${field:,:1}", ',', 1);
	check_field("${field:\n:65535}", '\n', TEMPLATE_FIELD_NUMBER_MAX);
	check_field("${field:::2}", ':', 2);
	check_field("${field:}:3}", '}', 3);
	check_field("${field:$:4}", '$', 4);
	check_field("${field:{:10}", '{', 10);
	/* a separator need not be in the charset of the template */
	check_field("${field:\xc3\xa9:1}", 0xe9, 1);
	check_field("${field:\xf4\x8f\xbf\xbf:1}", 0x10ffff, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_refused(bad[i], CHARSET_UTF_8, ALL_VARIABLES, TEMPLATE_BAD_FIELD, 0);
	check_refused("x${field:,:1}", CHARSET_UTF_8, TEMPLATE_IN_NAK, TEMPLATE_VARIABLE_NOT_HERE,
		      1);
	check_refused("${fields:,:1}", CHARSET_UTF_8, ALL_VARIABLES, TEMPLATE_UNKNOWN_VARIABLE, 0);
	check_refused("${field:,:1", CHARSET_UTF_8, ALL_VARIABLES, TEMPLATE_BAD_DOLLAR, 0);
	assert_null(template_fields(NULL, &n));
	assert_int_equal(n, 0);
}

/* Four fields of the maximum length fit, and nothing beside them. */
static void test_most_fields(void **state)
{
	char source[5 * 16 + 1] = "";
	uint8_t out[TEMPLATE_EXPANDED_MAX], field[TEMPLATE_FIELD_MAX];
	struct template_text texts[TEMPLATE_FIELDS_MAX];
	struct template_error error;
	struct template *template;

	memset(field, 'f', sizeof(field));
	for (size_t i = 0; i < TEMPLATE_FIELDS_MAX; i++) {
		texts[i] = (struct template_text){field, sizeof(field)};
		strcat(source, "${field:|:1}");
	}
	template = compile(source, CHARSET_UTF_8);
	assert_int_equal(template_expand(template, &(struct template_values){.fields = texts}, out),
			 TEMPLATE_EXPANDED_MAX);
	template_destroy(template);
	strcat(source, "x");
	error = check_refused(source, CHARSET_UTF_8, ALL_VARIABLES, TEMPLATE_TOO_LONG, 0);
	assert_int_equal(error.length, TEMPLATE_EXPANDED_MAX + 1);
	strcpy(strchr(source, 'x'), "${field:|:2}");
	error = check_refused(source, CHARSET_UTF_8, ALL_VARIABLES, TEMPLATE_TOO_LONG, 0);
	assert_int_equal(error.length, TEMPLATE_EXPANDED_MAX + TEMPLATE_FIELD_MAX);
}

static void test_list(void **state)
{
	char list[TEMPLATE_LIST_MAX];

	assert_string_equal(template_list(0, list), "");
	assert_string_equal(template_list(TEMPLATE_PEER | TEMPLATE_FIELD, list),
			    "${peer}, ${field:S:N}");
	assert_true(strlen(template_list(ALL_VARIABLES, list)) < sizeof(list) - 1);
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
	char peer[TEMPLATE_PEER_MAX + 6]; /* with the four empty names after it */

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
	static const char names[] = "\0id\0\0here\0CN=me";
	struct template *template = compile("<${proxy_id}|${authority}|${local}", CHARSET_UTF_8);
	uint8_t out[TEMPLATE_EXPANDED_MAX];

	assert_int_equal(template_length_max(template), strlen("<||") + TEMPLATE_PROXY_ID_MAX +
								TEMPLATE_AUTHORITY_MAX +
								TEMPLATE_LOCAL_MAX);
	assert_int_equal(template_expand(template, &(struct template_values){0}, out), 3);
	assert_memory_equal(out, "<||", 3);
	assert_int_equal(template_expand(template, &(struct template_values){.names = names}, out),
			 9);
	assert_memory_equal(out, "<id||here", 9);
	assert_string_equal(template_name(NULL, NAME_LOCAL), "");
	assert_string_equal(template_name(names, NAME_TLS_SUBJECT), "CN=me");
	template_destroy(template);

	template = compile("${tls_subject}", CHARSET_UTF_8);
	assert_int_equal(template_length_max(template), TEMPLATE_TLS_SUBJECT_MAX);
	template_destroy(template);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_most_fields),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_long_name_in_error_is_truncated),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
