/*
 * A worker of ackc load without a thread: the test steps its loop, and plays the server on the
 * other ends of the connections.
 */

#include "ackc/load/internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define N 3
#define MANY 300 /* more than are dialled in parallel */
#define SERVERS 64
#define SIZE 64

struct fixture {
	struct options options;
	struct load_plan plan;
	struct addresses addresses;
	struct load_news news;
	uv_loop_t news_loop; /* the main thread's */
	struct load_worker *worker;
	int listener;
	int servers[SERVERS]; /* accepted connections */
	unsigned n_servers;
};

static void on_news(uv_async_t *async)
{
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_in *in;
	socklen_t n = sizeof(*in);

	assert_non_null(f);
	f->options = (struct options){.connections = N,
				      .threads = 1,
				      .depth = 1,
				      .duration_ms = 10000,
				      .timeout_ms = 5000};
	f->plan.options = &f->options;
	assert_int_equal(source_generate(SIZE, &f->options.frame, &f->plan.source), 0);
	f->addresses.n = 1;
	f->plan.addresses = &f->addresses;
	in = (struct sockaddr_in *)&f->addresses.list[0];
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)in, sizeof(*in)), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)in, &n), 0);
	assert_int_equal(listen(f->listener, 2 * N), 0);
	assert_int_equal(uv_loop_init(&f->news_loop), 0);
	assert_int_equal(uv_async_init(&f->news_loop, &f->news.async, on_news), 0);
	f->worker = calloc(1, sizeof(*f->worker));
	assert_non_null(f->worker);
	*state = f;
	return 0;
}

static void close_servers(struct fixture *f)
{
	while (f->n_servers)
		close(f->servers[--f->n_servers]);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	load_worker_finish(f->worker);
	free(f->worker);
	uv_close((uv_handle_t *)&f->news.async, NULL);
	uv_run(&f->news_loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->news_loop), 0);
	close_servers(f);
	close(f->listener);
	source_finish(&f->plan.source);
	free(f);
	return 0;
}

static void accept_all(struct fixture *f)
{
	for (;;) {
		int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		assert_true(f->n_servers < SERVERS);
		f->servers[f->n_servers++] = fd;
	}
}

/* Answers what has arrived; closes what the client has half-closed. */
static void echo_all(struct fixture *f)
{
	char bytes[N * SIZE];

	for (unsigned i = 0; i < f->n_servers; i++) {
		ssize_t n = recv(f->servers[i], bytes, sizeof(bytes), 0);

		/* It fails if the client has reset the connection. */
		if (n > 0)
			send(f->servers[i], bytes, (size_t)n, MSG_NOSIGNAL);
		if (n == 0)
			shutdown(f->servers[i], SHUT_WR);
	}
}

/* Runs one turn of the loop. */
static void step(struct fixture *f)
{
	uv_run(&f->worker->loop, UV_RUN_NOWAIT);
}

static void run_until(struct fixture *f, enum load_worker_state state, bool answering)
{
	while (f->worker->state != state) {
		step(f);
		accept_all(f);
		if (answering)
			echo_all(f);
	}
}

/* Connects all connections. */
static void get_ready(struct fixture *f)
{
	assert_int_equal(load_worker_init(f->worker, &f->plan, 0, &f->news), 0);
	step(f);
	assert_int_equal(f->worker->state, LOAD_WORKER_WAITING);
	load_worker_command(f->worker, LOAD_CONNECT);
	run_until(f, LOAD_WORKER_READY, false);
	assert_int_equal(f->news.ready, 1);
	assert_int_equal(f->worker->counters.connected, N);
	accept_all(f);
	assert_int_equal(f->n_servers, N);
}

static void go(struct fixture *f)
{
	f->plan.start_ns = uv_hrtime();
	load_worker_command(f->worker, LOAD_GO);
	run_until(f, LOAD_WORKER_RUNNING, false);
}

static void test_count_of_messages_is_sent_and_answered(void **state)
{
	struct fixture *f = *state;

	f->options.count = 100;
	get_ready(f);
	go(f);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(f->worker->counters.sent, 100);
	assert_int_equal(f->worker->counters.completed, 100);
	assert_int_equal(f->worker->counters.latency.count, 100);
	assert_int_equal(f->worker->counters.received_bytes, 100 * SIZE);
	assert_int_equal(f->worker->counters.errors.n, 0);
	assert_int_equal(f->worker->counters.lost, 0);
}

/* When the time is up, the worker sends no more and waits for the replies in flight. */
static void test_drain_waits_for_replies(void **state)
{
	struct fixture *f = *state;

	f->options.duration_ms = 1;
	get_ready(f);
	go(f);
	run_until(f, LOAD_WORKER_DRAINING, false);
	assert_int_equal(f->worker->counters.sent, N);
	for (int i = 0; i < 10; i++)
		step(f);
	assert_int_equal(f->worker->state, LOAD_WORKER_DRAINING);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(f->worker->counters.sent, N);
	assert_int_equal(f->worker->counters.completed, N);
	assert_int_equal(f->worker->counters.errors.n, 0);
}

static void test_reset_loses_one_message_and_is_retried(void **state)
{
	static const struct linger reset = {.l_onoff = 1};
	struct fixture *f = *state;

	f->options.count = N;
	f->options.connections = 1;
	assert_int_equal(load_worker_init(f->worker, &f->plan, 0, &f->news), 0);
	load_worker_command(f->worker, LOAD_CONNECT);
	run_until(f, LOAD_WORKER_READY, false);
	accept_all(f);
	go(f);
	assert_int_equal(f->worker->counters.sent, 1);
	setsockopt(f->servers[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close_servers(f);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(f->worker->counters.connected, 2);
	assert_int_equal(f->worker->counters.failures, 1);
	assert_int_equal(f->worker->counters.lost, 1);
	assert_int_equal(f->worker->counters.completed, N - 1);
	assert_string_equal(f->worker->counters.errors.kinds[0].words, "connection reset");
}

static void test_wrong_replies_are_counted_by_kind(void **state)
{
	struct fixture *f = *state;

	f->options.count = N;
	get_ready(f);
	go(f);
	assert_int_equal(send(f->servers[0], "NAK 17 line too long\n", 21, 0), 21);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(f->worker->counters.errors.n, 1);
	assert_true(f->worker->counters.errors.kinds[0].wrong);
	assert_string_equal(f->worker->counters.errors.kinds[0].words, "NAK line too long");
	assert_int_equal(f->worker->counters.completed, N - 1);
	assert_int_equal(f->worker->counters.lost, 1);
}

/* The server's reason is received after a write has met the reset. */
static void test_nak_before_a_reset_is_reported(void **state)
{
	static const struct linger reset = {.l_onoff = 1};
	struct fixture *f = *state;
	const struct load_counters *counters = &f->worker->counters;
	struct load_connection *c;
	struct pollfd p = {0};

	f->options.count = N;
	f->options.connections = 1;
	f->options.depth = 2;
	assert_int_equal(load_worker_init(f->worker, &f->plan, 0, &f->news), 0);
	load_worker_command(f->worker, LOAD_CONNECT);
	run_until(f, LOAD_WORKER_READY, false);
	accept_all(f);
	f->options.depth = 1;
	go(f);
	assert_int_equal(counters->sent, 1);
	assert_int_equal(send(f->servers[0], "NAK 17 line too long\n", 21, 0), 21);
	setsockopt(f->servers[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close_servers(f);
	c = &f->worker->connections[0];
	p.fd = stream_socket(c->stream);
	while (!(p.revents & POLLHUP))
		assert_int_equal(poll(&p, 1, 10000), 1);
	f->options.depth = 2;
	load_connection_send(c, uv_hrtime());
	assert_int_equal(counters->sent, 2);
	assert_int_equal(counters->failures, 0);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(counters->errors.n, 1);
	assert_true(counters->errors.kinds[0].wrong);
	assert_string_equal(counters->errors.kinds[0].first, "NAK 17 line too long");
	assert_int_equal(counters->completed, N - 2);
	assert_int_equal(counters->lost, 2);
}

static void test_stop_ends_worker_in_any_state(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load_worker_init(f->worker, &f->plan, 0, &f->news), 0);
	load_worker_command(f->worker, LOAD_STOP);
	run_until(f, LOAD_WORKER_DONE, false);
	load_worker_finish(f->worker);

	get_ready(f);
	load_worker_command(f->worker, LOAD_STOP);
	run_until(f, LOAD_WORKER_DONE, false);
	load_worker_finish(f->worker);

	close_servers(f);
	f->news.ready = 0;
	get_ready(f);
	go(f);
	load_worker_command(f->worker, LOAD_STOP);
	run_until(f, LOAD_WORKER_DONE, false);
	assert_int_equal(f->worker->counters.lost, 0); /* they are not waited for */
}

/* Sends one message to a stream server, which returns it without its suffix. */
static void get_reply_without_suffix(struct fixture *f)
{
	char bytes[SIZE];

	f->options.count = f->options.connections = 1;
	f->plan.shape.framing = SHAPE_STREAM;
	assert_true(affix_set(&f->plan.shape.suffix, (const uint8_t *)"<end>", 5));
	assert_int_equal(load_worker_init(f->worker, &f->plan, 0, &f->news), 0);
	load_worker_command(f->worker, LOAD_CONNECT);
	run_until(f, LOAD_WORKER_READY, false);
	accept_all(f);
	go(f);
	while (recv(f->servers[0], bytes, SIZE, MSG_PEEK) < SIZE)
		step(f);
	assert_int_equal(recv(f->servers[0], bytes, SIZE, 0), SIZE);
	assert_int_equal(send(f->servers[0], bytes, SIZE, MSG_NOSIGNAL), SIZE);
	while (f->worker->counters.completed == 0)
		step(f);
	step(f);
	assert_int_equal(f->worker->state, LOAD_WORKER_RUNNING);
}

/* Before the half-close, the connection waits for the suffix of the last reply. */
static void test_last_suffix_is_awaited(void **state)
{
	struct fixture *f = *state;

	get_reply_without_suffix(f);
	assert_int_equal(send(f->servers[0], "<end>", 5, MSG_NOSIGNAL), 5);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(f->worker->counters.failures, 0);
	assert_int_equal(f->worker->counters.completed, 1);
}

static void test_last_suffix_that_is_missing_is_a_failure(void **state)
{
	struct fixture *f = *state;
	const struct load_counters *c = &f->worker->counters;

	get_reply_without_suffix(f);
	f->options.timeout_ms = 1;
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(c->failures, 1);
	assert_int_equal(c->errors.n, 1);
	assert_string_equal(c->errors.kinds[0].words, "timed out waiting for a reply");
	assert_string_equal(c->errors.kinds[0].first, "the end of the last reply is missing");
}

static void test_close_before_last_suffix_is_a_failure(void **state)
{
	struct fixture *f = *state;
	const struct load_counters *c = &f->worker->counters;

	get_reply_without_suffix(f);
	close_servers(f);
	run_until(f, LOAD_WORKER_DONE, true);
	assert_int_equal(c->failures, 1);
	assert_string_equal(c->errors.kinds[0].words, "connection closed early");
	assert_string_equal(c->errors.kinds[0].first, "the end of the last reply is missing");
}

static void shut_down(uv_handle_t *handle, void *data)
{
	uv_os_fd_t fd;

	if (handle->type == UV_TCP && uv_fileno(handle, &fd) == 0)
		shutdown(fd, SHUT_RDWR);
}

/* Connects end, then the stop arrives, in one turn: the other connections are not dialled. */
static void test_stop_while_connecting(void **state)
{
	struct fixture *f = *state;
	struct load_worker *w = f->worker;

	f->options.connections = MANY;
	assert_int_equal(load_worker_init(w, &f->plan, 0, &f->news), 0);
	load_worker_command(w, LOAD_CONNECT);
	for (int i = 0; i < 10; i++)
		step(f);
	/* The listener's queue is full. */
	assert_int_equal(w->state, LOAD_WORKER_CONNECTING);
	assert_true(w->dialling > 0 && w->next_dial < MANY);
	uv_walk(&w->loop, shut_down, NULL);
	load_worker_command(w, LOAD_STOP);
	step(f);
	assert_int_equal(w->finished, MANY);
	assert_true(w->counters.failures > 0);
	assert_int_equal(w->state, LOAD_WORKER_DONE);
	assert_int_equal(f->news.ready, 0);
}

/* A server that adds a byte to each greeting never gets a message. The count ends nevertheless. */
static void test_unexpected_byte_after_greeting_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct load_worker *w = f->worker;
	unsigned greeted = 0;

	f->options.count = N;
	f->options.connections = 1;
	f->options.timeout_ms = 300;
	f->plan.shape.greeting_n = 6;
	f->plan.shape.greeting_lines = 1;
	assert_int_equal(load_worker_init(w, &f->plan, 0, &f->news), 0);
	load_worker_command(w, LOAD_CONNECT);
	run_until(f, LOAD_WORKER_READY, false);
	go(f);
	while (w->state != LOAD_WORKER_DONE && w->counters.failures < 20) {
		for (; greeted < f->n_servers; greeted++)
			send(f->servers[greeted], "hello\nx", 7, MSG_NOSIGNAL);
		step(f);
		accept_all(f);
	}
	assert_int_equal(w->state, LOAD_WORKER_DONE);
	assert_int_equal(w->counters.sent, 0);
	assert_int_equal(w->counters.unsent, N);
	assert_true(w->counters.errors.kinds[0].wrong);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_count_of_messages_is_sent_and_answered),
		TEST(test_drain_waits_for_replies),
		TEST(test_reset_loses_one_message_and_is_retried),
		TEST(test_wrong_replies_are_counted_by_kind),
		TEST(test_nak_before_a_reset_is_reported),
		TEST(test_stop_ends_worker_in_any_state),
		TEST(test_last_suffix_is_awaited),
		TEST(test_last_suffix_that_is_missing_is_a_failure),
		TEST(test_close_before_last_suffix_is_a_failure),
		TEST(test_stop_while_connecting),
		TEST(test_unexpected_byte_after_greeting_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
