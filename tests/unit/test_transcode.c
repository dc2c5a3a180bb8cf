/* transcode: decode handlers joined to encode handlers, at every size of the output. */

#include "core/text/transcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* a, E9, U+0400, a cut-off U+1F600, z, ED A0 (a surrogate's beginning) */
#define RAW "a\xc3\xa9\xd0\x80\xf0\x9f\x98z\xed\xa0"

/* Transcodes in pieces of at most @size bytes; checks the whole, and that nothing is beyond. */
static void check_pieces(const struct transcoder *t, size_t size, const char *expected)
{
	const uint8_t *raw = (const uint8_t *)RAW;
	size_t n = strlen(RAW);
	uint8_t out[128];
	uint8_t piece[64];
	size_t at = 0;
	size_t total = 0;

	while (at < n) {
		size_t read, written;

		memset(piece, 0x55, sizeof(piece));
		transcode(t, raw + at, n - at, piece, size, &read, &written);
		assert_true(read > 0 && written <= size);
		assert_int_equal(piece[size], 0x55);
		memcpy(out + total, piece, written);
		total += written;
		at += read;
	}
	assert_int_equal(total, strlen(expected));
	assert_memory_equal(out, expected, total);
}

static void check(enum decode_errors decode, enum charset charset, enum encode_errors encode,
		  const char *expected)
{
	const struct transcoder t = {CHARSET_UTF_8, decode, charset, encode};

	for (size_t size = TRANSCODE_UNIT_MAX; size < 60; size++)
		check_pieces(&t, size, expected);
}

static void test_handlers(void **state)
{
	check(DECODE_REPLACE, CHARSET_UTF_8, ENCODE_STRICT,
	      "a\xc3\xa9\xd0\x80\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd");
	check(DECODE_IGNORE, CHARSET_UTF_8, ENCODE_STRICT, "a\xc3\xa9\xd0\x80z");
	check(DECODE_BACKSLASHREPLACE, CHARSET_UTF_8, ENCODE_STRICT,
	      "a\xc3\xa9\xd0\x80\\xf0\\x9f\\x98z\\xed\\xa0");
	check(DECODE_REPLACE, CHARSET_ASCII, ENCODE_REPLACE, "a???z??");
	check(DECODE_REPLACE, CHARSET_ASCII, ENCODE_XMLCHARREFREPLACE,
	      "a&#233;&#1024;&#65533;z&#65533;&#65533;");
	check(DECODE_REPLACE, CHARSET_ISO_8859_1, ENCODE_BACKSLASHREPLACE,
	      "a\xe9\\u0400\\ufffdz\\ufffd\\ufffd");
	check(DECODE_REPLACE, CHARSET_WINDOWS_1252, ENCODE_IGNORE, "a\xe9z");
	check(DECODE_BACKSLASHREPLACE, CHARSET_ASCII, ENCODE_IGNORE, "a\\xf0\\x9f\\x98z\\xed\\xa0");
	check(DECODE_IGNORE, CHARSET_WINDOWS_1252, ENCODE_REPLACE, "a\xe9?z");
}

/* Bytes of windows-1252: letters, e acute, the euro sign, and one that is undefined. */
static void check_bytes(enum decode_errors decode, enum charset to, enum encode_errors encode,
			const char *expected)
{
	const struct transcoder t = {CHARSET_WINDOWS_1252, decode, to, encode};
	const uint8_t raw[] = "a\xe9\x80\x81z";
	uint8_t out[64];
	size_t read, written;

	transcode(&t, raw, sizeof(raw) - 1, out, sizeof(out), &read, &written);
	assert_int_equal(read, sizeof(raw) - 1);
	assert_int_equal(written, strlen(expected));
	assert_memory_equal(out, expected, written);
	assert_int_equal(transcode_length(&t, raw, sizeof(raw) - 1), written);
}

static void test_single_byte(void **state)
{
	check_bytes(DECODE_REPLACE, CHARSET_UTF_8, ENCODE_STRICT,
		    "a\xc3\xa9\xe2\x82\xac\xef\xbf\xbdz");
	check_bytes(DECODE_IGNORE, CHARSET_UTF_8, ENCODE_STRICT, "a\xc3\xa9\xe2\x82\xacz");
	check_bytes(DECODE_REPLACE, CHARSET_ISO_8859_1, ENCODE_REPLACE, "a\xe9??z");
	check_bytes(DECODE_BACKSLASHREPLACE, CHARSET_WINDOWS_1252, ENCODE_STRICT,
		    "a\xe9\x80\\x81z");
	check_bytes(DECODE_SURROGATEESCAPE, CHARSET_ASCII, ENCODE_XMLCHARREFREPLACE,
		    "a&#233;&#8364;\x81z");
	check_bytes(DECODE_SURROGATEESCAPE, CHARSET_UTF_8, ENCODE_STRICT,
		    "a\xc3\xa9\xe2\x82\xac\x81z");
}

/* Bytes that are not valid are kept, whatever the charset of the reply. */
static void test_surrogateescape(void **state)
{
	check(DECODE_SURROGATEESCAPE, CHARSET_UTF_8, ENCODE_STRICT, RAW);
	check(DECODE_SURROGATEESCAPE, CHARSET_ASCII, ENCODE_REPLACE, "a??\xf0\x9f\x98z\xed\xa0");
	check(DECODE_SURROGATEESCAPE, CHARSET_ISO_8859_1, ENCODE_IGNORE,
	      "a\xe9\xf0\x9f\x98z\xed\xa0");
	check(DECODE_SURROGATEESCAPE, CHARSET_WINDOWS_1252, ENCODE_XMLCHARREFREPLACE,
	      "a\xe9&#1024;\xf0\x9f\x98z\xed\xa0");
}

static void check_kept(enum charset from, enum decode_errors decode, enum charset to, bool all,
		       bool text)
{
	const struct transcoder t = {from, decode, to, ENCODE_STRICT};

	assert_int_equal(transcoder_keeps_all(&t), all);
	assert_int_equal(transcoder_keeps_text(&t), text);
}

static void test_kept(void **state)
{
	check_kept(CHARSET_BINARY, DECODE_STRICT, CHARSET_BINARY, true, true);
	check_kept(CHARSET_ISO_8859_1, DECODE_STRICT, CHARSET_ISO_8859_1, true, true);
	check_kept(CHARSET_ISO_8859_1, DECODE_STRICT, CHARSET_WINDOWS_1252, false, false);
	check_kept(CHARSET_WINDOWS_1252, DECODE_STRICT, CHARSET_WINDOWS_1252, false, true);
	check_kept(CHARSET_WINDOWS_1252, DECODE_SURROGATEESCAPE, CHARSET_WINDOWS_1252, true, true);
	check_kept(CHARSET_UTF_8, DECODE_REPLACE, CHARSET_UTF_8, false, true);
	check_kept(CHARSET_UTF_8, DECODE_SURROGATEESCAPE, CHARSET_UTF_8, true, true);
	check_kept(CHARSET_UTF_8, DECODE_SURROGATEESCAPE, CHARSET_ISO_8859_1, false, false);
	check_kept(CHARSET_ASCII, DECODE_REPLACE, CHARSET_UTF_8, false, true);
	check_kept(CHARSET_ASCII, DECODE_SURROGATEESCAPE, CHARSET_ISO_8859_1, true, true);
}

static void test_count(void **state)
{
	const uint8_t *raw = (const uint8_t *)RAW;
	size_t n = strlen(RAW);
	struct transcoder t = {CHARSET_UTF_8, DECODE_REPLACE, CHARSET_UTF_8, ENCODE_STRICT};

	assert_int_equal(transcode_count(&t, raw, n), 7);
	t.decode_errors = DECODE_IGNORE;
	assert_int_equal(transcode_count(&t, raw, n), 4);
	t.decode_errors = DECODE_BACKSLASHREPLACE;
	assert_int_equal(transcode_count(&t, raw, n), 4 + 12 + 8);
	t.decode_errors = DECODE_SURROGATEESCAPE;
	assert_int_equal(transcode_count(&t, raw, n), 4 + 3 + 2);
	t.from = CHARSET_ASCII;
	assert_int_equal(transcode_count(&t, raw, n), n);
	t.decode_errors = DECODE_REPLACE;
	assert_int_equal(transcode_count(&t, raw, n), n);
	t.decode_errors = DECODE_IGNORE;
	assert_int_equal(transcode_count(&t, raw, n), 2);
	t.from = t.to = CHARSET_BINARY;
	assert_int_equal(transcode_count(&t, raw, n), n);
	assert_int_equal(transcode_count(&t, raw, 0), 0);
}

/* Long enough to be checked in more than one window, with a character across each of its ends. */
static void test_long(void **state)
{
	const struct transcoder t = {CHARSET_UTF_8, DECODE_REPLACE, CHARSET_ISO_8859_1,
				     ENCODE_REPLACE};
	const size_t n = 3 * 100000;
	uint8_t *raw = malloc(n);
	uint8_t *out = malloc(n);
	size_t read, written;

	assert_non_null(raw);
	assert_non_null(out);
	for (size_t i = 0; i < n; i += 3)
		memcpy(raw + i, "\xe2\x82\xac", 3);
	transcode(&t, raw, n, out, n, &read, &written);
	assert_int_equal(read, n);
	assert_int_equal(written, n / 3);
	for (size_t i = 0; i < n / 3; i++)
		assert_int_equal(out[i], '?');
	assert_int_equal(transcode_count(&t, raw, n), n / 3);
	transcode(&t, raw, n, out, 1000, &read, &written);
	assert_int_equal(read, 3000);
	assert_int_equal(written, 1000);
	free(raw);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handlers),	cmocka_unit_test(test_single_byte),
		cmocka_unit_test(test_surrogateescape), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_count),		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
