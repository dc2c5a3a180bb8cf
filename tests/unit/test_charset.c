/* charset and decode: the tables of windows-1252, each encode handler, and full outputs. */

#include "core/text/charset.h"

#include "core/text/transcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Encodes @text in one go; checks the result. */
static void check_encoded(enum charset charset, enum encode_errors errors, const char *text,
			  const char *expected)
{
	uint8_t out[256];
	size_t read, written;

	assert_int_equal(charset_encode(charset, errors, (const uint8_t *)text, strlen(text), out,
					sizeof(out), &read, &written),
			 CHARSET_DONE);
	assert_int_equal(read, strlen(text));
	assert_int_equal(written, strlen(expected));
	assert_memory_equal(out, expected, written);
}

/* U+00E9 U+0400 U+20AC U+1F600 between letters */
#define TEXT "a\xc3\xa9\xd0\x80\xe2\x82\xac\xf0\x9f\x98\x80z"

static void test_handlers(void **state)
{
	check_encoded(CHARSET_UTF_8, ENCODE_STRICT, TEXT, TEXT);
	check_encoded(CHARSET_ASCII, ENCODE_REPLACE, TEXT, "a????z");
	check_encoded(CHARSET_ASCII, ENCODE_IGNORE, TEXT, "az");
	check_encoded(CHARSET_ASCII, ENCODE_XMLCHARREFREPLACE, TEXT,
		      "a&#233;&#1024;&#8364;&#128512;z");
	check_encoded(CHARSET_ASCII, ENCODE_BACKSLASHREPLACE, TEXT,
		      "a\\xe9\\u0400\\u20ac\\U0001f600z");
	check_encoded(CHARSET_ISO_8859_1, ENCODE_REPLACE, TEXT, "a\xe9???z");
	check_encoded(CHARSET_ISO_8859_1, ENCODE_BACKSLASHREPLACE, TEXT,
		      "a\xe9\\u0400\\u20ac\\U0001f600z");
	check_encoded(CHARSET_WINDOWS_1252, ENCODE_IGNORE, TEXT, "a\xe9\x80z");
	check_encoded(CHARSET_WINDOWS_1252, ENCODE_XMLCHARREFREPLACE, TEXT,
		      "a\xe9&#1024;\x80&#128512;z");
	check_encoded(CHARSET_ASCII, ENCODE_XMLCHARREFREPLACE, "\xf4\x8f\xbf\xbf", "&#1114111;");
}

/* C1 controls are in iso-8859-1, but not in windows-1252, not even its five empty places. */
static void test_windows_1252(void **state)
{
	check_encoded(CHARSET_ISO_8859_1, ENCODE_REPLACE, "\xc2\x80\xc2\x9f\xc2\xa0\xc3\xbf",
		      "\x80\x9f\xa0\xff");
	check_encoded(CHARSET_WINDOWS_1252, ENCODE_REPLACE,
		      "\xc2\x80\xc2\x81\xc2\x8d\xc2\x8f\xc2\x90\xc2\x9d\xc2\x9f\xc2\xa0\xc3\xbf",
		      "???????\xa0\xff");
	check_encoded(
		CHARSET_WINDOWS_1252, ENCODE_STRICT,
		"\xe2\x82\xac\xe2\x80\x9a\xc6\x92\xe2\x80\x9e\xe2\x80\xa6\xe2\x80\xa0"
		"\xe2\x80\xa1\xcb\x86\xe2\x80\xb0\xc5\xa0\xe2\x80\xb9\xc5\x92\xc5\xbd"
		"\xe2\x80\x98\xe2\x80\x99\xe2\x80\x9c\xe2\x80\x9d\xe2\x80\xa2\xe2\x80\x93"
		"\xe2\x80\x94\xcb\x9c\xe2\x84\xa2\xc5\xa1\xe2\x80\xba\xc5\x93\xc5\xbe\xc5\xb8",
		"\x80\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8e\x91\x92\x93\x94\x95\x96"
		"\x97\x98\x99\x9a\x9b\x9c\x9e\x9f");
}

static void test_strict_stops_before(void **state)
{
	uint8_t out[64];
	size_t read, written;

	assert_int_equal(charset_encode(CHARSET_ISO_8859_1, ENCODE_STRICT, (const uint8_t *)TEXT,
					strlen(TEXT), out, sizeof(out), &read, &written),
			 CHARSET_FAULT);
	assert_int_equal(read, 3);
	assert_int_equal(written, 2);
	assert_memory_equal(out, "a\xe9", 2);
}

/* For every output size, the pieces add up to the whole and nothing is written past the end. */
static void test_every_output_size(void **state)
{
	static const char whole[] = "a\\xe9\\u0400\\u20ac\\U0001f600z";
	const uint8_t *text = (const uint8_t *)TEXT;
	size_t n = strlen(TEXT);

	for (size_t size = CHARSET_CHARACTER_MAX; size < sizeof(whole) + 2; size++) {
		uint8_t out[64];
		size_t at = 0;
		size_t total = 0;

		while (at < n) {
			size_t read, written;

			memset(out, 0x55, sizeof(out));
			charset_encode(CHARSET_ASCII, ENCODE_BACKSLASHREPLACE, text + at, n - at,
				       out, size, &read, &written);
			assert_true(read > 0 && written <= size);
			assert_memory_equal(out, whole + total, written);
			assert_int_equal(out[size], 0x55);
			at += read;
			total += written;
		}
		assert_int_equal(total, sizeof(whole) - 1);
	}
}

static void test_full_at_character_boundary(void **state)
{
	uint8_t out[8];
	size_t read, written;

	assert_int_equal(charset_encode(CHARSET_UTF_8, ENCODE_STRICT, (const uint8_t *)TEXT,
					strlen(TEXT), out, 7, &read, &written),
			 CHARSET_FULL);
	assert_int_equal(read, 5);
	assert_int_equal(written, 5);
}

/* A single character is encoded as in a text: at the bounds of every UTF-8 length. */
static void test_single_characters(void **state)
{
	static const struct {
		uint32_t c;
		const char *utf_8;
	} characters[] = {
		{0x7f, "\x7f"},
		{0x80, "\xc2\x80"},
		{0x9f, "\xc2\x9f"},
		{0xa0, "\xc2\xa0"},
		{0xff, "\xc3\xbf"},
		{0x100, "\xc4\x80"},
		{0x152, "\xc5\x92"},
		{0x7ff, "\xdf\xbf"},
		{0x800, "\xe0\xa0\x80"},
		{0x200f, "\xe2\x80\x8f"},
		{0x2010, "\xe2\x80\x90"},
		{0x203f, "\xe2\x80\xbf"},
		{0x2040, "\xe2\x81\x80"},
		{0xffff, "\xef\xbf\xbf"},
		{0x10000, "\xf0\x90\x80\x80"},
		{0x10ffff, "\xf4\x8f\xbf\xbf"},
	};

	for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
		const uint8_t *text = (const uint8_t *)characters[i].utf_8;
		size_t n = strlen(characters[i].utf_8);

		for (int charset = CHARSET_UTF_8; charset <= CHARSET_WINDOWS_1252; charset++) {
			for (int errors = ENCODE_STRICT; errors <= ENCODE_BACKSLASHREPLACE;
			     errors++) {
				uint8_t alone[CHARSET_CHARACTER_MAX], out[CHARSET_CHARACTER_MAX];
				size_t read, written;
				enum charset_status status =
					charset_encode(charset, errors, text, n, out, sizeof(out),
						       &read, &written);
				int length;

				if (charset == CHARSET_UTF_8) {
					assert_int_equal(written, n);
					assert_memory_equal(out, text, n);
					continue;
				}
				length = charset_encode_character(charset, errors, characters[i].c,
								  alone);
				if (status == CHARSET_FAULT) {
					assert_int_equal(length, -1);
					continue;
				}
				assert_int_equal(length, written);
				assert_memory_equal(alone, out, written);
			}
		}
	}
}

static void test_encodable(void **state)
{
	const uint8_t *text = (const uint8_t *)TEXT;
	size_t n = strlen(TEXT);

	assert_int_equal(charset_encodable(CHARSET_UTF_8, text, n), n);
	assert_int_equal(charset_encodable(CHARSET_ASCII, text, n), 1);
	assert_int_equal(charset_encodable(CHARSET_ISO_8859_1, text, n), 3);
	assert_int_equal(charset_encodable(CHARSET_WINDOWS_1252, text, n), 3);
	assert_int_equal(charset_encodable(CHARSET_WINDOWS_1252, text + 5, n - 5), 3);
	assert_int_equal(charset_encodable(CHARSET_ASCII, text, 0), 0);
}

static void test_decode_replacement(void **state)
{
	static const uint8_t bad[3] = {0xf0, 0x9f, 0x98};
	uint8_t text[DECODE_REPLACEMENT_MAX];

	assert_int_equal(decode_replacement(DECODE_REPLACE, bad, 3, text), 3);
	assert_memory_equal(text, "\xef\xbf\xbd", 3);
	assert_int_equal(decode_replacement(DECODE_IGNORE, bad, 3, text), 0);
	assert_int_equal(decode_replacement(DECODE_BACKSLASHREPLACE, bad, 3, text), 12);
	assert_memory_equal(text, "\\xf0\\x9f\\x98", 12);
	assert_int_equal(decode_replacement(DECODE_BACKSLASHREPLACE, bad, 1, text), 4);
	assert_int_equal(decode_replacement(DECODE_SURROGATEESCAPE, bad, 3, text), 3);
	assert_memory_equal(text, bad, 3);
}

static const enum charset single_byte[] = {CHARSET_ASCII, CHARSET_ISO_8859_1, CHARSET_WINDOWS_1252};

/* A byte decodes to the character that encodes to it. Five bytes of windows-1252 are undefined. */
static void test_every_byte(void **state)
{
	static const unsigned defined[] = {128, 256, 251};

	for (size_t i = 0; i < 3; i++) {
		enum charset charset = single_byte[i];
		unsigned n = 0;

		for (unsigned b = 0; b < 256; b++) {
			uint8_t byte = (uint8_t)b, encoded[CHARSET_CHARACTER_MAX];
			size_t length = 0;

			if (decode_character(charset, &byte, 1, &length) == UTF8_COMPLETE) {
				uint32_t c = decode_code_point(charset, &byte);

				n++;
				assert_int_equal(charset_encode_character(charset, ENCODE_STRICT, c,
									  encoded),
						 1);
				assert_int_equal(encoded[0], byte);
				assert_int_equal(decode_check(charset, &byte, 1).valid, 1);
			} else {
				assert_int_equal(decode_check(charset, &byte, 1).status,
						 UTF8_INVALID_START);
			}
			assert_int_equal(length, 1);
		}
		assert_int_equal(n, defined[i]);
	}
}

/* The fault is found wherever it is; bytes after it are not looked at. */
static void test_check_of_bytes(void **state)
{
	uint8_t text[100];

	for (size_t at = 0; at < sizeof(text); at++) {
		struct utf8_checked checked;

		memset(text, at % 2 ? 'x' : 0xe9, sizeof(text));
		text[at] = 0x81;
		checked = decode_check(CHARSET_WINDOWS_1252, text, sizeof(text));
		assert_int_equal(checked.valid, at);
		assert_int_equal(checked.length, 1);
		assert_int_equal(checked.status, UTF8_INVALID_START);
		checked = decode_check(CHARSET_WINDOWS_1252, text, at);
		assert_int_equal(checked.valid, at);
		assert_int_equal(checked.length, 0);
		assert_int_equal(checked.status, UTF8_COMPLETE);
		assert_int_equal(decode_check(CHARSET_ISO_8859_1, text, sizeof(text)).valid,
				 sizeof(text));
		assert_int_equal(decode_check(CHARSET_BINARY, text, sizeof(text)).valid,
				 sizeof(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handlers),
		cmocka_unit_test(test_windows_1252),
		cmocka_unit_test(test_strict_stops_before),
		cmocka_unit_test(test_every_output_size),
		cmocka_unit_test(test_full_at_character_boundary),
		cmocka_unit_test(test_single_characters),
		cmocka_unit_test(test_encodable),
		cmocka_unit_test(test_decode_replacement),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_check_of_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
