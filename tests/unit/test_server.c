/*
 * The server with workers that have no threads: the test owns all loops and steps them, so each
 * sequence of events is deterministic. It also plays the service manager.
 */

#include "ackd/server/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define N_WORKERS 2

/* The maximum number of turns for any sequence of events. */
#define TURNS_MAX 100

struct fixture {
	struct server *server;
	char path[32];
	struct config_source source;
	struct candidate *candidate;
};

static int n_done; /* calls of the callback of a change */

/* ---- the service manager ---- */

static struct {
	bool has_store;
	int kept;	    /* the stored end of the queue, or -1 */
	int n_silent;	    /* barriers that time out */
	struct server *end; /* gets SIGTERM at the next barrier */
	int n_barriers;
	int n_removed;
} manager;

bool __wrap_systemd_has_store(void);
int __wrap_systemd_store_end(const char *name, int end, int peer);
bool __wrap_systemd_store_has_end(int peer);
int __wrap_systemd_store_remove(const char *name);
unsigned __wrap_systemd_store_room(unsigned wanted, unsigned n_stored);
int __wrap_systemd_barrier(void);

bool __wrap_systemd_has_store(void)
{
	return manager.has_store;
}

int __wrap_systemd_store_end(const char *name, int end, int peer)
{
	manager.kept = end;
	return 0;
}

bool __wrap_systemd_store_has_end(int peer)
{
	return manager.kept >= 0;
}

int __wrap_systemd_store_remove(const char *name)
{
	manager.n_removed++;
	return 0;
}

unsigned __wrap_systemd_store_room(unsigned wanted, unsigned n_stored)
{
	return 0;
}

int __wrap_systemd_barrier(void)
{
	manager.n_barriers++;
	if (manager.end)
		server_end(manager.end, SIGTERM);
	return manager.n_silent-- > 0 ? -ETIMEDOUT : 0;
}

/* ---- the fixture ---- */

static void on_done(struct server *server)
{
	n_done++;
	if (server->state == SERVER_STARTING)
		states_move(server_states, &server->state, SERVER_RUNNING);
}

/* Runs one turn of the main loop. Returns whether the loop goes on. */
static bool turn_server(struct fixture *f)
{
	bool alive = uv_run(&f->server->loop, UV_RUN_NOWAIT) != 0;

	server_check_invariant(f->server);
	return alive;
}

/* Runs turns of the loop of worker @i until it has nothing to do, then one of the main loop. */
static void turn(struct fixture *f, unsigned i)
{
	for (int n = 0; n < 4; n++)
		uv_run(&f->server->workers[i].reactor.loop, UV_RUN_NOWAIT);
	worker_check_invariant(&f->server->workers[i]);
	turn_server(f);
}

static void turn_all(struct fixture *f)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		turn(f, i);
}

static void write_config(struct fixture *f, const char *text)
{
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	candidate_destroy(f->candidate);
	assert_int_equal(candidate_read(&f->source, stderr, &f->candidate), 0);
}

/* Puts the configuration @text into effect. The workers have not applied it yet. */
static void change(struct fixture *f, const char *text)
{
	n_done = 0;
	write_config(f, text);
	assert_int_equal(change_bind(f->server, f->candidate, stderr), 0);
	assert_int_equal(change_commit(f->server, f->candidate, on_done), 0);
	server_check_invariant(f->server);
}

/* Makes a server with workers, but without a configuration that is applied. */
static void begin(struct fixture *f, const char *text)
{
	int fd;

	memset(f, 0, sizeof(*f));
	memset(&manager, 0, sizeof(manager));
	manager.kept = -1;
	strcpy(f->path, "/tmp/ackd-test-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	f->source = (struct config_source){.path = f->path, .port = -1};
	write_config(f, text);
	f->server = calloc(1, sizeof(*f->server));
	assert_int_equal(server_init(f->server, &f->source), 0);
	f->server->config = config_ref(f->candidate->config);
	assert_int_equal(limits_init(&f->server->limits, f->server->config->max_memory_bytes), 0);
	assert_int_equal(server_reserve_workers(f->server, N_WORKERS), 0);
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_int_equal(server_add_worker(f->server), 0);
}

/* Makes a server that runs with the configuration @text. */
static void begin_running(struct fixture *f, const char *text)
{
	begin(f, text);
	change(f, text);
	turn_all(f);
	assert_int_equal(f->server->state, SERVER_RUNNING);
	assert_int_equal(n_done, 1);
}

/* Runs all loops until they end, and releases everything. */
static void until_end(struct fixture *f)
{
	bool alive = true;

	for (int i = 0; i < TURNS_MAX && alive; i++) {
		for (unsigned w = 0; w < N_WORKERS; w++)
			uv_run(&f->server->workers[w].reactor.loop, UV_RUN_NOWAIT);
		alive = turn_server(f);
	}
	assert_false(alive);
	server_finish(f->server);
	free(f->server);
	candidate_destroy(f->candidate);
	unlink(f->path);
}

static void end(struct fixture *f)
{
	if (f->server->state == SERVER_RUNNING)
		server_end(f->server, SIGTERM);
	else
		server_stop(f->server);
	until_end(f);
}

static bool worker_leaves(const struct fixture *f, unsigned i)
{
	return worker_is_in(&f->server->workers[i], WORKER_LEAVES);
}

static bool worker_serves(const struct fixture *f, unsigned i)
{
	return worker_is_in(&f->server->workers[i], STATES_BIT(WORKER_SERVING));
}

static const struct endpoint *endpoint_of(const struct fixture *f)
{
	return list_entry(f->server->sockets.endpoints.next, struct endpoint, node);
}

static bool listens(const struct fixture *f)
{
	return !list_is_empty(&f->server->sockets.endpoints);
}

static bool has_retired(const struct fixture *f)
{
	return socket_set_has_retired(&f->server->sockets);
}

/* Returns a client's connection, accepted by one of the workers, on which "x" has been echoed. */
static int connect_client(struct fixture *f)
{
	const struct endpoint *e = endpoint_of(f);
	int fd = socket(e->bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	assert_int_equal(connect(fd, (const struct sockaddr *)&e->bound, e->length), 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	turn_all(f);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
	return fd;
}

#define ONE "reply = \"echo\"; address = \"127.0.0.1\"; port = 0;"
#define TWO "reply = \"echo\"; address = \"127.0.0.2\"; port = 0;"

/* Ends the time for which retired sockets stay open. */
static void retire(struct fixture *f)
{
	f->server->retired_timer.timer_cb(&f->server->retired_timer);
}

/* ---- changes ---- */

/* A change is done when the last worker has applied it, whichever that is. */
static void test_every_worker_applies(void **state)
{
	for (unsigned first = 0; first < N_WORKERS; first++) {
		struct fixture f;

		begin(&f, ONE);
		change(&f, ONE);
		assert_int_equal(f.server->change.state, CHANGE_APPLYING);
		turn_server(&f);
		turn(&f, first);
		assert_int_equal(n_done, 0);
		turn(&f, 1 - first);
		assert_int_equal(n_done, 1);
		assert_int_equal(f.server->change.state, CHANGE_NONE);
		turn(&f, first);
		assert_int_equal(n_done, 1);
		end(&f);
	}
}

/* Sockets that are no longer needed are closed after both workers have closed their acceptors. */
static void test_retired_sockets(void **state)
{
	struct fixture f;
	struct change *c;

	begin_running(&f, ONE);
	c = &f.server->change;
	change(&f, TWO);
	assert_true(has_retired(&f));
	turn_all(&f);
	assert_int_equal(n_done, 1);
	assert_int_equal(c->state, CHANGE_RETIRING);
	retire(&f);
	assert_int_equal(c->state, CHANGE_CLOSING);
	turn(&f, 1);
	assert_int_equal(c->state, CHANGE_CLOSING);
	assert_true(has_retired(&f));
	turn(&f, 0);
	assert_int_equal(c->state, CHANGE_NONE);
	assert_false(has_retired(&f));
	end(&f);
}

/* A configuration that cannot be put into effect changes nothing. */
static void test_failed_change(void **state)
{
	struct fixture f;
	const struct endpoint *before;
	char *lines = NULL;
	size_t length;
	FILE *errors;

	begin_running(&f, ONE);
	before = endpoint_of(&f);
	write_config(&f, "address = \"192.0.2.1\";");
	errors = open_memstream(&lines, &length);
	assert_int_equal(change_bind(f.server, f.candidate, errors), -EADDRNOTAVAIL);
	fclose(errors);
	assert_non_null(strstr(lines, "cannot listen on 192.0.2.1"));
	free(lines);
	assert_ptr_equal(endpoint_of(&f), before);
	assert_false(has_retired(&f));
	assert_int_equal(f.server->change.state, CHANGE_NONE);
	server_check_invariant(f.server);
	close(connect_client(&f));
	end(&f);
}

/* Runs the main loop until a reload has read its configuration and has gone on. */
static void until_read(struct fixture *f)
{
	while (f->server->change.state == CHANGE_READING)
		uv_run(&f->server->loop, UV_RUN_ONCE);
	server_check_invariant(f->server);
}

/* A request during a change waits until the retired sockets are closed. */
static void test_reload_during_a_change(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	change(&f, TWO);
	reload_request(f.server);
	assert_true(f.server->change.again);
	turn_all(&f);
	assert_int_equal(f.server->change.state, CHANGE_RETIRING);
	retire(&f);
	turn_all(&f);
	assert_false(f.server->change.again);
	until_read(&f);
	assert_int_equal(f.server->change.state, CHANGE_APPLYING);
	turn(&f, 0);
	assert_int_equal(f.server->reloads_done, 0);
	turn(&f, 1);
	assert_int_equal(f.server->reloads_done, 1);
	assert_int_equal(f.server->change.state, CHANGE_NONE);
	end(&f);
}

/* A reload whose configuration has been read after the daemon has begun to drain has failed. */
static void test_end_while_reading(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	reload_request(f.server);
	server_end(f.server, SIGTERM);
	until_read(&f);
	assert_int_equal(f.server->reloads_failed, 1);
	assert_int_equal(f.server->change.state, CHANGE_NONE);
	assert_true(f.server->has_reloaded); /* an alert would say that the configuration is bad */
	until_end(&f);
}

/* ---- the end ---- */

/* The listening sockets are closed when no worker accepts any more. */
static void test_drain(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_DRAINING);
	turn(&f, 1);
	assert_true(worker_leaves(&f, 1));
	assert_true(listens(&f));
	turn(&f, 0);
	assert_false(listens(&f));
	until_end(&f);
}

/* A change that has begun is completed first. */
static void test_end_during_a_change(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	change(&f, TWO);
	turn(&f, 0);
	server_end(f.server, SIGTERM);
	turn(&f, 0);
	assert_true(worker_leaves(&f, 0));
	assert_int_equal(n_done, 0);
	turn(&f, 1);
	assert_int_equal(n_done, 1);
	assert_true(worker_leaves(&f, 1));
	assert_int_equal(f.server->change.state, CHANGE_NONE);
	assert_false(listens(&f));
	assert_false(has_retired(&f));
	until_end(&f);
}

/* Retired sockets are closed with the others. */
static void test_end_while_retiring(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	change(&f, TWO);
	turn_all(&f);
	server_end(f.server, SIGTERM);
	retire(&f);
	assert_int_equal(f.server->change.state, CHANGE_RETIRING);
	turn_all(&f);
	assert_false(has_retired(&f));
	until_end(&f);
}

/* A second signal stops, but the SIGTERM that follows SIGUSR2 in a restart is no second signal. */
static void test_second_signal(void **state)
{
	struct fixture f;

	begin_running(&f, ONE);
	server_end(f.server, SIGUSR2); /* drains: there is no store */
	assert_int_equal(f.server->state, SERVER_DRAINING);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_DRAINING);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_STOPPING);
	until_end(&f);
}

/* The drain timer asks for more time until drain_timeout is over, then it stops the daemon. */
static void test_drain_timeout(void **state)
{
	struct fixture f;
	uv_timer_t *timer;
	uint64_t now_ms;

	begin_running(&f, ONE " limits = { drain_timeout = 3; };");
	timer = &f.server->drain_timer;
	server_end(f.server, SIGTERM);
	now_ms = uv_now(&f.server->loop);
	assert_int_equal(f.server->drain_deadline_ms, now_ms + 3000);
	assert_int_equal(uv_timer_get_due_in(timer), 1000);
	f.server->drain_deadline_ms = now_ms + 1;
	timer->timer_cb(timer);
	assert_int_equal(uv_timer_get_due_in(timer), 1);
	assert_int_equal(f.server->state, SERVER_DRAINING);
	f.server->drain_deadline_ms = now_ms;
	timer->timer_cb(timer);
	assert_int_equal(f.server->state, SERVER_STOPPING);
	until_end(&f);
}

/* During the delay the workers accept. Its end, or another signal, begins the drain. */
static void test_drain_delay(void **state)
{
	struct fixture f;
	uv_timer_t *timer;
	uint64_t now_ms;

	for (int by_signal = 0; by_signal < 2; by_signal++) {
		begin_running(&f, ONE " limits = { drain_delay = 3; drain_timeout = 5; };");
		timer = &f.server->drain_timer;
		server_end(f.server, SIGTERM);
		assert_int_equal(f.server->state, SERVER_DELAYING);
		now_ms = uv_now(&f.server->loop);
		assert_int_equal(f.server->drain_deadline_ms, now_ms + 3000);
		assert_int_equal(uv_timer_get_due_in(timer), 1000);
		turn_all(&f);
		assert_false(worker_leaves(&f, 0));
		assert_true(listens(&f));
		server_end(f.server, SIGUSR2);
		assert_int_equal(f.server->state, SERVER_DELAYING);
		if (by_signal) {
			server_end(f.server, SIGINT);
		} else {
			f.server->drain_deadline_ms = uv_now(&f.server->loop);
			timer->timer_cb(timer);
		}
		assert_int_equal(f.server->state, SERVER_DRAINING);
		assert_int_equal(f.server->drain_deadline_ms, uv_now(&f.server->loop) + 5000);
		if (by_signal) {
			server_end(f.server, SIGTERM);
			assert_int_equal(f.server->state, SERVER_STOPPING);
		}
		until_end(&f);
	}
}

/* A change that has begun is completed during the delay, and a drain follows as without one. */
static void test_drain_delay_during_a_change(void **state)
{
	struct fixture f;

	begin_running(&f, ONE " limits = { drain_delay = 3; };");
	change(&f, TWO " limits = { drain_delay = 3; };");
	turn(&f, 0);
	server_end(f.server, SIGTERM);
	turn(&f, 1);
	assert_int_equal(n_done, 1);
	assert_int_equal(f.server->change.state, CHANGE_NONE);
	assert_int_equal(f.server->state, SERVER_DELAYING);
	server_end(f.server, SIGTERM);
	turn_all(&f);
	assert_false(listens(&f));
	until_end(&f);
}

/* In a restart without a hand-over, the SIGTERM that follows does not end the delay. */
static void test_drain_delay_in_a_restart(void **state)
{
	struct fixture f;

	begin_running(&f, ONE " limits = { drain_delay = 3; };");
	server_end(f.server, SIGUSR2);
	assert_int_equal(f.server->state, SERVER_DELAYING);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_DELAYING);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_DRAINING);
	until_end(&f);
}

/* A signal during the start is recorded: workers may have connections. A second one stops. */
static void test_signals_during_the_start(void **state)
{
	struct fixture f;

	begin(&f, ONE);
	change(&f, ONE);
	server_end(f.server, SIGUSR2); /* nothing to hand over yet */
	assert_int_equal(f.server->end_signal, 0);
	server_end(f.server, SIGINT);
	assert_int_equal(f.server->end_signal, SIGINT);
	assert_int_equal(f.server->state, SERVER_STARTING);
	server_end(f.server, SIGTERM);
	assert_int_equal(f.server->state, SERVER_STOPPING);
	until_end(&f);
}

/* ---- hand-over ---- */

/* Hands over two connections, leaving the queue with the manager. */
static void hand_over(struct fixture *f, int *ret_a, int *ret_b)
{
	begin_running(f, ONE);
	manager.has_store = true;
	*ret_a = connect_client(f);
	*ret_b = connect_client(f);
	server_end(f->server, SIGUSR2);
	assert_int_equal(f->server->state, SERVER_HANDING_OVER);
}

static void test_handover_by_one_worker_after_another(void **state)
{
	struct fixture f;
	int a, b;

	hand_over(&f, &a, &b);
	server_end(f.server, SIGTERM);
	turn(&f, 1);
	assert_true(worker_serves(&f, 1));
	turn(&f, 0);
	assert_true(worker_leaves(&f, 0));
	assert_int_equal(f.server->handing_over, 1);
	turn(&f, 1);
	assert_true(worker_leaves(&f, 1));
	assert_int_equal(f.server->handover.n_handed_over, 2);
	assert_true(listens(&f)); /* the next process needs the listening sockets */
	until_end(&f);
	close(manager.kept);
	close(a);
	close(b);
}

/* Hands over two connections to a server that is about to apply its configuration. */
static void begin_next(struct fixture *f, int *ret_a, int *ret_b)
{
	struct fixture before;
	int kept;

	hand_over(&before, ret_a, ret_b);
	until_end(&before);
	kept = manager.kept;
	begin(f, ONE);
	assert_int_equal(change_bind(f->server, f->candidate, stderr), 0);
	f->server->handed = calloc(1, sizeof(*f->server->handed));
	f->server->handed[0] = (struct systemd_fd){.fd = kept, .name = strdup("ackd-handover")};
	f->server->n_handed = 1;
}

static void expect_echo(struct fixture *f, int fd)
{
	char byte;

	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	turn_all(f);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
	assert_int_equal(byte, 'y');
}

/* A service manager that is silent for longer than one barrier costs no connection. */
static void test_handover_with_a_silent_manager(void **state)
{
	struct fixture f;
	int a, b;

	begin_next(&f, &a, &b);
	manager.n_silent = 3;
	server_take_over(f.server);
	assert_int_equal(manager.n_removed, 1);
	assert_int_equal(manager.n_barriers, 4);
	assert_int_equal(f.server->takeover.n, 2);
	n_done = 0;
	assert_int_equal(change_commit(f.server, f.candidate, on_done), 0);
	turn_all(&f);
	assert_int_equal(n_done, 1);
	expect_echo(&f, a);
	expect_echo(&f, b);
	close(a);
	close(b);
	end(&f);
}

/* A signal ends the wait. The connections are taken over and drained after the start. */
static void test_handover_ended_by_a_signal_while_the_manager_is_silent(void **state)
{
	struct fixture f;
	int a, b;

	begin_next(&f, &a, &b);
	manager.n_silent = 1000;
	manager.end = f.server;
	server_take_over(f.server);
	assert_int_equal(manager.n_barriers, 1);
	assert_int_equal(f.server->end_signal, SIGTERM);
	assert_int_equal(f.server->takeover.n, 2);
	assert_int_equal(change_commit(f.server, f.candidate, on_done), 0);
	turn_all(&f);
	expect_echo(&f, a);
	close(a);
	close(b);
	end(&f);
}

/* Counters are known by name: those of only one of the two versions are dropped, or begin at 0. */
static void test_handover_of_counters_of_another_version(void **state)
{
	static const char names[] = "connections\0not here\0closed\0messages";
	struct handover other;
	struct fixture f;
	struct stats stats;
	int writing, reading;

	begin(&f, ONE);
	assert_int_equal(change_bind(f.server, f.candidate, stderr), 0);
	assert_int_equal(handover_queue(&writing, &reading), 0);
	handover_init(&other, writing, &f.server->limits, 1);
	handover_name_counters(&other, names, sizeof(names), 4);
	assert_int_equal(handover_add_counters(&other, "", (uint64_t[]){7, 9, 7, 50}), 0);
	assert_int_equal(handover_add_counters(&other, "one", (uint64_t[]){3, 9, 2, 5}), 0);
	handover_complete(&other);
	handover_finish(&other);
	f.server->handed = calloc(1, sizeof(*f.server->handed));
	f.server->handed[0] = (struct systemd_fd){.fd = reading, .name = strdup("ackd-handover")};
	f.server->n_handed = 1;
	server_take_over(f.server);
	assert_string_equal(stats_name(stats_next(NULL)), "one");
	stats = stats_read(stats_next(NULL));
	assert_int_equal(stats.values[COUNTER_CONNECTIONS], 3);
	assert_int_equal(stats.values[COUNTER_CLOSED], 2);
	assert_int_equal(stats.values[COUNTER_MESSAGES], 5);
	assert_int_equal(stats_sum(&stats, 0, COUNTER_COUNT), 3 + 2 + 5);
	stats = stats_total();
	assert_int_equal(stats.values[COUNTER_MESSAGES], 55);
	assert_int_equal(change_commit(f.server, f.candidate, on_done), 0);
	turn_all(&f);
	end(&f);
}

/* The exit status depends on the kind of failure, and the kind on what has failed. */
static void test_failures(void **state)
{
	static const struct {
		int error;
		enum exit_status of_preparation, of_change;
	} rows[] = {
		{0, EXIT_DONE, EXIT_DONE},
		{-EINVAL, EXIT_CONFIG, EXIT_UNAVAILABLE},
		{-EADDRNOTAVAIL, EXIT_UNAVAILABLE, EXIT_UNAVAILABLE},
		{-EADDRINUSE, EXIT_OS, EXIT_UNAVAILABLE},
		{-ENOMEM, EXIT_OS, EXIT_OS},
		{-EMFILE, EXIT_OS, EXIT_OS},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct failure of_preparation = failure_of_preparation(rows[i].error);
		struct failure of_change = failure_of_change(rows[i].error);

		assert_int_equal(exit_status_of(&of_preparation), rows[i].of_preparation);
		assert_int_equal(exit_status_of(&of_change), rows[i].of_change);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_worker_applies),
		cmocka_unit_test(test_retired_sockets),
		cmocka_unit_test(test_failed_change),
		cmocka_unit_test(test_reload_during_a_change),
		cmocka_unit_test(test_end_while_reading),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_end_during_a_change),
		cmocka_unit_test(test_end_while_retiring),
		cmocka_unit_test(test_second_signal),
		cmocka_unit_test(test_drain_timeout),
		cmocka_unit_test(test_drain_delay),
		cmocka_unit_test(test_drain_delay_during_a_change),
		cmocka_unit_test(test_drain_delay_in_a_restart),
		cmocka_unit_test(test_signals_during_the_start),
		cmocka_unit_test(test_handover_by_one_worker_after_another),
		cmocka_unit_test(test_handover_with_a_silent_manager),
		cmocka_unit_test(test_handover_ended_by_a_signal_while_the_manager_is_silent),
		cmocka_unit_test(test_handover_of_counters_of_another_version),
		cmocka_unit_test(test_failures),
	};

	if (!HAS_HANDOVER)
		cmocka_set_skip_filter("test_handover_*");
	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
