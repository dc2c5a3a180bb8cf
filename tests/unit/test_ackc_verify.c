/*
 * verify: correct replies pass wherever they are split, and every byte that is changed, dropped or
 * duplicated is detected, in lines, streams and frames.
 */

#include "ackc/message/verify.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGES 3
#define ROOM 4096

/* The messages of a test: one of @sources, lines unless the test chooses. */
static struct source source;

static const char *const frame_texts[] = {
	"delimited:0a",	   "delimited:1c0d:0b",	 "delimited:03:02",	      "length:1",
	"length:2:little", "length:2:inclusive", "length:4:little:inclusive", "fixed:39",
};

#define N_FRAMES (sizeof(frame_texts) / sizeof(frame_texts[0]))

static struct frame frames[N_FRAMES];
static struct source sources[N_FRAMES];

static int setup(void **state)
{
	for (size_t i = 0; i < N_FRAMES; i++) {
		assert_null(frame_parse(frame_texts[i], &frames[i]));
		assert_int_equal(source_generate(39, &frames[i], &sources[i]), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < N_FRAMES; i++)
		source_finish(&sources[i]);
	return 0;
}

static int begin(void **state)
{
	source = sources[0];
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

/* Appends the beginning of a frame for a reply of @length bytes. */
static size_t put_header(uint8_t *out, size_t n, size_t length)
{
	return n + frame_header(source.frame, length, out + n);
}

/* The replies of a server of shape @s to messages 0, 1, 2; a stream server got them in one read. */
static size_t replies(const struct shape *s, uint8_t *out)
{
	bool stream = s->framing == SHAPE_STREAM;
	struct message m;
	size_t n = 0;

	if (stream)
		n = put(out, n, s->prefix.bytes, s->prefix.n);
	for (uint64_t i = 0; i < MESSAGES; i++) {
		source_message(&source, 1, i, &m);
		n = put_header(out, n, s->prefix.n + m.head_n + m.body_n + s->suffix.n);
		if (!stream)
			n = put(out, n, s->prefix.bytes, s->prefix.n);
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

	verifier_init(&v, &source, s, NULL, 1, 0);
	while (right && at < n) {
		size_t part = step ? step : at < cut ? cut : n - at;

		if (part > n - at)
			part = n - at;
		right = verifier_feed(&v, MESSAGES, p + at, part, fault);
		at += part;
	}
	*ret_completed = v.index;
	return right && v.index == MESSAGES && !verifier_suffix_due(&v) && v.offset == 0;
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

/* Selects the messages of shape @i and frame @j. Returns whether these go together. */
static bool select_frame(size_t i, size_t j)
{
	source = sources[j];
	return j == 0 || shapes[i].framing == SHAPE_LINES;
}

static void test_right_replies(void **state)
{
	uint8_t text[ROOM];
	struct fault fault;
	uint64_t completed;

	for (size_t i = 0; i < N_SHAPES * N_FRAMES; i++) {
		size_t j = i / N_FRAMES;
		struct shape s = shape_of(shapes[j].framing, shapes[j].prefix, shapes[j].suffix);
		size_t n;

		if (!select_frame(j, i % N_FRAMES))
			continue;
		n = replies(&s, text);

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

/* The replies to @s with its inset @times times after @at bytes of the text, and a suffix. */
static size_t repeat_inset(const struct shape *s, const uint8_t *text, size_t n, size_t at,
			   int times, uint8_t *out)
{
	size_t m = put(out, 0, s->prefix.bytes, s->prefix.n);

	m = put(out, m, text, at);
	for (int i = 0; i < times; i++) {
		m = put(out, m, s->suffix.bytes, s->suffix.n);
		m = put(out, m, s->prefix.bytes, s->prefix.n);
	}
	m = put(out, m, text + at, n - at);
	return put(out, m, s->suffix.bytes, s->suffix.n);
}

/* A piece has at least one byte, so suffix and prefix come once between two bytes. */
static void test_repeated_insets_are_detected(void **state)
{
	static const char *const insets[][2] = {
		{"Got ", ""}, {"<", ">"}, {"", "<end>"}, {"", "-\n"}, {"# ", "-\n"}, {"", "~~"},
	};
	struct shape plain = shape_of(SHAPE_LINES, "", "");
	uint8_t text[ROOM];
	size_t n = replies(&plain, text);

	for (size_t i = 0; i < sizeof(insets) / sizeof(insets[0]); i++) {
		struct shape s = shape_of(SHAPE_STREAM, insets[i][0], insets[i][1]);

		for (size_t at = 0; at <= n; at++) {
			for (int times = 1; times < 4; times++) {
				bool right = times == 1 && at > 0 && at < n;
				struct fault fault;
				uint64_t completed;
				uint8_t out[ROOM];
				size_t m = repeat_inset(&s, text, n, at, times, out);

				assert_int_equal(feed(&s, out, m, 0, 0, &completed, &fault), right);
				assert_int_equal(feed(&s, out, m, 0, 1, &completed, &fault), right);
			}
		}
	}
}

/* A text that contains the suffix is accepted, wherever the server cuts it twice. */
static void test_pieces_like_the_suffix_are_accepted(void **state)
{
	static const char *const suffixes[] = {"\n", "b", "bb", "\n\n"};
	struct shape plain = shape_of(SHAPE_LINES, "", "");
	struct source generated = source;
	char bytes[] = "bb\nxababbab\n\n";

	source = (struct source){
		.frame = &frame_line, .bytes = (uint8_t *)bytes, .n_bytes = strlen(bytes)};
	assert_int_equal(source_cut(&source, true, 0), 0);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		struct shape s = shape_of(SHAPE_STREAM, "", suffixes[i]);
		uint8_t text[ROOM];
		size_t n = replies(&plain, text);

		for (size_t first = 1; first < n; first++) {
			for (size_t second = first + 1; second < n; second++) {
				uint8_t out[ROOM];
				struct fault fault;
				uint64_t completed;
				size_t m = put(out, 0, text, first);

				m = put(out, m, s.suffix.bytes, s.suffix.n);
				m = put(out, m, text + first, second - first);
				m = put(out, m, s.suffix.bytes, s.suffix.n);
				m = put(out, m, text + second, n - second);
				m = put(out, m, s.suffix.bytes, s.suffix.n);
				assert_true(feed(&s, out, m, 0, 0, &completed, &fault));
			}
		}
	}
	free(source.pieces);
	source = generated;
}

enum lie { LIE_BIT, LIE_BYTE, LIE_DROP, LIE_DOUBLE, LIE_ADD, LIES };

static size_t tell_lie(enum lie lie, const uint8_t *text, size_t n, size_t at, uint8_t *out)
{
	size_t m = put(out, 0, text, at);

	if (lie == LIE_BIT || lie == LIE_BYTE)
		out[m++] = text[at] ^ (lie == LIE_BIT ? 0x40 : 0x83);
	else if (lie == LIE_DOUBLE)
		m = put(out, put(out, m, text + at, 1), text + at, 1);
	else if (lie == LIE_ADD)
		m = put(out, put(out, m, "~", 1), text + at, 1);
	return put(out, m, text + at + 1, n - at - 1);
}

/* Corruption is detected at every place, wherever the reply is split. */
static void test_corrupt_replies_are_detected(void **state)
{
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	struct fault fault;
	uint64_t completed;

	for (size_t i = 0; i < N_SHAPES * N_FRAMES; i++) {
		size_t j = i / N_FRAMES;
		struct shape s = shape_of(shapes[j].framing, shapes[j].prefix, shapes[j].suffix);
		size_t n;

		if (!select_frame(j, i % N_FRAMES))
			continue;
		n = replies(&s, text);
		for (int lie = 0; lie < LIES; lie++) {
			for (size_t at = sample_step() - 1; at < n; at += sample_step()) {
				size_t m = tell_lie((enum lie)lie, text, n, at, out);

				assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
				assert_false(feed(&s, out, m, 0, 1, &completed, &fault));
				assert_false(feed(&s, out, m, at, 0, &completed, &fault));
			}
		}
	}
}

/* Each kind of corruption is classified at every place, also at the boundary of two replies. */
static void test_corruption_is_classified(void **state)
{
	static const enum fault_kind kinds[LIES] = {FAULT_FLIPPED, FAULT_DIFFERENT, FAULT_LOST,
						    FAULT_DUPLICATED, FAULT_DIFFERENT};
	struct shape s = shape_of(SHAPE_LINES, "Got ", "");
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	size_t n = replies(&s, text);

	for (int lie = 0; lie < LIES; lie++) {
		for (size_t at = 0; at < n; at++) {
			size_t m = tell_lie((enum lie)lie, text, n, at, out);
			struct fault fault = {0};
			uint64_t completed;

			/* The loss of the last byte is not a fault yet. */
			if (lie == LIE_DROP && at == n - 1)
				continue;
			assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
			assert_int_equal(fault.kind, kinds[lie]);
			assert_true(completed == at / 44 || completed == at / 44 + 1);
		}
	}
}

/* Less than a whole reply is lost or repeated, at any place. */
static void test_gaps_and_repetitions_are_classified(void **state)
{
	struct shape s = shape_of(SHAPE_LINES, "<", " ok");
	uint8_t text[ROOM];
	uint8_t out[ROOM];
	size_t n = replies(&s, text);

	for (size_t length = 1; length < 44; length++) {
		for (size_t at = 0; at + length < n; at++) {
			struct fault fault = {0};
			uint64_t completed;
			size_t m = put(out, 0, text, at);

			m = put(out, m, text + at + length, n - at - length);
			assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
			assert_int_equal(fault.kind, FAULT_LOST);
			m = put(out, 0, text, at + length);
			m = put(out, m, text + at, n - at);
			assert_false(feed(&s, out, m, 0, 0, &completed, &fault));
			assert_int_equal(fault.kind, FAULT_DUPLICATED);
		}
	}
}

static void test_swapped_replies_are_detected(void **state)
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
	assert_string_equal(fault.words, "another message's reply at byte 15: "
					 "expected '0 hovcjqxelszgnubipwdkry\\x0a00000001000'..., "
					 "received '1 hovcjqxelszgnubipwdkry\\x0a00000001000'...");
	/* A reply that is missing, and one that comes twice. */
	assert_false(feed(&s, text + 40, n - 40, 0, 0, &completed, &fault));
	assert_int_equal(fault.kind, FAULT_SWAPPED);
	memcpy(out, text, 40);
	memcpy(out + 40, text, n);
	assert_false(feed(&s, out, n + 40, 0, 0, &completed, &fault));
	assert_int_equal(fault.kind, FAULT_SWAPPED);
	assert_int_equal(completed, 1);
}

static void test_unexpected_bytes_are_detected(void **state)
{
	struct shape s = shape_of(SHAPE_LINES, "", "");
	struct fault fault = {0};
	uint8_t text[ROOM];
	size_t n = replies(&s, text);
	struct verifier v;

	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_false(verifier_feed(&v, 0, (const uint8_t *)"x", 1, &fault));
	assert_int_equal(fault.kind, FAULT_UNEXPECTED);
	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_false(
		verifier_feed(&v, 0, (const uint8_t *)"NAK 0 too many connections\n", 27, &fault));
	assert_int_equal(fault.kind, FAULT_NAK);
	assert_string_equal(fault.words, "NAK 0 too many connections");
	verifier_init(&v, &source, &s, NULL, 1, 0);
	assert_true(verifier_feed(&v, MESSAGES, text, n, &fault));
	assert_false(verifier_feed(&v, MESSAGES, (const uint8_t *)"\n", 1, &fault));
	assert_int_equal(fault.kind, FAULT_DUPLICATED);
}

/* A greeting with a line end may vary in length; without one, it has the learnt length. */
static void test_greetings(void **state)
{
	static const struct {
		uint32_t n;
		uint32_t lines;
		const char *greeting;
		bool greeted;
	} cases[] = {
		{6, 1, "hello\n", true}, {6, 1, "hello 10\n", true}, {6, 1, "hello", false},
		{4, 2, "a\nb\n", true},	 {4, 2, "a\nb", false},	     {3, 0, "hi ", true},
		{3, 0, "hi", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shape s = shape_of(SHAPE_LINES, "Got ", "");
		uint8_t text[ROOM];
		size_t n = strlen(cases[i].greeting);
		size_t all = n + replies(&s, text + n);

		memcpy(text, cases[i].greeting, n);
		s.greeting_n = cases[i].n;
		s.greeting_lines = cases[i].lines;
		for (size_t step = 1; step <= all; step++) {
			struct fault fault = {0};
			struct verifier v;
			bool right = true;

			verifier_init(&v, &source, &s, NULL, 1, 0);
			assert_true(verifier_feed(&v, 0, text, n, &fault));
			assert_int_equal(verifier_greeted(&v), cases[i].greeted);
			for (size_t at = n; cases[i].greeted && at < all; at += step)
				right = right &&
					verifier_feed(&v, MESSAGES, text + at,
						      step < all - at ? step : all - at, &fault);
			assert_true(right);
			assert_int_equal(v.index, cases[i].greeted ? MESSAGES : 0);
			assert_int_equal(v.reply_bytes, cases[i].greeted ? all - n : 0);
		}
	}
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

/* The first bytes of the NAK may be right by chance. */
static void test_nak_that_begins_like_the_reply(void **state)
{
	static const char *const prefixes[] = {"N", "NA", "NAK", "NAK "};
	static const char nak[] = "NAK 7 line too long\n";
	uint64_t completed;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct shape s = shape_of(SHAPE_LINES, prefixes[i], "");
		struct fault fault = {0};

		assert_false(feed(&s, (const uint8_t *)nak, strlen(nak), 0, 0, &completed, &fault));
		assert_int_equal(fault.kind, FAULT_NAK);
		assert_string_equal(fault.words, "NAK 7 line too long");
	}
}

static bool learn(struct affix *a, const char *first, const char *second)
{
	return affix_learn(a, (const uint8_t *)first, strlen(first), (const uint8_t *)second,
			   strlen(second));
}

static void test_counters(void **state)
{
	struct affix a;
	uint8_t out[AFFIX_MAX];
	size_t n;

	assert_true(learn(&a, "9/7 #99 ", "10/7 #100 "));
	assert_true(affix_counts(&a));
	n = affix_render(&a, 1, out);
	assert_memory_equal(out, "9/7 #99 ", n);
	n = affix_render(&a, 93, out);
	assert_int_equal(n, 11);
	assert_memory_equal(out, "101/7 #191 ", 11);
	assert_false(learn(&a, "a1", "a3"));
	assert_false(learn(&a, "ab", "a"));
	assert_false(learn(&a, "a", "ab"));
	assert_false(learn(&a, "7", "x"));
	assert_true(learn(&a, "", ""));
	assert_true(affix_is_fixed(&a));
	assert_false(affix_counts(&a));
}

/* A counter with leading zeros keeps its width until the number is longer. */
static void test_padded_counters(void **state)
{
	static const struct {
		uint64_t number;
		const char *text;
	} cases[] = {{1, "#008/0 "},
		     {2, "#009/1 "},
		     {3, "#010/2 "},
		     {992, "#999/991 "},
		     {993, "#1000/992 "}};
	struct affix a;

	assert_true(learn(&a, "#008/0 ", "#009/1 "));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[AFFIX_MAX];
		size_t n = affix_render(&a, cases[i].number, out);

		assert_int_equal(n, strlen(cases[i].text));
		assert_memory_equal(out, cases[i].text, n);
	}
	assert_true(learn(&a, "099", "100"));
	assert_true(learn(&a, "99", "100"));
	assert_false(learn(&a, "007", "8"));
	assert_false(learn(&a, "9", "010"));
	assert_false(learn(&a, "099", "0100"));
}

static void test_numbers(void **state)
{
	char many[2 * AFFIX_NUMBERS_MAX + 3] = "";
	char next[sizeof(many)];
	struct affix a;

	assert_true(learn(&a, "v1.2 ", "v1.2 "));
	assert_int_equal(a.n_numbers, 2);
	assert_false(affix_is_fixed(&a) || affix_counts(&a));
	assert_true(learn(&a, "x 7", "x 7"));
	affix_fix_end(&a);
	assert_true(affix_is_fixed(&a));
	assert_true(learn(&a, "7 x", "7 x"));
	affix_fix_end(&a);
	assert_false(affix_is_fixed(&a));
	assert_true(learn(&a, "12345678901234567890 ", "12345678901234567890 "));
	assert_int_equal(a.n_numbers, 1);
	assert_true(learn(&a, "123456789012345678901 ", "123456789012345678901 "));
	assert_int_equal(a.n_numbers, 0);
	for (size_t i = 0; i <= AFFIX_NUMBERS_MAX; i++)
		memcpy(many + 2 * i, "1 ", 2);
	assert_true(learn(&a, many, many));
	assert_int_equal(a.n_numbers, AFFIX_NUMBERS_MAX);
	strcpy(next, many);
	next[2 * AFFIX_NUMBERS_MAX] = '2';
	assert_false(learn(&a, many, next));
	assert_true(learn(&a, many + 2, next + 2));
	assert_true(affix_counts(&a));
	/* an address and a port, the number of the connection and that of the message */
	assert_true(learn(&a, "[2a02:8109:9a40:1b2c:5d3e:7f8a:1c2d:3e4f]:40000 #7.1 ",
			  "[2a02:8109:9a40:1b2c:5d3e:7f8a:1c2d:3e4f]:40000 #7.2 "));
	assert_true(affix_counts(&a));
}

/* Feeds the bytes of @text to @own one by one, on demand. */
static enum affix_status match(const struct affix *pattern, size_t text_digits, const char *text,
			       struct affix *own, size_t *ret_at)
{
	enum affix_status status;
	size_t due;

	set(own, "");
	while ((status = affix_match(pattern, text_digits, false, own, ret_at, &due)) ==
		       AFFIX_MORE &&
	       text[own->n]) {
		own->bytes[own->n] = (uint8_t)text[own->n];
		own->n++;
	}
	return status;
}

static void test_connection_numbers(void **state)
{
	static const struct {
		const char *pattern;
		const char *text;
		size_t text_digits;
		size_t at; /* where it ends or differs */
		enum affix_status status;
	} cases[] = {
		{"[7:1]", "[7:1]x", 0, 5, AFFIX_COMPLETE},
		{"[7:1]", "[123:45]x", 0, 8, AFFIX_COMPLETE},
		{"[7:1]", "[:1]x", 0, 1, AFFIX_DIFFERS},
		{"[7:1]", "[7;1]x", 0, 2, AFFIX_DIFFERS},
		{"[7:1]", "(7:1]x", 0, 0, AFFIX_DIFFERS},
		{"[7:1]", "[7:x]x", 0, 3, AFFIX_DIFFERS},
		{"[7:1]", "[12345678901234567890:1]x", 0, 24, AFFIX_COMPLETE},
		{"[7:1]", "[123456789012345678901:1]x", 0, 1, AFFIX_DIFFERS},
		{"[7:1]", "[7:", 0, 3, AFFIX_MORE},
		{"[7:1]", "[7:12", 0, 3, AFFIX_MORE},
		/* At the end, the digits of the text come along. */
		{"[7:1", "[7:100x", 2, 4, AFFIX_COMPLETE},
		{"[7:1", "[7:00x", 2, 3, AFFIX_DIFFERS},
		{"[7:1", "[7:1234567890123456789000x", 2, 23, AFFIX_COMPLETE},
		{"[7:1", "[7:12345678901234567890000x", 2, 3, AFFIX_DIFFERS},
		{"", "x", 0, 0, AFFIX_COMPLETE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct affix pattern;
		struct affix own;
		size_t at;

		assert_true(learn(&pattern, cases[i].pattern, cases[i].pattern));
		assert_int_equal(match(&pattern, cases[i].text_digits, cases[i].text, &own, &at),
				 cases[i].status);
		assert_int_equal(at, cases[i].at);
		if (cases[i].status == AFFIX_COMPLETE) {
			assert_int_equal(own.n, at);
			assert_memory_equal(own.bytes, cases[i].text, own.n);
			assert_true(affix_is_fixed(&own));
		}
	}
}

/* Appends the reply of a server of framing @framing to the line @text. */
static size_t answer(uint8_t *out, size_t n, const char *prefix, const char *text,
		     const char *suffix, bool stream)
{
	n = put(out, n, prefix, strlen(prefix));
	n = put(out, n, text, strlen(text));
	n = put(out, n, stream ? "\n" : suffix, strlen(stream ? "\n" : suffix));
	return put(out, n, stream ? suffix : "\n", strlen(stream ? suffix : "\n"));
}

static void test_shapes_are_learnt(void **state)
{
	static const struct {
		const char *greeting;
		const char *prefixes[2]; /* in replies 1 and 2 */
		const char *suffixes[2];
		bool stream;
		const char *given; /* as the prefix */
		const char *words; /* of the fault; NULL: none */
		uint32_t lines;	   /* of the greeting */
	} cases[] = {
		{"", {"", ""}, {"", ""}, false, NULL, NULL, 0},
		{"", {"Got ", "Got "}, {"", ""}, false, NULL, NULL, 0},
		{"", {"Got ", "Got "}, {"", ""}, true, NULL, NULL, 0},
		{"", {"<", "<"}, {">", ">"}, true, NULL, NULL, 0},
		{"", {"<", "<"}, {">", ">"}, false, "<", NULL, 0},
		{"", {"", ""}, {"!\n", "!\n"}, true, NULL, NULL, 0},
		{"hello\n", {"Got ", "Got "}, {"", ""}, false, NULL, NULL, 1},
		{"a\nb\n", {"", ""}, {" ok", " ok"}, false, NULL, NULL, 2},
		{"a\nb ", {"", ""}, {"", ""}, false, NULL, NULL, 0},
		{"", {"9: ", "9: "}, {" 7", " 7"}, false, NULL, NULL, 0},
		{"",
		 {"Got ", "Gox "},
		 {"", ""},
		 false,
		 NULL,
		 "prefix changes at byte 2: expected 't ', received 'x '",
		 0},
		{"",
		 {"Got ", "Got "},
		 {"a", "b"},
		 false,
		 NULL,
		 "suffix changes at byte 0: expected 'a', received 'b'",
		 0},
		{"",
		 {"Got ", "Got "},
		 {"", ""},
		 false,
		 "Get ",
		 "prefix differs at byte 1: expected 'et ', received 'ot '",
		 0},
		{"",
		 {"Got ", "Got "},
		 {"", ""},
		 false,
		 "",
		 "prefix differs at byte 0: expected nothing, received 'Got '",
		 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shape s;
		struct fault fault = {0};
		uint8_t out[ROOM];
		struct shape_evidence e = {.received = out,
					   .text_n = 4,
					   .prefix = cases[i].given,
					   .frame = &frame_line};
		const char *const *suffixes = cases[i].suffixes;
		bool stream = cases[i].stream;
		size_t n = put(out, 0, cases[i].greeting, strlen(cases[i].greeting));

		e.texts[0] = n + strlen(cases[i].prefixes[0]);
		e.ends[0] = answer(out, n, cases[i].prefixes[0], "aaaa", suffixes[0], stream);
		e.texts[1] = e.ends[0] + strlen(cases[i].prefixes[1]);
		e.ends[1] =
			answer(out, e.ends[0], cases[i].prefixes[1], "bbbb", suffixes[1], stream);
		e.texts[2] = e.ends[1] + strlen(cases[i].prefixes[0]);
		e.texts[3] = e.texts[2] + (stream ? 5 : 30);
		assert_int_equal(shape_learn(&e, &s, &fault), !cases[i].words);
		if (cases[i].words) {
			assert_string_equal(fault.words, cases[i].words);
			continue;
		}
		assert_int_equal(s.framing, stream ? SHAPE_STREAM : SHAPE_LINES);
		assert_int_equal(s.greeting_n, strlen(cases[i].greeting));
		assert_int_equal(s.greeting_lines, cases[i].lines);
		assert_int_equal(s.prefix.n, strlen(cases[i].prefixes[0]));
		assert_memory_equal(s.prefix.bytes, cases[i].prefixes[0], s.prefix.n);
		assert_int_equal(s.suffix.n, strlen(suffixes[0]));
		assert_memory_equal(s.suffix.bytes, suffixes[0], s.suffix.n);
	}
}

/* Appends a text, and what belongs to its frame. Returns where the text begins in *@ret_text. */
static size_t put_frame(uint8_t *out, size_t n, const char *text, size_t *ret_text)
{
	*ret_text = put_header(out, n, strlen(text));
	n = put(out, *ret_text, text, strlen(text));
	return put(out, n, source.frame->end, source.frame->end_n);
}

/* A server that sends another frame before or after each reply does not pass as right. */
static void test_a_reply_is_one_frame(void **state)
{
	for (size_t i = 0; i < 3 * N_FRAMES; i++) {
		static const char *const texts[] = {"aaaa", "bbbb"};
		uint8_t out[ROOM];
		struct fault fault = {0};
		struct shape s;
		struct shape_evidence e = {.received = out,
					   .text_n = 4,
					   .framed = true,
					   .texts = {0, 0, SIZE_MAX, SIZE_MAX}};
		size_t n = 0;
		size_t other;

		source = sources[i / 3];
		e.frame = source.frame;
		if (source.frame->kind == FRAME_FIXED)
			continue;
		for (size_t j = 0; j < 2; j++) {
			if (i % 3 == 1)
				n = put_frame(out, n, "more", &other);
			n = put_frame(out, n, texts[j], &e.texts[j]);
			if (i % 3 == 2)
				n = put_frame(out, n, "more", &other);
			e.ends[j] = n;
		}
		assert_int_equal(shape_learn(&e, &s, &fault), i % 3 == 0);
		if (i % 3)
			assert_non_null(strstr(fault.words, "the reply is not one frame"));
	}
}

/* A server whose replies are longer than their length can state, which wraps. */
static void test_wrapped_lengths_are_detected(void **state)
{
	struct shape s = shape_of(SHAPE_LINES, "<", "");
	uint8_t out[ROOM];
	struct fault fault = {0};
	struct source long_texts;
	uint64_t completed;
	size_t n;

	assert_int_equal(source_generate(255, &frames[3], &long_texts), 0);
	source = long_texts;
	n = replies(&s, out);
	out[0] = 0;
	assert_false(feed(&s, out, n, n, 0, &completed, &fault));
	assert_string_equal(fault.words,
			    "difference in the length of the frame: expected 255, received 0");
	source_finish(&long_texts);
}

/* ---- random servers ---- */

static uint64_t seed = 1;

static unsigned below(unsigned limit)
{
	/* Knuth's linear congruential generator (MMIX) */
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(seed >> 33) % limit;
}

#define ITEMS 5

/* The prefix or suffix of a server's replies: letters, 'C' for a counter, 'P' for a port. */
struct template
{
	char items[ITEMS + 1];
};

static struct template random_template(const char *alphabet)
{
	struct template t = {0};
	unsigned n = below(ITEMS + 1);

	for (unsigned i = 0; i < n; i++) {
		char item = alphabet[below((unsigned)strlen(alphabet))];

		/* Two numbers side by side look like one. */
		if (i > 0 && strchr("CP", item) && strchr("CP", t.items[i - 1]))
			item = '|';
		t.items[i] = item;
	}
	return t;
}

static size_t expand(const struct template *t, uint64_t number, unsigned port, uint8_t *out)
{
	size_t n = 0;

	for (const char *p = t->items; *p; p++) {
		char text[24] = {*p};

		if (*p == 'C')
			snprintf(text, sizeof(text), "%u", (unsigned)number + 8);
		else if (*p == 'P')
			snprintf(text, sizeof(text), "%u", port);
		n = put(out, n, text, strlen(text));
	}
	return n;
}

static void learn_template(const struct template *t, unsigned port, struct affix *ret)
{
	uint8_t first[ROOM];
	uint8_t second[ROOM];
	size_t first_n = expand(t, 1, port, first);
	size_t second_n = expand(t, 2, port, second);

	assert_true(affix_learn(ret, first, first_n, second, second_n));
}

/* The replies to MESSAGES messages, each of which the server got in one read. */
static size_t serve(enum shape_framing framing, const struct template *prefix,
		    const struct template *suffix, unsigned port, uint8_t *out)
{
	struct message m;
	size_t n = 0;

	for (uint64_t i = 0; i < MESSAGES; i++) {
		source_message(&source, 1, i, &m);
		n = put_header(out, n,
			       expand(prefix, i + 1, port, out + n) + m.head_n + m.body_n +
				       expand(suffix, i + 1, port, out + n));
		n += expand(prefix, i + 1, port, out + n);
		n = put(out, n, m.head, m.head_n);
		n = put(out, n, m.body, m.body_n);
		if (framing == SHAPE_STREAM)
			n = put(out, n, m.terminator, m.terminator_n);
		n += expand(suffix, i + 1, port, out + n);
		if (framing == SHAPE_LINES)
			n = put(out, n, m.terminator, m.terminator_n);
	}
	return n;
}

#define AT_RANDOM SIZE_MAX

/* Returns whether a verifier accepts the replies, cut at @cut. */
static bool accepts(const struct shape *s, const uint8_t *p, size_t n, size_t cut)
{
	static struct shape own;
	struct fault fault = {0};
	struct verifier v;
	bool right = true;

	verifier_init(&v, &source, s, &own, 1, 0);
	for (size_t at = 0; right && at < n;) {
		size_t part = cut == AT_RANDOM ? 1 + below(20) : at < cut ? cut : n;

		part = part < n - at ? part : n - at;
		right = verifier_feed(&v, MESSAGES, p + at, part, &fault);
		at += part;
	}
	assert_int_equal(right, fault.kind == FAULT_NONE);
	for (const char *c = fault.words; *c; c++)
		assert_true(*c >= ' ' && *c <= '~');
	assert_true(right || fault.words[0]);
	return right && v.index == MESSAGES && !verifier_suffix_due(&v) && v.offset == 0;
}

/* Makes a random server; returns the length of its replies, which it writes to @out. */
static size_t random_server(struct shape *ret_shape, uint8_t *out)
{
	static const struct {
		enum shape_framing framing;
		const char *prefix;
		const char *suffix;
	} kinds[] = {
		{SHAPE_LINES, "<>#|CP", "<>#|CP"},
		{SHAPE_STREAM, "<>#|P", "<>#|"},
		{SHAPE_STREAM, "<>#|CP", "<>#|CP"}, /* one message at a time */
	};
	unsigned kind = below(3);
	struct template prefix = random_template(kinds[kind].prefix);
	struct template suffix = random_template(kinds[kind].suffix);

	source = sources[kinds[kind].framing == SHAPE_LINES ? below(N_FRAMES) : 0];
	*ret_shape = (struct shape){.framing = kinds[kind].framing};
	/* In a stream, a number must end where something else begins. */
	if (kinds[kind].framing == SHAPE_STREAM && prefix.items[0])
		prefix.items[strlen(prefix.items) - 1] = '>';
	if ((kinds[kind].framing == SHAPE_STREAM || source.frame->kind == FRAME_FIXED) &&
	    suffix.items[0])
		suffix.items[strlen(suffix.items) - 1] = '<';
	learn_template(&prefix, 40000 + below(9), &ret_shape->prefix);
	learn_template(&suffix, 40000 + below(9), &ret_shape->suffix);
	return serve(kinds[kind].framing, &prefix, &suffix, below(65536), out);
}

/* Every correct stream is accepted, wherever it is split; each change of one byte is rejected. */
static void test_random_servers(void **state)
{
	for (int i = 0; i < 300; i++) {
		uint8_t text[ROOM];
		struct shape s;
		size_t n = random_server(&s, text);

		for (size_t cut = sample_step(); cut <= n; cut += sample_step())
			assert_true(accepts(&s, text, n, cut));
		for (int cuts = 0; cuts < 20; cuts++)
			assert_true(accepts(&s, text, n, AT_RANDOM));
		for (size_t at = sample_step() - 1; at < n; at += sample_step()) {
			uint8_t right = text[at];

			text[at] ^= (uint8_t)(1 + below(255));
			assert_false(accepts(&s, text, n, n));
			assert_false(accepts(&s, text, n, AT_RANDOM));
			text[at] = right;
		}
	}
}

/* The lines of a file may be empty, also the first one on a connection. */
static void test_empty_lines(void **state)
{
	static const struct template templates[] = {{""},   {"<"},   {"|P>"},
						    {"<P"}, {" #P"}, {"<C|P"}};
	struct source generated = source;
	char bytes[] = "\nabc\n\n\n12\n";
	const size_t n_templates = sizeof(templates) / sizeof(templates[0]);

	/* message 0 of connection 1 is the second line */
	for (size_t skip = 0; skip < 4; skip++) {
		source = (struct source){.frame = &frame_line,
					 .bytes = (uint8_t *)bytes + skip,
					 .n_bytes = strlen(bytes + skip)};
		assert_int_equal(source_cut(&source, true, 0), 0);
		for (size_t i = 0; i < n_templates * n_templates; i++) {
			const struct template *prefix = &templates[i / n_templates];
			const struct template *suffix = &templates[i % n_templates];
			struct shape s = {.framing = SHAPE_LINES};
			uint8_t text[ROOM];
			size_t n = serve(SHAPE_LINES, prefix, suffix, 70, text);

			learn_template(prefix, 7, &s.prefix);
			learn_template(suffix, 7, &s.suffix);
			for (size_t cut = 1; cut <= n; cut++)
				assert_true(accepts(&s, text, n, cut));
		}
		free(source.pieces);
	}
	source = generated;
}

/* Replies with bytes removed or inserted are rejected. */
static void test_damaged_servers(void **state)
{
	for (int i = 0; i < 20000 / (int)sample_share(); i++) {
		uint8_t text[ROOM];
		uint8_t out[2 * ROOM];
		struct shape s;
		size_t n = random_server(&s, text);
		size_t at = below((unsigned)n);
		size_t lost = below((unsigned)(n - at));
		size_t m = put(out, 0, text, at);

		for (unsigned added = below(2) * below(100); added > 0; added--)
			out[m++] = below(2) ? (uint8_t)below(256) : text[below((unsigned)n)];
		m = put(out, m, text + at + lost, n - at - lost);
		if (m == n && memcmp(out, text, n) == 0)
			continue;
		/* A piece with other boundaries is correct. */
		assert_false(accepts(&s, out, m, below(2) ? m : AT_RANDOM) && !shape_in_pieces(&s));
	}
}

static void test_affix_bounds(void **state)
{
	static uint8_t bytes[AFFIX_MAX + 1];
	struct affix a;

	assert_true(affix_set(&a, bytes, AFFIX_MAX));
	assert_false(affix_set(&a, bytes, AFFIX_MAX + 1));
}

/* A NAK in a frame is recognized wherever it is split, with fixed and with unknown affixes. */
static void test_framed_naks(void **state)
{
	static const char *const prefixes[] = {"", "Got ", "NAK ", "N"};
	static const char words[] = "NAK 7 frame too long";

	for (size_t i = 0; i < N_FRAMES * 4 * 2; i++) {
		struct shape s = shape_of(SHAPE_LINES, prefixes[i / 2 % 4], "");
		bool line = frames[i / 8].kind == FRAME_FIXED;
		uint8_t bytes[100];
		size_t n;

		source = sources[i / 8];
		/* a number of the connection */
		if (i % 2)
			assert_true(learn(&s.suffix, "7.", "7."));
		n = line ? 0 : put_header(bytes, 0, strlen(words));
		n = put(bytes, n, words, strlen(words));
		n = line ? put(bytes, n, "\n", 1)
			 : put(bytes, n, source.frame->end, source.frame->end_n);
		for (size_t cut = 1; cut <= n; cut++) {
			struct fault fault = {0};
			struct shape own;
			struct verifier v;
			bool right;

			verifier_init(&v, &source, &s, &own, 1, 0);
			right = verifier_feed(&v, MESSAGES, bytes, cut, &fault);
			assert_int_equal(right, cut < n);
			if (right)
				assert_false(
					verifier_feed(&v, MESSAGES, bytes + cut, n - cut, &fault));
			assert_int_equal(fault.kind, FAULT_NAK);
			assert_string_equal(fault.words, words);
			assert_int_equal(v.index, 0);
		}
	}
}

/* The beginning of a NAK is reported when no more bytes arrive. */
static void test_half_naks(void **state)
{
	static const struct {
		const char *bytes;
		enum fault_kind kind;
	} cases[] = {
		{"N", FAULT_DIFFERENT},		 {"NAK 1", FAULT_DIFFERENT},
		{"NAK 1 ", FAULT_NAK},		 {"NAK 1 too", FAULT_NAK},
		{"NAK 1 too long\n", FAULT_NAK}, {"NAKx", FAULT_DIFFERENT},
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct shape s = shape_of(SHAPE_LINES, "", "");
		const char *bytes = cases[i / 2].bytes;
		struct fault fault = {0};
		struct shape own;
		struct verifier v;

		if (i % 2)
			assert_true(learn(&s.prefix, "<7>", "<7>"));
		verifier_init(&v, &source, &s, &own, 1, 0);
		assert_true(verifier_end(&v, MESSAGES, &fault));
		if (verifier_feed(&v, MESSAGES, (const uint8_t *)bytes, strlen(bytes), &fault))
			assert_false(verifier_end(&v, MESSAGES, &fault));
		assert_int_equal(fault.kind, cases[i / 2].kind);
	}
}

/* A wrong length is reported as such, also if the text around the message is unknown. */
static void test_wrong_lengths_are_described(void **state)
{
	for (size_t i = 0; i < 2 * N_FRAMES; i++) {
		static const char *const suffixes[] = {"", ".", "7", " 7."};

		for (size_t j = 0; j < 4; j++) {
			struct shape s = shape_of(SHAPE_LINES, "<", suffixes[j]);
			uint8_t bytes[ROOM];
			struct fault fault = {0};
			struct shape own;
			struct verifier v;
			size_t at;
			size_t n;

			source = sources[i / 2];
			if (source.frame->kind != FRAME_LENGTH)
				continue;
			n = replies(&s, bytes);
			assert_true(learn(&s.suffix, suffixes[j], suffixes[j]));
			at = source.frame->little ? 0 : source.frame->header_n - 1U;
			bytes[at] += i % 2 ? 1 : -1;
			verifier_init(&v, &source, &s, &own, 1, 0);
			assert_false(verifier_feed(&v, MESSAGES, bytes, n, &fault));
			assert_int_equal(fault.kind, FAULT_DIFFERENT);
			assert_true(strstr(fault.words, "in the length of the frame: expected ") ||
				    (j >= 2 && strstr(fault.words, "difference at byte ")));
		}
	}
}

/* Greetings in frames may differ in length; others have the learnt length. */
static void test_framed_greetings(void **state)
{
	for (size_t i = 0; i < N_FRAMES; i++) {
		struct shape s = shape_of(SHAPE_LINES, "", "");
		struct fault fault = {0};
		uint8_t bytes[ROOM];
		size_t greeting_n;
		size_t n;

		source = sources[i];
		if (source.frame->kind == FRAME_FIXED)
			continue;
		n = put_header(bytes, 0, 8);
		n = put(bytes, n, "hello 10", 8);
		n = greeting_n = put(bytes, n, source.frame->end, source.frame->end_n);
		n += replies(&s, bytes + n);
		s.greeting_n = (uint32_t)greeting_n - 1;
		s.greeting_lines = 1;
		for (size_t cut = 1; cut <= n; cut++) {
			struct verifier v;

			verifier_init(&v, &source, &s, NULL, 1, 0);
			assert_true(verifier_feed(&v, MESSAGES, bytes, cut, &fault));
			assert_int_equal(verifier_greeted(&v), cut >= greeting_n);
			assert_true(verifier_feed(&v, MESSAGES, bytes + cut, n - cut, &fault));
			assert_int_equal(v.index, MESSAGES);
			assert_int_equal(v.reply_bytes, n - greeting_n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_right_replies, begin),
		cmocka_unit_test_setup(test_pieces, begin),
		cmocka_unit_test_setup(test_repeated_insets_are_detected, begin),
		cmocka_unit_test_setup(test_pieces_like_the_suffix_are_accepted, begin),
		cmocka_unit_test_setup(test_corrupt_replies_are_detected, begin),
		cmocka_unit_test_setup(test_corruption_is_classified, begin),
		cmocka_unit_test_setup(test_gaps_and_repetitions_are_classified, begin),
		cmocka_unit_test_setup(test_swapped_replies_are_detected, begin),
		cmocka_unit_test_setup(test_unexpected_bytes_are_detected, begin),
		cmocka_unit_test_setup(test_greetings, begin),
		cmocka_unit_test_setup(test_nak_in_place_of_a_reply, begin),
		cmocka_unit_test_setup(test_nak_that_begins_like_the_reply, begin),
		cmocka_unit_test_setup(test_counters, begin),
		cmocka_unit_test_setup(test_padded_counters, begin),
		cmocka_unit_test_setup(test_numbers, begin),
		cmocka_unit_test_setup(test_connection_numbers, begin),
		cmocka_unit_test_setup(test_shapes_are_learnt, begin),
		cmocka_unit_test_setup(test_a_reply_is_one_frame, begin),
		cmocka_unit_test_setup(test_wrapped_lengths_are_detected, begin),
		cmocka_unit_test_setup(test_random_servers, begin),
		cmocka_unit_test_setup(test_empty_lines, begin),
		cmocka_unit_test_setup(test_damaged_servers, begin),
		cmocka_unit_test_setup(test_affix_bounds, begin),
		cmocka_unit_test_setup(test_framed_naks, begin),
		cmocka_unit_test_setup(test_half_naks, begin),
		cmocka_unit_test_setup(test_wrong_lengths_are_described, begin),
		cmocka_unit_test_setup(test_framed_greetings, begin),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
