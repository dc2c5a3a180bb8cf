/*
 * The fast paths give the same results as the general path: random policies and input, in random
 * reads, through two sessions that differ only in their path.
 */

#include "core/session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CASES 20000
#define INPUT_MAX 4096
#define OUT_MAX ((size_t)256 * 1024)

/* xorshift64 */
static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

/* ---- policies ---- */

static const struct marks {
	struct mark start, end;
} marks[] = {
	{{0}, {.length = 1, .bytes = "\r"}},
	{{.length = 1, .bytes = "\x0b"}, {.length = 2, .bytes = "\x1c\r"}},
	{{.length = 2, .bytes = "<<"}, {.length = 1, .bytes = ">"}},
	{{.length = 1, .bytes = "a"}, {.length = 3, .bytes = "aab"}},
	{{.length = 8, .bytes = "startsta"}, {.length = 8, .bytes = "endendeq"}},
	{{.length = 1, .bytes = "\xd0"}, {.length = 1, .bytes = "\x96"}},
};

static const uint8_t header_lengths[] = {1, 2, 4};

static const enum charset charsets[] = {CHARSET_UTF_8, CHARSET_UTF_8, CHARSET_BINARY};

static struct template *compile(const char *source)
{
	struct template_error error;
	struct template *template = NULL;

	assert_int_equal(
		template_compile(source, CHARSET_UTF_8, TEMPLATE_IN_REPLY, &template, &error),
		TEMPLATE_OK);
	return template;
}

static struct policy random_policy(void)
{
	static const char *const templates[] = {
		"", "Got ", ":",
		"a prefix that is longer than a wide move of 32 bytes: ", "${message} "};
	const struct marks *m = &marks[below(sizeof(marks) / sizeof(marks[0]))];
	enum charset charset = charsets[below(3)];
	struct policy policy = {
		.framing = FRAMING_LINE + below(4),
		.reply = below(3),
		.nak = true,
		.max_message_bytes = below(2) ? 100 : 65536,
		.ack_prefix = compile(templates[below(5)]),
		.ack_suffix = compile(templates[below(5)]),
		.transcoder = {.from = charset,
			       .to = charset,
			       .decode_errors = below(2) ? DECODE_STRICT : DECODE_REPLACE},
		.frame = {.start = m->start,
			  .end = m->end,
			  .length_bytes = header_lengths[below(3)],
			  .length_order = below(2),
			  .length_includes_header = below(2),
			  .size = 1 + below(100)},
	};

	policy_prepare(&policy);
	return policy;
}

/* ---- input ---- */

static size_t put(uint8_t *out, size_t at, const void *bytes, size_t n)
{
	memcpy(out + at, bytes, n);
	return at + n;
}

/* Appends a text, which is rarely ill-formed. */
static size_t put_text(uint8_t *out, size_t at)
{
	size_t n = below(4) ? below(30) : below(130);

	for (size_t i = 0; i < n; i++) {
		if (below(200) == 0)
			out[at++] = 0xff;
		else if (below(30) == 0)
			at = put(out, at, "\xd0\x96", 2);
		else if (below(10) == 0)
			at = put(out, at, &"a\r>d"[below(4)], 1);
		else
			out[at++] = (uint8_t)(' ' + below(95));
	}
	return at;
}

/* Appends a message with its frame; rarely something that is none. */
static size_t put_message(const struct policy *policy, uint8_t *out, size_t at)
{
	size_t head = policy_head_length(policy), begin = at + head;

	if (policy->framing == FRAMING_DELIMITED && below(10) == 0)
		return put(out, at, "\n", 1); /* between frames */
	at = put_text(out, begin);
	if (at - begin > 200 && policy->frame.length_bytes == 1)
		at = begin + 200;
	policy_put_head(policy, at - begin, out + begin - head);
	if (policy->framing == FRAMING_LINE)
		at = put(out, at, below(2) ? "\r\n" : "\n\n", 2);
	if (policy->framing == FRAMING_DELIMITED)
		at = put(out, at, policy->frame.end.bytes, policy->frame.end.length);
	return at;
}

/* ---- the two sessions ---- */

struct run {
	struct budget budget;
	struct session_io io;
	struct session session;
	struct policy policy;
	uint64_t faults; /* a sum over all */
	uint64_t counted;
	int state;
	uint8_t *out;
	size_t n_out;
};

static void on_nak(void *data, const struct nak *nak)
{
	struct run *run = data;

	run->faults = run->faults * 31 + nak->offset * 16 + nak->reason;
}

static void on_count(void *data, enum session_count what, int64_t n)
{
	struct run *run = data;

	run->counted += (uint64_t)n;
}

static void init(struct run *run)
{
	budget_init(&run->budget, (size_t)1 << 24);
	assert_int_equal(session_io_init(&run->io, &run->budget), 0);
	run->io.on_nak = on_nak;
	run->io.on_count = on_count;
	run->io.event_data = run;
	run->out = malloc(OUT_MAX);
	assert_non_null(run->out);
}

static void begin(struct run *run, const struct policy *policy, size_t out_max)
{
	run->policy = *policy;
	run->io.out.max_bytes = out_max;
	run->io.n_messages = run->faults = run->counted = run->n_out = 0;
	run->state = SESSION_IDLE;
	session_init(&run->session, &run->policy, "unix\0\0", 7);
}

static void feed(struct run *run, const uint8_t *data, size_t n, bool end)
{
	if (run->state == SESSION_DONE)
		return;
	run->state = end ? session_end(&run->session, &run->io)
			 : session_feed(&run->session, &run->io, data, n);
	for (;;) {
		for (unsigned i = 0; i < run->io.out.n_spans; i++) {
			const struct iovec *span = &run->io.out.spans[i];

			assert_true(run->n_out + span->iov_len <= OUT_MAX);
			run->n_out = put(run->out, run->n_out, span->iov_base, span->iov_len);
		}
		session_io_clear(&run->io);
		if (run->state != SESSION_FULL)
			return;
		run->state = session_resume(&run->session, &run->io);
	}
}

static void compare(const struct run *fast, const struct run *general)
{
	assert_int_equal(fast->state, general->state);
	assert_int_equal(fast->io.n_messages, general->io.n_messages);
	assert_int_equal(fast->faults, general->faults);
	assert_int_equal(fast->counted, general->counted);
	assert_int_equal(fast->n_out, general->n_out);
	assert_memory_equal(fast->out, general->out, fast->n_out);
	assert_memory_equal(&fast->session.place, &general->session.place,
			    sizeof(fast->session.place));
}

static void test_fast_paths_equal_the_general_path(void **state)
{
	static uint8_t input[2 * INPUT_MAX];
	static struct run fast, general;
	uint64_t messages = 0;

	init(&fast);
	init(&general);
	for (int i = 0; i < CASES; i++) {
		struct policy policy = random_policy();
		size_t n = 0, at = 0, out_max = below(3) ? SESSION_REPLY_MAX : 1200;

		while (n < INPUT_MAX / 4 && below(20) > 0)
			n = put_message(&policy, input, n);
		n -= n > 0 && below(4) == 0; /* the last message is cut off */
		begin(&fast, &policy, out_max);
		policy.path = PATH_GENERAL;
		begin(&general, &policy, out_max);
		while (at < n) {
			size_t read = below(2) ? n - at : 1 + below((uint32_t)(n - at));

			feed(&fast, input + at, read, false);
			feed(&general, input + at, read, false);
			compare(&fast, &general);
			at += read;
		}
		feed(&fast, NULL, 0, true);
		feed(&general, NULL, 0, true);
		compare(&fast, &general);
		messages += fast.io.n_messages;
		session_finish(&fast.session, &fast.io);
		session_finish(&general.session, &general.io);
		assert_int_equal(budget_used(&fast.budget), 0);
		template_destroy(policy.ack_prefix);
		template_destroy(policy.ack_suffix);
	}
	print_message("# %d sessions, %ju messages\n", CASES, (uintmax_t)messages);
	session_io_finish(&fast.io);
	session_io_finish(&general.io);
	free(fast.out);
	free(general.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fast_paths_equal_the_general_path),
	};

	utf8_kernel_select(NULL);
	return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
