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
 * The timeout runs while the server must accept bytes, and after the half-close. The linger timer
 * runs in between. It half-closes and does not fail, unless the peer acknowledges nothing for the
 * length of the timeout. If a write fails because the server closed, sending ends but reading
 * continues, as the last replies may explain it.
 */

#include "ackc/send/send.h"

#include "ackc/message/nak.h"
#include "ackc/net/dial.h"
#include "ackc/net/tcpinfo.h"
#include "ackc/net/words.h"
#include "ackc/output/display.h"
#include "ackc/output/json.h"
#include "ackc/output/output.h"
#include "base/plural.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (64 * 1024)
#define N_SIGNALS 2

enum phase {
	SENDING,   /* more input may follow */
	LINGERING, /* everything is written; waiting for replies */
	ENDING,	   /* half-closed, or the server accepts no more: waiting for its close */
};

struct send {
	const struct options *options;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_signal_t signals[N_SIGNALS];
	struct lookup *lookup;
	struct dial *dial;
	struct addresses addresses;
	uv_stream_t *stream; /* NULL before the connect and after the close */
	uv_fs_t read_request;
	uv_write_t write_request;
	uv_shutdown_t shutdown_request;
	char *text; /* the arguments, or the current chunk of standard input */
	char *received;
	enum phase phase;
	bool writing;		 /* a write is pending */
	bool server_ended;	 /* the server has closed; pending input is read once more */
	uint64_t active_ms;	 /* in the loop's clock: last time a byte was sent or received */
	uint64_t unacknowledged; /* in bytes, at the last look while it lingers */
	bool terminal;
	bool finished;
	int write_failure;
	char input_failure[100]; /* description; empty if none */
	int status;
	char peer[ADDRESS_TEXT_MAX];
	uint64_t began_ns;
	uint64_t connect_ns;
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t greeting_bytes; /* received before anything was sent */
	struct display display;
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
	if (s->peer[0])
		json_string(&j, "address", s->peer);
	else
		json_null(&j, "address");
	if (s->peer[0])
		json_ms(&j, "connect_ms", s->connect_ns);
	else
		json_null(&j, "connect_ms");
	json_ms(&j, "total_ms", uv_hrtime() - s->began_ns);
	json_number(&j, "sent_bytes", s->sent_bytes);
	json_number(&j, "received_bytes", s->received_bytes);
	json_number(&j, "naks", naks(s));
	if (failure || s->input_failure[0])
		json_string(&j, "error", failure ? failure : s->input_failure);
	else
		json_null(&j, "error");
	json_number(&j, "status", (uint64_t)s->status);
	json_end(&j);
	fflush(stdout);
}

/* Ends the command once: reports why, and closes everything open so that the loop ends. */
static void finish(struct send *s, const char *failure)
{
	const char *label = s->options->target.label;

	if (s->finished)
		return;
	s->finished = true;
	if (failure)
		s->status = EXIT_NETWORK;
	display_end(&s->display, stdout);
	if (naks(s) > 0) {
		s->status = EXIT_WRONG;
		failure = s->received_naks.last;
	}
	fflush(stdout);
	if (failure)
		fprintf(stderr, "ackc: %s: %s\n", label, failure);
	summary(s, failure);
	lookup_cancel(s->lookup);
	dial_cancel(s->dial);
	stream_close(s->stream);
	s->stream = NULL;
	uv_close((uv_handle_t *)&s->timer, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
}

static void on_timeout(uv_timer_t *timer)
{
	struct send *s = timer->data;
	char words[120];

	if (s->phase != ENDING || s->received_bytes == s->greeting_bytes) {
		finish(s, words_for(FAILURE_REPLY_TIMEOUT));
		return;
	}
	snprintf(words, sizeof(words),
		 "timed out waiting for the server to close (%llu byte%s sent, %llu received)",
		 (unsigned long long)s->sent_bytes, plural(s->sent_bytes),
		 (unsigned long long)s->received_bytes);
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

	s->unacknowledged = linger_ms == 0 ? 0 : tcpinfo_unacknowledged(s->stream);
	if (s->unacknowledged < before)
		s->active_ms = uv_now(&s->loop);
	if (linger_ms == 0 ||
	    (s->unacknowledged == 0 && before == 0 && !stream_has_input(s->stream)))
		half_close(s);
	else if (s->unacknowledged &&
		 uv_now(&s->loop) - s->active_ms >= linger_ms + s->options->timeout_ms)
		on_timeout(timer);
	else
		uv_timer_start(timer, on_linger, linger_wait_ms(s), 0);
}

/* Sets the timer for the current wait, after progress or in a new phase. */
static void rearm(struct send *s)
{
	uint64_t idle_ms, wait_ms;

	if (s->finished)
		return;
	/* The loop's clock may be outdated if a write to standard output blocked. */
	uv_update_time(&s->loop);
	idle_ms = uv_now(&s->loop) - s->active_ms;
	wait_ms = linger_wait_ms(s);
	if (s->phase == LINGERING)
		uv_timer_start(&s->timer, on_linger, idle_ms < wait_ms ? wait_ms - idle_ms : 0, 0);
	else if (s->writing || s->phase == ENDING)
		uv_timer_start(&s->timer, on_timeout, s->options->timeout_ms, 0);
	else
		uv_timer_stop(&s->timer);
}

/* Records progress: a byte was sent or received. */
static void active(struct send *s)
{
	uv_update_time(&s->loop);
	s->active_ms = uv_now(&s->loop);
	rearm(s);
}

static void output(struct send *s, const uint8_t *p, size_t n)
{
	struct json j;

	if (s->options->json) {
		json_begin(&j, stdout);
		json_string(&j, "event", "data");
		json_ms(&j, "time_ms", uv_hrtime() - s->began_ns);
		json_bytes(&j, p, n);
		json_end(&j);
	} else if (s->terminal) {
		display_write(&s->display, p, n, stdout);
	} else {
		fwrite(p, 1, n, stdout);
	}
	if (!output_flush())
		finish(s, NULL);
}

static void server_ended(struct send *s, int failure)
{
	char words[160];

	if (failure == UV_EOF && s->write_failure)
		failure = s->write_failure;
	if (failure == UV_EOF && s->phase == SENDING && !s->writing && !s->server_ended &&
	    has_input(STDIN_FILENO)) {
		/* The pending read of the input shows whether that was all. */
		s->server_ended = true;
		uv_read_stop(s->stream);
		return;
	}
	if (failure != UV_EOF || s->phase == SENDING) {
		finish(s, words_for(failure));
	} else if (s->sent_bytes > 0 && s->received_bytes == s->greeting_bytes) {
		snprintf(words, sizeof(words),
			 "no reply: the server closed the connection (%llu byte%s sent)%s",
			 (unsigned long long)s->sent_bytes, plural(s->sent_bytes),
			 s->phase == ENDING ? "; for a slow server try a longer --linger" : "");
		finish(s, words);
	} else {
		finish(s, NULL);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct send *s = handle->data;

	*ret_buf = uv_buf_init(s->received, CHUNK);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct send *s = stream->data;

	if (n < 0) {
		server_ended(s, stream_failure(stream, (int)n));
	} else if (n > 0) {
		s->received_bytes += (uint64_t)n;
		nak_find(&s->received_naks, (const uint8_t *)buf->base, (size_t)n);
		output(s, (const uint8_t *)buf->base, (size_t)n);
		active(s);
	}
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	/* A failure shows in reading. */
}

static void half_close(struct send *s)
{
	s->phase = ENDING;
	uv_shutdown(&s->shutdown_request, s->stream, on_shutdown);
	rearm(s);
}

/* All input is written. */
static void linger(struct send *s)
{
	s->phase = LINGERING;
	s->unacknowledged = tcpinfo_unacknowledged(s->stream);
}

static void read_input(struct send *s);

static void on_written(uv_write_t *request, int status)
{
	struct send *s = request->data;

	s->writing = false;
	if (s->finished)
		return;
	if (status < 0) {
		s->write_failure = status;
		s->phase = ENDING;
		rearm(s);
	} else if (s->options->n_texts) {
		linger(s);
		active(s);
	} else {
		active(s);
		read_input(s);
	}
}

static void write_text(struct send *s, size_t n)
{
	uv_buf_t buf = uv_buf_init(s->text, (unsigned)n);

	if (s->sent_bytes == 0)
		s->greeting_bytes = s->received_bytes;
	s->sent_bytes += n;
	nak_find(&s->sent_naks, (const uint8_t *)s->text, n);
	s->write_request.data = s;
	s->writing = true;
	uv_write(&s->write_request, s->stream, &buf, 1, on_written);
	rearm(s);
}

static void on_input(uv_fs_t *request)
{
	struct send *s = request->data;
	ssize_t n = request->result;

	loop_work_end();
	uv_fs_req_cleanup(request);
	if (s->finished)
		return;
	if (n < 0) {
		snprintf(s->input_failure, sizeof(s->input_failure), "standard input: %s",
			 words_for((int)n));
		fprintf(stderr, "ackc: %s\n", s->input_failure);
		s->status = EXIT_NETWORK;
		finish(s, NULL);
	} else if (n > 0 && s->server_ended) {
		server_ended(s, UV_EOF);
	} else if (n == 0) {
		linger(s);
		if (s->server_ended)
			server_ended(s, UV_EOF);
		else
			rearm(s);
	} else {
		write_text(s, (size_t)n);
	}
}

static void read_input(struct send *s)
{
	uv_buf_t buf = uv_buf_init(s->text, CHUNK);

	s->read_request.data = s;
	loop_work_begin();
	uv_fs_read(&s->loop, &s->read_request, STDIN_FILENO, &buf, 1, -1, on_input);
}

static void on_connected(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct send *s = data;

	s->dial = NULL;
	if (status < 0) {
		finish(s, words_for(status));
		return;
	}
	s->stream = stream;
	s->connect_ns = connect_ns;
	address_text(peer, s->peer);
	stream->data = s;
	uv_read_start(stream, on_alloc, on_read);
	active(s);
	if (s->options->n_texts)
		write_text(s, strlen(s->text));
	else
		read_input(s);
}

/* Reports a failed look-up: HOST may be a misspelt command. */
static void not_found(struct send *s, int status)
{
	const char *command = s->options->command_meant;
	char words[200];

	if (command)
		snprintf(words, sizeof(words), "%s; did you mean 'ackc %s'?", words_for(status),
			 command);
	finish(s, command ? words : words_for(status));
}

static void on_found(void *data, int status, const struct addresses *addresses)
{
	struct send *s = data;
	uint64_t timeout_ms = s->options->timeout_ms;
	uint64_t spent_ms = (uv_hrtime() - s->began_ns) / 1000000;

	s->lookup = NULL;
	if (status == 0) {
		s->addresses = *addresses;
		status = dial_start(&s->loop, &s->addresses,
				    spent_ms < timeout_ms ? timeout_ms - spent_ms : 1, on_connected,
				    s, &s->dial);
		if (status < 0)
			finish(s, words_for(status));
	} else {
		not_found(s, status);
	}
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct send *s = signal->data;
	char words[100];

	snprintf(words, sizeof(words), "interrupted: %llu byte%s sent, %llu received",
		 (unsigned long long)s->sent_bytes, plural(s->sent_bytes),
		 (unsigned long long)s->received_bytes);
	finish(s, words);
}

static int start(struct send *s)
{
	static const int numbers[N_SIGNALS] = {SIGINT, SIGTERM};
	int r = uv_loop_init(&s->loop);

	if (r < 0)
		return r;
	uv_timer_init(&s->loop, &s->timer);
	s->timer.data = s;
	for (int i = 0; i < N_SIGNALS; i++) {
		uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		uv_signal_start(&s->signals[i], on_signal, numbers[i]);
	}
	r = lookup_start(&s->loop, &s->options->target, s->options->timeout_ms, on_found, s,
			 &s->lookup);
	if (r < 0)
		finish(s, words_for(r));
	return 0;
}

/* Returns the TEXTs, each with its LF, or a buffer for a chunk of standard input. */
static char *make_text(const struct options *options)
{
	size_t room = options->n_texts ? 1 : CHUNK;
	char *text;
	char *end;

	for (int i = 0; i < options->n_texts; i++)
		room += strlen(options->texts[i]) + 1;
	text = end = malloc(room);
	for (int i = 0; text && i < options->n_texts; i++)
		end = stpcpy(stpcpy(end, options->texts[i]), "\n");
	return text;
}

int send_run(const struct options *options)
{
	struct send *s = calloc(1, sizeof(*s));
	int status = EXIT_NETWORK;
	int r = -ENOMEM;

	if (s) {
		s->options = options;
		s->began_ns = uv_hrtime();
		s->terminal = isatty(STDOUT_FILENO);
		s->text = make_text(options);
		s->received = malloc(CHUNK);
	}
	if (s && s->text && s->received)
		r = start(s);
	if (r < 0) {
		fprintf(stderr, "ackc: %s\n", words_for(r));
	} else {
		while (!s->finished)
			uv_run(&s->loop, UV_RUN_ONCE);
		status = loop_finish(&s->loop, s->status);
	}
	if (s) {
		free(s->text);
		free(s->received);
	}
	free(s);
	return status;
}
