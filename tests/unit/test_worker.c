/*
 * A worker whose loop the test owns and steps: its plans, acceptors, orders and phases. Connections
 * are tested by test_conn.c and the files next to it.
 */

#include "ackd/config/config.h"
#include "ackd/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Far more turns than any of these tests takes. */
#define TURNS_MAX 1000

struct fixture {
	struct limits limits;
	struct worker *worker;
	struct config *config;
	struct counters *counters[1];
	unsigned n_news;
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

static void on_news(void *data)
{
	struct fixture *f = data;

	f->n_news++;
	/* nobody looks at a plan after the end */
	if (worker_is_in(f->worker, STATES_BIT(WORKER_ENDED)))
		assert_true(worker_has_done(f->worker, WORKER_APPLY));
}

/* Runs one turn of the loop. */
static void turn(struct fixture *f)
{
	f->ended = uv_run(&f->worker->reactor.loop, UV_RUN_NOWAIT) == 0;
	worker_check_invariant(f->worker);
}

/* Runs turns until the worker has carried out @order. */
static void until_done(struct fixture *f, enum worker_order order)
{
	for (int i = 0; i < TURNS_MAX && !worker_has_done(f->worker, order); i++)
		turn(f);
	assert_true(worker_has_done(f->worker, order));
}

static void order(struct fixture *f, enum worker_order order)
{
	worker_order(f->worker, order);
	until_done(f, order);
}

static bool is_in(const struct fixture *f, enum worker_phase phase)
{
	return worker_is_in(f->worker, STATES_BIT(phase));
}

/* Has the worker carry out a plan of the @n sockets @sockets. */
static void apply(struct fixture *f, const struct worker_socket *sockets, size_t n)
{
	struct worker_plan *plan = worker_plan_create(f->config, f->counters, n);

	assert_non_null(plan);
	for (size_t i = 0; i < n; i++)
		plan->sockets[plan->n_sockets++] = sockets[i];
	worker_apply(f->worker, plan);
	until_done(f, WORKER_APPLY);
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
	memset(f, 0, sizeof(*f));
	assert_int_equal(config_load_with(&(struct config_source){.path = "F", .port = -1},
					  read_text, (void *)(uintptr_t)text, stderr, &f->config),
			 0);
	assert_int_equal(limits_init(&f->limits, f->config->max_memory_bytes), 0);
	limits_configure(&f->limits, f->config->max_connections, 0, 0);
	stats_init(1);
	f->counters[0] = stats_listener(f->config->listeners[0].name);
	f->worker = aligned_alloc(STATS_CACHE_LINE, sizeof(struct worker));
	assert_int_equal(worker_init(f->worker, 0, &f->limits, 0, on_news, f), 0);
	listen_somewhere(f);
	apply(f, &(struct worker_socket){.fd = f->socket}, 1);
}

/* Runs the loop until it ends, as the worker's thread does. */
static void until_ended(struct fixture *f)
{
	for (int i = 0; i < TURNS_MAX && !f->ended; i++)
		turn(f);
	assert_true(f->ended);
}

/* Expects that the clients have closed all connections; stops and releases the worker. */
static void end(struct fixture *f)
{
	for (int i = 0; i < TURNS_MAX && f->worker->reactor.connections > 0; i++)
		turn(f);
	assert_int_equal(f->worker->reactor.connections, 0);
	if (!f->ended)
		worker_order(f->worker, WORKER_STOP);
	until_ended(f);
	assert_true(list_is_empty(&f->worker->reactor.listeners));
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

/* A drain answers all received input, also of clients waiting to be accepted, then ends. */
static void test_drain(void **state)
{
	struct fixture f;
	int a, b, c;

	begin(&f, "");
	a = connect_client(&f);
	b = connect_client(&f);
	turn(&f);
	say(a, "last words");
	c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c, (const struct sockaddr *)&f.address, f.length), 0);
	say(c, "queued");
	order(&f, WORKER_DRAIN);
	expect(&f, c, "Got queued");
	expect(&f, a, "Got last words");
	expect_end(&f, a);
	expect_end(&f, b);
	expect_end(&f, c);
	close(a);
	close(b);
	close(c);
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

/* ---- acceptors ---- */

/* Returns the latest acceptor, or NULL. */
static struct acceptor *acceptor_of(const struct fixture *f)
{
	const struct list *list = &f->worker->acceptors;

	return list_is_empty(list) ? NULL : list_entry(list->previous, struct acceptor, node);
}

/* A retired socket is served until WORKER_CLOSE_RETIRED, then its queue is emptied. */
static void test_retired(void **state)
{
	struct worker_socket sockets[2];
	struct listener *before;
	struct acceptor *retired;
	struct fixture f;
	int first, a, b;

	begin(&f, "reply = \"echo\";");
	first = f.socket;
	before = acceptor_of(&f)->listener;
	sockets[0] = (struct worker_socket){.fd = first, .retired = true};
	listen_somewhere(&f);
	sockets[1] = (struct worker_socket){.fd = f.socket};
	apply(&f, sockets, 2);
	retired = list_entry(f.worker->acceptors.next, struct acceptor, node);
	assert_int_equal(acceptor_of(&f)->fd, f.socket);
	assert_int_equal(retired->fd, first);
	assert_ptr_equal(retired->listener, before);
	assert_ptr_not_equal(acceptor_of(&f)->listener, before);
	a = connect_client(&f);
	order(&f, WORKER_CLOSE_RETIRED);
	assert_int_equal(acceptor_of(&f)->fd, f.socket);
	assert_ptr_equal(f.worker->acceptors.next, &acceptor_of(&f)->node);
	b = connect_client(&f);
	say(a, "a");
	expect(&f, a, "a");
	close(a);
	close(b);
	close(first);
	end(&f);
}

/* A socket that a plan does not contain is closed, after its queue has been emptied. */
static void test_queue_of_a_closed_socket(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(a, (const struct sockaddr *)&f.address, f.length), 0);
	say(a, "queued");
	apply(&f, NULL, 0);
	assert_null(acceptor_of(&f));
	expect(&f, a, "queued");
	close(a);
	end(&f);
}

/* A retired socket without a listener that was not served before is not served. */
static void test_retired_without_a_listener(void **state)
{
	struct fixture f;
	int first;

	begin(&f, "");
	first = f.socket;
	listen_somewhere(&f);
	apply(&f, (struct worker_socket[]){{.fd = f.socket, .retired = true, .listener = 1}}, 1);
	assert_null(acceptor_of(&f));
	close(first);
	end(&f);
}

/* Tries again the acceptor that pauses, as the timer does at the end of the pause. */
static void end_pause(struct fixture *f)
{
	struct acceptor *a = acceptor_of(f);

	assert_int_equal(acceptor_expire(a, a->resume_ms - 1), 1);
	acceptor_expire(a, a->resume_ms);
	acceptor_check_invariant(a);
}

/* A descriptor that the loop refuses is tried again until the loop takes it. */
static void test_descriptor_refused_by_the_loop_is_retried(void **state)
{
	struct fixture f;
	int listening, file, a;

	begin(&f, "reply = \"echo\";");
	apply(&f, NULL, 0);
	file = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* epoll takes no regular file */
	listening = dup(f.socket);
	assert_int_equal(dup2(file, f.socket), f.socket);
	apply(&f, (struct worker_socket[]){{.fd = f.socket}}, 1);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_UNOPENED);
	assert_true(f.worker->reactor.ticker_at_ms <= uv_now(&f.worker->reactor.loop) + 200);
	end_pause(&f);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_UNOPENED);
	assert_int_equal(f.counters[0]->values[COUNTER_ACCEPT_ERRORS], 2);
	assert_int_equal(dup2(listening, f.socket), f.socket);
	end_pause(&f);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_ACCEPTING);
	a = connect_client(&f);
	say(a, "a");
	expect(&f, a, "a");
	close(a);
	close(listening);
	close(file);
	end(&f);
}

/* An acceptor that the loop has refused is closed like another. */
static void test_descriptor_refused_by_the_loop_can_be_closed(void **state)
{
	struct fixture f;
	int first, file;

	begin(&f, "");
	first = f.socket;
	file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	apply(&f, (struct worker_socket[]){{.fd = file}}, 1);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_UNOPENED);
	order(&f, WORKER_DRAIN);
	assert_null(acceptor_of(&f));
	assert_int_equal(f.socket, first);
	close(file);
	until_ended(&f);
	end(&f);
}

/* After an error that would repeat, accepting pauses, then goes on. */
static void test_pause(void **state)
{
	struct rlimit limit, none;
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(a, (const struct sockaddr *)&f.address, f.length), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	turn(&f);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_PAUSED);
	end_pause(&f);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_ACCEPTING);
	turn(&f);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_PAUSED);
	assert_int_equal(f.counters[0]->values[COUNTER_ACCEPT_ERRORS], 2);
	assert_int_equal(f.worker->reactor.connections, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* a new configuration does not end the pause */
	apply(&f, (struct worker_socket[]){{.fd = f.socket}}, 1);
	assert_int_equal(acceptor_of(&f)->state, ACCEPTOR_PAUSED);
	end_pause(&f);
	say(a, "a");
	turn(&f);
	expect(&f, a, "a");
	close(a);
	end(&f);
}

/* ---- orders and phases ---- */

/* The main thread is notified when an order has been carried out, and not on every turn. */
static void test_news_after_order_is_carried_out(void **state)
{
	struct fixture f;

	begin(&f, "");
	assert_true(f.n_news > 0);
	f.n_news = 0;
	order(&f, WORKER_TURN);
	assert_int_equal(f.n_news, 0);
	order(&f, WORKER_CLOSE_RETIRED);
	assert_int_equal(f.n_news, 1);
	end(&f);
}

/* Orders that arrive together are carried out in their sequence: the plan before the end. */
static void test_plan_and_end_together(void **state)
{
	struct worker_plan *plan;
	struct fixture f;

	begin(&f, "");
	plan = worker_plan_create(f.config, f.counters, 1);
	plan->sockets[plan->n_sockets++] = (struct worker_socket){.fd = f.socket};
	worker_apply(f.worker, plan);
	worker_order(f.worker, WORKER_DRAIN);
	until_done(&f, WORKER_APPLY);
	assert_true(is_in(&f, WORKER_ENDED));
	assert_null(acceptor_of(&f));
	until_ended(&f);
	end(&f);
}

/* A worker without connections ends with the drain, another one when its last connection ends. */
static void test_phases_of_a_drain(void **state)
{
	static const char text[256 * 1024];
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	assert_true(is_in(&f, WORKER_SERVING));
	a = connect_client(&f);
	for (int i = 0; i < TURNS_MAX && budget_used(&f.limits.budget) == 0; i++) {
		assert_true(send(a, text, sizeof(text), MSG_NOSIGNAL) != 0);
		turn(&f);
	}
	assert_true(budget_used(&f.limits.budget) > 0);
	order(&f, WORKER_DRAIN); /* its replies are not delivered yet */
	assert_true(is_in(&f, WORKER_DRAINING));
	worker_order(f.worker, WORKER_STOP);
	until_ended(&f);
	assert_true(is_in(&f, WORKER_ENDED));
	close(a);
	end(&f);
}

/*
 * While connections wait for input, the loop sleeps without a time limit, because the kernel would
 * start and cancel a timer each time. Their timeout still ends them.
 */
static void test_sleep_has_no_time_limit(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "limits = { idle_timeout = \"100ms\"; };");
	a = connect_client(&f);
	turn(&f);
	assert_int_not_equal(f.worker->reactor.ticker_at_ms, UINT64_MAX);
	assert_int_equal(uv_backend_timeout(&f.worker->reactor.loop), -1);
	while (f.worker->reactor.connections > 0)
		uv_run(&f.worker->reactor.loop, UV_RUN_ONCE);
	close(a);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_retired),
		cmocka_unit_test(test_queue_of_a_closed_socket),
		cmocka_unit_test(test_retired_without_a_listener),
		cmocka_unit_test(test_descriptor_refused_by_the_loop_is_retried),
		cmocka_unit_test(test_descriptor_refused_by_the_loop_can_be_closed),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_news_after_order_is_carried_out),
		cmocka_unit_test(test_plan_and_end_together),
		cmocka_unit_test(test_phases_of_a_drain),
		cmocka_unit_test(test_sleep_has_no_time_limit),
	};

	if (TIMERS_LIMIT_SLEEP)
		cmocka_set_skip_filter("test_sleep_has_no_time_limit");
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
