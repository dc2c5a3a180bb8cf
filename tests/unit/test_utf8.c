/* utf8: table 3-7 at its boundaries, the tables of chapter 3, and the carry at every split. */

#include "core/utf8/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct check_case {
	const char *bytes;
	size_t n;
	enum utf8_status status;
	size_t valid;
	size_t length;
};

#define CASE(bytes, status, valid, length)                                                         \
	{                                                                                          \
		bytes, sizeof(bytes) - 1, status, valid, length                                    \
	}

static const struct check_case check_cases[] = {
	CASE("", UTF8_COMPLETE, 0, 0),
	CASE("\0", UTF8_COMPLETE, 1, 0),
	CASE("abc", UTF8_COMPLETE, 3, 0),
	CASE("\xef\xbb\xbf", UTF8_COMPLETE, 3, 0),
	CASE("\xef\xbf\xbf", UTF8_COMPLETE, 3, 0),
	CASE("\x7f\xc2\x80\xdf\xbf", UTF8_COMPLETE, 5, 0),
	CASE("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", UTF8_COMPLETE, 9, 0),
	CASE("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", UTF8_COMPLETE, 8, 0),
	CASE("a\x80", UTF8_INVALID_START, 1, 1),
	CASE("a\xbf", UTF8_INVALID_START, 1, 1),
	CASE("a\xc0\x80", UTF8_INVALID_START, 1, 1),
	CASE("a\xc1\xbf", UTF8_INVALID_START, 1, 1),
	CASE("a\xf5\x80", UTF8_INVALID_START, 1, 1),
	CASE("a\xff", UTF8_INVALID_START, 1, 1),
	CASE("ab\xc2", UTF8_PARTIAL, 2, 1),
	CASE("ab\xc2\x41", UTF8_INVALID_CONTINUATION, 2, 1),
	CASE("ab\xc2\xc2", UTF8_INVALID_CONTINUATION, 2, 1),
	CASE("\xe0", UTF8_PARTIAL, 0, 1),
	CASE("\xe0\x9f", UTF8_INVALID_CONTINUATION, 0, 1),
	CASE("\xe0\xa0", UTF8_PARTIAL, 0, 2),
	CASE("\xed\x9f", UTF8_PARTIAL, 0, 2),
	CASE("\xed\xa0", UTF8_INVALID_CONTINUATION, 0, 1),
	CASE("\xed\xa0\x80", UTF8_INVALID_CONTINUATION, 0, 1),
	CASE("\xe2\x82\n", UTF8_INVALID_CONTINUATION, 0, 2),
	CASE("\xf0\x8f", UTF8_INVALID_CONTINUATION, 0, 1),
	CASE("\xf0\x90", UTF8_PARTIAL, 0, 2),
	CASE("\xf0\x90\x80", UTF8_PARTIAL, 0, 3),
	CASE("\xf0\x90\x80\xc0", UTF8_INVALID_CONTINUATION, 0, 3),
	CASE("\xf0\x90\xc0", UTF8_INVALID_CONTINUATION, 0, 2),
	CASE("\xf4\x8f\xbf", UTF8_PARTIAL, 0, 3),
	CASE("\xf4\x90", UTF8_INVALID_CONTINUATION, 0, 1),
	CASE("12345678\xe2\x82\xac"
	     "12345678\xe2\x28",
	     UTF8_INVALID_CONTINUATION, 19, 1),
};

#define N_CHECK_CASES (sizeof(check_cases) / sizeof(check_cases[0]))

static void test_check(void **state)
{
	for (size_t i = 0; i < N_CHECK_CASES; i++) {
		const struct check_case *c = &check_cases[i];
		struct utf8_checked checked = utf8_check((const uint8_t *)c->bytes, c->n);

		assert_int_equal(checked.status, c->status);
		assert_int_equal(checked.valid, c->valid);
		assert_int_equal(checked.length, c->length);
	}
}

/* Unicode 15, tables 3-8 to 3-11: how many maximal subparts each row's bytes are. */
static void test_maximal_subparts(void **state)
{
	static const struct {
		const char *bytes;
		const char *lengths; /* a digit for each character or subpart */
	} rows[] = {
		{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", "111111111"},
		{"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", "111111111"},
		{"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", "111111111"},
		{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "21321"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *p = (const uint8_t *)rows[i].bytes;
		size_t n = strlen(rows[i].bytes);
		size_t at = 0;

		for (const char *digit = rows[i].lengths; *digit; digit++) {
			size_t length;

			assert_true(at < n);
			utf8_character(p + at, n - at, &length);
			assert_int_equal(length, *digit - '0');
			at += length;
		}
		assert_int_equal(at, n);
	}
}

static size_t encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 + (c >> 6));
		out[1] = (uint8_t)(0x80 + c % 64);
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 + (c >> 12));
		out[1] = (uint8_t)(0x80 + (c >> 6) % 64);
		out[2] = (uint8_t)(0x80 + c % 64);
		return 3;
	}
	out[0] = (uint8_t)(0xf0 + (c >> 18));
	out[1] = (uint8_t)(0x80 + (c >> 12) % 64);
	out[2] = (uint8_t)(0x80 + (c >> 6) % 64);
	out[3] = (uint8_t)(0x80 + c % 64);
	return 4;
}

static void test_every_code_point(void **state)
{
	for (uint32_t c = 0; c < 0x120000; c++) {
		bool is_scalar_value = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		uint8_t bytes[4];
		size_t n = encode(c, bytes);

		assert_int_equal(utf8_check(bytes, n).status == UTF8_COMPLETE, is_scalar_value);
		if (!is_scalar_value)
			continue;
		assert_int_equal(utf8_code_point(bytes), c);
		assert_int_equal(utf8_count(bytes, n), 1);
		for (size_t cut = 1; cut < n; cut++) {
			struct utf8_checked checked = utf8_check(bytes, cut);

			assert_int_equal(checked.status, UTF8_PARTIAL);
			assert_int_equal(checked.length, cut);
		}
	}
}

static void test_count(void **state)
{
	static const char text[] = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 0123456789 \xc3\xa9";

	assert_int_equal(utf8_count((const uint8_t *)text, sizeof(text) - 1), 21);
	assert_int_equal(utf8_count((const uint8_t *)text, 0), 0);
}

/* The characters and subparts of a stream, independent of the cuts. */
struct trace {
	char text[256];
	size_t length;
};

static void trace_add(struct trace *trace, const uint8_t *p, size_t n, enum utf8_status status)
{
	trace->text[trace->length++] = status == UTF8_COMPLETE ? '=' : '!';
	trace->text[trace->length++] = (char)('0' + status);
	memcpy(trace->text + trace->length, p, n);
	trace->length += n;
}

/* Feeds @n bytes at @p, of which the first reads end at @cuts. */
static void trace_stream(struct trace *trace, const uint8_t *p, size_t n, const size_t cuts[3])
{
	struct utf8_carry carry = {0};
	size_t at = 0;

	trace->length = 0;
	for (int i = 0; i < 3; i++) {
		size_t end = cuts[i];

		while (at < end) {
			uint8_t head[UTF8_CHARACTER_MAX];
			enum utf8_status status;
			size_t length, used;

			if (carry.length > 0) {
				status = utf8_carry_join(&carry, p + at, end - at, head, &length,
							 &used);
				at += used;
				if (status != UTF8_PARTIAL)
					trace_add(trace, head, length, status);
				continue;
			}
			status = utf8_character(p + at, end - at, &length);
			if (status == UTF8_PARTIAL) {
				utf8_carry_set(&carry, p + at, length);
			} else {
				trace_add(trace, p + at, length, status);
			}
			at += length;
		}
	}
	if (carry.length > 0)
		trace_add(trace, carry.bytes, carry.length, UTF8_PARTIAL);
}

static void test_carry_at_every_split(void **state)
{
	static const char *const inputs[] = {
		"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41",
		"\xed\xa0\x80\xf4\x90\x80\x80\xe0\x9f",
		"\xf0\x90\x80\xf0\x90\x80\x80\xc2\xc2\x80\xf4\x8f\xbf",
	};

	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		const uint8_t *p = (const uint8_t *)inputs[i];
		size_t n = strlen(inputs[i]);
		struct trace whole, split;

		trace_stream(&whole, p, n, (const size_t[]){n, n, n});
		for (size_t a = 0; a <= n; a++) {
			for (size_t b = a; b <= n; b++) {
				trace_stream(&split, p, n, (const size_t[]){a, b, n});
				assert_int_equal(split.length, whole.length);
				assert_memory_equal(split.text, whole.text, whole.length);
			}
		}
	}
}

static void test_kernel_select(void **state)
{
	const char *const *names = utf8_kernel_list();
	size_t n = 0;

	assert_int_equal(utf8_kernel_select("abacus"), -EINVAL);
	assert_int_equal(utf8_kernel_select(""), -EINVAL);
	for (; names[n]; n++) {
		assert_int_equal(utf8_kernel_select(names[n]), 0);
		assert_string_equal(utf8_kernel_name(), names[n]);
	}
	assert_string_equal(names[n - 1], "scalar");
	assert_int_equal(utf8_kernel_select(NULL), 0);
	assert_string_equal(utf8_kernel_name(), names[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_maximal_subparts),
		cmocka_unit_test(test_every_code_point),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_carry_at_every_split),
		cmocka_unit_test(test_kernel_select),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
