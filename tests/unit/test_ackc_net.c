/*
 * Connecting and streams of ackc. The test owns the loop and the server's side, and runs the loop
 * until the expected callback has run.
 */

#include "ackc/net/dial.h"
#include "ackc/output/failure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	uv_loop_t loop;
	int listener;
	int server; /* the accepted connection; -1: none */
	struct addresses addresses;
	struct dial *dial;
	struct stream *stream;
	struct sockaddr_storage peer;
	char buffer[16];
	char received[64];
	size_t n_received;
	unsigned dialled; /* calls of each callback */
	unsigned ended;
	unsigned drained;
	int status; /* of the last callback that has one */
	bool close_in_received;
};

static void on_dialled(void *data, int status, struct stream *stream, uint64_t connect_ns,
		       const struct sockaddr_storage *peer)
{
	struct fixture *f = data;

	f->dialled++;
	f->dial = NULL;
	f->status = status;
	f->stream = stream;
	if (peer)
		f->peer = *peer;
}

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct fixture *f = data;

	assert_true(f->n_received + n < sizeof(f->received));
	memcpy(f->received + f->n_received, bytes, n);
	f->n_received += n;
	if (f->close_in_received) {
		stream_close(f->stream);
		f->stream = NULL;
	}
}

static void on_ended(void *data, int failure)
{
	struct fixture *f = data;

	f->ended++;
	f->status = failure;
}

static void on_drained(void *data, int status)
{
	struct fixture *f = data;

	f->drained++;
	f->status = status;
}

static const struct stream_events events = {on_received, on_ended, on_drained};

/* Adds a port of this host to the addresses; nothing listens on it unless @listening. */
static int add_address(struct fixture *f, bool listening)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&f->addresses.list[f->addresses.n++];
	socklen_t n = sizeof(*in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)in, sizeof(*in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)in, &n), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->listener = f->server = -1;
	*state = f;
	return 0;
}

/* Closes everything; the loop must then end, which shows that nothing was left open. */
static int teardown(void **state)
{
	struct fixture *f = *state;

	dial_cancel(f->dial);
	stream_close(f->stream);
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	if (f->server >= 0)
		close(f->server);
	if (f->listener >= 0)
		close(f->listener);
	free(f);
	return 0;
}

static void dial(struct fixture *f)
{
	assert_int_equal(dial_start(&f->loop, &f->addresses, 5000, on_dialled, f, &f->dial), 0);
	assert_int_equal(f->dialled, 0);
	while (f->dialled == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->dialled, 1);
}

/* Connects, and reads into the fixture's buffer. */
static void connect_pair(struct fixture *f)
{
	f->listener = add_address(f, true);
	dial(f);
	assert_int_equal(f->status, 0);
	f->server = accept(f->listener, NULL, NULL);
	assert_true(f->server >= 0);
	stream_read(f->stream, f->buffer, sizeof(f->buffer), &events, f);
}

static void test_first_address_that_answers_wins(void **state)
{
	struct fixture *f = *state;
	int unused = add_address(f, false);

	f->listener = add_address(f, true);
	dial(f);
	assert_int_equal(f->status, 0);
	assert_non_null(f->stream);
	assert_memory_equal(&f->peer, &f->addresses.list[1], sizeof(struct sockaddr_in));
	close(unused);
}

static void test_dial_fails_if_no_address_answers(void **state)
{
	struct fixture *f = *state;
	int unused[2] = {add_address(f, false), add_address(f, false)};

	dial(f);
	assert_int_equal(f->status, UV_ECONNREFUSED);
	assert_null(f->stream);
	close(unused[0]);
	close(unused[1]);
}

/* A listener with a full queue does not answer, so the connect stays under way. */
static void test_pending_dial_can_be_canceled(void **state)
{
	struct fixture *f = *state;
	int fillers[4];

	f->listener = add_address(f, false);
	assert_int_equal(listen(f->listener, 0), 0);
	for (int i = 0; i < 4; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_true(connect(fillers[i], (struct sockaddr *)&f->addresses.list[0],
				    sizeof(struct sockaddr_in)) == 0 ||
			    errno == EINPROGRESS);
	}
	assert_int_equal(dial_start(&f->loop, &f->addresses, 5000, on_dialled, f, &f->dial), 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(uv_run(&f->loop, UV_RUN_NOWAIT), 0);
	assert_int_equal(f->dialled, 0);
	dial_cancel(f->dial);
	f->dial = NULL;
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(f->dialled, 0);
	for (int i = 0; i < 4; i++)
		close(fillers[i]);
}

static void test_proxy_header_is_sent_first(void **state)
{
	struct fixture *f = *state;
	char expected[128];
	char got[128] = "";
	size_t n;

	assert_true(proxy_choice_parse("v1,192.0.2.1:4711", &f->addresses.proxy));
	connect_pair(f);
	n = (size_t)snprintf(expected, sizeof(expected),
			     "PROXY TCP4 192.0.2.1 127.0.0.1 4711 %u\r\n",
			     ntohs(((struct sockaddr_in *)&f->peer)->sin_port));
	assert_int_equal(recv(f->server, got, n, MSG_WAITALL), n);
	assert_string_equal(got, expected);
}

static void test_received_bytes_are_delivered(void **state)
{
	struct fixture *f = *state;

	connect_pair(f);
	/* More than the buffer holds comes in several calls. */
	assert_int_equal(send(f->server, "twenty-four bytes of it\n", 24, 0), 24);
	while (f->n_received < 24)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_memory_equal(f->received, "twenty-four bytes of it\n", 24);
	assert_int_equal(f->ended, 0);
}

static void test_unsent_rest_of_write_is_queued(void **state)
{
	enum { SIZE = 32 << 20 };
	struct fixture *f = *state;
	uint8_t *bytes = malloc(SIZE);
	uint8_t *got = malloc(SIZE);
	size_t n = 0;

	assert_true(bytes && got);
	connect_pair(f);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 >> 3);
	assert_int_equal(stream_write(f->stream, bytes, SIZE), 0);
	assert_true(stream_is_queued(f->stream));
	memset(bytes, 0, 1); /* what was not sent was copied; the first byte was sent */
	while (f->drained == 0) {
		ssize_t r = recv(f->server, got + n, SIZE - n, MSG_DONTWAIT);

		n += r > 0 ? (size_t)r : 0;
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f->status, 0);
	assert_false(stream_is_queued(f->stream));
	assert_int_equal(recv(f->server, got + n, SIZE - n, MSG_WAITALL), SIZE - n);
	assert_memory_equal(got + 1, bytes + 1, SIZE - 1);
	free(bytes);
	free(got);
}

static void test_half_close(void **state)
{
	struct fixture *f = *state;
	char byte;

	connect_pair(f);
	assert_int_equal(stream_write(f->stream, "x", 1), 0);
	stream_half_close(f->stream);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(recv(f->server, &byte, 1, 0), 1);
	assert_int_equal(recv(f->server, &byte, 1, 0), 0);
	close(f->server);
	f->server = -1;
	while (f->ended == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->status, UV_EOF);
}

static void test_reset_is_reported(void **state)
{
	static const struct linger reset = {.l_onoff = 1};
	struct fixture *f = *state;

	connect_pair(f);
	assert_int_equal(setsockopt(f->server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(f->server);
	f->server = -1;
	while (f->ended == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->status, UV_ECONNRESET);
}

/* A write meets the reset before a read does. The end still has that cause. */
static void test_reset_that_a_write_meets_is_reported(void **state)
{
	static const struct linger reset = {.l_onoff = 1};
	struct fixture *f = *state;

	signal(SIGPIPE, SIG_IGN);
	connect_pair(f);
	assert_int_equal(setsockopt(f->server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	assert_int_equal(send(f->server, "last words", 10, 0), 10);
	close(f->server);
	f->server = -1;
	assert_int_equal(stream_write(f->stream, "x", 1), UV_ECONNRESET);
	assert_int_equal(stream_write(f->stream, "x", 1), UV_EPIPE);
	while (f->ended == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->status, UV_ECONNRESET);
	assert_int_equal(f->n_received, 10);
}

static void test_empty_read_buffer_is_enobufs(void **state)
{
	struct fixture *f = *state;

	connect_pair(f);
	stream_read(f->stream, f->buffer, 0, &events, f);
	assert_int_equal(send(f->server, "x", 1, 0), 1);
	while (f->ended == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->status, UV_ENOBUFS);
}

static void test_stream_can_be_closed_by_its_read_callback(void **state)
{
	struct fixture *f = *state;

	connect_pair(f);
	f->close_in_received = true;
	assert_int_equal(send(f->server, "more than one buffer holds", 26, 0), 26);
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(f->n_received, sizeof(f->buffer));
	assert_int_equal(f->ended, 0);
}

static void test_abort_resets_connection(void **state)
{
	struct fixture *f = *state;
	char byte;

	connect_pair(f);
	stream_abort(f->stream);
	f->stream = NULL;
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(recv(f->server, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void test_more_informative_failure_is_chosen(void **state)
{
	(void)state;
	assert_int_equal(failure_prefer(0, UV_ENETUNREACH), UV_ENETUNREACH);
	assert_int_equal(failure_prefer(UV_ENETUNREACH, UV_ECONNREFUSED), UV_ECONNREFUSED);
	assert_int_equal(failure_prefer(UV_ECONNREFUSED, FAILURE_CONNECT_TIMEOUT), UV_ECONNREFUSED);
	assert_string_equal(failure_text(UV_EISDIR), "illegal operation on a directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_address_that_answers_wins),
		TEST(test_dial_fails_if_no_address_answers),
		TEST(test_pending_dial_can_be_canceled),
		TEST(test_proxy_header_is_sent_first),
		TEST(test_received_bytes_are_delivered),
		TEST(test_unsent_rest_of_write_is_queued),
		TEST(test_half_close),
		TEST(test_reset_is_reported),
		TEST(test_reset_that_a_write_meets_is_reported),
		TEST(test_empty_read_buffer_is_enobufs),
		TEST(test_stream_can_be_closed_by_its_read_callback),
		TEST(test_abort_resets_connection),
		cmocka_unit_test(test_more_informative_failure_is_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
