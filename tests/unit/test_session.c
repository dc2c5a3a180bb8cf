/* session: fixed cases at every split, full output, held input, budgets. */

#include "core/session/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUT_MAX ((size_t)4 * 1024 * 1024)

/* A session, the memory of its thread, and its whole output. */
struct fixture {
	struct budget budget;
	struct session_io io;
	struct session session;
	struct policy policy;
	bool hold; /* after each SESSION_FULL, as when the socket takes nothing */
	unsigned n_full;
	unsigned n_naks;
	struct nak nak; /* the last one */
	int64_t counts[SESSION_ILL_FORMED + 1];
	uint8_t *out;
	size_t n_out;
};

static void on_nak(void *data, const struct nak *nak)
{
	struct fixture *f = data;

	f->n_naks++;
	f->nak = *nak;
}

static void on_count(void *data, enum session_count what, int64_t n)
{
	struct fixture *f = data;

	f->counts[what] += n;
}

static struct template *compile(const char *source)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(
		template_compile(source, CHARSET_UTF_8, TEMPLATE_IN_REPLY, &template, &error),
		TEMPLATE_OK);
	return template;
}

static void start(struct fixture *f)
{
	f->n_out = 0;
	f->n_full = 0;
	f->n_naks = 0;
	memset(f->counts, 0, sizeof(f->counts));
	policy_prepare(&f->policy);
	session_init(&f->session, &f->policy, "unix\0\0\0here", 7);
}

static void stop(struct fixture *f)
{
	session_finish(&f->session, &f->io);
	session_io_clear(&f->io);
	assert_int_equal(budget_used(&f->budget), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	budget_init(&f->budget, (size_t)1 << 30);
	assert_int_equal(session_io_init(&f->io, &f->budget), 0);
	f->io.on_nak = on_nak;
	f->io.on_count = on_count;
	f->io.event_data = f;
	f->out = malloc(OUT_MAX);
	f->policy = (struct policy){
		.reply = REPLY_ECHO,
		.nak = true,
		.max_message_bytes = 65536,
		.listener = "ackd",
		.host = "example",
	};
	start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	session_io_finish(&f->io);
	template_destroy(f->policy.greeting);
	template_destroy(f->policy.ack_prefix);
	template_destroy(f->policy.ack_suffix);
	free(f->out);
	free(f);
	return 0;
}

/* Takes what io->out describes, as a socket would. */
static void take(struct fixture *f)
{
	size_t n = 0;

	assert_true(f->io.out.n_spans <= SESSION_SPANS_MAX);
	assert_true(f->io.out.n_bytes <= f->io.out.max_bytes);
	for (unsigned i = 0; i < f->io.out.n_spans; i++) {
		const struct iovec *span = &f->io.out.spans[i];

		assert_true(span->iov_len > 0 && f->n_out + span->iov_len <= OUT_MAX);
		memcpy(f->out + f->n_out, span->iov_base, span->iov_len);
		f->n_out += span->iov_len;
		n += span->iov_len;
	}
	assert_int_equal(n, f->io.out.n_bytes);
}

/* Handles the outcome @state of a call as a connection does; returns the last outcome. */
static int answer(struct fixture *f, int state, uint8_t *data, size_t n)
{
	for (;;) {
		take(f);
		if (state == SESSION_FULL) {
			f->n_full++;
			if (f->hold) {
				assert_int_equal(session_hold(&f->session, &f->io), 0);
				assert_true(session_is_held(&f->session));
				if (n > 0)
					memset(data, 0xee, n);
			}
		}
		session_io_clear(&f->io);
		if (state != SESSION_FULL)
			break;
		state = session_resume(&f->session, &f->io);
	}
	assert_false(session_is_held(&f->session));
	return state;
}

/* Feeds a copy that is freed afterwards. The test may have changed the policy. */
static int feed(struct fixture *f, const char *p, size_t n)
{
	uint8_t *data = malloc(n ? n : 1);
	int state;

	memcpy(data, p, n);
	policy_prepare(&f->policy);
	state = answer(f, session_feed(&f->session, &f->io, data, n), data, n);
	free(data);
	return state;
}

static int feed_string(struct fixture *f, const char *string)
{
	return feed(f, string, strlen(string));
}

static int end(struct fixture *f)
{
	uint8_t none[1];

	return answer(f, session_end(&f->session, &f->io), none, 0);
}

static void check_out(struct fixture *f, const char *expected)
{
	f->out[f->n_out] = '\0';
	assert_string_equal((const char *)f->out, expected);
}

/* Checks the whole outcome of @input: in one read, split at each place, and byte by byte. */
static void check(struct fixture *f, const char *input, const char *expected)
{
	size_t n = strlen(input);

	for (size_t split = 0; split <= n; split++) {
		start(f);
		if (split > 0)
			feed(f, input, split);
		if (split < n)
			feed(f, input + split, n - split);
		assert_int_equal(end(f), SESSION_DONE);
		check_out(f, expected);
		stop(f);
	}
	start(f);
	for (size_t i = 0; i < n; i++)
		feed(f, input + i, 1);
	assert_int_equal(end(f), SESSION_DONE);
	check_out(f, expected);
	stop(f);
}

static void test_echo_stream(void **state)
{
	struct fixture *f = *state;

	check(f, "", "");
	check(f, "hello", "hello");
	check(f, "\xd0\x9f\xe2\x82\xac\xf0\x9f\x98\x80", "\xd0\x9f\xe2\x82\xac\xf0\x9f\x98\x80");
	check(f, "ab\xffzz", "ab\nNAK 2 invalid start byte\n");
	check(f, "ab\n\xe2\x82zz", "ab\nNAK 3 invalid continuation byte\n");
	check(f, "\xed\xa0\x80", "NAK 0 invalid continuation byte\n");
	check(f, "a\xf0\x9f\x98", "a\nNAK 1 unexpected end of data\n");
	f->policy.nak = false;
	check(f, "ab\xffzz", "ab");
	assert_int_equal(f->n_naks, 1);
	assert_int_equal(f->nak.offset, 2);
}

static void test_echo_line(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_LINE;
	check(f, "a\nb\r\n\n\r\nc", "a\nb\r\n\n\r\nc");
	check(f, "a\rb\r\r\nc\r", "a\rb\r\r\nc\r");
	check(f,
	      "ab\xff"
	      "cd\xff\nx\n",
	      "NAK 2 invalid start byte\nx\n");
	check(f, "x\n\xe2\n\xe2\x82\r\ny\n",
	      "x\nNAK 2 invalid continuation byte\nNAK 4 invalid continuation byte\ny\n");
	check(f, "x\ny\xe2\x82", "x\nNAK 3 unexpected end of data\n");
	check(f, "\xff without an end", "NAK 0 invalid start byte\n");
}

static void test_ack_line(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_LINE;
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("${message} ${bytes} ${characters} ");
	f->policy.ack_suffix = compile("<");
	check(f, "h\xc3\xa9\r\n\n\xff\nz",
	      "1 3 2 h\xc3\xa9<\r\n2 0 0 <\nNAK 6 invalid start byte\n"
	      "4 1 1 z<");
	f->policy.transcoder.decode_errors = DECODE_BACKSLASHREPLACE;
	check(f, "a\xffz\n", "1 3 6 a\\xffz<\n");
}

static void test_ack_stream(void **state)
{
	struct fixture *f = *state;

	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("${connection}/${message}/${bytes} ");
	assert_int_equal(feed_string(f, "a\xe2"), SESSION_IDLE);
	assert_int_equal(feed_string(f, "\x82"), SESSION_IDLE);
	check_out(f, "7/1/1 a");
	assert_int_equal(feed_string(f, "\xac"
					"b"),
			 SESSION_IDLE);
	check_out(f, "7/1/1 a7/2/4 \xe2\x82\xac"
		     "b");
	assert_int_equal(feed_string(f, "c\xff"
					"d"),
			 SESSION_DONE);
	check_out(f, "7/1/1 a7/2/4 \xe2\x82\xac"
		     "b7/3/1 c\nNAK 6 invalid start byte\n");
	assert_int_equal(f->session.place.messages, 3);
	assert_int_equal(f->io.n_messages, 3);
	assert_int_equal(f->session.place.received, 7);
	assert_int_equal(feed_string(f, "dropped"), SESSION_DONE);
	assert_int_equal(end(f), SESSION_DONE);
	assert_int_equal(f->session.place.received, 7);
}

static void test_handlers(void **state)
{
	struct fixture *f = *state;
	const char *input = "a\xc3\xa9\xe2\x82z\xff";

	f->policy.transcoder.decode_errors = DECODE_REPLACE;
	check(f, input, "a\xc3\xa9\xef\xbf\xbdz\xef\xbf\xbd");
	f->policy.transcoder.decode_errors = DECODE_IGNORE;
	check(f, input, "a\xc3\xa9z");
	f->policy.transcoder.to = CHARSET_ASCII;
	check(f, input, "a\nNAK 1 cannot encode U+00E9\n");
	f->policy.transcoder.encode_errors = ENCODE_XMLCHARREFREPLACE;
	check(f, input, "a&#233;z");
	f->policy.transcoder.decode_errors = DECODE_REPLACE;
	check(f, input, "a&#233;&#65533;z&#65533;");
	f->policy.transcoder.to = CHARSET_ISO_8859_1;
	f->policy.transcoder.encode_errors = ENCODE_STRICT;
	check(f, input, "a\xe9\nNAK 3 cannot encode U+FFFD\n");
	f->policy.framing = FRAMING_LINE;
	check(f, "\xf0\x9f\x98\x80\nz\n", "NAK 0 cannot encode U+1F600\nz\n");
}

/* Bytes that a handler drops form no message. */
static void test_ignored_bytes_alone_form_no_message(void **state)
{
	struct fixture *f = *state;

	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("Got ");
	f->policy.transcoder.decode_errors = DECODE_IGNORE;
	check(f, "\xff\xfe", "");
	assert_int_equal(f->session.place.messages, 0);
	f->policy.framing = FRAMING_LINE;
	check(f, "\xff\n", "Got \n");
	assert_int_equal(f->session.place.messages, 1);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;

	f->policy.reply = REPLY_DISCARD;
	f->policy.transcoder.to = CHARSET_ASCII;
	check(f, "a\xc3\xa9", "");
	check(f, "ab\xff", "NAK 2 invalid start byte\n");
	f->policy.framing = FRAMING_LINE;
	f->policy.max_message_bytes = 4;
	check(f,
	      "\xc3\xa9\r\n1234\n\xff"
	      "34567\n\nx",
	      "NAK 9 invalid start byte\n");
	assert_int_equal(f->session.place.messages, 5);
	check(f, "12345", "NAK 0 line too long\n");
}

static void test_line_too_long(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_LINE;
	f->policy.max_message_bytes = 4;
	check(f, "1234\n1234\r\n1234", "1234\n1234\r\n1234");
	check(f, "1\n12345\n2\n", "1\nNAK 2 line too long\n");
	check(f, "1234\r5\n", "NAK 0 line too long\n");
	check(f, "1234\r\r\n", "NAK 0 line too long\n");
	check(f, "1234\r", "NAK 0 line too long\n");
	/* the length of a rejected line is not checked */
	check(f,
	      "1\xff"
	      "34567890\nx\n",
	      "NAK 1 invalid start byte\nx\n");
	/* the fault proven first is reported; at the same byte, the one that begins first */
	check(f,
	      "123\xe2"
	      "5\nx\n",
	      "NAK 3 invalid continuation byte\nx\n");
	check(f, "123\xe2\x82\xac\nx\n", "NAK 0 line too long\n");
	check(f, "1234\r\xff\nx\n", "NAK 0 line too long\n");
	check(f, "12345\xff\nx\n", "NAK 0 line too long\n");
}

static void test_greeting(void **state)
{
	struct fixture *f = *state;

	f->policy.greeting = compile("${listener} ${peer} ${host}");
	start(f);
	session_greet(&f->session, &f->io);
	assert_int_equal(answer(f, SESSION_IDLE, NULL, 0), SESSION_IDLE);
	assert_int_equal(feed_string(f, "\xff"), SESSION_DONE);
	check_out(f, "ackd unix example\nNAK 0 invalid start byte\n");
}

/* Clean input is not copied: one span, that of the read. */
static void test_zero_copy(void **state)
{
	struct fixture *f = *state;
	uint8_t data[] = "one\ntwo\nthree\n";
	size_t n = sizeof(data) - 1;

	assert_int_equal(session_feed(&f->session, &f->io, data, n), SESSION_IDLE);
	assert_int_equal(f->io.out.n_spans, 1);
	assert_ptr_equal(f->io.out.spans[0].iov_base, data);
	assert_int_equal(f->io.out.spans[0].iov_len, n);
	session_io_clear(&f->io);
	f->policy.framing = FRAMING_LINE;
	policy_prepare(&f->policy);
	assert_int_equal(session_feed(&f->session, &f->io, data, n), SESSION_IDLE);
	assert_int_equal(f->io.out.n_spans, 1);
	assert_ptr_equal(f->io.out.spans[0].iov_base, data);
	assert_int_equal(f->io.out.spans[0].iov_len, n);
	session_io_clear(&f->io);
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("Got ");
	policy_prepare(&f->policy);
	assert_int_equal(session_feed(&f->session, &f->io, data, n), SESSION_IDLE);
	assert_int_equal(f->io.out.n_spans, 1);
	take(f);
	check_out(f, "Got one\nGot two\nGot three\n");
	session_io_clear(&f->io);
}

/* An answer many times longer than its read is complete, held or not. */
static void check_full(struct fixture *f, const char *line, const char *reply)
{
	size_t n = SESSION_READ_MAX / strlen(line);
	char *input = malloc(SESSION_READ_MAX);

	for (size_t i = 0; i < n; i++)
		memcpy(input + i * strlen(line), line, strlen(line));
	start(f);
	assert_int_equal(feed(f, input, n * strlen(line)), SESSION_IDLE);
	assert_true(f->n_full > 0);
	assert_int_equal(f->n_out, n * strlen(reply));
	for (size_t i = 0; i < n; i++)
		assert_memory_equal(f->out + i * strlen(reply), reply, strlen(reply));
	assert_int_equal(f->session.place.messages, n);
	assert_int_equal(end(f), SESSION_DONE);
	stop(f);
	free(input);
}

/* Each reply takes two spans, because its line is too long to be copied. */
static void check_full_spans(struct fixture *f)
{
	char line[1025 + 1], reply[1029 + 1];

	memset(line, 'x', sizeof(line));
	memcpy(line + 1024, "\n", 2);
	memcpy(reply, "Got ", 4);
	memcpy(reply + 4, line, sizeof(line));
	check_full(f, line, reply);
}

/* Answers @input in a session of its own, and sets the answer aside. */
static bool aside(struct fixture *f, const char *input, struct iovec *ret_answer)
{
	struct session session;
	int state;

	policy_prepare(&f->policy);
	session_init(&session, &f->policy, "unix\0\0\0here", 8);
	state = session_feed(&session, &f->io, (const uint8_t *)input, strlen(input));
	if (state == SESSION_IDLE && session_io_set_aside(&f->io, ret_answer)) {
		assert_int_equal(f->io.out.n_bytes, 0);
		session_finish(&session, &f->io);
		return true;
	}
	session_io_clear(&f->io);
	session_finish(&session, &f->io);
	return false;
}

static void check_aside(const struct iovec *answer, const char *expected)
{
	assert_int_equal(answer->iov_len, strlen(expected));
	if (answer->iov_len > 0)
		assert_memory_equal(answer->iov_base, expected, answer->iov_len);
}

/* Answers that were set aside stay valid until they are taken back. */
static void test_set_aside(void **state)
{
	struct fixture *f = *state;
	struct iovec answers[4] = {0};

	f->policy.framing = FRAMING_LINE;
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("Got ");
	assert_true(aside(f, "one\ntwo\n", &answers[0]));
	assert_true(aside(f, "unfinished", &answers[1]));
	assert_true(aside(f,
			  "a\xff"
			  "b\n\xc3\xa4\n",
			  &answers[2]));
	f->policy.reply = REPLY_ECHO;
	assert_true(aside(f, "echo\n", &answers[3]));
	f->policy.reply = REPLY_ACK;
	assert_int_equal(feed(f, "between\n", 8), SESSION_IDLE);
	check_out(f, "Got between\n");
	check_full(f, "\n", "Got \n");
	check_aside(&answers[0], "Got one\nGot two\n");
	check_aside(&answers[1], "");
	check_aside(&answers[2], "NAK 1 invalid start byte\nGot \xc3\xa4\n");
	check_aside(&answers[3], "echo\n");
	session_io_take_back(&f->io);
	session_io_clear(&f->io);
	assert_true(aside(f, "again\n", &answers[1]));
	assert_ptr_equal(answers[1].iov_base, answers[0].iov_base);
	session_io_take_back(&f->io);
	session_io_clear(&f->io);
}

/* The set-aside area is bounded, because a whole answer must fit after it; each is one span. */
static void test_set_aside_is_bounded(void **state)
{
	struct fixture *f = *state;
	size_t n = 10000; /* more of these acknowledgements than half of what can be set aside */
	char *lines = malloc(n + 1);
	struct iovec answer = {0};

	f->policy.framing = FRAMING_LINE;
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("Got ");
	memset(lines, '\n', n);
	lines[n] = '\0';
	assert_true(aside(f, lines, &answer));
	assert_false(aside(f, lines, &answer));
	check_full(f, "\n", "Got \n");
	assert_true(aside(f, "\n", &answer));
	memset(lines, 'x', n - 1);
	assert_false(aside(f, lines, &answer));
	session_io_take_back(&f->io);
	session_io_clear(&f->io);
	assert_false(aside(f, lines, &answer));
	free(lines);
}

static void test_full(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_LINE;
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile("Got ");
	f->policy.transcoder.encode_errors = ENCODE_XMLCHARREFREPLACE;
	f->policy.transcoder.to = CHARSET_ASCII;
	f->io.out.max_bytes = 4096;
	check_full(f, "\n", "Got \n");
	check_full(f, "a\xc3\xa9\r\n", "Got a&#233;\r\n");
	f->hold = true;
	check_full(f, "\n", "Got \n");
	check_full(f, "a\xc3\xa9\r\n", "Got a&#233;\r\n");
	f->policy.transcoder.to = CHARSET_UTF_8;
	check_full(f, "a\xc3\xa9\r\n", "Got a\xc3\xa9\r\n");
	f->io.out.max_bytes = SESSION_REPLY_MAX;
	f->hold = false;
	check_full(f, "\n", "Got \n");
	check_full_spans(f);
}

/* A held line that does not fit into the output. */
static void test_full_held_line(void **state)
{
	struct fixture *f = *state;
	size_t n = 100000;
	char *line = malloc(n + 1);

	memset(line, 'x', n);
	line[n] = '\n';
	f->policy.framing = FRAMING_LINE;
	f->policy.max_message_bytes = (uint32_t)n;
	f->io.out.max_bytes = 1024;
	for (int hold = 0; hold < 2; hold++) {
		f->hold = hold;
		start(f);
		feed(f, line, n / 2);
		assert_true(budget_used(&f->budget) >= n / 2);
		feed(f, line + n / 2, n / 2 + 1);
		assert_int_equal(budget_used(&f->budget), 0);
		feed(f, "y\n", 2);
		assert_int_equal(f->n_out, n + 3);
		assert_memory_equal(f->out, line, n + 1);
		assert_memory_equal(f->out + n + 1, "y\n", 2);
		stop(f);
	}
	free(line);
}

/* feed_all() with the end answers like a read followed by the end. */
static void test_input_with_its_end(void **state)
{
	static const struct {
		enum framing framing;
		const char *input, *expected;
	} cases[] = {
		{FRAMING_LINE, "abc", "abc"},
		{FRAMING_LINE, "abc\ndef", "abc\ndef"},
		{FRAMING_LINE, "abc\n\xc3", "abc\nNAK 4 unexpected end of data\n"},
		{FRAMING_STREAM, "\xc3", "NAK 0 unexpected end of data\n"},
		{FRAMING_STREAM, "abc\xc3", "abc\nNAK 3 unexpected end of data\n"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t held = 0; held < 2; held++) {
			size_t n = strlen(cases[i].input);
			uint8_t data[16];
			int end;

			f->policy.framing = cases[i].framing;
			start(f);
			memcpy(data, cases[i].input, n);
			if (held) /* the first byte has come before */
				answer(f, session_feed(&f->session, &f->io, data, 1), data, 1);
			end = answer(
				f,
				session_feed_all(&f->session, &f->io, data + held, n - held, true),
				data + held, n - held);
			assert_int_equal(end, SESSION_DONE);
			assert_int_equal(f->n_out, strlen(cases[i].expected));
			assert_memory_equal(f->out, cases[i].expected, f->n_out);
			stop(f);
		}
	start(f);
}

/* A connection may be lost while its job is in the thread's memory. */
static void test_job_can_be_abandoned(void **state)
{
	struct fixture *f = *state;
	struct session other;
	uint8_t data[2048];

	memset(data, 'x', sizeof(data));
	data[sizeof(data) - 1] = '\n';
	f->policy.framing = FRAMING_LINE;
	f->io.out.max_bytes = 1024;
	assert_int_equal(feed(f, "y", 1), SESSION_IDLE);
	assert_int_equal(session_feed(&f->session, &f->io, data, sizeof(data)), SESSION_FULL);
	session_io_clear(&f->io);
	session_init(&other, &f->policy, NULL, 8);
	assert_int_equal(session_feed(&other, &f->io, data, 3), SESSION_IDLE);
	session_io_clear(&f->io);
	session_finish(&f->session, &f->io);
	session_finish(&other, &f->io);
	assert_int_equal(budget_used(&f->budget), 0);
}

/* If a message exceeds the budget, earlier replies are still due, and nothing stays charged. */
static void test_budget(void **state)
{
	struct fixture *f = *state;
	char data[2048] = "a\n";

	memset(data + 2, 'x', sizeof(data) - 2);
	f->policy.framing = FRAMING_LINE;
	budget_init(&f->budget, sizeof(data) - 3);
	assert_int_equal(feed(f, data, sizeof(data)), -ENOBUFS);
	check_out(f, "a\n");
	stop(f);
	f->io.out.max_bytes = 1024;
	start(f);
	data[sizeof(data) - 1] = '\n';
	assert_int_equal(session_feed(&f->session, &f->io, (const uint8_t *)data, sizeof(data)),
			 SESSION_FULL);
	budget_init(&f->budget, 1024);
	assert_int_equal(session_hold(&f->session, &f->io), -ENOBUFS);
	session_io_clear(&f->io);
	stop(f);
}

/* Stops the session, and starts one with the policy @next where it stood. */
static int hand_over(struct fixture *f, const struct policy *next)
{
	struct session session;
	struct session_rest rest;

	assert_int_equal(session_suspend(&f->session, &f->io, &rest), SESSION_IDLE);
	take(f);
	session_io_clear(&f->io);
	session_init(&session, next, "unix\0\0\0here", 7);
	session_restore(&session, &rest.place);
	assert_int_equal(session_defer(&session, &f->io, rest.input, rest.n_input, rest.ended), 0);
	session_finish(&f->session, &f->io);
	f->session = session;
	return answer(f, session_resume(&f->session, &f->io), NULL, 0);
}

/* A session that is taken over continues under the policy of the new process. */
static void test_hand_over(void **state)
{
	struct fixture *f = *state;
	struct policy line = f->policy, discard = f->policy, short_line;

	line.framing = FRAMING_LINE;
	discard.framing = FRAMING_LINE;
	discard.reply = REPLY_DISCARD;
	policy_prepare(&line);
	policy_prepare(&discard);
	short_line = line;
	short_line.max_message_bytes = 2;
	feed_string(f, "ab\xe2");
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	feed_string(f, "\x82\xac\nc\xe2");
	check_out(f, "ab\xe2\x82\xac\n");
	assert_int_equal(hand_over(f, &f->policy), SESSION_IDLE);
	check_out(f, "ab\xe2\x82\xac\nc");
	feed_string(f, "\x82\xac"
		       "d");
	check_out(f, "ab\xe2\x82\xac\nc\xe2\x82\xac"
		     "d");
	stop(f);

	/* the beginning of a discarded line is lost, so the line is not answered */
	start(f);
	f->session.policy = &discard;
	feed_string(f, "abcd\xe2");
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	feed_string(f, "\x82\xac\nx\n");
	check_out(f, "x\n");
	stop(f);

	/* a reduced limit applies to a line that is already longer */
	start(f);
	f->session.policy = &discard;
	feed_string(f, "abcde");
	discard.max_message_bytes = 2;
	assert_int_equal(feed_string(f, "f"), SESSION_DONE);
	check_out(f, "NAK 0 line too long\n");
	stop(f);
	start(f);
	f->session.policy = &line;
	feed_string(f, "abcde");
	assert_int_equal(hand_over(f, &short_line), SESSION_DONE);
	check_out(f, "NAK 0 line too long\n");
}

static struct policy with_charset(const struct policy *policy, enum framing framing,
				  enum charset charset, enum decode_errors errors)
{
	struct policy other = *policy;

	other.framing = framing;
	other.transcoder =
		(struct transcoder){.from = charset, .decode_errors = errors, .to = charset};
	policy_prepare(&other);
	return other;
}

/* The next process decodes in its own charset the bytes that were received but not answered. */
static void test_hand_over_to_another_charset(void **state)
{
	struct fixture *f = *state;
	struct policy latin =
		with_charset(&f->policy, FRAMING_STREAM, CHARSET_ISO_8859_1, DECODE_STRICT);
	struct policy ascii =
		with_charset(&f->policy, FRAMING_STREAM, CHARSET_ASCII, DECODE_STRICT);
	struct policy line =
		with_charset(&f->policy, FRAMING_LINE, CHARSET_UTF_8, DECODE_BACKSLASHREPLACE);
	struct policy latin_line =
		with_charset(&f->policy, FRAMING_LINE, CHARSET_ISO_8859_1, DECODE_STRICT);

	latin.transcoder.to = latin_line.transcoder.to = CHARSET_UTF_8;
	policy_prepare(&latin);
	policy_prepare(&latin_line);
	/* half a character becomes a whole one */
	feed_string(f, "a\xc3");
	check_out(f, "a");
	assert_int_equal(hand_over(f, &latin), SESSION_IDLE);
	check_out(f, "a\xc3\x83");
	stop(f);

	/* or a fault */
	start(f);
	feed_string(f, "a\xe2\x82");
	assert_int_equal(hand_over(f, &ascii), SESSION_DONE);
	check_out(f, "a\nNAK 1 byte not in charset\n");
	stop(f);

	/* an unfinished line is decoded as a whole, and its faults are counted once */
	start(f);
	f->session.policy = &line;
	feed_string(f, "\xff\n\xff\xe2");
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 2);
	check_out(f, "\\xff\n");
	assert_int_equal(hand_over(f, &latin_line), SESSION_IDLE);
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 1);
	feed_string(f, "\x82\n");
	check_out(f, "\\xff\n\xc3\xbf\xc3\xa2\xc2\x82\n");
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 1);
	feed_string(f, "x\xff");
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 2);
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 2);
	feed_string(f, "\xfe\n");
	check_out(f, "\\xff\n\xc3\xbf\xc3\xa2\xc2\x82\nx\\xff\\xfe\n");
	assert_int_equal(f->counts[SESSION_ILL_FORMED], 3);
}

/* Ill-formed subsequences are counted whatever the reply is, but not those that are rejected. */
static void test_ill_formed_are_counted(void **state)
{
	static const enum reply_kind replies[] = {REPLY_ECHO, REPLY_ACK, REPLY_DISCARD};
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		for (int framing = FRAMING_STREAM; framing <= FRAMING_LINE; framing++) {
			stop(f);
			f->policy.reply = replies[i];
			f->policy.framing = (enum framing)framing;
			f->policy.transcoder.decode_errors = DECODE_REPLACE;
			start(f);
			feed_string(f, "clean\n");
			assert_int_equal(f->counts[SESSION_ILL_FORMED], 0);
			feed_string(f, "\xff\xe2\x82z\xf0\x9f");
			assert_int_equal(f->counts[SESSION_ILL_FORMED], 2);
			feed_string(f, "\x98\n");
			assert_int_equal(f->counts[SESSION_ILL_FORMED], 3);
			stop(f);
			f->policy.transcoder.decode_errors = DECODE_STRICT;
			start(f);
			feed_string(f, "\xff\n");
			assert_int_equal(f->n_naks, 1);
			assert_int_equal(f->counts[SESSION_ILL_FORMED], 0);
		}
	}
}

/* Nothing in binary messages is a fault, and replies need no copy. */
static void test_binary(void **state)
{
	struct fixture *f = *state;
	uint8_t every[256];

	for (unsigned i = 0; i < sizeof(every); i++)
		every[i] = (uint8_t)i;
	for (int framing = FRAMING_STREAM; framing <= FRAMING_LINE; framing++) {
		stop(f);
		f->policy = with_charset(&f->policy, (enum framing)framing, CHARSET_BINARY,
					 DECODE_STRICT);
		start(f);
		assert_int_equal(session_feed(&f->session, &f->io, every, sizeof(every)),
				 SESSION_IDLE);
		assert_int_equal(f->io.out.n_spans, 1);
		assert_ptr_equal(f->io.out.spans[0].iov_base, every);
		take(f);
		session_io_clear(&f->io);
		assert_int_equal(answer(f, session_end(&f->session, &f->io), NULL, 0),
				 SESSION_DONE);
		assert_int_equal(f->n_out, sizeof(every));
		assert_memory_equal(f->out, every, sizeof(every));
		assert_int_equal(f->n_naks, 0);
	}
}

/* The state of line framing does not survive a session with stream framing. */
static void test_hand_over_skipping(void **state)
{
	struct fixture *f = *state;
	struct policy stream = f->policy, line = f->policy;

	line.framing = FRAMING_LINE;
	policy_prepare(&line);
	f->session.policy = &line;
	feed_string(f, "\xff refused");
	check_out(f, "NAK 0 invalid start byte\n");
	assert_int_equal(hand_over(f, &stream), SESSION_IDLE);
	feed_string(f, "abc");
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	feed_string(f, "d\nx\n");
	check_out(f, "NAK 0 invalid start byte\nabcd\nx\n");
	stop(f);

	/* with lines on both sides, the rest of a refused line is still dropped */
	start(f);
	f->session.policy = &line;
	feed_string(f, "\xff refused");
	assert_int_equal(hand_over(f, &line), SESSION_IDLE);
	feed_string(f, "abc\nd\n");
	check_out(f, "NAK 0 invalid start byte\nd\n");
}

static void test_nak_format(void **state)
{
	const struct nak longest = {NAK_INVALID_CONTINUATION, 0, UINT64_MAX};
	const struct nak encode = {NAK_CANNOT_ENCODE, 0x10ffff, UINT64_MAX};
	const struct nak many = {NAK_TOO_MANY_CONNECTIONS, 0, 0};
	char line[NAK_LINE_MAX];
	size_t n;

	n = nak_format(&longest, line);
	assert_int_equal(n, strlen("NAK 18446744073709551615 invalid continuation byte\n"));
	assert_memory_equal(line, "NAK 18446744073709551615 invalid continuation byte\n", n);
	n = nak_format(&encode, line);
	assert_memory_equal(line, "NAK 18446744073709551615 cannot encode U+10FFFF\n", n);
	n = nak_format(&many, line);
	assert_int_equal(n, strlen("NAK 0 too many connections\n"));
	assert_memory_equal(line, "NAK 0 too many connections\n", n);
	for (int i = 0; i < NAK_REASON_COUNT; i++)
		assert_non_null(nak_reason_name((enum nak_reason)i));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/*
 * A long line takes several calls, also where they have nothing to send: here each byte of it is
 * first counted, then transcoded. They end within characters and within ill-formed subsequences.
 */
static void test_work_per_call_is_bounded(void **state)
{
	static const char unit[] = "a\xff\xc3\xa9\xe2\x82\xe2\x82\xac\xf0\x9f\x98\x80\x80\x80\x80"
				   "\xf0\x9f\x98";
	static const char clean[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	enum { N = 100000, UNIT = sizeof(unit) - 1, CLEAN = sizeof(clean) - 1 };
	struct fixture *f = *state;
	char *line = malloc(N * UNIT + 1);

	for (size_t i = 0; i < N; i++)
		memcpy(line + i * UNIT, unit, UNIT);
	line[N * UNIT] = '\n';
	f->policy.reply = REPLY_ACK;
	f->policy.framing = FRAMING_LINE;
	f->policy.max_message_bytes = N * UNIT;
	f->policy.transcoder.decode_errors = DECODE_IGNORE;
	f->policy.ack_prefix = compile("${characters} ");
	for (f->hold = false;; f->hold = true) {
		start(f);
		for (size_t at = 0; at < N * UNIT + 1; at += SESSION_READ_MAX) {
			size_t left = N * UNIT + 1 - at;

			feed(f, line + at, left < SESSION_READ_MAX ? left : SESSION_READ_MAX);
		}
		assert_true(f->n_full >= 2 * (N * UNIT / SESSION_WORK_MAX));
		assert_int_equal(f->n_out, strlen("400000 ") + N * CLEAN + 1);
		assert_memory_equal(f->out, "400000 ", strlen("400000 "));
		for (size_t i = 0; i < N; i++)
			assert_memory_equal(f->out + strlen("400000 ") + i * CLEAN, clean, CLEAN);
		stop(f);
		if (f->hold)
			break;
	}
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_echo_stream),
		TEST(test_echo_line),
		TEST(test_ack_line),
		TEST(test_ack_stream),
		TEST(test_handlers),
		TEST(test_ignored_bytes_alone_form_no_message),
		TEST(test_discard),
		TEST(test_line_too_long),
		TEST(test_greeting),
		TEST(test_zero_copy),
		TEST(test_set_aside),
		TEST(test_set_aside_is_bounded),
		TEST(test_full),
		TEST(test_full_held_line),
		TEST(test_input_with_its_end),
		TEST(test_job_can_be_abandoned),
		TEST(test_work_per_call_is_bounded),
		TEST(test_budget),
		TEST(test_hand_over),
		TEST(test_hand_over_skipping),
		TEST(test_hand_over_to_another_charset),
		TEST(test_ill_formed_are_counted),
		TEST(test_binary),
		cmocka_unit_test(test_nak_format),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
