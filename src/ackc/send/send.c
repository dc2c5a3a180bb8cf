/*
 * ackc send. It looks up the name and connects. After that, reading and writing never wait for each
 * other. Replies are printed as they arrive. Text is written, and more standard input is read when
 * the previous chunk is written. A libuv thread reads it, because a terminal or pipe shared with
 * other processes must not be made non-blocking.
 *
 * At the end of input the connection stays open until the peer has acknowledged everything and no
 * reply has arrived for the linger time. Many proxies close both directions on a half-close, and
 * lose the replies in transit. Then the connection is half-closed, and the server's close ends the
 * command. A server that closes earlier also ends it.
 *
 * With --frame, the texts and the lines of the input are sent in frames, and the replies are
 * printed without theirs, each followed by LF. The number of missing replies is then known, and the
 * half-close also waits for these, for the length of the timeout.
 *
 * The timeout runs while the server must accept bytes, and after the half-close. The linger timer
 * runs in between. It half-closes and does not fail, unless the peer acknowledges nothing for the
 * length of the timeout.
 *
 * Two failures do not end the command immediately. If a write fails because the server closed,
 * sending ends but receiving continues, as the last replies may explain it. If the server closes
 * while input is pending, that is read once more: the server may just have been the first to end.
 */

#include "ackc/send/send.h"

#include "ackc/message/difference.h"
#include "ackc/message/framer.h"
#include "ackc/message/nak.h"
#include "ackc/net/dial.h"
#include "ackc/net/run.h"
#include "ackc/net/tcpinfo.h"
#include "ackc/output/display.h"
#include "ackc/output/failure.h"
#include "ackc/output/json.h"
#include "ackc/output/output.h"
#include "ackc/output/process.h"
#include "ackc/tls/tls_report.h"
#include "base/plural.h"
#include "base/states.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (64 * 1024)

enum {
	CONNECTING, /* looking up the name, or connecting */
	READING,    /* waiting for standard input */
	WRITING,    /* waiting for the server to accept bytes */
	LAST_READ,  /* the server has closed; waiting for the pending input */
	LINGERING,  /* everything is written; waiting for replies */
	ENDING,	    /* half-closed, or the server accepts no more: waiting for its close */
};

static const struct state_row states[] = {
	[CONNECTING] = {"connecting", STATES_BIT(READING) | STATES_BIT(WRITING)},
	[READING] = {"reading", STATES_BIT(READING) | STATES_BIT(WRITING) | STATES_BIT(LAST_READ) |
					STATES_BIT(LINGERING)},
	[WRITING] = {"writing", STATES_BIT(READING) | STATES_BIT(LINGERING) | STATES_BIT(ENDING)},
	[LAST_READ] = {"last read", STATES_BIT(LINGERING)},
	[LINGERING] = {"lingering", STATES_BIT(ENDING)},
	[ENDING] = {"ending", 0},
};

/* The states in which not all input has been written. */
#define SENDING (STATES_BIT(READING) | STATES_BIT(WRITING) | STATES_BIT(LAST_READ))

struct send {
	const struct options *options;
	struct run run;
	uv_timer_t timer;
	struct dial *dial;
	struct stream *stream; /* NULL before the connect and after the close */
	uv_work_t read_request;
	char input[CHUNK];	   /* the current chunk of standard input */
	int input_n;		   /* its length, 0 at the end, or a failure */
	bool input_done;	   /* nothing more is read */
	struct framer framer;	   /* of the arguments, and with frames also of standard input */
	struct frame_piece unsent; /* the rest of what WRITING sends */
	bool framed;		   /* replies have frames */
	char received[CHUNK];
	uint8_t reply[CHUNK]; /* the current reply, not printed yet, if there are frames */
	size_t reply_n;
	uint8_t state;		 /* one of those above, until run.ended */
	uint64_t active_ms;	 /* in the loop's clock: last time a byte was sent or received */
	uint64_t unacknowledged; /* in bytes, at the last look while it lingers */
	bool terminal;
	char input_failure[200]; /* description; empty if none */
	bool wrong;		 /* a reply */
	int status;
	char peer[PEER_TEXT_MAX];
	uint64_t began_ns;
	uint64_t connect_ns;
	struct tls_facts tls; /* without a version: none */
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t greeting_bytes; /* received before anything was sent */
	uint64_t replies;	 /* complete, and in frames */
	uint64_t greetings;	 /* those before anything was sent */
	uint64_t skipped;	 /* bytes outside of frames */
	char first_skipped[QUOTE_MAX];
	struct display display;
	struct frame_splitter sent_frames;
	struct frame_splitter received_frames;
	struct nak_finder sent_naks;
	struct nak_finder received_naks;
};

/*
 * Returns the number of NAKs that are the server's own. NAK lines in the sent text are subtracted,
 * since an echo returns them.
 */
static uint64_t naks(const struct send *s)
{
	return s->received_naks.found > s->sent_naks.found
		       ? s->received_naks.found - s->sent_naks.found
		       : 0;
}

static void summary(struct send *s, const char *failure)
{
	struct json j;

	if (!s->options->json)
		return;
	json_begin(&j, stdout);
	json_string(&j, "event", "summary");
	json_string(&j, "command", "send");
	json_string(&j, "target", s->options->target.label);
	json_text(&j, "address", s->peer);
	if (s->peer[0])
		json_ms(&j, "connect_ms", s->connect_ns);
	else
		json_null(&j, "connect_ms");
	tls_json(&j, &s->tls);
	json_ms(&j, "total_ms", uv_hrtime() - s->began_ns);
	json_number(&j, "sent_bytes", s->sent_bytes);
	json_number(&j, "received_bytes", s->received_bytes);
	if (s->framed) {
		json_number(&j, "messages", s->framer.frames);
		json_number(&j, "replies", s->replies);
		json_number(&j, "skipped_bytes", s->skipped);
	}
	json_number(&j, "naks", naks(s));
	json_text(&j, "error", failure ? failure : s->input_failure);
	json_number(&j, "status", (uint64_t)s->status);
	json_end(&j);
	fflush(stdout);
}

/* Prints bytes that were received. */
static void print(struct send *s, const uint8_t *p, size_t n)
{
	struct json j;

	if (s->options->json) {
		json_begin(&j, stdout);
		json_string(&j, "event", "data");
		json_ms(&j, "time_ms", uv_hrtime() - s->began_ns);
		if (s->framed)
			json_number(&j, "reply", s->replies + 1);
		json_bytes(&j, p, n);
		json_end(&j);
	} else if (s->terminal) {
		display_write(&s->display, p, n, stdout);
	} else {
		fwrite(p, 1, n, stdout);
	}
}

/* Ends the command once: reports why, and closes everything open so that the loop ends. */
static void finish(struct send *s, const char *failure)
{
	const char *label = s->options->target.label;

	if (s->run.ended)
		return;
	if (failure)
		s->status = EXIT_NETWORK;
	if (s->reply_n)
		print(s, s->reply, s->reply_n);
	display_end(&s->display, stdout);
	if (s->wrong)
		s->status = EXIT_WRONG;
	if (naks(s) > 0) {
		s->status = EXIT_WRONG;
		failure = s->received_naks.last;
	}
	fflush(stdout);
	if (s->skipped)
		fprintf(stderr, "ackc: %s: %" PRIu64 " byte%s outside of frames: %s\n", label,
			s->skipped, plural(s->skipped), s->first_skipped);
	if (failure)
		fprintf(stderr, "ackc: %s: %s\n", label, failure);
	summary(s, failure);
	dial_cancel(s->dial);
	stream_close(s->stream);
	s->stream = NULL;
	uv_close((uv_handle_t *)&s->timer, NULL);
	run_end(&s->run, s->status);
}

/* The buffer size for transfer_text(). */
#define TRANSFER_TEXT_MAX 80

static const char *transfer_text(const struct send *s, char out[TRANSFER_TEXT_MAX])
{
	snprintf(out, TRANSFER_TEXT_MAX, "%" PRIu64 " byte%s sent, %" PRIu64 " received",
		 s->sent_bytes, plural(s->sent_bytes), s->received_bytes);
	return out;
}

static void on_timeout(uv_timer_t *timer)
{
	struct send *s = timer->data;
	char transfer[TRANSFER_TEXT_MAX];
	char words[60 + sizeof(transfer)];

	if (s->state != ENDING || s->received_bytes == s->greeting_bytes) {
		finish(s, failure_text(FAILURE_REPLY_TIMEOUT));
		return;
	}
	snprintf(words, sizeof(words), "timed out waiting for the server to close (%s)",
		 transfer_text(s, transfer));
	finish(s, words);
}

static void half_close(struct send *s);

/* How often the peer's acknowledgements are looked at before the linger time starts. */
#define ACKNOWLEDGED_POLL_MS 20

/* Returns when to look at the connection again while it lingers. */
static uint64_t linger_wait_ms(const struct send *s)
{
	uint64_t linger_ms = s->options->linger_ms;

	return s->unacknowledged && linger_ms > ACKNOWLEDGED_POLL_MS ? ACKNOWLEDGED_POLL_MS
								     : linger_ms;
}

/* Returns whether a reply in a frame is missing, and may still arrive. */
static bool is_reply_due(const struct send *s)
{
	return s->framed && s->replies - s->greetings < s->framer.frames &&
	       uv_now(&s->run.loop) - s->active_ms < s->options->timeout_ms;
}

/*
 * Called when the linger timer expires. The linger time starts when the peer has acknowledged
 * everything. A period that ends with input ready to read does not count either: this process may
 * have been stopped meanwhile.
 */
static void on_linger(uv_timer_t *timer)
{
	struct send *s = timer->data;
	uint64_t linger_ms = s->options->linger_ms;
	uint64_t before = s->unacknowledged;

	s->unacknowledged = linger_ms == 0 ? 0 : tcpinfo_unacknowledged(stream_socket(s->stream));
	if (s->unacknowledged < before)
		s->active_ms = uv_now(&s->run.loop);
	if (linger_ms == 0 || (s->unacknowledged == 0 && before == 0 && !is_reply_due(s) &&
			       !stream_has_input(s->stream)))
		half_close(s);
	else if (s->unacknowledged &&
		 uv_now(&s->run.loop) - s->active_ms >= linger_ms + s->options->timeout_ms)
		on_timeout(timer);
	else
		uv_timer_start(timer, on_linger, linger_wait_ms(s), 0);
}

/* Sets the timer for the current wait, after progress or in a new state. */
static void rearm(struct send *s)
{
	uint64_t idle_ms, wait_ms;

	if (s->run.ended)
		return;
	/* The loop's clock may be outdated if a write to standard output blocked. */
	uv_update_time(&s->run.loop);
	idle_ms = uv_now(&s->run.loop) - s->active_ms;
	wait_ms = linger_wait_ms(s);
	if (s->state == LINGERING)
		uv_timer_start(&s->timer, on_linger, idle_ms < wait_ms ? wait_ms - idle_ms : 0, 0);
	else if (s->state == WRITING || s->state == ENDING)
		uv_timer_start(&s->timer, on_timeout, s->options->timeout_ms, 0);
	else
		uv_timer_stop(&s->timer);
}

/* Records progress: a byte was sent or received. */
static void active(struct send *s)
{
	uv_update_time(&s->run.loop);
	s->active_ms = uv_now(&s->run.loop);
	rearm(s);
}

/* Asserts what holds in each state, after every transition and receipt. */
static void check_invariant(const struct send *s)
{
	if (s->run.ended)
		return;
	assert(!s->stream == (s->state == CONNECTING));
	assert(s->run.reading_input == (s->state == READING || s->state == LAST_READ));
	assert(s->state == WRITING || !s->stream || !stream_is_queued(s->stream));
}

static void enter(struct send *s, uint8_t state)
{
	states_move(states, &s->state, state);
	if (state == LINGERING)
		s->unacknowledged = tcpinfo_unacknowledged(stream_socket(s->stream));
	rearm(s);
	check_invariant(s);
}

static void output(struct send *s, const uint8_t *p, size_t n)
{
	print(s, p, n);
	if (!output_flush())
		finish(s, NULL);
}

/* Adds a piece to the reply, and prints it when there is no room. */
static void add_to_reply(struct send *s, struct frame_piece piece)
{
	while (piece.n > 0 && !s->run.ended) {
		size_t room = CHUNK - s->reply_n;
		size_t part = piece.n < room ? piece.n : room;

		memcpy(s->reply + s->reply_n, piece.p, part);
		s->reply_n += part;
		piece.p += part;
		piece.n -= part;
		if (s->reply_n == CHUNK) {
			s->reply_n = 0;
			output(s, s->reply, CHUNK);
		}
	}
}

/* Prints the rest of a reply. */
static void end_reply(struct send *s)
{
	size_t n = s->reply_n;

	s->reply_n = 0;
	print(s, s->reply, n);
	if (!s->options->json)
		print(s, (const uint8_t *)"\n", 1);
	s->replies++;
	if (!output_flush())
		finish(s, NULL);
}

static void skip(struct send *s, struct frame_piece piece)
{
	if (s->skipped == 0)
		bytes_quote(piece.p, piece.n, s->first_skipped, QUOTE_MAX);
	s->skipped += piece.n;
}

static void on_invalid_length(struct send *s)
{
	const struct frame *f = s->received_frames.frame;
	char words[120];

	snprintf(words, sizeof(words),
		 "invalid frame: the length %" PRIu64 " is smaller than its own %u bytes",
		 frame_stated_length(f, s->received_frames.header), f->header_n);
	s->wrong = true;
	finish(s, words);
}

/* Divides received bytes into replies. */
static void take_frames(struct send *s, const uint8_t *bytes, size_t n)
{
	struct frame_piece piece;
	enum frame_event event = FRAME_TEXT;

	while (event != FRAME_MORE && !s->run.ended) {
		event = frame_next(&s->received_frames, &bytes, &n, &piece);
		if (event == FRAME_TEXT) {
			nak_find_in_text(&s->received_naks, piece.p, piece.n);
			add_to_reply(s, piece);
		} else if (event == FRAME_END) {
			nak_find_end(&s->received_naks);
			end_reply(s);
		} else if (event == FRAME_SKIPPED) {
			skip(s, piece);
		} else if (event == FRAME_INVALID) {
			on_invalid_length(s);
		}
	}
}

/* Finds NAKs in what is sent. */
static void find_sent_naks(struct send *s, const uint8_t *bytes, size_t n)
{
	struct frame_piece piece;
	enum frame_event event = FRAME_TEXT;

	while (s->framed && event != FRAME_MORE) {
		event = frame_next(&s->sent_frames, &bytes, &n, &piece);
		if (event == FRAME_TEXT)
			nak_find_in_text(&s->sent_naks, piece.p, piece.n);
		else if (event == FRAME_END)
			nak_find_end(&s->sent_naks);
	}
	if (!s->framed)
		nak_find(&s->sent_naks, bytes, n);
}

/* The buffer size for unfinished_text(). */
#define UNFINISHED_TEXT_MAX 160

/* Describes what is missing after the server has closed. Returns NULL if nothing is. */
static const char *unfinished_text(const struct send *s, char out[UNFINISHED_TEXT_MAX])
{
	const struct frame_splitter *f = &s->received_frames;
	uint64_t replies = s->replies - s->greetings;
	uint64_t messages = s->framer.frames;
	char hex[FRAME_HEX_MAX];

	if (!s->framed)
		return NULL;
	if (frame_is_begun(f) && f->frame->kind == FRAME_DELIMITED)
		snprintf(out, UNFINISHED_TEXT_MAX,
			 "unfinished reply: %" PRIu64 " byte%s without the end of the frame, %s",
			 f->text_n, plural(f->text_n),
			 frame_hex(f->frame->end, f->frame->end_n, hex));
	else if (frame_is_begun(f) && f->in_text)
		snprintf(out, UNFINISHED_TEXT_MAX,
			 "unfinished reply: %" PRIu64 " of %" PRIu64 " bytes", f->text_n,
			 f->text_n + f->left);
	else if (frame_is_begun(f))
		snprintf(out, UNFINISHED_TEXT_MAX, "unfinished reply: %u of %u bytes of its length",
			 f->matched, f->frame->header_n);
	else if (replies < messages)
		snprintf(out, UNFINISHED_TEXT_MAX, "%" PRIu64 " repl%s to %" PRIu64 " message%s",
			 replies, replies == 1 ? "y" : "ies", messages, plural(messages));
	else
		return NULL;
	return out;
}

static void on_no_input(uv_timer_t *timer)
{
	finish(timer->data, failure_text(UV_EOF));
}

/* How long the pending read of the input may last if the system cannot tell whether it will end. */
#define LAST_READ_MS 1000

/* Lets the pending read show whether that was all. Returns false if there is no input to read. */
static bool read_last_input(struct send *s)
{
	enum process_input input = process_look_at_input();

	if (input == PROCESS_INPUT_NONE)
		return false;
	stream_pause(s->stream);
	enter(s, LAST_READ);
	if (input == PROCESS_INPUT_UNKNOWN)
		uv_timer_start(&s->timer, on_no_input, LAST_READ_MS, 0);
	return true;
}

static void on_ended(void *data, int failure)
{
	struct send *s = data;
	char words[UNFINISHED_TEXT_MAX];

	if (failure == UV_EOF && s->state == READING && read_last_input(s))
		return;
	if (failure != UV_EOF || states_in(s->state, SENDING)) {
		finish(s, failure_text(failure));
	} else if (s->sent_bytes > 0 && s->received_bytes == s->greeting_bytes) {
		snprintf(words, sizeof(words),
			 "no reply: the server closed the connection (%" PRIu64 " byte%s sent)%s",
			 s->sent_bytes, plural(s->sent_bytes),
			 s->state == ENDING ? "; for a slow server try a longer --linger" : "");
		finish(s, words);
	} else {
		finish(s, unfinished_text(s, words));
	}
}

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct send *s = data;

	s->received_bytes += n;
	if (s->framed) {
		take_frames(s, bytes, n);
	} else {
		nak_find(&s->received_naks, bytes, n);
		output(s, bytes, n);
	}
	active(s);
	check_invariant(s);
}

static void half_close(struct send *s)
{
	stream_half_close(s->stream);
	enter(s, ENDING);
}

static void read_input(struct send *s);
static void write_unsent(struct send *s);

static void on_drained(void *data, int status)
{
	struct send *s = data;

	active(s);
	if (status < 0)
		enter(s, ENDING);
	else if (s->unsent.n)
		write_unsent(s);
	else if (s->input_done)
		enter(s, LINGERING);
	else
		read_input(s);
}

/* Writes in chunks, so that the timeout limits the time for a chunk and not for a long text. */
static void write_unsent(struct send *s)
{
	int r = 0;

	do {
		const uint8_t *p = s->unsent.p;
		size_t n = s->unsent.n < CHUNK ? s->unsent.n : CHUNK;

		s->unsent.p += n;
		s->unsent.n -= n;
		s->sent_bytes += n;
		find_sent_naks(s, p, n);
		r = stream_write(s->stream, p, n);
	} while (r == 0 && s->unsent.n && !stream_is_queued(s->stream));
	if (r < 0 || !stream_is_queued(s->stream))
		on_drained(s, r);
}

/* Writes @n bytes at @bytes, which remain until they are written. */
static void write_bytes(struct send *s, const void *bytes, size_t n)
{
	if (s->sent_bytes == 0) {
		s->greeting_bytes = s->received_bytes;
		s->greetings = s->replies;
	}
	s->unsent = (struct frame_piece){bytes, n};
	enter(s, WRITING);
	write_unsent(s);
}

/* Reports that the input cannot be read or sent. */
static void fail_input(struct send *s, const char *before, const char *why)
{
	snprintf(s->input_failure, sizeof(s->input_failure), "standard input%s%s", before, why);
	fprintf(stderr, "ackc: %s\n", s->input_failure);
	s->status = EXIT_NETWORK;
}

/*
 * Makes frames of @n bytes of the input; 0: it has ended. After a text that cannot be sent, nothing
 * more is read, but the replies to the texts before it are waited for.
 */
static void make_frames(struct send *s, size_t n)
{
	char words[FRAMER_WORDS_MAX];
	int r;

	s->framer.wire.n = 0;
	r = framer_add(&s->framer, (const uint8_t *)s->input, n, n == 0, words);
	if (r < 0) {
		s->input_done = true;
		fail_input(s, r == -EINVAL && !s->options->whole ? ", " : ": ",
			   r == -EINVAL ? words : failure_text(r));
	}
}

/* Sends the next @n bytes of the input, or knows that it has ended. */
static void take_input(struct send *s, size_t n)
{
	const void *bytes = s->input;
	bool closed = s->state == LAST_READ;

	s->input_done = n == 0;
	if (s->options->frame.kind != FRAME_NONE) {
		make_frames(s, n);
		bytes = s->framer.wire.p;
		n = s->framer.wire.n;
	}
	if (n == 0 && s->input_done)
		enter(s, LINGERING);
	if (closed)
		on_ended(s, UV_EOF);
	else if (n > 0)
		write_bytes(s, bytes, n);
	else if (!s->input_done)
		read_input(s);
}

/* Runs in a thread of libuv. */
static void wait_for_input(uv_work_t *request)
{
	struct send *s = request->data;

	s->input_n = process_read_input(s->input, CHUNK);
}

static void on_input(uv_work_t *request, int status)
{
	struct send *s = request->data;

	s->run.reading_input = false;
	if (s->run.ended)
		return;
	if (s->input_n < 0) {
		fail_input(s, ": ", failure_text(s->input_n));
		finish(s, NULL);
	} else {
		take_input(s, (size_t)s->input_n);
	}
}

static void read_input(struct send *s)
{
	s->read_request.data = s;
	s->run.reading_input = true;
	enter(s, READING);
	uv_queue_work(&s->run.loop, &s->read_request, wait_for_input, on_input);
}

static void on_connected(void *data, int status, struct stream *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	static const struct stream_events events = {on_received, on_ended, on_drained};
	struct send *s = data;

	s->dial = NULL;
	if (status < 0) {
		finish(s, failure_text(status));
		return;
	}
	s->stream = stream;
	s->connect_ns = connect_ns;
	peer_text(peer, s->peer);
	if (stream_tls_facts(stream, &s->tls) && s->tls.problem[0])
		fprintf(stderr, "ackc: %s: not verified: %s\n", s->options->target.label,
			s->tls.problem);
	stream_read(stream, s->received, CHUNK, &events, s);
	active(s);
	if (s->options->n_texts)
		write_bytes(s, s->framer.wire.p, s->framer.wire.n);
	else if (stream_is_queued(stream)) /* a part of the PROXY header */
		enter(s, WRITING);
	else
		read_input(s);
}

/* Reports a failed look-up: HOST may be a misspelt command. */
static void not_found(struct send *s, int status)
{
	const char *command = s->options->command_meant;
	char words[200];

	if (command)
		snprintf(words, sizeof(words), "%s; did you mean 'ackc %s'?", failure_text(status),
			 command);
	finish(s, command ? words : failure_text(status));
}

static void on_found(void *data, int status)
{
	struct send *s = data;
	uint64_t timeout_ms = s->options->timeout_ms;
	uint64_t spent_ms = (uv_hrtime() - s->began_ns) / 1000000;

	if (status == 0) {
		status = dial_start(&s->run.loop, &s->run.lookup.addresses,
				    spent_ms < timeout_ms ? timeout_ms - spent_ms : 1, on_connected,
				    s, &s->dial);
		if (status < 0)
			finish(s, failure_text(status));
	} else {
		not_found(s, status);
	}
}

static void on_signal(void *data, int number)
{
	struct send *s = data;
	char transfer[TRANSFER_TEXT_MAX];
	char words[20 + sizeof(transfer)];

	snprintf(words, sizeof(words), "interrupted: %s", transfer_text(s, transfer));
	finish(s, words);
}

static int start(struct send *s)
{
	int r = run_start(&s->run, &s->options->target, s->options->timeout_ms, on_found, 0,
			  on_signal, s);

	if (r < 0)
		return r;
	uv_timer_init(&s->run.loop, &s->timer);
	s->timer.data = s;
	return 0;
}

/* Makes frames, or lines, of the texts of the arguments. Returns 0 or UV_ENOMEM. */
static int make_messages(struct send *s)
{
	const struct options *o = s->options;
	bool lines = o->frame.kind == FRAME_NONE;
	int r = 0;

	s->framed = !lines && o->frame.kind != FRAME_FIXED;
	frame_splitter_init(&s->sent_frames, &o->frame);
	frame_splitter_init(&s->received_frames, &o->frame);
	framer_init(&s->framer, lines ? &frame_line : &o->frame, o->whole);
	for (int i = 0; r == 0 && i < o->n_texts; i++)
		r = framer_put(&s->framer, (const uint8_t *)o->texts[i], strlen(o->texts[i]));
	s->input_done = o->n_texts > 0;
	return r;
}

int send_run(const struct options *options)
{
	static struct send send;
	struct send *s = &send;
	int r;

	s->options = options;
	s->began_ns = uv_hrtime();
	s->terminal = uv_guess_handle(STDOUT_FILENO) == UV_TTY;
	r = make_messages(s);
	if (r == 0)
		r = start(s);
	if (r == 0)
		r = run_wait(&s->run);
	framer_finish(&s->framer);
	return r;
}
