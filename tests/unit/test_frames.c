/* Frames: marks, bounds, work, and what the next process makes of the state of a frame. */

#include "core/session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define OUT_MAX ((size_t)4 * 1024 * 1024)

struct fixture {
	struct budget budget;
	struct session_io io;
	struct session session;
	uint8_t *out;
	size_t n_out;
	int64_t skipped;
};

static void on_count(void *data, enum session_count what, int64_t n)
{
	struct fixture *f = data;

	if (what == SESSION_SKIPPED_BYTES)
		f->skipped += n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	budget_init(&f->budget, SIZE_MAX);
	assert_int_equal(session_io_init(&f->io, &f->budget), 0);
	f->io.on_count = on_count;
	f->io.event_data = f;
	f->out = malloc(OUT_MAX);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	session_io_finish(&f->io);
	assert_int_equal(budget_used(&f->budget), 0);
	free(f->out);
	free(f);
	return 0;
}

static void begin(struct fixture *f, const struct policy *policy)
{
	f->n_out = 0;
	f->skipped = 0;
	session_init(&f->session, policy, "unix\0\0\0", 1);
}

static int answer(struct fixture *f, int state)
{
	for (;;) {
		for (unsigned i = 0; i < f->io.out.n_spans; i++) {
			const struct iovec *span = &f->io.out.spans[i];

			assert_true(span->iov_len <= OUT_MAX - f->n_out);
			memcpy(f->out + f->n_out, span->iov_base, span->iov_len);
			f->n_out += span->iov_len;
		}
		session_io_clear(&f->io);
		if (state != SESSION_FULL)
			return state;
		state = session_resume(&f->session, &f->io);
	}
}

static int feed(struct fixture *f, const void *p, size_t n)
{
	return answer(f, session_feed(&f->session, &f->io, p, n));
}

static void check_out(struct fixture *f, const char *expected, size_t n)
{
	assert_int_equal(f->n_out, n);
	assert_memory_equal(f->out, expected, n);
	f->n_out = 0;
}

#define CHECK_OUT(f, expected) check_out(f, expected, sizeof(expected) - 1)
#define FEED(f, bytes) feed(f, bytes, sizeof(bytes) - 1)

static struct policy policy_of(enum framing framing, enum reply_kind reply)
{
	struct policy policy = {
		.reply = reply,
		.framing = framing,
		.frame = {.start = {1, "<", {0}},
			  .end = {2, "\r>", {0}},
			  .length_bytes = 2,
			  .size = 4},
		.nak = true,
		.max_message_bytes = 65536,
		.listener = "ackd",
		.host = "example",
	};

	policy_prepare(&policy);
	return policy;
}

/* ---- marks ---- */

/* Returns where the mark first ends in the text, or 0. */
static size_t find_slowly(const struct mark *mark, const uint8_t *text, size_t n)
{
	for (size_t end = mark->length; end <= n; end++)
		if (memcmp(text + end - mark->length, mark->bytes, mark->length) == 0)
			return end;
	return 0;
}

/* All marks of at most 5 bytes in all texts of 10 bytes, of two letters, cut at each place. */
static void test_every_mark(void **state)
{
	struct mark mark = {0};
	uint8_t text[10];

	for (unsigned m = 2; m < 1 << 6; m++) {
		mark.length = 0;
		for (unsigned rest = m; rest > 1; rest >>= 1)
			mark.bytes[mark.length++] = "ab"[rest & 1];
		mark_prepare(&mark);
		for (unsigned t = 0; t < 1 << sizeof(text); t++) {
			size_t expected;

			for (size_t i = 0; i < sizeof(text); i++)
				text[i] = "ab"[t >> i & 1];
			expected = find_slowly(&mark, text, sizeof(text));
			for (size_t cut = 0; cut <= sizeof(text); cut++) {
				uint8_t matched = 0;
				size_t used, more = 0;
				bool found = mark_find(&mark, text, cut, &matched, &used);

				if (!found)
					found = mark_find(&mark, text + cut, sizeof(text) - cut,
							  &matched, &more);
				assert_int_equal(found, expected > 0);
				assert_int_equal(used + more, found ? expected : sizeof(text));
			}
		}
	}
}

/* ---- work ---- */

static double seconds_of(const struct timespec *time)
{
	return (double)time->tv_sec + (double)time->tv_nsec / 1e9;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return seconds_of(&now);
}

/* The resolution of seconds(): 10 ms on some systems. */
static double tick(void)
{
	struct timespec resolution;

	clock_getres(CLOCK_THREAD_CPUTIME_ID, &resolution);
	return seconds_of(&resolution);
}

/* Returns the least time of some runs for a message of @n bytes that arrives byte by byte. */
static double trickle(struct fixture *f, const struct policy *policy, const uint8_t *frame,
		      size_t n, int runs)
{
	double least = 1e9;

	for (int i = 0; i < runs; i++) {
		double start = seconds(), taken;

		begin(f, policy);
		for (size_t at = 0; at < n; at++)
			assert_int_equal(feed(f, frame + at, 1), SESSION_IDLE);
		taken = seconds() - start;
		least = taken < least ? taken : least;
		assert_int_equal(f->n_out, n);
		assert_memory_equal(f->out, frame, n);
		session_finish(&f->session, &f->io);
	}
	return least;
}

/*
 * A message of 256 KiB in reads of one byte takes about 16 times as long as one of 16 KiB. If bytes
 * were searched, checked or copied again for each read, it would be 256 times.
 */
static void test_time_is_linear(void **state)
{
	struct fixture *f = *state;
	size_t n = (size_t)256 << 10;
	uint8_t *frame = malloc(n + 16);

	for (enum framing framing = FRAMING_LINE; framing <= FRAMING_FIXED; framing++) {
		struct policy policy = policy_of(framing, REPLY_ECHO);
		size_t sizes[2] = {n / 16, n};
		double times[2];

		policy.max_message_bytes = MESSAGE_BYTES_MAX;
		policy.frame.length_bytes = 4;
		policy.frame.start.length = 0;
		/* each byte of the text may continue the mark */
		policy.frame.end = (struct mark){8, "aaaaaaab", {0}};
		for (int i = 0; i < 2; i++) {
			size_t size = sizes[i];

			memset(frame, 'a', size);
			frame[size - 1] = framing == FRAMING_LINE ? '\n' : 'b';
			if (framing == FRAMING_LENGTH) {
				size_t length = size - 4;

				for (int k = 0; k < 4; k++)
					frame[k] = (uint8_t)(length >> 8 * (3 - k));
			}
			policy.frame.size = (uint32_t)size;
			policy_prepare(&policy);
			times[i] = trickle(f, &policy, frame, size, i == 0 ? 3 : 1);
		}
		assert_true(times[1] < 100 * (times[0] + tick()));
	}
	free(frame);
}

/* ---- memory ---- */

/* A session holds no more than the longest frame, and nothing of a header. */
static void test_held_memory(void **state)
{
	struct fixture *f = *state;
	struct policy policy = policy_of(FRAMING_DELIMITED, REPLY_ECHO);
	char text[1001];

	memset(text, 'x', sizeof(text));
	policy.max_message_bytes = 1000;
	begin(f, &policy);
	FEED(f, "<");
	feed(f, text, 1000);
	FEED(f, "\r");
	assert_int_equal(session_held_bytes(&f->session), 1003);
	assert_int_equal(FEED(f, ">"), SESSION_IDLE);
	assert_int_equal(f->n_out, 1003);
	session_finish(&f->session, &f->io);

	begin(f, &policy);
	FEED(f, "<");
	assert_int_equal(feed(f, text, 1001), SESSION_DONE);
	CHECK_OUT(f, "<NAK 0 frame too long\r>");
	session_finish(&f->session, &f->io);

	policy = policy_of(FRAMING_LENGTH, REPLY_ECHO);
	begin(f, &policy);
	FEED(f, "\0");
	assert_int_equal(session_held_bytes(&f->session), 0);
	session_finish(&f->session, &f->io);
}

/* ---- the next process ---- */

/* Stops the session, and starts one with the policy @next where it stood. */
static int hand_over(struct fixture *f, const struct policy *next)
{
	struct session session;
	struct session_rest rest;

	assert_int_equal(session_suspend(&f->session, &f->io, &rest), SESSION_IDLE);
	assert_int_equal(f->io.out.n_bytes, 0);
	assert_true(rest.place.count == 0 || rest.place.message_length > 0 || rest.place.skipping);
	session_init(&session, next, "unix\0\0\0", 1);
	session_restore(&session, &rest.place);
	assert_int_equal(session_defer(&session, &f->io, rest.input, rest.n_input, rest.ended), 0);
	session_finish(&f->session, &f->io);
	f->session = session;
	return answer(f, session_resume(&f->session, &f->io));
}

/* The rest of a message whose beginning is gone is dropped, as far as it is known. */
static void test_lost_beginnings(void **state)
{
	struct fixture *f = *state;
	struct policy delimited = policy_of(FRAMING_DELIMITED, REPLY_DISCARD);
	struct policy length = policy_of(FRAMING_LENGTH, REPLY_DISCARD);
	struct policy fixed = policy_of(FRAMING_FIXED, REPLY_DISCARD);
	struct policy delimited_echo = policy_of(FRAMING_DELIMITED, REPLY_ECHO);
	struct policy length_echo = policy_of(FRAMING_LENGTH, REPLY_ECHO);
	struct policy fixed_echo = policy_of(FRAMING_FIXED, REPLY_ECHO);
	struct policy line_echo = policy_of(FRAMING_LINE, REPLY_ECHO);
	struct policy stream_echo = policy_of(FRAMING_STREAM, REPLY_ECHO);

	begin(f, &delimited);
	FEED(f, "<ab\r");
	hand_over(f, &delimited_echo);
	FEED(f, ">x<y\r>");
	CHECK_OUT(f, "<y\r>");
	assert_int_equal(f->skipped, 1);
	session_finish(&f->session, &f->io);

	/* the next process knows how many bytes are left, also of a character */
	begin(f, &length);
	FEED(f, "\0\6ab\xe2\x82");
	hand_over(f, &length_echo);
	FEED(f, "\xac!\0\1y");
	CHECK_OUT(f, "\0\1y");
	hand_over(f, &fixed_echo);
	FEED(f, "four");
	CHECK_OUT(f, "four");
	session_finish(&f->session, &f->io);

	begin(f, &fixed);
	FEED(f, "f");
	hand_over(f, &length_echo);
	FEED(f, "our\0\1y");
	CHECK_OUT(f, "\0\1y");
	session_finish(&f->session, &f->io);

	/* lines and streams have their own ends */
	begin(f, &length);
	FEED(f, "\0\6abc");
	hand_over(f, &line_echo);
	FEED(f, "def\nx\n");
	CHECK_OUT(f, "x\n");
	session_finish(&f->session, &f->io);
	begin(f, &length);
	FEED(f, "\0\6abc");
	hand_over(f, &stream_echo);
	FEED(f, "def\nx\n");
	CHECK_OUT(f, "def\nx\n");
	session_finish(&f->session, &f->io);

	/* the end of a message of another framing is not known: a frame begins here */
	begin(f, &delimited);
	FEED(f, "<abc");
	hand_over(f, &length_echo);
	FEED(f, "\0\1y");
	CHECK_OUT(f, "\0\1y");
	session_finish(&f->session, &f->io);
}

/* Parts of marks and headers, and whole unfinished messages, are read again. */
static void test_undecided_bytes_are_read_again(void **state)
{
	struct fixture *f = *state;
	struct policy delimited = policy_of(FRAMING_DELIMITED, REPLY_ECHO);
	struct policy length = policy_of(FRAMING_LENGTH, REPLY_ECHO);
	struct policy line = policy_of(FRAMING_LINE, REPLY_ECHO);
	struct policy two = delimited;

	two.frame.start = (struct mark){3, "<<<", {0}};
	policy_prepare(&two);
	begin(f, &two);
	FEED(f, "-<<");
	hand_over(f, &two);
	hand_over(f, &two);
	FEED(f, "<a\r>");
	CHECK_OUT(f, "<<<a\r>");
	assert_int_equal(f->skipped, 1);
	FEED(f, "<<");
	hand_over(f, &line);
	FEED(f, "a\n");
	CHECK_OUT(f, "<<a\n");
	assert_int_equal(f->skipped, 1);
	session_finish(&f->session, &f->io);

	begin(f, &length);
	FEED(f, "\0");
	hand_over(f, &line);
	FEED(f, "\n");
	CHECK_OUT(f, "\0\n");
	session_finish(&f->session, &f->io);

	/* the offset of a fault stays that of the first byte of the message */
	begin(f, &delimited);
	FEED(f, "<ok\r><ab\r");
	CHECK_OUT(f, "<ok\r>");
	hand_over(f, &delimited);
	assert_int_equal(answer(f, session_end(&f->session, &f->io)), SESSION_DONE);
	CHECK_OUT(f, "<NAK 5 unexpected end of frame\r>");
	session_finish(&f->session, &f->io);

	/* a reduced limit applies to a message that is already longer */
	begin(f, &delimited);
	FEED(f, "<abc");
	delimited.max_message_bytes = 2;
	assert_int_equal(hand_over(f, &delimited), SESSION_DONE);
	CHECK_OUT(f, "<NAK 0 frame too long\r>");
	session_finish(&f->session, &f->io);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_mark),
		TEST(test_time_is_linear),
		TEST(test_held_memory),
		TEST(test_lost_beginnings),
		TEST(test_undecided_bytes_are_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
