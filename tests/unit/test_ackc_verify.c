/*
 * verify: right replies pass wherever they are cut, and every byte that is changed, dropped or
 * doubled is found, wherever they are cut.
 */

#include "ackc/message/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGES 3
#define ROOM 4096

static struct source source;

static int setup(void **state)
{
	return source_generate(40, &source);
}

static int teardown(void **state)
{
	source_finish(&source);
	return 0;
}

static void set(struct affix *a, const char *text)
{
	assert_true(affix_set(a, (const uint8_t *)text, strlen(text)));
}

static struct shape shape_of(enum shape_framing framing, const char *prefix, const char *suffix)
{
	struct shape s = {.framing = framing};

	set(&s.prefix, prefix);
	set(&s.suffix, suffix);
	return s;
}

static size_t put(uint8_t *out, size_t n, const void *p, size_t length)
{
	memcpy(out + n, p, length);
	return n + length;
}

/* What a server of shape @s replies to messages 0, 1, 2; a stream server got them in one read. */
static size_t replies(const struct shape *s, uint8_t *out)
{
	bool stream = s->framing == SHAPE_STREAM;
	struct message m;
	size_t n = 0;

	if (stream)
		n = put(out, n, s->prefix.bytes, s->prefix.n);
	for (uint64_t i = 0; i < MESSAGES; i++) {
		if (!stream)
			n = put(out, n, s->prefix.bytes, s->prefix.n);
		source_message(&source, 1, i, &m);
		n = put(out, n, m.head, m.head_n);
		n = put(out, n, m.body, m.body_n);
		if (!stream)
			n = put(out, n, s->suffix.bytes, s->suffix.n);
		n = put(out, n, m.terminator, m.terminator_n);
	}
	return stream ? put(out, n, s->suffix.bytes, s->suffix.n) : n;
}

/* Feeds @n bytes, cut at @cut and, when @step is given, everywhere. */
static bool feed(const struct shape *s, const uint8_t *p, size_t n, size_t cut, size_t step,
		 uint64_t *ret_completed, struct fault *fault)
{
	struct verifier v;
	bool right = true;
	size_t at = 0;

	*ret_completed = 0;
	verifier_init(&v, &source, s, NULL, 1, 0);
	while (right && at < n) {
		size_t part = step ? step : at < cut ? cut : n - at;

		if (part > n - at)
			part = n - at;
		right = verifier_feed(&v, MESSAGES, p + at, part, ret_completed, fault);
		at += part;
	}
	return right && *ret_completed == MESSAGES && !verifier_suffix_due(&v) && v.offset == 0;
}

static const struct {
	enum shape_framing framing;
	const char *prefix;
	const char *suffix;
} shapes[] = {
	{SHAPE_LINES, "", ""},	     {SHAPE_LINES, "Got ", ""},	 {SHAPE_LINES, "<", " ok"},
	{SHAPE_LINES, "", "!"},	     {SHAPE_STREAM, "Got ", ""}, {SHAPE_STREAM, "<", ">"},
	{SHAPE_STREAM, "", "<end>"}, {SHAPE_STREAM, "ab", "ba"}, {SHAPE_STREAM, "# ", "-\n"},
};

#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void test_right_replies(void **state)
{
	uint8_t text[ROOM];
	struct fault fault;
	uint64_t completed;

	for (size_t i = 0; i < N_SHAPES; i++) {
		struct shape s = shape_of(shapes[i].framing, shapes[i].prefix, shapes[i].suffix);
		size_t n = replies(&s, text);

		for (size_t cut = 0; cut <= n; cut++)
			assert_true(feed(&s, text, n, cut, 0, &completed, &fault));
		for (size_t step = 1; step < 50; step++)
			assert_true(feed(&s, text, n, 0, step, &completed, &fault));
	}
}

/* A stream server may cut anywhere, and puts its affixes around each piece. */
static void test_pieces(void **state)
{
	struct shape plain = shape_of(SHAPE_LINES, "", "");
	uint8_t text[ROOM];
	size_t n = replies(&plain, text);

	for (size_t i = 0; i < N_SHAPES; i++) {
		struct shape s = shape_of(SHAPE_STREAM, shapes[i].prefix, shapes[i].suffix);

		for (size_t cut = 1; cut < n; cut++) {
			uint8_t out[ROOM];
			struct fault fault;
			uint64_t completed;
			size_t m = put(out, 0, s.prefix.bytes, s.prefix.n);

			m = put(out, m, text, cut);
			m = put(out, m, s.suffix.bytes, s.suffix.n);
			m = put(out, m, s.prefix.bytes, s.prefix.n);
			m = put(out, m, text + cut, n - cut);
			m = put(out, m, s.suffix.bytes, s.suffix.n);
			assert_true(feed(&s, out, m, 0, 0, &completed, &fault));
			assert_true(feed(&s, out, m, 0, 1, &completed, &fault));
			assert_true(feed(&s, out, m, 0, 5, &completed, &fault));
		}
	}
}

enum lie { LIE_BIT, LIE_BYTE, LIE_DROP, LIE_DOUBLE, LIE_ADD, LIES };

static size_t tell_lie(enum lie lie, const uint8_t *text, size_t n, size_t at, uint8_t *out)
{
	size_t m = put(out, 0, text, at);

	if (lie == LIE_BIT || lie == LIE_BYTE)
		out[m++] = text[at] ^ (lie == LIE_BIT ? 0x02 : 0x83);
	else if (lie == LIE_DOUBLE)
		m = put(out, put(out, m, text + at, 1), text + at, 1);
	else if (lie == LIE_ADD)
		m = put(out, put(out, m, "~", 1), text + at, 1);
	return put(out, m, text + at + 1, n - at - 1);
}

/* None passes, at whatever place and wherever it is cut. */
static void test_lies_are_found(void **state)
{
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	struct fault fault;
	uint64_t completed;

	for (size_t i = 0; i < N_SHAPES; i++) {
		struct shape s = shape_of(shapes[i].framing, shapes[i].prefix, shapes[i].suffix);
		size_t n = replies(&s, text);

		for (int lie = 0; lie < LIES; lie++) {
			for (size_t at = 0; at < n; at++) {
				size_t m = tell_lie((enum lie)lie, text, n, at, out);

				assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
				assert_false(feed(&s, out, m, 0, 1, &completed, &fault));
				assert_false(feed(&s, out, m, at, 0, &completed, &fault));
			}
		}
	}
}

/* In the middle of a reply that came whole, each lie has its name. */
static void test_lies_are_named(void **state)
{
	static const enum fault_kind kinds[LIES] = {FAULT_BIT, FAULT_CHANGED, FAULT_DROPPED,
						    FAULT_DOUBLED, FAULT_ADDED};
	struct shape s = shape_of(SHAPE_LINES, "Got ", "");
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	size_t n = replies(&s, text);

	for (int lie = 0; lie < LIES; lie++) {
		/* Of the first reply; its number has equal digits, of which any may be doubled. */
		for (size_t at = 24; at < 43; at++) {
			size_t m = tell_lie((enum lie)lie, text, n, at, out);
			struct fault fault = {0};
			uint64_t completed;

			assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
			assert_int_equal(fault.kind, kinds[lie]);
			assert_int_equal(completed, 0);
		}
	}
}

static void test_swapped(void **state)
{
	struct shape s = shape_of(SHAPE_LINES, "", "");
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	size_t n = replies(&s, text);
	struct fault fault = {0};
	uint64_t completed;

	memcpy(out, text + 40, 40);
	memcpy(out + 40, text, 40);
	memcpy(out + 80, text + 80, n - 80);
	assert_false(feed(&s, out, n, 0, 0, &completed, &fault));
	assert_int_equal(fault.kind, FAULT_SWAPPED);
	assert_non_null(strstr(fault.words, "message 2 came where that to message 1 was due"));
}

static void test_unasked(void **state)
{
	struct shape s = shape_of(SHAPE_LINES, "", "");
	struct fault fault = {0};
	uint8_t text[ROOM];
	size_t n = replies(&s, text);
	uint64_t completed = 0;
	struct verifier v;

	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_false(verifier_feed(&v, 0, (const uint8_t *)"x", 1, &completed, &fault));
	assert_int_equal(fault.kind, FAULT_EXTRA);
	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_false(verifier_feed(&v, 0, (const uint8_t *)"NAK 0 too many connections\n", 27,
				   &completed, &fault));
	assert_int_equal(fault.kind, FAULT_NAK);
	assert_string_equal(fault.words, "NAK 0 too many connections");
	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_true(verifier_feed(&v, MESSAGES, text, n, &completed, &fault));
	assert_false(verifier_feed(&v, MESSAGES, (const uint8_t *)"\n", 1, &completed, &fault));
	assert_int_equal(fault.kind, FAULT_DOUBLED);
}

static void test_nak_in_place_of_a_reply(void **state)
{
	static const char *const naks[] = {"NAK 7 line too long\n", "\nNAK 7 line too long\n"};
	struct shape s = shape_of(SHAPE_LINES, "Got ", "");
	struct fault fault = {0};
	uint64_t completed;

	for (int i = 0; i < 2; i++) {
		assert_false(feed(&s, (const uint8_t *)naks[i], strlen(naks[i]), 0, 0, &completed,
				  &fault));
		assert_int_equal(fault.kind, FAULT_NAK);
		assert_string_equal(fault.words, "NAK 7 line too long");
	}
}

static void test_counters(void **state)
{
	struct affix a;
	uint8_t out[AFFIX_MAX];
	size_t n;

	assert_true(affix_learn(&a, 1, (const uint8_t *)"9/7 #99 ", 8,
				(const uint8_t *)"10/7 #100 ", 10));
	n = affix_render(&a, 1, out);
	assert_memory_equal(out, "9/7 #99 ", n);
	n = affix_render(&a, 93, out);
	assert_int_equal(n, 11);
	assert_memory_equal(out, "101/7 #191 ", 11);
	assert_false(affix_learn(&a, 1, (const uint8_t *)"a1", 2, (const uint8_t *)"a3", 2));
	assert_false(affix_learn(&a, 1, (const uint8_t *)"ab", 2, (const uint8_t *)"a", 1));
	assert_false(affix_learn(&a, 1, (const uint8_t *)"a", 1, (const uint8_t *)"ab", 2));
	assert_true(affix_learn(&a, 1, NULL, 0, NULL, 0));
	/* More counters than there is room for. */
	assert_false(affix_learn(&a, 1, (const uint8_t *)"1 1 1 1 1", 9,
				 (const uint8_t *)"2 2 2 2 2", 9));
}

static struct affix affix_of(const char *text)
{
	struct affix a;

	set(&a, text);
	return a;
}

static void test_numbers_of_a_connection(void **state)
{
	static const struct {
		const char *first;
		const char *second;
		bool alike;
		uint32_t n_holes;
	} cases[] = {
		{"Got ", "Got ", true, 0},
		{"v1.2 ", "v1.2 ", true, 0},
		{"7 ", "8 ", true, 1},
		{"9: ", "10: ", true, 1},
		{"1.2.3", "1.20.4", true, 2},
		{"7", "x", false, 0},
		{"7 ", "8", false, 0},
		{"7", "8 ", false, 0},
		{"a7", "b7", false, 0},
		{"7a", "7b", false, 0},
		{"", "7", false, 0},
		{"7 ", " ", false, 0},
		{"1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2", true, 16},
		{"1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2", false,
		 16},
		{"12345678901234567890", "1", true, 1},
		{"123456789012345678901", "1", false, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct affix first = affix_of(cases[i].first);
		struct affix second = affix_of(cases[i].second);

		assert_int_equal(affix_compare(&first, &second), cases[i].alike);
		if (cases[i].alike)
			assert_int_equal(first.n_holes, cases[i].n_holes);
	}
}

/* Reads @text in steps of @step bytes; returns how many bytes were taken. */
static size_t read_all(struct affix_reader *r, const char *text, size_t step)
{
	size_t n = strlen(text);
	size_t at = 0;
	size_t used = 1;

	while (at < n && used > 0 && !affix_read_over(r)) {
		used = affix_read(r, (const uint8_t *)text + at, step < n - at ? step : n - at);
		at += used;
	}
	return at;
}

static void test_holes_are_filled(void **state)
{
	static const struct {
		const char *text;
		size_t text_digits;
		size_t taken;
		bool over;
	} cases[] = {
		{"[7:1]x", 0, 5, true},
		{"[123:45]x", 0, 8, true},
		{"[:1]x", 0, 1, false},
		{"[7;1]x", 0, 2, false},
		{"(7:1]x", 0, 0, false},
		{"[7:x]x", 0, 3, false},
		{"[12345678901234567890:1]x", 0, 24, true},
		{"[123456789012345678901:1]x", 0, 21, false},
	};
	struct affix pattern = affix_of("[7:1]");
	struct affix other = affix_of("[8:2]");
	struct affix own;
	struct affix_reader r;

	assert_true(affix_compare(&pattern, &other));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 30; step++) {
			affix_read_begin(&r, &pattern, &own, cases[i].text_digits);
			assert_int_equal(read_all(&r, cases[i].text, step), cases[i].taken);
			assert_int_equal(affix_read_over(&r), cases[i].over);
			assert_int_equal(own.n, cases[i].taken);
			assert_memory_equal(own.bytes, cases[i].text, own.n);
		}
	}
	/* At the end, the digits of the text come along. */
	pattern.n--;
	assert_true(affix_ends_with_hole(&pattern));
	affix_read_begin(&r, &pattern, &own, 2);
	assert_int_equal(read_all(&r, "[7:100x", 1), 6);
	assert_true(affix_read_over(&r));
	affix_read_begin(&r, &pattern, &own, 2);
	read_all(&r, "[7:00x", 1);
	assert_false(affix_read_over(&r));
}

static void test_affix_bounds(void **state)
{
	static uint8_t bytes[AFFIX_MAX + 1];
	struct affix a;

	assert_true(affix_set(&a, bytes, AFFIX_MAX));
	assert_false(affix_set(&a, bytes, AFFIX_MAX + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right_replies),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_lies_are_found),
		cmocka_unit_test(test_lies_are_named),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_nak_in_place_of_a_reply),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_numbers_of_a_connection),
		cmocka_unit_test(test_holes_are_filled),
		cmocka_unit_test(test_affix_bounds),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
