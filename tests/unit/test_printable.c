/* printable: which characters may reach a terminal, and how others are escaped. */

#include "core/text/printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The first and the last of each range, and their neighbours. */
static void test_printable_ranges(void **state)
{
	static const uint32_t not_printable[] = {
		0x00,  0x07,   0x09,   0x0a,   0x1b,   0x1f,   0x7f,   0x80,   0x85,   0x9b,   0x9f,
		0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2067, 0x2069,
	};
	static const uint32_t printable[] = {
		0x20,	0x7e,	0xa0,	0xe9,	0x61b,	0x61d,	0x200b, 0x200d,	 0x2010,
		0x2027, 0x202f, 0x2065, 0x206a, 0x3042, 0xfeff, 0xfffd, 0x1f600, 0x10ffff,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(not_printable) / sizeof(not_printable[0]); i++)
		assert_false(is_printable(not_printable[i]));
	for (size_t i = 0; i < sizeof(printable) / sizeof(printable[0]); i++)
		assert_true(is_printable(printable[i]));
}

static void test_next(void **state)
{
	size_t length;

	(void)state;
	assert_true(printable_next((const uint8_t *)"\xc3\xa9x", 3, &length));
	assert_int_equal(length, 2);
	assert_false(printable_next((const uint8_t *)"\xc2\x9bx", 3, &length));
	assert_int_equal(length, 2);
	assert_false(printable_next((const uint8_t *)"\xc3", 1, &length));
	assert_int_equal(length, 1);
	assert_false(printable_next((const uint8_t *)"\xffx", 2, &length));
	assert_int_equal(length, 1);
}

static void test_escape(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"},
		{"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
		{"\x1b[2J\x7f", "\\x1b[2J\\x7f"},
		{"\xc2\x9b"
		 "2J",
		 "\\xc2\\x9b2J"},
		{"\x9b\xff", "\\x9b\\xff"},
		{"cut \xf0\x9f\x98", "cut \\xf0\\x9f\\x98"},
		{"\xe2\x80\xae\xd8\x9c\xe2\x81\xa6", "\\xe2\\x80\\xae\\xd8\\x9c\\xe2\\x81\\xa6"},
		{"", ""},
	};
	char out[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = printable_escape(out, sizeof(out), cases[i].in);

		assert_string_equal(out, cases[i].out);
		assert_int_equal(n, strlen(cases[i].out));
	}
	/* A character that does not fit is omitted. */
	assert_int_equal(printable_escape(out, 4, "\x01\x02"), 0);
	assert_int_equal(printable_escape(out, 5, "\x01\x02"), 4);
	assert_int_equal(printable_escape(out, 3, "a\xc3\xbc"), 1);
	assert_int_equal(printable_escape(out, 4, "a\xc3\xbc"), 3);
	assert_int_equal(printable_escape(out, 1, "a"), 0);
}

static void check_bytes(const char *bytes, size_t n, const char *expected)
{
	char out[PRINTABLE_BYTES_SIZE(16)];

	assert_int_equal(printable_bytes(out, (const uint8_t *)bytes, n), strlen(expected));
	assert_string_equal(out, expected);
}

/* As Python shows them; an integration test compares more with Python itself. */
static void test_bytes(void **state)
{
	char all[PRINTABLE_BYTES_SIZE(256)];
	uint8_t bytes[256];

	(void)state;
	check_bytes("", 0, "b''");
	check_bytes("a b", 3, "b'a b'");
	check_bytes("\0\t\n\r\x1b\x7f\x80\xff", 8, "b'\\x00\\t\\n\\r\\x1b\\x7f\\x80\\xff'");
	check_bytes("\\", 1, "b'\\\\'");
	check_bytes("'", 1, "b\"'\"");
	check_bytes("\"", 1, "b'\"'");
	check_bytes("'\"", 2, "b'\\'\"'");
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(printable_bytes(all, bytes, sizeof(bytes)), sizeof(all) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_printable_ranges),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
