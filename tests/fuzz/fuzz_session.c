/*
 * session: the replies to an input must not depend on where its reads end, on how much fits into
 * one reply area, on whether input had to be held while a reply was unsent, or on whether another
 * session continues.
 *
 * The first SETUP_BYTES of the input choose the policy and the cuts; the rest is what the client
 * sends. One session gets it whole, another one in pieces, and their output, reported faults and
 * counts are compared, and the messages for the log. In stream framing the messages depend on the
 * reads by definition, so only echo and discard without quit and nak_text are compared.
 */

#include "core/session/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETUP_BYTES 8

/* The length of the longest template below or NAK line. */
#define REPLY_MAX_LEAST ((size_t)TEMPLATE_FIELD_MAX + 80)

/* More than the reply bytes that a byte of input can cause: a line of one byte, with a NAK. */
#define EXPANSION_MAX 128

/* An input has at most one fault a byte. */
#define INPUT_MAX ((size_t)16 * 1024)

/* The output of a session. */
struct said {
	uint8_t bytes[INPUT_MAX * EXPANSION_MAX];
	size_t n;
	struct nak naks[INPUT_MAX];
	size_t n_naks;
	int64_t counts[SESSION_ILL_FORMED + 1];
	uint64_t logged; /* a hash of the messages for the log */
};

struct run {
	struct budget budget;
	struct session_io io;
	struct session session;
	struct said said;
	bool hold, hand_over;
};

static void on_nak(void *data, const struct nak *nak)
{
	struct said *said = data;

	assert(said->n_naks < INPUT_MAX);
	assert(said->n_naks == 0 || said->naks[said->n_naks - 1].offset < nak->offset);
	said->naks[said->n_naks++] = *nak;
}

static void on_count(void *data, enum session_count what, int64_t n)
{
	struct said *said = data;

	said->counts[what] += n;
}

static void hash(uint64_t *hash, const void *p, size_t n)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++)
		*hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

/* The reads decide how much of a refused message is known. */
static void on_message(void *data, const struct session_message *message)
{
	struct said *said = data;
	size_t length = message->parts[0].iov_len + message->parts[1].iov_len;
	uint64_t ignored = 0, *to = message->refused ? &ignored : &said->logged;

	assert(message->number > 0 && message->length == length);
	hash(&said->logged, &message->number, sizeof(message->number));
	assert(length <= INPUT_MAX);
	for (int i = 0; i < 2; i++)
		hash(to, message->parts[i].iov_base, message->parts[i].iov_len);
}

/* Sets the framing, and its parameters by @choice. */
static void policy_set_frame(struct policy *policy, unsigned framing, uint8_t choice)
{
	static const struct frame delimited[] = {
		{.start = {1, "\x0b", {0}}, .end = {2, "\x1c\r", {0}}},
		{.end = {1, "\r", {0}}},
		{.end = {3, "aab", {0}}},
		{.start = {4, "abab", {0}}, .end = {1, "\xa9", {0}}},
		{.start = {1, "\xc3", {0}}, .end = {2, "\x82\xac", {0}}},
		{.start = {2, "aa", {0}}, .end = {8, "aaaaaaaa", {0}}},
		{.start = {8, "abcabcab", {0}}, .end = {8, "abcabcab", {0}}},
	};
	static const uint8_t length_bytes[] = {1, 2, 4};

	policy->framing = framing;
	if (framing == FRAMING_DELIMITED) {
		policy->frame = delimited[choice % (sizeof(delimited) / sizeof(delimited[0]))];
		policy->frame.bare_replies = choice >= 32;
	}
	if (framing == FRAMING_LENGTH)
		policy->frame = (struct frame){.length_bytes = length_bytes[choice % 3],
					       .length_order = choice / 3 % 2,
					       .length_includes_header = choice / 6 % 2};
	if (framing == FRAMING_FIXED)
		policy->frame.size = 1 + choice % policy->max_message_bytes;
}

static struct template *compile(const char *source, enum charset charset)
{
	struct template_error error;
	struct template *template = NULL;
	enum template_fault fault =
		template_compile(source, charset, TEMPLATE_IN_REPLY, &template, &error);

	assert(fault == TEMPLATE_OK);
	(void)fault;
	return template;
}

static void policy_init(struct policy *policy, const uint8_t setup[SETUP_BYTES])
{
	static const char *const prefixes[] = {"Got ", "", "${message} ${bytes} ${characters} "};
	static const char *const fields[] = {"${field:,:2}", "${field:\xc3\xa9:1}", "${field:x:3}"};

	enum charset from = setup[2] / 5 % 5;

	*policy = (struct policy){
		.reply = setup[0] % 3,
		.nak = setup[0] / 6 % 2,
		.transcoder = {.from = from,
			       .decode_errors =
				       setup[1] & 0x10 ? DECODE_SURROGATEESCAPE : setup[1] % 4,
			       .to = from == CHARSET_BINARY ? from : setup[1] / 4 % 4,
			       .encode_errors = setup[2] % 5},
		.max_message_bytes = setup[3] + 1u,
		.listener = "fuzz",
		.host = "here",
	};
	policy_set_frame(
		policy, setup[0] / 12 % 4 > 0 ? FRAMING_LINE + setup[0] / 12 % 4 : setup[0] / 3 % 2,
		setup[5] >> 2);
	policy->ack_prefix = compile(prefixes[setup[4] % 3], policy->transcoder.to);
	policy->ack_suffix = compile(setup[4] & 0x80 && setup[4] & 0x40 ? fields[setup[4] % 3]
				     : setup[4] & 0x80			? "."
									: "",
				     policy->transcoder.to);
	if (setup[1] & 0x20) {
		policy->reply = REPLY_TEXT;
		policy->reply_text = compile(fields[setup[4] % 3], policy->transcoder.to);
	}
	if (setup[1] & 0x40)
		policy->nak_text =
			compile(policy->framing == FRAMING_STREAM ? "\x15" : "\x15${message}",
				policy->transcoder.to);
	if (setup[1] & 0x80) {
		policy->quit = (const uint8_t *)"q";
		policy->quit_length = setup[4] & 1;
	}
	policy->log_messages = setup[4] & 0x20;
	policy_prepare(policy);
}

static void policy_finish(struct policy *policy)
{
	template_destroy(policy->ack_prefix);
	template_destroy(policy->ack_suffix);
	template_destroy(policy->reply_text);
	template_destroy(policy->nak_text);
}

/* Takes the output of the last call, as a socket would. */
static void take(struct run *run)
{
	struct said *said = &run->said;
	size_t before = said->n;

	assert(run->io.out.n_spans <= SESSION_SPANS_MAX);
	for (unsigned i = 0; i < run->io.out.n_spans; i++) {
		const struct iovec *span = &run->io.out.spans[i];

		assert(span->iov_len <= sizeof(said->bytes) - said->n);
		memcpy(said->bytes + said->n, span->iov_base, span->iov_len);
		said->n += span->iov_len;
	}
	assert(said->n - before == run->io.out.n_bytes &&
	       run->io.out.n_bytes <= run->io.out.max_bytes);
}

/* Handles the outcome @state of a call as a connection does. */
static int answer(struct run *run, int state, uint8_t *data, size_t n)
{
	for (;;) {
		assert(state >= 0);
		take(run);
		if (state == SESSION_FULL && run->hold) {
			if (session_hold(&run->session, &run->io) < 0)
				abort();
			if (n > 0)
				memset(data, 0xee, n);
		}
		session_io_clear(&run->io);
		if (state != SESSION_FULL)
			return state;
		state = session_resume(&run->session, &run->io);
	}
}

/* Continues in another session, as another process does. Returns its state. */
static int hand_over(struct run *run, const struct policy *policy)
{
	struct session_rest rest;
	struct session next;

	while (session_suspend(&run->session, &run->io, &rest) == SESSION_FULL) {
		take(run);
		session_io_clear(&run->io);
	}
	take(run);
	session_io_clear(&run->io);
	/* the next process rejects any other place */
	assert(rest.place.message_length <= rest.place.received);
	session_init(&next, policy, "unix\0\0\0here", 1);
	session_restore(&next, &rest.place);
	if (session_defer(&next, &run->io, rest.input, rest.n_input, rest.ended) < 0)
		abort();
	session_finish(&run->session, &run->io);
	run->session = next;
	return answer(run, session_resume(&run->session, &run->io), NULL, 0);
}

/* Feeds @data in pieces of 1 to @piece_max bytes, then the end of input. */
static void say(struct run *run, const struct policy *policy, const uint8_t *data, size_t n,
		size_t piece_max)
{
	uint32_t random = (uint32_t)piece_max;
	int state = SESSION_IDLE;
	uint8_t none[1];

	session_init(&run->session, policy, "unix\0\0\0here", 1);
	while (n > 0 && state != SESSION_DONE) {
		size_t piece = piece_max;
		uint8_t *copy;

		random = random * 1664525 + 1013904223;
		if (piece_max < SESSION_READ_MAX)
			piece = 1 + random / 65536 % piece_max;
		if (piece > n)
			piece = n;
		copy = malloc(piece);
		if (!copy)
			abort();
		memcpy(copy, data, piece);
		state = answer(run, session_feed(&run->session, &run->io, copy, piece), copy,
			       piece);
		free(copy);
		data += piece;
		n -= piece;
		assert(budget_used(&run->budget) <= policy_frame_max(policy));
		if (run->hand_over && state == SESSION_IDLE)
			state = hand_over(run, policy);
	}
	if (state != SESSION_DONE)
		state = answer(run, session_end(&run->session, &run->io), none, 0);
	assert(state == SESSION_DONE);
	session_finish(&run->session, &run->io);
	assert(budget_used(&run->budget) == 0);
}

/* The memory is allocated once, because allocating it for each input took most of the time. */
static void run_prepare(struct run *run)
{
	if (!run->io.out.area) {
		budget_init(&run->budget, (size_t)64 << 20);
		if (session_io_init(&run->io, &run->budget) < 0)
			abort();
		run->io.on_nak = on_nak;
		run->io.on_count = on_count;
		run->io.on_message = on_message;
		run->io.event_data = &run->said;
	}
	run->io.out.max_bytes = SESSION_REPLY_MAX;
	run->said.n = 0;
	run->said.n_naks = 0;
	run->said.logged = 0;
	memset(run->said.counts, 0, sizeof(run->said.counts));
}

static void compare(const struct said *a, const struct said *b)
{
	assert(a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0);
	assert(a->n_naks == b->n_naks);
	assert(memcmp(a->counts, b->counts, sizeof(a->counts)) == 0);
	for (size_t i = 0; i < a->n_naks; i++) {
		assert(a->naks[i].reason == b->naks[i].reason);
		assert(a->naks[i].offset == b->naks[i].offset);
		assert(a->naks[i].code_point == b->naks[i].code_point);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run whole, pieces;
	struct policy policy;
	size_t n = size - SETUP_BYTES;

	if (size < SETUP_BYTES || n > INPUT_MAX)
		return 0;
	policy_init(&policy, data);
	run_prepare(&whole);
	run_prepare(&pieces);
	pieces.hold = data[5] & 1;
	pieces.hand_over = data[7] & 0x80;
	if (data[5] & 2)
		pieces.io.out.max_bytes = REPLY_MAX_LEAST + data[6];
	say(&whole, &policy, data + SETUP_BYTES, n, SESSION_READ_MAX);
	say(&pieces, &policy, data + SETUP_BYTES, n, 1 + data[7] % 32);
	if (policy.framing != FRAMING_STREAM ||
	    ((policy.reply == REPLY_ECHO || policy.reply == REPLY_DISCARD) && !policy.quit &&
	     !policy.nak_text))
		compare(&whole.said, &pieces.said);
	assert(policy.framing == FRAMING_STREAM || whole.said.logged == pieces.said.logged);
	policy_finish(&policy);
	return 0;
}
