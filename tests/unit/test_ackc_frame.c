/*
 * Frames: the option, what surrounds a text, and the division of received bytes at every split. The
 * models search for START and END byte by byte.
 */

#include "ackc/message/framer.h"
#include "ackc/message/nak.h"
#include "ackc/message/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 4096

static uint64_t seed = 1;

static unsigned below(unsigned limit)
{
	/* Knuth's linear congruential generator (MMIX) */
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(seed >> 33) % limit;
}

static struct frame parse(const char *text)
{
	struct frame f;

	assert_null(frame_parse(text, &f));
	return f;
}

/* ---- the option ---- */

static void test_values_are_parsed(void **state)
{
	struct frame f = parse("delimited:1c0D:0b");

	assert_int_equal(f.kind, FRAME_DELIMITED);
	assert_int_equal(f.end_n, 2);
	assert_memory_equal(f.end, "\x1c\x0d", 2);
	assert_int_equal(f.header_n, 1);
	assert_memory_equal(f.start, "\x0b", 1);
	f = parse("delimited:0011223344556677");
	assert_int_equal(f.end_n, FRAME_SEQUENCE_MAX);
	assert_int_equal(f.header_n, 0);
	f = parse("length:4:inclusive:little");
	assert_int_equal(f.kind, FRAME_LENGTH);
	assert_int_equal(f.header_n, 4);
	assert_true(f.little && f.inclusive);
	f = parse("length:2");
	assert_false(f.little || f.inclusive);
	f = parse("fixed:16777216");
	assert_int_equal(f.kind, FRAME_FIXED);
	assert_int_equal(f.size, FRAME_FIXED_MAX);
	assert_int_equal(parse("fixed:1").size, 1);
}

static void test_bad_values_are_rejected(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} cases[] = {
		{"", "a frame is "},
		{"mllp", "a frame is "},
		{"delimited", "a frame is "},
		{"lengthy:2", "a frame is "},
		{"delimited:", "END is 1 to 8 bytes"},
		{"delimited::02", "END is 1 to 8 bytes"},
		{"delimited:1c0", "END is 1 to 8 bytes"},
		{"delimited:1g", "END is 1 to 8 bytes"},
		{"delimited:0x0d", "END is 1 to 8 bytes"},
		{"delimited:001122334455667788", "END is 1 to 8 bytes"},
		{"delimited:03:", "START is 1 to 8 bytes"},
		{"delimited:03:2", "START is 1 to 8 bytes"},
		{"delimited:03:001122334455667788", "START is 1 to 8 bytes"},
		{"delimited:03:02:01", "START is 1 to 8 bytes"},
		{"length:", "a length has 1, 2 or 4 bytes"},
		{"length:0", "a length has 1, 2 or 4 bytes"},
		{"length:3", "a length has 1, 2 or 4 bytes"},
		{"length:8", "a length has 1, 2 or 4 bytes"},
		{"length:22", "a length has 1, 2 or 4 bytes"},
		{"length:2:", "after length:N "},
		{"length:2:big", "after length:N "},
		{"length:2:little:", "after length:N "},
		{"length:2:little:little", "after length:N "},
		{"length:2:inclusive:little:inclusive", "after length:N "},
		{"fixed:", "a fixed size "},
		{"fixed:0", "a fixed size "},
		{"fixed:-1", "a fixed size "},
		{"fixed:8x", "a fixed size "},
		{"fixed:16777217", "a fixed size "},
		{"fixed:99999999999999999999", "a fixed size "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame f = {.size = 7};
		const char *words = frame_parse(cases[i].text, &f);

		assert_non_null(words);
		assert_memory_equal(words, cases[i].words, strlen(cases[i].words));
		assert_int_equal(f.size, 7);
	}
}

/* ---- sending ---- */

static void test_lengths(void **state)
{
	static const struct {
		const char *frame;
		uint64_t n;
		const char *header;
		uint64_t max;
	} cases[] = {
		{"length:1", 255, "\xff", 255},
		{"length:1:inclusive", 254, "\xff", 254},
		{"length:2", 0x102, "\x01\x02", 65535},
		{"length:2:little", 0x102, "\x02\x01", 65535},
		{"length:2:inclusive", 0, "\x00\x02", 65533},
		{"length:4", 0x1020304, "\x01\x02\x03\x04", UINT32_MAX},
		{"length:4:little:inclusive", 0x1020304, "\x08\x03\x02\x01", UINT32_MAX - 4},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame f = parse(cases[i].frame);
		uint8_t header[FRAME_HEADER_MAX];

		assert_int_equal(frame_header(&f, cases[i].n, header), f.header_n);
		assert_memory_equal(header, cases[i].header, f.header_n);
		assert_int_equal(frame_stated_length(&f, header),
				 cases[i].n + (f.inclusive ? f.header_n : 0U));
		assert_int_equal(frame_text_max(&f), cases[i].max);
	}
}

static void test_texts_of_a_wrong_size_are_refused(void **state)
{
	static const uint8_t text[70000];
	static const struct {
		const char *frame;
		size_t n;
		const char *words; /* NULL: it can be sent */
	} cases[] = {
		{"length:1", 255, NULL},
		{"length:1", 256, "the text has 256 bytes, but the length can state at most 255"},
		{"length:1:inclusive", 254, NULL},
		{"length:1:inclusive", 255,
		 "the text has 255 bytes, but the length can state at most 254"},
		{"length:2", 65535, NULL},
		{"length:2", 65536,
		 "the text has 65536 bytes, but the length can state at most 65535"},
		{"length:2:little:inclusive", 65534,
		 "the text has 65534 bytes, but the length can state at most 65533"},
		{"length:2", 0, NULL},
		{"fixed:8", 8, NULL},
		{"fixed:8", 7, "the text has 7 bytes, but a frame has 8"},
		{"fixed:8", 9, "the text has 9 bytes, but a frame has 8"},
		{"delimited:03", 70000, NULL},
		{"delimited:00", 1, "the text contains the end of a frame, 00, at byte 0"},
		{"delimited:00", 0, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame f = parse(cases[i].frame);
		char words[FRAME_WORDS_MAX];

		assert_int_equal(frame_refuses(&f, text, cases[i].n, words),
				 cases[i].words != NULL);
		if (cases[i].words)
			assert_string_equal(words, cases[i].words);
	}
	assert_false(frame_refuses(&(struct frame){0}, text, 70000, (char[FRAME_WORDS_MAX]){0}));
}

static void test_words_may_contain_no_end(void **state)
{
	static const struct {
		const char *frame;
		bool permits;
	} cases[] = {
		{"delimited:0a", true},	    {"delimited:20", false},
		{"delimited:61", false},    {"delimited:5a", false},
		{"delimited:30", false},    {"delimited:39", false},
		{"delimited:7e", true},	    {"delimited:61620a", true},
		{"delimited:0d61", true},   {"delimited:3a", true},
		{"delimited:2f", true},	    {"delimited:40", true},
		{"delimited:5b", true},	    {"delimited:60", true},
		{"delimited:7b", true},	    {"delimited:61625a20", false},
		{"delimited:61:0d", false}, {"length:2", true},
		{"fixed:8", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame f = parse(cases[i].frame);

		assert_int_equal(frame_permits_words(&f), cases[i].permits);
	}
}

/* ---- receiving ---- */

/*
 * The result of a splitter, as text: <> around each text, () around skipped bytes, and ! for an
 * invalid length.
 */
struct found {
	char text[2 * ROOM];
	size_t n;
	char last; /* the kind of the last piece */
};

static void note(struct found *found, char kind, const struct frame_piece *piece)
{
	if (found->last == 's' && kind != 's')
		found->text[found->n++] = ')';
	if (found->last != 's' && kind == 's')
		found->text[found->n++] = '(';
	if (found->last != 't' && (kind == 't' || kind == 'e'))
		found->text[found->n++] = '<';
	if (piece)
		memcpy(found->text + found->n, piece->p, piece->n);
	found->n += piece ? piece->n : 0;
	if (kind == 'e')
		found->text[found->n++] = '>';
	if (kind == '!')
		found->text[found->n++] = '!';
	found->last = kind;
}

/* Returns whether a frame is unfinished. */
static bool split(const struct frame *f, const uint8_t *p, size_t n, size_t first, size_t second,
		  struct found *found)
{
	const size_t ends[] = {first, second, n};
	struct frame_splitter s;
	struct frame_piece piece;
	enum frame_event event = FRAME_MORE;
	size_t at = 0;

	*found = (struct found){0};
	frame_splitter_init(&s, f);
	for (int i = 0; i < 3 && event != FRAME_INVALID; i++) {
		const uint8_t *bytes = p + at;
		size_t left = ends[i] - at;

		while ((event = frame_next(&s, &bytes, &left, &piece)) != FRAME_MORE &&
		       event != FRAME_INVALID) {
			if (event == FRAME_END)
				note(found, 'e', NULL);
			else
				note(found, event == FRAME_TEXT ? 't' : 's', &piece);
		}
		if (event == FRAME_INVALID)
			note(found, '!', NULL);
		at = ends[i];
	}
	if (found->last == 's')
		note(found, 'x', NULL);
	return frame_is_begun(&s);
}

static void test_frames_are_found_at_every_split(void **state)
{
	static const struct {
		const char *frame;
		const char *bytes;
		size_t n;
		const char *found;
		bool begun;
	} cases[] = {
		{"delimited:0a", "", 0, "", false},
		{"delimited:0a", "ab\nc\n\n", 6, "<ab><c><>", false},
		{"delimited:0a", "ab\nc", 4, "<ab><c", true},
		{"delimited:0d0a", "a\rb\r\n\r\r\nc\r", 10, "<a\rb><\r><c", true},
		{"delimited:0d0a", "\r", 1, "", true},
		{"delimited:1c0d:0b",
		 "\x0b"
		 "a\x1c"
		 "b\x1c\r\n\x0b\x1c\r",
		 10,
		 "<a\x1c"
		 "b>(\n)<>",
		 false},
		{"delimited:1c0d:0b",
		 "hi\n\x0b"
		 "a",
		 5, "(hi\n)<a", true},
		{"delimited:03:0202",
		 "\x02"
		 "a\x02\x02\x02"
		 "b\x03\x02",
		 8,
		 "(\x02"
		 "a)<\x02"
		 "b>",
		 false},
		{"delimited:7e:7e", "~a~~b~", 6, "<a><b>", false},
		{"length:1",
		 "\x02"
		 "ab\x00\x01"
		 "c",
		 6, "<ab><><c>", false},
		{"length:1",
		 "\x02"
		 "a",
		 2, "<a", true},
		{"length:2", "\x00", 1, "", true},
		{"length:2",
		 "\x00\x01"
		 "a\x00",
		 4, "<a>", true},
		{"length:2:little:inclusive",
		 "\x04\x00"
		 "ab\x02\x00\x01\x00"
		 "c",
		 9, "<ab><>!", true},
		{"length:1:inclusive",
		 "\x00"
		 "ab",
		 3, "!", true},
		{"length:4",
		 "\x00\x00\x00\x03"
		 "abc",
		 7, "<abc>", false},
		{"fixed:2", "abcde", 5, "<abcde", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame f = parse(cases[i].frame);
		size_t length = strlen(cases[i].found);

		for (size_t first = 0; first <= cases[i].n; first++) {
			for (size_t second = first; second <= cases[i].n; second++) {
				struct found found;
				bool begun = split(&f, (const uint8_t *)cases[i].bytes, cases[i].n,
						   first, second, &found);

				assert_int_equal(begun, cases[i].begun);
				assert_int_equal(found.n, length);
				assert_memory_equal(found.text, cases[i].found, length);
			}
		}
	}
}

/* The same as split(), byte by byte. */
static void model(const struct frame *f, const uint8_t *p, size_t n, struct found *found)
{
	size_t at = 0;

	*found = (struct found){0};
	while (at < n) {
		size_t begin = at;
		size_t end;

		while (f->header_n && begin + f->header_n <= n &&
		       memcmp(p + begin, f->start, f->header_n) != 0)
			begin++;
		if (begin > at)
			note(found, 's', &(struct frame_piece){p + at, begin - at});
		if (begin + f->header_n > n) /* START is unfinished, or missing */
			return;
		begin += f->header_n;
		for (end = begin; end + f->end_n <= n && memcmp(p + end, f->end, f->end_n) != 0;)
			end++;
		if (end + f->end_n > n)
			return;
		if (end > begin)
			note(found, 't', &(struct frame_piece){p + begin, end - begin});
		note(found, 'e', NULL);
		at = end + f->end_n;
	}
}

/* START and END that repeat themselves, in texts of the same few bytes. */
static void test_random_delimiters(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct frame f = {.kind = FRAME_DELIMITED};
		uint8_t bytes[40];
		size_t n = below(sizeof(bytes) + 1);
		size_t first = below((unsigned)n + 1);
		size_t second = first + below((unsigned)(n - first) + 1);
		struct found found, expected;

		f.end_n = (uint8_t)(1 + below(5));
		f.header_n = (uint8_t)below(4);
		for (size_t j = 0; j < FRAME_SEQUENCE_MAX; j++) {
			f.end[j] = (uint8_t)('a' + below(2));
			f.start[j] = (uint8_t)('a' + below(2));
		}
		for (size_t j = 0; j < n; j++)
			bytes[j] = (uint8_t)('a' + below(2));
		split(&f, bytes, n, first, second, &found);
		model(&f, bytes, n, &expected);
		if (expected.last == 's')
			note(&expected, 'x', NULL);
		/* The splitter also returns what it knows of an unfinished text, or of skipped
		 * bytes. */
		if (expected.n && expected.text[expected.n - 1] == ')')
			expected.n--;
		assert_true(found.n >= expected.n);
		assert_memory_equal(found.text, expected.text, expected.n);
		assert_null(memchr(found.text + expected.n, '>', found.n - expected.n));
	}
}

/* A text can be sent if and only if a receiver finds it. */
static void test_sent_texts_are_found(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct frame f = {.kind = FRAME_DELIMITED, .end_n = (uint8_t)(1 + below(4))};
		char words[FRAME_WORDS_MAX];
		struct framer framer;
		uint8_t text[12];
		size_t n = below(sizeof(text) + 1);
		struct found found;
		bool right;

		for (size_t j = 0; j < f.end_n; j++)
			f.end[j] = (uint8_t)('a' + below(2));
		for (size_t j = 0; j < n; j++)
			text[j] = (uint8_t)('a' + below(2));
		framer_init(&framer, &f, false);
		assert_int_equal(framer_put(&framer, text, n), 0);
		split(&f, framer.wire.p, framer.wire.n, 0, 0, &found);
		right = found.n == n + 2 && found.text[found.n - 1] == '>' &&
			memcmp(found.text + 1, text, n) == 0;
		assert_int_equal(frame_refuses(&f, text, n, words), !right);
		framer_finish(&framer);
	}
}

/* ---- texts of ackc send ---- */

static void check_framer(const char *frame, bool whole, const char *input, const char *wire,
			 size_t wire_n, const char *words)
{
	size_t n = strlen(input);
	struct frame f = parse(frame);

	for (size_t cut = 0; cut <= n; cut++) {
		char why[FRAMER_WORDS_MAX] = "";
		struct framer framer;
		int r;

		framer_init(&framer, &f, whole);
		r = framer_add(&framer, (const uint8_t *)input, cut, false, why);
		if (r == 0)
			r = framer_add(&framer, (const uint8_t *)input + cut, n - cut, true, why);
		assert_int_equal(r, words ? -EINVAL : 0);
		assert_string_equal(why, words ? words : "");
		assert_int_equal(framer.wire.n, wire_n);
		if (wire_n)
			assert_memory_equal(framer.wire.p, wire, wire_n);
		framer_finish(&framer);
	}
}

static void test_lines_become_frames(void **state)
{
	check_framer("delimited:03:02", false, "", "", 0, NULL);
	check_framer("delimited:03:02", false, "a\nbc\n",
		     "\x02"
		     "a\x03\x02"
		     "bc\x03",
		     7, NULL);
	check_framer("delimited:03:02", false, "a\n\nb",
		     "\x02"
		     "a\x03\x02\x03\x02"
		     "b\x03",
		     8, NULL);
	check_framer("length:1", false, "a\r\n\n",
		     "\x02"
		     "a\r\x00",
		     4, NULL);
	check_framer("length:2", false, "abc",
		     "\x00\x03"
		     "abc",
		     5, NULL);
	check_framer("fixed:2", false, "ab\ncd\n", "abcd", 4, NULL);
	check_framer("fixed:2", false, "ab\ncde\nfg\n", "ab", 2,
		     "line 2: the text has 3 bytes, but a frame has 2");
	check_framer("delimited:7c", false, "a\nb|c\n", "a|", 2,
		     "line 2: the text contains the end of a frame, 7c, at byte 1");
}

static void test_whole_input_becomes_a_frame(void **state)
{
	check_framer("delimited:1c0d:0b", true, "MSH\rPID\r\n", "\x0bMSH\rPID\r\n\x1c\r", 12, NULL);
	check_framer("length:1", true, "", "\x00", 1, NULL);
	check_framer("fixed:2", true, "a\nb", "", 0, "the text has 3 bytes, but a frame has 2");
}

static void test_files_are_cut_into_texts(void **state)
{
	char bytes[] = "one\n\nthree";
	struct frame f = parse("delimited:3b:3e");
	char words[SOURCE_WORDS_MAX];
	struct source s = {.bytes = (uint8_t *)bytes, .n_bytes = strlen(bytes)};
	uint8_t out[ROOM];
	size_t n = 0;

	assert_int_equal(source_cut_texts(&s, &f, words), 0);
	assert_int_equal(s.n_pieces, 3);
	assert_int_equal(s.size_max, 7);
	for (uint64_t i = 0; i < 4; i++) {
		struct message m;

		source_message(&s, 0, i, &m);
		n += message_copy(&m, out + n);
	}
	assert_int_equal(n, 19);
	assert_memory_equal(out, ">one;>;>three;>one;", n);
	free(s.pieces);
	f = parse("delimited:72");
	s = (struct source){.bytes = (uint8_t *)bytes, .n_bytes = strlen(bytes)};
	assert_int_equal(source_cut_texts(&s, &f, words), -EINVAL);
	assert_string_equal(words, "line 3: the text contains the end of a frame, 72, at byte 2");
	free(s.pieces);
}

/* Generated texts of every size, with the frame around them. */
static void test_generated_texts_are_framed(void **state)
{
	struct frame f = parse("length:2");

	for (size_t size = 1; size < 40; size++) {
		struct source s;
		struct message m;
		uint8_t out[ROOM];

		assert_int_equal(source_generate(size, &f, &s), 0);
		assert_int_equal(s.size_max, size + 2);
		source_message(&s, 1, 0x23, &m);
		assert_int_equal(message_size(&m), size + 2);
		assert_int_equal(message_copy(&m, out), size + 2);
		assert_memory_equal(out, ((uint8_t[]){0, (uint8_t)size}), 2);
		if (size <= SOURCE_HEAD)
			assert_memory_equal(out + 2, &"0000000100000023"[SOURCE_HEAD - size], size);
		source_finish(&s);
	}
}

/* ---- NAKs ---- */

static void test_naks_are_found_at_every_length(void **state)
{
	static const char *const frames[] = {"delimited:0a", "delimited:1c0d:0b", "length:1",
					     "length:2:little:inclusive"};

	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct frame f = parse(frames[i]);
		struct framer framer;
		char nak[NAK_KEPT_MAX + 1];

		framer_init(&framer, &f, false);
		framer_put(&framer, (const uint8_t *)"NAK 12 too long", 15);
		for (size_t n = 0; n <= framer.wire.n; n++) {
			enum nak_status status = nak_in_frame(&f, framer.wire.p, n, nak);

			assert_int_equal(status, n < framer.wire.n ? NAK_MAYBE : NAK_YES);
		}
		assert_string_equal(nak, "NAK 12 too long");
		framer_finish(&framer);
	}
}

static void test_other_texts_are_no_naks(void **state)
{
	static const struct {
		const char *text;
		enum nak_status status; /* without the end of the frame */
	} cases[] = {
		{"", NAK_MAYBE},	{"N", NAK_MAYBE},     {"NAK", NAK_MAYBE},
		{"NAK ", NAK_MAYBE},	{"NAK 1", NAK_MAYBE}, {"NAK x", NAK_NO},
		{"NAK 1x", NAK_NO},	{"NAK  1 x", NAK_NO}, {"xNAK 1 x", NAK_NO},
		{"NAK 1 \xff", NAK_NO}, {"nak 1 x", NAK_NO},
	};
	struct frame f = parse("delimited:03");
	char text[NAK_KEPT_MAX + 2];
	char nak[NAK_KEPT_MAX + 1];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = strlen(cases[i].text);
		uint8_t bytes[20];

		memcpy(bytes, cases[i].text, n);
		bytes[n] = 3;
		assert_int_equal(nak_in_frame(&f, bytes, n, nak), cases[i].status);
		if (strcmp(cases[i].text, "NAK 1 \xff") != 0)
			assert_int_equal(nak_in_frame(&f, bytes, n + 1, nak), NAK_NO);
	}
	memset(text, 'x', sizeof(text));
	memcpy(text, "NAK 1 ", 6);
	for (size_t n = NAK_KEPT_MAX - 1; n <= NAK_KEPT_MAX + 1; n++)
		assert_int_equal(nak_in_frame(&f, (uint8_t *)text, n, nak),
				 n < NAK_KEPT_MAX ? NAK_MAYBE : NAK_YES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_parsed),
		cmocka_unit_test(test_bad_values_are_rejected),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_texts_of_a_wrong_size_are_refused),
		cmocka_unit_test(test_words_may_contain_no_end),
		cmocka_unit_test(test_frames_are_found_at_every_split),
		cmocka_unit_test(test_random_delimiters),
		cmocka_unit_test(test_sent_texts_are_found),
		cmocka_unit_test(test_lines_become_frames),
		cmocka_unit_test(test_whole_input_becomes_a_frame),
		cmocka_unit_test(test_files_are_cut_into_texts),
		cmocka_unit_test(test_generated_texts_are_framed),
		cmocka_unit_test(test_naks_are_found_at_every_length),
		cmocka_unit_test(test_other_texts_are_no_naks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
