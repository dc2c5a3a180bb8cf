/* Output of ackc: terminal, JSON, NAK lines, targets. */

#include "ackc/message/difference.h"
#include "ackc/message/nak.h"
#include "ackc/net/target.h"
#include "ackc/output/display.h"
#include "ackc/output/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Shows @text in pieces of @step bytes; returns what was shown, to be freed. */
static char *show(const char *text, size_t n, size_t step)
{
	struct display d = {0};
	char *shown = NULL;
	size_t shown_n;
	FILE *out = open_memstream(&shown, &shown_n);

	assert_non_null(out);
	for (size_t at = 0; at < n; at += step)
		display_write(&d, (const uint8_t *)text + at, n - at < step ? n - at : step, out);
	display_end(&d, out);
	fclose(out);
	return shown;
}

static void test_display(void **state)
{
	static const struct {
		const char *text;
		const char *shown;
	} cases[] = {
		{"", ""},
		{"plain\ttext\n", "plain\ttext\n"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"},
		{"\x1b[2J\a\x7f\x01", "^[[2J^G^?^A"},
		{"dos\r\nmac\rend\r", "dos\r\nmac^Mend\r"},
		{"\r\r\n", "^M\r\n"},
		{"\r\xc3\xa9\r\xff\r\x1b", "^M\xc3\xa9^M\\xff^M^["},
		{"\xc2\x9b"
		 "2J\xc2\x80\xc2\x9f\xc2\xa0",
		 "\\x9b2J\\x80\\x9f\xc2\xa0"},
		{"\x9b"
		 "2J\xff\xed\xa0\x80",
		 "\\x9b2J\\xff\\xed\\xa0\\x80"},
		{"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c\xe2\x80\xa8",
		 "\\u202e\\u2066\\u200f\\u061c\\u2028"},
		{"cut \xe2\x82", "cut \\xe2\\x82"},
		{"cut \xf0\x9f\x99", "cut \\xf0\\x9f\\x99"},
		{"\xe2\x82x", "\\xe2\\x82x"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 8; step++) {
			char *shown = show(cases[i].text, strlen(cases[i].text), step);

			assert_string_equal(shown, cases[i].shown);
			free(shown);
		}
	}
}

/* No input produces output that a terminal interprets. */
static void test_display_never_emits_control_characters(void **state)
{
	char bytes[4];

	for (unsigned i = 0; i < 0x40000; i++) {
		char *shown;

		memcpy(bytes,
		       (const uint8_t[]){(uint8_t)(i >> 10), (uint8_t)(i >> 5 & 0xFF), (uint8_t)i,
					 'x'},
		       4);
		shown = show(bytes, 4, 4);
		for (const uint8_t *p = (uint8_t *)shown; *p; p++) {
			assert_true(*p >= ' ' || *p == '\n' || *p == '\t' ||
				    (*p == '\r' && p[1] == '\n'));
			assert_true(*p != 0x7F && (*p != 0xC2 || p[1] >= 0xA0));
		}
		free(shown);
	}
}

static void test_json(void **state)
{
	char *text = NULL;
	size_t n;
	struct json j;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	json_begin(&j, out);
	json_string(&j, "a", "q\" b\\ n\n t\t \xc3\xa9 \xc2\x9b\xe2\x80\xae");
	json_string(&j, "cut",
		    "ab\xff"
		    "cd");
	json_number(&j, "n", UINT64_MAX);
	json_ms(&j, "ms", 1234567);
	json_double(&j, "inf", 1.0 / 0.0);
	json_bool(&j, "yes", true);
	json_null(&j, "no");
	json_open(&j, "list", '[');
	json_open(&j, NULL, '{');
	json_close(&j, '}');
	json_number(&j, NULL, 1);
	json_close(&j, ']');
	json_open(&j, "utf8", '{');
	json_bytes(&j, (const uint8_t *)"\0x", 2);
	json_close(&j, '}');
	json_open(&j, "other", '{');
	json_bytes(&j, (const uint8_t *)"\xff\xfe\xfd\xfc", 4);
	json_close(&j, '}');
	json_end(&j);
	fclose(out);
	assert_string_equal(
		text,
		"{\"a\":\"q\\\" b\\\\ n\\n t\\u0009 \xc3\xa9 \\u009b\\u202e\",\"cut\":\"ab\","
		"\"n\":18446744073709551615,\"ms\":1.234567,\"inf\":null,\"yes\":true,\"no\":null,"
		"\"list\":[{},1],\"utf8\":{\"text\":\"\\u0000x\"},"
		"\"other\":{\"base64\":\"//79/A==\"}}\n");
	free(text);
}

static uint64_t naks_in(const char *text, size_t step)
{
	struct nak_finder f = {0};
	size_t n = strlen(text);

	for (size_t at = 0; at < n; at += step)
		nak_find(&f, (const uint8_t *)text + at, n - at < step ? n - at : step);
	return f.found;
}

static void test_naks(void **state)
{
	static const struct {
		const char *text;
		unsigned naks;
	} cases[] = {
		{"NAK 0 x\n", 1},	 {"a\nNAK 123 invalid start byte\nb\nNAK 4 y\n", 2},
		{"NAK 0 x", 0},		 {"NAK\n", 0},
		{"NAK 0\n", 0},		 {"NAK x\n", 0},
		{"NAK  0 x\n", 0},	 {"aNAK 0 x\n", 0},
		{"NAK 0 \xc3\xa9\n", 0}, {"NAK 0 \x1b[2J\n", 0},
	};
	char longest[300] = "NAK 0 ";

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 40; step++)
			assert_int_equal(naks_in(cases[i].text, step), cases[i].naks);
	}
	memset(longest + 6, 'x', NAK_KEPT_MAX - 6);
	strcpy(longest + NAK_KEPT_MAX, "\nNAK 1 y\n");
	assert_int_equal(naks_in(longest, 7), 2);
	strcpy(longest + NAK_KEPT_MAX, "x\nNAK 1 y\n");
	assert_int_equal(naks_in(longest, 7), 1);
}

static void test_quotations(void **state)
{
	static const struct {
		const char *text;
		const char *quoted;
	} cases[] = {
		{"", "''"},
		{"OK\n", "'OK\\x0a'"},
		{"12345678901", "'12345678901'"},
		{"123456789012", "'12345678901'..."},
		{"1234567890\x1b", "'1234567890\\x1b'"},
		{"12345678901\x1b", "'12345678901'..."},
		{"\x1b\x9b", "'\\x1b\\x9b'"},
	};
	char quoted[20];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bytes_quote((const uint8_t *)cases[i].text, strlen(cases[i].text), quoted,
			    sizeof(quoted));
		assert_string_equal(quoted, cases[i].quoted);
	}
}

static void test_differences(void **state)
{
	static const struct {
		const char *expected;
		const char *received;
		enum fault_kind kind;
		const char *words;
	} cases[] = {
		{"abcdefgh", "abcdefgi", FAULT_FLIPPED, "X at byte 7: expected 'h', received 'i'"},
		{"abcdefgh", "abceefghxyz", FAULT_FLIPPED,
		 "X at byte 3: expected 'defgh', received 'eefghxyz'"},
		{"abcdefgh", "abcee", FAULT_DIFFERENT,
		 "X at byte 3: expected 'defgh', received 'ee'"},
		{"abcdefgh", "abcgefgh", FAULT_DIFFERENT,
		 "X at byte 3: expected 'defgh', received 'gefgh'"},
		{"abcdefgh", "abdefgh", FAULT_LOST,
		 "X at byte 2: expected 'cdefgh', received 'defgh'"},
		{"abcdefgh", "defgh", FAULT_LOST,
		 "X at byte 0: expected 'abcdefgh', received 'defgh'"},
		{"abcdefg\n", "abc\n", FAULT_LOST,
		 "X at byte 3: expected 'defg\\x0a', received '\\x0a'"},
		{"abcdefgh", "abde", FAULT_DIFFERENT,
		 "X at byte 2: expected 'cdefgh', received 'de'"},
		{"abcdefgh", "abccdefgh", FAULT_DUPLICATED,
		 "X at byte 3: expected 'defgh', received 'cdefgh'"},
		{"abcdefgh", "abcabcdefgh", FAULT_DUPLICATED,
		 "X at byte 3: expected 'defgh', received 'abcdefgh'"},
		{"abcdefgh", "abcdefghh", FAULT_DUPLICATED,
		 "X at byte 8: expected nothing, received 'h'"},
		{"abcdefgh", "abcdefghxy", FAULT_UNEXPECTED,
		 "X at byte 8: expected nothing, received 'xy'"},
		{"abcdefgh", "abc~defgh", FAULT_DIFFERENT,
		 "X at byte 3: expected 'defgh', received '~defgh'"},
		{"abcdefgh", "NAK 3 no\n", FAULT_DIFFERENT,
		 "X at byte 0: expected 'abcdefgh', received 'NAK 3 no\\x0a'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *expected = (const uint8_t *)cases[i].expected;
		const uint8_t *received = (const uint8_t *)cases[i].received;
		size_t n = strlen(cases[i].expected);
		size_t m = strlen(cases[i].received);
		size_t at = bytes_in_common(expected, n, received, m);
		struct difference d = {expected, n, at, received + at, m - at, at};
		struct fault fault;

		difference_describe(&d, difference_kind(&d), "X", &fault);
		assert_int_equal(fault.kind, cases[i].kind);
		assert_string_equal(fault.words, cases[i].words);
	}
}

static void test_nak_line_is_found(void **state)
{
	struct fault fault = {0};

	assert_true(fault_find_nak((const uint8_t *)"NAK 3 no\nx", 10, &fault));
	assert_string_equal(fault.words, "NAK 3 no");
	assert_true(fault_find_nak((const uint8_t *)"\nNAK 4 y", 8, &fault));
	assert_string_equal(fault.words, "NAK 4 y");
	assert_int_equal(fault.kind, FAULT_NAK);
	assert_false(fault_find_nak((const uint8_t *)"NAK 4", 5, &fault));
	assert_false(fault_find_nak((const uint8_t *)"\n", 1, &fault));
	assert_false(fault_find_nak((const uint8_t *)"xNAK 4 y", 8, &fault));
}

/* A line is cut at its maximum, and it is no NAK line if its number does not end before that. */
static void test_nak_line_has_a_maximum(void **state)
{
	for (size_t digits = 1; digits < 400; digits++) {
		bool fits = strlen("NAK ") + digits < NAK_KEPT_MAX;
		struct fault fault = {0};
		uint8_t line[500];

		memset(line, 'x', sizeof(line));
		memcpy(line, "NAK ", 4);
		memset(line + 4, '1', digits);
		line[4 + digits] = ' ';
		assert_int_equal(nak_length(line, sizeof(line)), fits ? NAK_KEPT_MAX : 0);
		assert_int_equal(fault_find_nak(line, sizeof(line), &fault), fits);
		assert_int_equal(strlen(fault.words), fits ? NAK_KEPT_MAX : 0);
	}
}

static void test_targets(void **state)
{
	char path[TARGET_PATH_MAX + 8] = "unix:";
	char host[TARGET_HOST_MAX + 2] = "";
	struct target t = {0};

	assert_null(target_parse("example.org", NULL, &t));
	assert_string_equal(t.label, "example.org:10080");
	assert_null(target_parse("::1", "80", &t));
	assert_string_equal(t.label, "[::1]:80");
	assert_string_equal(t.host, "::1");
	assert_null(target_parse("[::1]", "65535", &t));
	assert_string_equal(t.label, "[::1]:65535");
	assert_null(target_parse("unix:/run/x", NULL, &t));
	assert_string_equal(t.label, "unix:/run/x");
	assert_string_equal(t.path, "/run/x");
	assert_null(target_parse("localhost:8080", NULL, &t));
	assert_string_equal(t.label, "localhost:8080");
	assert_string_equal(t.host, "localhost");
	assert_null(target_parse("[fe80::1%eth0]:1", NULL, &t));
	assert_string_equal(t.label, "[fe80::1%eth0]:1");
	assert_string_equal(t.host, "fe80::1%eth0");
	/* Two colons and no brackets: all of it is the address. */
	assert_null(target_parse("::1:80", NULL, &t));
	assert_string_equal(t.label, "[::1:80]:10080");
	assert_true(target_takes_port("h") && target_takes_port("::1") &&
		    target_takes_port("[::1]"));
	assert_false(target_takes_port("h:1") || target_takes_port("[::1]:1") ||
		     target_takes_port("unix:/x"));
	assert_non_null(target_parse("h:65536", NULL, &t));
	assert_non_null(target_parse(":1", NULL, &t));
	assert_non_null(target_parse("[::1]1", NULL, &t));
	assert_non_null(target_parse("[::1", NULL, &t));
	assert_non_null(target_parse("h", "0", &t));
	assert_non_null(target_parse("h", "65536", &t));
	assert_non_null(target_parse("h", "+1", &t));
	assert_non_null(target_parse("[]", "1", &t));

	memset(path + 5, 'p', TARGET_PATH_MAX);
	assert_null(target_parse(path, NULL, &t));
	path[5 + TARGET_PATH_MAX] = 'p';
	assert_non_null(target_parse(path, NULL, &t));
	memset(host, 'h', TARGET_HOST_MAX);
	assert_null(target_parse(host, "1", &t));
	host[TARGET_HOST_MAX] = 'h';
	assert_non_null(target_parse(host, "1", &t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_display),
		cmocka_unit_test(test_display_never_emits_control_characters),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_naks),
		cmocka_unit_test(test_quotations),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_nak_line_is_found),
		cmocka_unit_test(test_nak_line_has_a_maximum),
		cmocka_unit_test(test_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
