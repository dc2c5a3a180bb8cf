/*
 * A worker whose loop the test owns and steps: connections over a UNIX socket, without threads and
 * without waiting. What a step does is what one turn of the loop does.
 */

#include "ackd/config/config.h"
#include "ackd/conn/internal.h"
#include "ackd/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* So many turns are far more than any of these takes. */
#define TURNS_MAX 1000

struct fixture {
	struct limits limits;
	struct worker *worker;
	struct config *config;
	struct counters *counters[1];
	unsigned done; /* the orders that the worker has reported as carried out */
	bool ended;
	int socket; /* listening */
	struct sockaddr_un address;
	socklen_t length;
};

static int read_text(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	*ret_n = strlen(data);
	*ret_bytes = strdup(data);
	return *ret_bytes ? 0 : -ENOMEM;
}

static void on_done(void *data, struct worker *worker, unsigned order, int status)
{
	struct fixture *f = data;

	assert_int_equal(status, 0);
	f->done |= order;
}

/* Runs one turn of the loop. */
static void turn(struct fixture *f)
{
	f->ended = uv_run(&f->worker->reactor.loop, UV_RUN_NOWAIT) == 0;
}

/* Runs turns until the worker has carried out @order. */
static void until_done(struct fixture *f, unsigned order)
{
	for (int i = 0; i < TURNS_MAX && !(f->done & order); i++)
		turn(f);
	assert_true(f->done & order);
	f->done = 0;
}

static void order(struct fixture *f, enum worker_order order)
{
	worker_order(f->worker, order);
	until_done(f, order);
}

/* Listens at an address that the kernel chooses. */
static void listen_somewhere(struct fixture *f)
{
	f->address.sun_family = AF_UNIX;
	f->length = sizeof(f->address);
	f->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->socket, (struct sockaddr *)&f->address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(f->socket, 4096), 0);
	assert_int_equal(getsockname(f->socket, (struct sockaddr *)&f->address, &f->length), 0);
}

/* Makes a worker that serves the configuration @text. */
static void begin(struct fixture *f, const char *text)
{
	struct worker_plan *plan;

	memset(f, 0, sizeof(*f));
	assert_int_equal(
		config_load_with("F", -1, read_text, (void *)(uintptr_t)text, stderr, &f->config),
		0);
	assert_int_equal(limits_init(&f->limits, f->config->max_memory_bytes), 0);
	limits_configure(&f->limits, f->config->max_connections, 0, 0);
	stats_init(1);
	f->counters[0] = stats_listener(f->config->listeners[0].name);
	f->worker = aligned_alloc(STATS_CACHE_LINE, sizeof(struct worker));
	assert_int_equal(worker_init(f->worker, 0, &f->limits, 0, on_done, f), 0);
	listen_somewhere(f);
	plan = worker_plan_create(f->config, f->counters, 1);
	assert_non_null(plan);
	plan->sockets[plan->n_sockets++] = (struct worker_socket){.fd = f->socket};
	worker_open(f->worker, plan);
	until_done(f, WORKER_OPEN);
	order(f, WORKER_APPLY);
}

static struct listener *listener_of(const struct fixture *f)
{
	return f->worker->reactor.listeners;
}

/* Runs the loop until it ends, as the worker's thread does. */
static void until_ended(struct fixture *f)
{
	for (int i = 0; i < TURNS_MAX && !f->ended; i++)
		turn(f);
	assert_true(f->ended);
}

/* Expects that the clients have closed all connections; stops the worker and releases everything.
 */
static void end(struct fixture *f)
{
	for (int i = 0; i < TURNS_MAX && f->worker->reactor.connections > 0; i++)
		turn(f);
	assert_int_equal(f->worker->reactor.connections, 0);
	if (!f->ended)
		worker_order(f->worker, WORKER_STOP);
	until_ended(f);
	assert_null(f->worker->reactor.listeners);
	worker_finish(f->worker);
	assert_int_equal(atomic_load(&f->limits.open), 0);
	assert_int_equal(budget_used(&f->limits.budget), 0);
	free(f->worker);
	close(f->socket);
	stats_finish();
	limits_finish(&f->limits);
	config_unref(f->config);
}

/* Returns the client's end of a new connection, which the worker has accepted. */
static int connect_client(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unsigned n = f->worker->reactor.connections;

	assert_int_equal(connect(fd, (const struct sockaddr *)&f->address, f->length), 0);
	for (int i = 0; i < TURNS_MAX && f->worker->reactor.connections == n; i++)
		turn(f);
	assert_int_equal(f->worker->reactor.connections, n + 1);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs a turn; expects that the client has then received exactly @text, and not the end. */
static void expect(struct fixture *f, int fd, const char *text)
{
	char bytes[4096];
	ssize_t n;

	turn(f);
	n = recv(fd, bytes, sizeof(bytes) - 1, 0);
	if (n < 0 && errno == EAGAIN)
		n = 0;
	else
		assert_true(n > 0);
	bytes[n] = '\0';
	assert_string_equal(bytes, text);
}

static void expect_end(struct fixture *f, int fd)
{
	char byte;

	turn(f);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void test_reply(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "greeting = \"Welcome\\n\";");
	a = connect_client(&f);
	expect(&f, a, "Welcome\n");
	say(a, "hello");
	expect(&f, a, "Got hello");
	/* half a character waits for the other half */
	say(a, "\xd0");
	expect(&f, a, "");
	say(a, "\x96");
	expect(&f, a, "Got \xd0\x96");
	close(a);
	end(&f);
}

/* All connections that are ready are answered in one turn. */
static void test_turn(void **state)
{
	enum { N = 3 * TURN_READS_MAX };
	struct fixture f;
	int fds[N];

	begin(&f, "reply = \"echo\";");
	for (int i = 0; i < N; i++)
		fds[i] = connect_client(&f);
	turn(&f);
	for (int i = 0; i < N; i++)
		say(fds[i], "ping");
	turn(&f);
	for (int i = 0; i < N; i++) {
		char bytes[8];

		assert_int_equal(recv(fds[i], bytes, sizeof(bytes), 0), 4);
		close(fds[i]);
	}
	end(&f);
}

/* A half-close is answered completely, then the connection ends. */
static void test_half_close(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	a = connect_client(&f);
	say(a, "one\ntwo");
	shutdown(a, SHUT_WR);
	expect(&f, a, "Got one\n");
	expect(&f, a, "Got two");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* A NAK closes in order: the client reads it, and its further input is dropped. */
static void test_nak(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "ab\xff");
	expect(&f, a, "Got ab\nNAK 2 invalid start byte\n");
	expect_end(&f, a);
	say(a, "dropped");
	turn(&f);
	assert_int_equal(listener_of(&f)->queues[QUEUE_LINGER].first->state, CONN_LINGERING);
	close(a);
	end(&f);
}

/* Time-outs are due when the loop says so; nothing sleeps. */
static void test_idle_timeout(void **state)
{
	struct conn_queue *idle;
	struct fixture f;
	uint64_t now_ms;
	int a, b;

	begin(&f, "limits = { idle_timeout = 64; };");
	a = connect_client(&f);
	b = connect_client(&f);
	turn(&f);
	idle = &listener_of(&f)->queues[QUEUE_IDLE];
	now_ms = uv_now(&f.worker->reactor.loop);
	/* the first is active again, after more than 1/64 of the time-out: it goes to the end */
	assert_int_equal(conn_queue_expire(idle, now_ms + 64000), 1000);
	idle->first->active_ms -= 1001;
	say(a, "x");
	expect(&f, a, "Got x");
	assert_ptr_not_equal(idle->first, idle->last);
	now_ms = idle->first->active_ms;
	assert_int_equal(conn_queue_expire(idle, now_ms + 64999), 1);
	idle->last->active_ms = now_ms + 10;
	assert_int_equal(conn_queue_expire(idle, now_ms + 65000), 10);
	expect_end(&f, b);
	expect(&f, a, "");
	close(a);
	close(b);
	end(&f);
}

/* A client that does not read: its output is held and charged, and reading stops until it is gone.
 */
static void test_slow_reader(void **state)
{
	static char text[256 * 1024], got[512 * 1024];
	size_t n_sent = 0, n_got = 0;
	struct fixture f;
	ssize_t n;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_client(&f);
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < TURNS_MAX && budget_used(&f.limits.budget) == 0; i++) {
		n = send(a, text, sizeof(text), MSG_NOSIGNAL);
		n_sent += n > 0 ? (size_t)n : 0;
		turn(&f);
	}
	assert_true(budget_used(&f.limits.budget) > 0);
	assert_int_equal(listener_of(&f)->queues[QUEUE_IDLE].first->polled, UV_WRITABLE);
	for (int i = 0; i < TURNS_MAX && n_got < n_sent; i++) {
		n = recv(a, got, sizeof(got), 0);
		n_got += n > 0 ? (size_t)n : 0;
		turn(&f);
	}
	assert_int_equal(n_got, n_sent);
	assert_int_equal(budget_used(&f.limits.budget), 0);
	assert_int_equal(listener_of(&f)->queues[QUEUE_IDLE].first->polled, UV_READABLE);
	close(a);
	end(&f);
}

/* A drain answers what has arrived; then the connections and the loop end. */
static void test_drain(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "");
	a = connect_client(&f);
	b = connect_client(&f);
	turn(&f);
	say(a, "last words");
	order(&f, WORKER_DRAIN);
	expect(&f, a, "Got last words");
	expect_end(&f, a);
	expect_end(&f, b);
	close(a);
	close(b);
	until_ended(&f);
	end(&f);
}

/* Everything is closed, answered or not. */
static void test_stop(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	turn(&f);
	worker_order(f.worker, WORKER_STOP);
	until_ended(&f);
	expect_end(&f, a);
	close(a);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),	     cmocka_unit_test(test_turn),
		cmocka_unit_test(test_half_close),   cmocka_unit_test(test_nak),
		cmocka_unit_test(test_idle_timeout), cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_drain),	     cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
