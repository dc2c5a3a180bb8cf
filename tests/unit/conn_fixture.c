#include "conn_fixture.h"

#include "ackd/config/config.h"

#include <arpa/inet.h>
#include <time.h>

/* The size of the socket buffers of connect_small(). */
#define SMALL_BUFFER 4096

/* ---- the clock ---- */

static uint64_t now_ms = 1000000;

/* Replaces libc's, in libuv too: the linker prefers the program's own function. */
int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
	*tp = (struct timespec){
		.tv_sec = (time_t)(now_ms / 1000),
		.tv_nsec = (long)(now_ms % 1000) * 1000000,
	};
	return 0;
}

void advance(struct fixture *f, uint64_t ms)
{
	now_ms += ms;
	/* since libuv 1.45 timers run last, and the next iteration continues what they begin */
	step(f);
	step(f);
}

/* ---- the loop ---- */

static int read_text(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	*ret_n = strlen(data);
	*ret_bytes = strdup(data);
	return *ret_bytes ? 0 : -ENOMEM;
}

static void listen_with(struct fixture *f, const char *text)
{
	assert_int_equal(config_load_with(&(struct config_source){.path = "F", .port = -1},
					  read_text, (void *)(uintptr_t)text, stderr, &f->config),
			 0);
	f->listener = aligned_alloc(STATS_CACHE_LINE, sizeof(struct listener));
	assert_non_null(f->listener);
	memset(f->listener, 0, sizeof(struct listener));
	listener_begin(f->listener, &f->reactor, f->config, &f->config->listeners[0], &f->counters);
	limits_configure(&f->limits, f->config->max_connections,
			 f->config->max_connections_per_address, 0);
	limits_configure_handshakes(&f->limits, f->config->max_handshakes);
}

void begin(struct fixture *f, const char *text)
{
	memset(f, 0, sizeof(*f));
	assert_int_equal(limits_init(&f->limits, 1 << 20), 0);
	assert_int_equal(reactor_init(&f->reactor, &f->limits), 0);
	listen_with(f, text);
}

void reload(struct fixture *f, const char *text)
{
	listener_unref(f->listener);
	config_unref(f->config);
	listen_with(f, text);
}

static void check(struct conn *c)
{
	conn_check_invariant(c);
}

void step(struct fixture *f)
{
	uv_run(&f->reactor.loop, UV_RUN_NOWAIT);
	reactor_for_each(&f->reactor, check);
}

void until_empty(struct fixture *f)
{
	for (int i = 0; i < STEPS_MAX && f->reactor.connections > 0; i++)
		step(f);
	assert_int_equal(f->reactor.connections, 0);
}

void end(struct fixture *f)
{
	uint64_t closed = 0;

	until_empty(f);
	assert_int_equal(f->listener->references, 1);
	listener_unref(f->listener);
	assert_true(list_is_empty(&f->reactor.listeners));
	assert_int_equal(atomic_load(&f->limits.open), 0);
	assert_int_equal(atomic_load(&f->limits.refusing), 0);
	assert_int_equal(atomic_load(&f->limits.handshakes), 0);
	assert_int_equal(budget_used(&f->limits.budget), 0);
	for (enum conn_reason reason = CONN_END; reason < CONN_REASON_COUNT; reason++)
		closed += count_closed(f, reason);
	assert_int_equal(closed, count_of(f, COUNTER_CLOSED));
	reactor_close(&f->reactor);
	uv_run(&f->reactor.loop, UV_RUN_DEFAULT);
	reactor_finish(&f->reactor);
	limits_finish(&f->limits);
	config_unref(f->config);
}

/* ---- clients ---- */

static int connect_with(struct fixture *f, const struct address *address, int buffer)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	if (buffer > 0)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	conn_accept(f->listener, fds[0], address);
	reactor_for_each(&f->reactor, check);
	return fds[1];
}

int connect_client(struct fixture *f)
{
	return connect_with(f, &(struct address){.family = AF_UNIX}, 0);
}

int connect_small(struct fixture *f)
{
	return connect_with(f, &(struct address){.family = AF_UNIX}, SMALL_BUFFER);
}

int connect_from(struct fixture *f, const char *ip)
{
	struct address address = {.family = AF_INET, .port = 4711};

	assert_int_equal(inet_pton(AF_INET, ip, address.bytes), 1);
	return connect_with(f, &address, 0);
}

struct conn *last_conn(const struct fixture *f, enum conn_queue_class class)
{
	const struct list *conns = &f->listener->queues[class].conns;

	assert_false(list_is_empty(conns));
	return list_entry(conns->previous, struct conn, node);
}

unsigned queue_length(const struct fixture *f, enum conn_queue_class class)
{
	const struct conn *c;
	unsigned n = 0;

	list_for_each (c, &f->listener->queues[class].conns, node)
		n++;
	return n;
}

void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void expect(struct fixture *f, int fd, const char *text)
{
	char bytes[4096];
	ssize_t n;

	step(f);
	n = recv(fd, bytes, sizeof(bytes) - 1, 0);
	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		n = 0;
	} else {
		assert_true(n > 0);
	}
	bytes[n] = '\0';
	assert_string_equal(bytes, text);
}

void expect_end(struct fixture *f, int fd)
{
	char byte;

	step(f);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

void expect_reset(struct fixture *f, int fd)
{
	char byte;

	step(f);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

size_t fill(struct fixture *f, int fd)
{
	static const char text[64 * 1024] = {0};
	size_t sum = 0;
	ssize_t n;

	for (int i = 0; i < STEPS_MAX; i++) {
		n = send(fd, text, sizeof(text), MSG_NOSIGNAL);
		step(f);
		if (n < 0)
			return sum;
		sum += (size_t)n;
	}
	fail();
	return 0;
}

char *receive_all(struct fixture *f, int fd, size_t n)
{
	char *bytes = malloc(n + 1);
	size_t received = 0;

	assert_non_null(bytes);
	for (int i = 0; i < STEPS_MAX && received < n; i++) {
		ssize_t r = recv(fd, bytes + received, n - received, 0);

		received += r > 0 ? (size_t)r : 0;
		step(f);
	}
	assert_int_equal(received, n);
	bytes[n] = '\0';
	return bytes;
}

uint64_t count_of(const struct fixture *f, unsigned counter)
{
	return atomic_load(&f->counters.values[counter]);
}

uint64_t count_closed(const struct fixture *f, enum conn_reason reason)
{
	return count_of(f, COUNTER_CLOSED_BY + reason - CONN_END);
}

/* ---- memory ---- */

static size_t taken;

void take_memory(struct fixture *f, size_t left)
{
	size_t max = 1 << 20;

	taken = max - budget_used(&f->limits.budget) - left;
	assert_true(budget_take(&f->limits.budget, taken));
}

void give_memory(struct fixture *f)
{
	budget_give(&f->limits.budget, taken);
	taken = 0;
}
