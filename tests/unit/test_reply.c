/* reply: texts, NAK texts, the quit message, reported messages, and fields of messages. */

#include "core/session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUT_MAX ((size_t)64 * 1024)

/* A session, its output, and the messages that it reported. */
struct fixture {
	struct budget budget;
	struct session_io io;
	struct session session;
	struct policy policy;
	bool hold;	 /* after each SESSION_FULL */
	unsigned n_full; /* how often that was */
	char out[OUT_MAX];
	size_t n_out;
	char log[OUT_MAX];
	size_t n_log;
};

static void on_message(void *data, const struct session_message *message)
{
	struct fixture *f = data;

	f->n_log += (size_t)sprintf(
		f->log + f->n_log, "%d %d%s[%.*s%.*s]", (int)message->number, (int)message->length,
		message->refused ? " refused" : "", (int)message->parts[0].iov_len,
		(const char *)message->parts[0].iov_base, (int)message->parts[1].iov_len,
		(const char *)message->parts[1].iov_base);
}

static struct template *compile(const struct fixture *f, const char *source, unsigned variables)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(
		template_compile(source, f->policy.transcoder.to, variables, &template, &error),
		TEMPLATE_OK);
	return template;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	budget_init(&f->budget, SIZE_MAX);
	assert_int_equal(session_io_init(&f->io, &f->budget), 0);
	f->io.on_message = on_message;
	f->io.event_data = f;
	f->policy = (struct policy){
		.reply = REPLY_TEXT,
		.framing = FRAMING_LINE,
		.nak = true,
		.max_message_bytes = 16 << 20,
		.listener = "ackd",
		.host = "example",
	};
	*state = f;
	return 0;
}

static void clear_templates(struct fixture *f)
{
	struct template **templates[] = {&f->policy.greeting, &f->policy.ack_prefix,
					 &f->policy.ack_suffix, &f->policy.reply_text,
					 &f->policy.nak_text};

	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++) {
		template_destroy(*templates[i]);
		*templates[i] = NULL;
	}
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	clear_templates(f);
	session_io_finish(&f->io);
	free(f);
	return 0;
}

/* Answers each message with @source alone. */
static void set_text(struct fixture *f, const char *source)
{
	template_destroy(f->policy.reply_text);
	f->policy.reply_text = compile(f, source, TEMPLATE_IN_REPLY);
}

static void set_quit(struct fixture *f, const char *quit)
{
	f->policy.quit = (const uint8_t *)quit;
	f->policy.quit_length = strlen(quit);
}

/* ---- running ---- */

static void take(struct fixture *f)
{
	for (unsigned i = 0; i < f->io.out.n_spans; i++) {
		const struct iovec *span = &f->io.out.spans[i];

		assert_true(span->iov_len < OUT_MAX - f->n_out);
		memcpy(f->out + f->n_out, span->iov_base, span->iov_len);
		f->n_out += span->iov_len;
	}
	f->out[f->n_out] = '\0';
}

static int answer(struct fixture *f, int state, uint8_t *data, size_t n)
{
	for (;;) {
		take(f);
		if (state == SESSION_FULL && f->hold) {
			assert_int_equal(session_hold(&f->session, &f->io), 0);
			if (n > 0)
				memset(data, 0xee, n);
		}
		f->n_full += state == SESSION_FULL;
		session_io_clear(&f->io);
		if (state != SESSION_FULL)
			return state;
		state = session_resume(&f->session, &f->io);
	}
}

static void start(struct fixture *f)
{
	f->n_out = 0;
	f->n_log = 0;
	f->n_full = 0;
	f->log[0] = '\0';
	policy_prepare(&f->policy);
	session_init(&f->session, &f->policy, "unix\0\0\0here:7", 7);
}

static void stop(struct fixture *f)
{
	session_finish(&f->session, &f->io);
	session_io_clear(&f->io);
	assert_int_equal(budget_used(&f->budget), 0);
}

static int feed(struct fixture *f, const char *p, size_t n)
{
	uint8_t *data = malloc(n);
	int state;

	assert_non_null(data);
	memcpy(data, p, n);
	state = answer(f, session_feed(&f->session, &f->io, data, n), data, n);
	free(data);
	return state;
}

/* Feeds @input in reads of @read bytes, then its end. */
static void run(struct fixture *f, const char *input, size_t n, size_t read)
{
	start(f);
	for (size_t at = 0; at < n; at += read)
		feed(f, input + at, read < n - at ? read : n - at);
	assert_int_equal(answer(f, session_end(&f->session, &f->io), NULL, 0), SESSION_DONE);
	stop(f);
}

/* Checks the output for @input in reads of several sizes. */
static void check(struct fixture *f, const char *input, const char *expected)
{
	size_t n = strlen(input);

	for (size_t read = 1; read <= n; read++) {
		run(f, input, n, read);
		assert_string_equal(f->out, expected);
	}
}

static void check_log(struct fixture *f, const char *input, size_t read, const char *expected)
{
	run(f, input, strlen(input), read);
	assert_string_equal(f->log, expected);
}

/* ---- the tests ---- */

static void test_text(void **state)
{
	struct fixture *f = *state;

	set_text(f, "\x06");
	check(f, "one\ntwo\r\n\nthree", "\x06\x06\x06\x06");
	set_text(f, "OK ${message} ${bytes} ${characters} ${local}\r\n");
	check(f, "\xc3\xa9\r\nab", "OK 1 2 1 here:7\r\nOK 2 2 2 here:7\r\n");
	set_text(f, "");
	check(f, "a\nb\n", "");
	assert_int_equal(f->session.place.messages, 2);
}

/* The message is not encoded, so it need not be encodable; but it is decoded. */
static void test_text_does_not_encode_the_message(void **state)
{
	struct fixture *f = *state;

	f->policy.transcoder.to = CHARSET_ASCII;
	set_text(f, "+\n");
	check(f, "\xe2\x82\xac\n\xff\n", "+\nNAK 4 invalid start byte\n");
	set_text(f, "${field:,:2}\n");
	check(f, "\xe2\x82\xac,x\na,b\n", "NAK 0 cannot encode U+20AC\nb\n");
}

static void test_text_stream(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_STREAM;
	set_text(f, "${message}:${field:,:2};");
	start(f);
	assert_int_equal(feed(f, "a,\xc3", 3), SESSION_IDLE);
	assert_int_equal(feed(f, "\xa9,c", 3), SESSION_IDLE);
	assert_int_equal(feed(f, "\xc3\xa9", 2), SESSION_IDLE);
	assert_int_equal(feed(f, "x\xff", 2), SESSION_DONE);
	assert_string_equal(f->out, "1:;2:c;3:;4:;\nNAK 9 invalid start byte\n");
	stop(f);
}

static void test_nak_text(void **state)
{
	struct fixture *f = *state;

	set_text(f, "+");
	f->policy.nak_text = compile(f, "\x15", TEMPLATE_IN_NAK);
	check(f, "a\n\xff\nb\n", "+\x15+");
	clear_templates(f);
	set_text(f, "+");
	f->policy.nak_text =
		compile(f, "<${offset} ${reason} ${message} ${peer}>", TEMPLATE_IN_NAK);
	check(f, "a\n\xff\nb\n", "+<2 invalid start byte 2 unix>+");
	f->policy.framing = FRAMING_STREAM;
	f->policy.transcoder.to = CHARSET_ASCII;
	f->policy.reply = REPLY_ECHO;
	run(f, "ab\xe2\x82\xac", 5, 5);
	assert_string_equal(f->out, "ab<2 cannot encode U+20AC 1 unix>");
	f->policy.nak = false;
	run(f, "ab\xe2\x82\xac", 5, 5);
	assert_string_equal(f->out, "ab");
}

/* Every reason fits into the template's bound. */
static void test_reasons_fit(void **state)
{
	for (int i = 0; i < NAK_REASON_COUNT; i++) {
		const struct nak nak = {.reason = (enum nak_reason)i, .code_point = 0x10ffff};
		char reason[NAK_REASON_MAX], line[NAK_LINE_MAX];
		size_t n = nak_format(&nak, line);

		nak_reason_format(&nak, reason);
		assert_true(strlen(reason) <= TEMPLATE_REASON_MAX);
		assert_int_equal(n, strlen("NAK 0 \n") + strlen(reason));
		assert_memory_equal(line + strlen("NAK 0 "), reason, strlen(reason));
	}
}

static void set_mark(struct mark *mark, const char *bytes)
{
	mark->length = (uint8_t)strlen(bytes);
	memcpy(mark->bytes, bytes, mark->length);
}

static void test_frames(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_DELIMITED;
	set_mark(&f->policy.frame.start, "<<");
	set_mark(&f->policy.frame.end, ">");
	set_text(f, "${message}${field:,:2}");
	f->policy.nak_text = compile(f, "!${offset}", TEMPLATE_IN_NAK);
	set_quit(f, "q");
	check(f, "<<a,b>\n<<\xff>\r\n<<>", "<<1b><<!9><<3>");
	check(f, "<<a,b><<q><<c>", "<<1b><<2>");
	f->policy.transcoder.to = CHARSET_ASCII;
	check(f, "<<a,b><<q><<c>", "<<1b><<2>");
	f->policy.transcoder.to = CHARSET_UTF_8;
	f->policy.reply = REPLY_ACK;
	f->policy.ack_suffix = compile(f, "[${field:,:1}]", TEMPLATE_IN_REPLY);
	check(f, "<<a,b><<q><<c>", "<<a,b[a]><<q[q]>");
	f->policy.log_messages = true;
	check_log(f,
		  "<<a,b>x<<\xff"
		  "a>",
		  3,
		  "1 3[a,b]2 2 refused[\xff"
		  "a]");

	f->policy.frame.bare_replies = true;
	check(f, "<<a,b>x<<\xff><<q><<c>", "a,b[a]!9q[q]");
	f->policy.reply = REPLY_TEXT;
	check(f, "<<a,b><<q>", "1b2");

	f->policy.reply = REPLY_ACK;
	f->policy.framing = FRAMING_LENGTH;
	f->policy.frame.length_bytes = 1;
	check(f,
	      "\003a,b\002\xff"
	      "a\001q\001x",
	      "\006a,b[a]\002!5\004q[q]");
	f->policy.reply = REPLY_TEXT;
	check(f,
	      "\003a,b\002\xff"
	      "a\001q\001x",
	      "\0021b\002!5\0013");
	check_log(f,
		  "\003a,b\002\xff"
		  "a\001q\001x",
		  2, "1 3[a,b]2 1 refused[\xff]3 1[q]");
	f->policy.frame.length_includes_header = true;
	f->policy.max_message_bytes = 3;
	for (size_t read = 1; read < 8; read++) {
		check_log(f, "\002a\005text", read, "1 1[a]2 0 refused[]");
		check_log(f, "\002a\377", read, "1 1[a]2 0 refused[]");
	}
	f->policy.frame.length_bytes = 2;
	check_log(f, "\001\001text", 1, "1 0 refused[]");
	check_log(f, "\001\001text", 6, "1 0 refused[]");

	f->policy.framing = FRAMING_FIXED;
	f->policy.frame.size = 1;
	check(f,
	      "a\xff"
	      "bqc",
	      "1!134");
}

static void test_quit(void **state)
{
	struct fixture *f = *state;

	set_text(f, "${message},");
	set_quit(f, "exit");
	check(f, "a\nexi\nexits\nexit\r\nb\nc\n", "1,2,3,4,");
	assert_int_equal(f->session.place.done, SESSION_QUIT);
	check(f, "exit", "1,");
	f->policy.reply = REPLY_ECHO;
	check(f, "a\nexit\nb\n", "a\nexit\n");
	f->policy.reply = REPLY_DISCARD;
	check(f, "a\nexit\n\xff\n", "");
	assert_int_equal(f->session.place.messages, 2);
	assert_int_equal(f->session.place.done, SESSION_QUIT);
	set_quit(f, "\xc3\xa9");
	check(f, "\xc3\xa9\n\xff\n", "");
	set_quit(f, "");
	f->policy.reply = REPLY_ECHO;
	check(f, "a\n\nb\n", "a\n\n");
	check(f, "a\n\xff\n\r\nb", "a\nNAK 2 invalid start byte\n\r\n");
}

/* In a stream a message is a read. */
static void test_quit_stream(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_STREAM;
	f->policy.reply = REPLY_ECHO;
	set_quit(f, "\xc3\xa9x");
	start(f);
	assert_int_equal(feed(f, "a\xc3\xa9x", 4), SESSION_IDLE);
	assert_int_equal(feed(f, "\xc3", 1), SESSION_IDLE);
	assert_int_equal(feed(f, "\xa9x", 2), SESSION_DONE);
	assert_int_equal(feed(f, "b", 1), SESSION_DONE);
	assert_string_equal(f->out, "a\xc3\xa9x\xc3\xa9x");
	assert_int_equal(f->session.place.received, 7);
	assert_int_equal(f->session.place.done, SESSION_QUIT);
	stop(f);
	/* a fault that follows in the same read is the reason */
	start(f);
	assert_int_equal(feed(f, "\xc3\xa9x\xff", 4), SESSION_DONE);
	assert_string_equal(f->out, "\xc3\xa9x\nNAK 3 invalid start byte\n");
	assert_int_equal(f->session.place.done, SESSION_NAKED);
	stop(f);
}

static void test_close(void **state)
{
	struct fixture *f = *state;
	struct session_rest rest;

	f->policy.reply = REPLY_CLOSE;
	f->policy.greeting = compile(f, "bye\n", TEMPLATE_IN_GREETING);
	start(f);
	assert_int_equal(session_greet(&f->session, &f->io), SESSION_DONE);
	assert_int_equal(answer(f, SESSION_DONE, NULL, 0), SESSION_DONE);
	assert_int_equal(feed(f, "x\n", 2), SESSION_DONE);
	assert_int_equal(answer(f, session_end(&f->session, &f->io), NULL, 0), SESSION_DONE);
	assert_string_equal(f->out, "bye\n");
	assert_int_equal(f->session.place.messages, 0);
	stop(f);

	/* a connection that is taken over from a process that answered it */
	f->policy.reply = REPLY_ECHO;
	start(f);
	feed(f, "x\ny", 3);
	assert_int_equal(session_suspend(&f->session, &f->io, &rest), SESSION_IDLE);
	stop(f);
	f->policy.reply = REPLY_CLOSE;
	start(f);
	session_restore(&f->session, &rest.place);
	assert_int_equal(f->session.place.done, SESSION_CLOSED);
	assert_int_equal(feed(f, "x\n", 2), SESSION_DONE);
	stop(f);
}

static void test_log(void **state)
{
	struct fixture *f = *state;

	set_text(f, "+");
	check_log(f, "a\n", 1, "");
	f->policy.log_messages = true;
	for (size_t read = 1; read < 8; read++)
		check_log(f, "one\ntwo\r\n\nx", read, "1 3[one]2 3[two]3 0[]4 1[x]");
	f->policy.reply = REPLY_DISCARD;
	check_log(f, "one\ntwo\n", 3, "1 3[one]2 3[two]");
	/* what has been received of a refused message */
	check_log(f,
		  "ab\xff"
		  "cd\ne\n",
		  100,
		  "1 5 refused[ab\xff"
		  "cd]2 1[e]");
	check_log(f,
		  "ab\xff"
		  "cd\ne\n",
		  2,
		  "1 4 refused[ab\xff"
		  "c]2 1[e]");
	check_log(f, "a\xe2\n", 1, "1 2 refused[a\xe2]");
	check_log(f, "ab\xe2", 2, "1 3 refused[ab\xe2]");
	f->policy.max_message_bytes = 2;
	check_log(f, "a\nbcd", 5, "1 1[a]2 3 refused[bcd]");
}

static void test_log_stream(void **state)
{
	struct fixture *f = *state;

	set_text(f, "+");
	f->policy.framing = FRAMING_STREAM;
	f->policy.log_messages = true;
	check_log(f, "abcd", 3, "1 3[abc]2 1[d]");
	check_log(f,
		  "a\xe2\x82\xac"
		  "b",
		  3,
		  "1 1[a]2 4[\xe2\x82\xac"
		  "b]");
	/* a refused read, with the bytes that were carried into it */
	check_log(f,
		  "ab\xff"
		  "cd",
		  10,
		  "1 5 refused[ab\xff"
		  "cd]");
	check_log(f,
		  "a\xe2"
		  "bcd",
		  2,
		  "1 1[a]2 3 refused[\xe2"
		  "bc]");
	check_log(f,
		  "a\xe2\x82"
		  "bcd",
		  2,
		  "1 1[a]2 3 refused[\xe2\x82"
		  "b]");
	check_log(f, "\xe2\x82", 1, "1 2 refused[\xe2\x82]");
}

static void test_field(void **state)
{
	struct fixture *f = *state;

	set_text(f, "${field:,:1}|${field:,:2}|${field:,:3};");
	check(f, "a,b,c\n", "a|b|c;");
	check(f, "a,b\n", "a|b|;");
	check(f, ",,c,d\n", "||c;");
	check(f, "\n", "||;");
	check(f, "a,,\n", "a||;");
	set_text(f, "${field:\xc3\xa9:2}${field:\xe2\x82\xac:1}");
	check(f,
	      "a\xc3\xa9"
	      "b\xe2\x82\xac"
	      "c\n",
	      "b\xe2\x82\xac"
	      "ca\xc3\xa9"
	      "b");
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile(f, "[${field: :2}${field: :3}] ", TEMPLATE_IN_REPLY);
	f->policy.ack_suffix = compile(f, " [${field: :1}${characters}]", TEMPLATE_IN_REPLY);
	check(f, "ab cd ef\r\nx\n", "[cdef] ab cd ef [ab8]\r\n[] x [x1]\n");
}

/* The text of a field is the one that the decoder makes, in the charset of the reply. */
static void test_field_transcoded(void **state)
{
	struct fixture *f = *state;

	f->policy.transcoder.to = CHARSET_ISO_8859_1;
	f->policy.transcoder.encode_errors = ENCODE_XMLCHARREFREPLACE;
	set_text(f, "${field:,:2}");
	check(f, "a,\xc3\xa9\xe2\x82\xac,b\n", "\xe9&#8364;");
	f->policy.transcoder.decode_errors = DECODE_REPLACE;
	check(f,
	      "\xff,\xff"
	      "a\n",
	      "&#65533;a");
	set_text(f, "${field:\xef\xbf\xbd:2}");
	check(f,
	      "a\xff"
	      "b\xef\xbf\xbd"
	      "c\n",
	      "b");
	f->policy.transcoder.decode_errors = DECODE_IGNORE;
	set_text(f, "${field:,:2}");
	check(f,
	      "\xff,a\xff"
	      "b\n",
	      "ab");
	f->policy.transcoder.decode_errors = DECODE_BACKSLASHREPLACE;
	check(f,
	      "\xff,a\xff"
	      "b\n",
	      "a\\xffb");
	set_text(f, "${field:\\:2}${field:\\:3}");
	check(f,
	      "a\xff\xfe"
	      "b\n",
	      "xffxfeb");
	set_text(f, "${field:f:2}-${field:f:3}-${field:f:4}");
	check(f,
	      "a\xff"
	      "bfc\n",
	      "-b-c");
	f->policy.transcoder.decode_errors = DECODE_SURROGATEESCAPE;
	set_text(f, "${field:\xc3\xbf:1}");
	check(f,
	      "a\xff\xc3\xbf"
	      "b\n",
	      "a\xff");
}

/* An acknowledgement of HL7, whose messages name their separator. */
static void test_field_hl7(void **state)
{
	struct fixture *f = *state;

	f->policy.framing = FRAMING_STREAM;
	set_text(f,
		 "MSH|^~\\&|ACKD||${field:|:3}|${field:|:4}|||ACK|${connection}.${message}|P|2.5\r"
		 "MSA|AA|${field:|:10}\r");
	start(f);
	assert_int_equal(feed(f,
			      "MSH|^~\\&|ADT1|MCM|LAB|MCM|198808181126||ADT^A01|MSG00001|P|2.5\r"
			      "EVN||198808181123\r",
			      77),
			 SESSION_IDLE);
	assert_string_equal(f->out, "MSH|^~\\&|ACKD||ADT1|MCM|||ACK|7.1|P|2.5\rMSA|AA|MSG00001\r");
	stop(f);
}

/* Checks the field of a line that consists of @n times @unit. */
static void check_length(struct fixture *f, const char *unit, size_t n, size_t expected)
{
	size_t length = strlen(unit);
	char *line = malloc(n * length + 1);

	assert_non_null(line);
	for (size_t i = 0; i < n; i++)
		memcpy(line + i * length, unit, length);
	line[n * length] = '\n';
	run(f, line, n * length + 1, SESSION_READ_MAX);
	assert_int_equal(f->n_out, expected);
	free(line);
}

static void test_field_is_cut(void **state)
{
	struct fixture *f = *state;

	set_text(f, "${field:,:1}");
	check_length(f, "x", 255, 255);
	check_length(f, "x", 256, 256);
	check_length(f, "x", 257, 256);
	/* at the boundary of a character */
	check_length(f, "\xe2\x82\xac", 85, 255);
	check_length(f, "\xe2\x82\xac", 86, 255);
	check_length(f, "\xf0\x9f\x98\x80", 65, 256);
	f->policy.transcoder.to = CHARSET_ASCII;
	f->policy.transcoder.encode_errors = ENCODE_XMLCHARREFREPLACE;
	check_length(f, "\xc3\xa9", 43, 252);
	f->policy.transcoder.encode_errors = ENCODE_REPLACE;
	check_length(f, "\xf0\x9f\x98\x80", 256, 256);
	check_length(f, "\xf0\x9f\x98\x80", 257, 256);
	/* the bytes that a field is made of have a limit, too */
	f->policy.transcoder.encode_errors = ENCODE_IGNORE;
	check_length(f,
		     "\xf0\x9f\x98\x80"
		     "abc",
		     1000, 3 * 146 > 256 ? 256 : 0);
	check_length(f,
		     "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		     "a",
		     1000, 78);
	f->policy.transcoder.decode_errors = DECODE_IGNORE;
	check_length(f, "\xff", 100000, 0);
}

/* A long message is searched in steps, and the result is the same. */
static void test_field_search_is_bounded(void **state)
{
	const size_t n = 5 * SESSION_WORK_MAX;
	struct fixture *f = *state;
	char *line = malloc(n + 8);

	assert_non_null(line);
	memset(line, 'x', n);
	memcpy(line + n, ",abc,d\n", 8);
	set_text(f, "${field:,:2}${field:,:3}${field:x:7}");
	for (int hold = 0; hold < 2; hold++) {
		f->hold = hold;
		run(f, line, n + 7, SESSION_READ_MAX);
		assert_string_equal(f->out, "abcd");
		assert_true(f->n_full >= 10);
	}
	/* character by character, with a separator that is not ASCII */
	set_text(f, "${field:\xc3\xa9:2}");
	memcpy(line + n,
	       "\xc3\xa9"
	       "abcd\n",
	       8);
	run(f, line, n + 7, SESSION_READ_MAX);
	assert_string_equal(f->out, "abcd");
	assert_true(f->n_full >= 5);
	free(line);
}

/* A field after the message survives that the message was sent, and held. */
static void test_field_after_a_sent_message(void **state)
{
	enum { N = 5000 };
	struct fixture *f = *state;
	char line[N + 1];

	memset(line, 'x', N);
	memcpy(line, "ab,", 3);
	line[N] = '\n';
	f->policy.reply = REPLY_ACK;
	f->policy.ack_prefix = compile(f, "${field:,:1}:", TEMPLATE_IN_REPLY);
	f->policy.ack_suffix = compile(f, ":${field:,:1}", TEMPLATE_IN_REPLY);
	f->io.out.max_bytes = TEMPLATE_EXPANDED_MAX;
	for (int hold = 0; hold < 2; hold++) {
		f->hold = hold;
		run(f, line, N + 1, N + 1);
		assert_true(f->n_full > 0);
		assert_int_equal(f->n_out, 3 + N + 3 + 1);
		assert_memory_equal(f->out, "ab:ab,", 6);
		assert_string_equal(f->out + f->n_out - 5, "x:ab\n");
		run(f, line, N + 1, 1000);
		assert_int_equal(f->n_out, 3 + N + 3 + 1);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_text),
		TEST(test_text_does_not_encode_the_message),
		TEST(test_text_stream),
		TEST(test_nak_text),
		TEST(test_reasons_fit),
		TEST(test_frames),
		TEST(test_quit),
		TEST(test_quit_stream),
		TEST(test_close),
		TEST(test_log),
		TEST(test_log_stream),
		TEST(test_field),
		TEST(test_field_transcoded),
		TEST(test_field_hl7),
		TEST(test_field_is_cut),
		TEST(test_field_search_is_bounded),
		TEST(test_field_after_a_sent_message),
	};

	if (utf8_kernel_select(NULL) < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
