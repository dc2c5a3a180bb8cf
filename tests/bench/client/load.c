/*
 * The closed loop. A phase sends on all connections until its time or count is reached, then
 * receives the last replies. Between phases no message is in flight.
 */
#include "client.h"
#include "histogram.h"
#include "link.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 * 1024)
#define EVENTS_MAX 512

/* A reply that takes longer counts as missing. */
#define STALL_MS 10000

/* After the last reply the server sleeps, and the kernel has accounted its time. */
#define SETTLE_US 10000

/* While connecting, the last of this many connections exchanges a message to empty the queue. */
#define ACCEPT_BATCH 64

struct load_conn {
	struct link link;
	bool waits_for_room;
	size_t line; /* where its message begins */
	size_t sent;
	size_t received;
	uint64_t messages; /* in this phase */
	uint64_t sent_at_ns;
};

struct load {
	const struct options *options;
	struct corpus corpus;
	size_t n_out; /* bytes of a message */
	size_t n_in;  /* bytes of its reply */
	int epoll_fd;
	struct load_conn *conns;
	unsigned n_conns;
	unsigned n_active; /* with a message in flight */
	bool stopping;
	uint64_t now;
	uint64_t messages; /* in this phase */
	struct histogram *latencies;
	uint8_t *buffer;
};

static int watch(struct load *load, struct load_conn *conn, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = conn};

	if (epoll_ctl(load->epoll_fd, operation, conn->link.fd, &event) < 0) {
		fprintf(stderr, "epoll_ctl: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

static int send_more(struct load *load, struct load_conn *conn)
{
	const uint8_t *message = load->corpus.sent + conn->line * load->corpus.line_bytes;
	ssize_t n;

	n = link_send(&conn->link, message + conn->sent, load->n_out - conn->sent, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN) {
		fprintf(stderr, "send: %s\n", strerror(errno));
		return 1;
	}
	if (n > 0)
		conn->sent += (size_t)n;
	if ((conn->sent < load->n_out) == conn->waits_for_room)
		return 0;
	conn->waits_for_room = !conn->waits_for_room;
	return watch(load, conn, EPOLL_CTL_MOD, EPOLLIN | (conn->waits_for_room ? EPOLLOUT : 0));
}

static int next_message(struct load *load, struct load_conn *conn)
{
	conn->line = (conn->line + 61) % load->corpus.n_starts;
	conn->sent = 0;
	conn->received = 0;
	conn->sent_at_ns = load->now;
	load->n_active++;
	return send_more(load, conn);
}

static int on_reply(struct load *load, struct load_conn *conn)
{
	load->now = now_ns();
	histogram_add(load->latencies, load->now - conn->sent_at_ns);
	load->messages++;
	conn->messages++;
	load->n_active--;
	if (load->stopping || (load->options->count > 0 && conn->messages >= load->options->count))
		return 0;
	return next_message(load, conn);
}

static int on_readable(struct load *load, struct load_conn *conn)
{
	const uint8_t *expected = load->corpus.replies + conn->line * load->corpus.reply_bytes;
	ssize_t n;

	n = link_recv(&conn->link, load->buffer, READ_BYTES, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0) {
		fprintf(stderr, "recv: %s\n", n < 0 ? strerror(errno) : "closed early");
		return 1;
	}
	if ((size_t)n > load->n_in - conn->received ||
	    memcmp(load->buffer, expected + conn->received, (size_t)n) != 0) {
		fprintf(stderr,
			"connection %td: wrong reply, within bytes %zu to %zu of message %ju\n",
			conn - load->conns, conn->received, conn->received + (size_t)n,
			(uintmax_t)conn->messages);
		return 2;
	}
	conn->received += (size_t)n;
	return conn->received == load->n_in ? on_reply(load, conn) : 0;
}

static int turn(struct load *load)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r = 0;

	n = epoll_wait(load->epoll_fd, events, EVENTS_MAX, load->options->spin ? 0 : STALL_MS);
	if (n < 0 && errno != EINTR) {
		fprintf(stderr, "epoll_wait: %s\n", strerror(errno));
		return 1;
	}
	if (n == 0) {
		if (!load->options->spin || now_ns() - load->now > (uint64_t)STALL_MS * 1000000) {
			fprintf(stderr, "%u replies never came\n", load->n_active);
			return 1;
		}
		return 0;
	}
	for (int i = 0; i < n && r == 0; i++) {
		struct load_conn *conn = events[i].data.ptr;

		if (events[i].events & EPOLLOUT)
			r = send_more(load, conn);
		if (r == 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			r = on_readable(load, conn);
	}
	return r;
}

/* Runs for @seconds, or for the configured count if it is 0. */
static int run_phase(struct load *load, double seconds)
{
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
	int r = 0;

	load->stopping = false;
	load->messages = 0;
	memset(load->latencies, 0, sizeof *load->latencies);
	load->now = now_ns();
	for (unsigned i = 0; i < load->n_conns && r == 0; i++) {
		load->conns[i].messages = 0;
		r = next_message(load, &load->conns[i]);
	}
	while (r == 0 && load->n_active > 0) {
		r = turn(load);
		if (seconds > 0 && load->now >= end)
			load->stopping = true;
	}
	return r;
}

static int connect_all(struct load *load)
{
	int r = 0;

	for (unsigned i = 0; i < load->options->conns && r == 0; i++) {
		struct load_conn *conn = &load->conns[i];

		if (link_open(&conn->link, load->options) != 0)
			return 1;
		load->n_conns++;
		conn->line = i * 7919 % load->corpus.n_starts;
		if (i % ACCEPT_BATCH == 0)
			r = exchange(&conn->link, &load->corpus, conn->line,
				     load->options->corpus.lines);
		if (r == 0)
			r = watch(load, conn, EPOLL_CTL_ADD, EPOLLIN);
	}
	return r;
}

static int measure(struct load *load)
{
	const struct options *options = load->options;
	struct proc_usage before = {0}, after = {0};
	uint64_t started, lines, elapsed;
	int r;

	if (options->warm_seconds > 0) {
		r = run_phase(load, options->warm_seconds);
		if (r != 0)
			return r;
	}
	usleep(SETTLE_US);
	if (options->session > 0 && proc_usage_read(options->session, &before) < 0)
		goto gone;
	started = now_ns();
	r = run_phase(load, options->count > 0 ? 0 : options->seconds);
	elapsed = now_ns() - started;
	if (r != 0)
		return r;
	usleep(SETTLE_US);
	if (options->session > 0 && proc_usage_read(options->session, &after) < 0)
		goto gone;

	lines = load->messages * options->corpus.lines;
	printf("{\"messages\": %ju, \"seconds\": %.6f, \"rate\": %.1f, \"cpu_ns\": %.2f, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f}\n",
	       (uintmax_t)lines, (double)elapsed / 1e9, (double)lines * 1e9 / (double)elapsed,
	       (double)(after.cpu_ns - before.cpu_ns) / (double)lines,
	       (double)histogram_quantile(load->latencies, 0.5) / 1e3,
	       (double)histogram_quantile(load->latencies, 0.99) / 1e3,
	       (double)histogram_quantile(load->latencies, 0.999) / 1e3);
	return 0;
gone:
	fprintf(stderr, "no process of session %d\n", (int)options->session);
	return 1;
}

int client_load(const struct options *options)
{
	struct load load = {
		.options = options,
		.n_out = options->corpus.size * options->corpus.lines,
		.epoll_fd = -1,
	};
	int r = 1;

	if (raise_descriptor_limit(options->conns) != 0)
		return 1;
	load.conns = calloc(options->conns, sizeof *load.conns);
	load.latencies = calloc(1, sizeof *load.latencies);
	load.buffer = malloc(READ_BYTES);
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!load.conns || !load.latencies || !load.buffer || load.epoll_fd < 0 ||
	    corpus_init(&load.corpus, &options->corpus) < 0) {
		fprintf(stderr, "out of memory, or a size below that of a frame\n");
		goto out;
	}
	load.n_in = load.corpus.reply_bytes * options->corpus.lines;
	r = connect_all(&load);
	if (r == 0)
		r = measure(&load);
	for (unsigned i = 0; i < load.n_conns; i++)
		link_close(&load.conns[i].link);
	corpus_finish(&load.corpus);
out:
	if (load.epoll_fd >= 0)
		close(load.epoll_fd);
	free(load.buffer);
	free(load.latencies);
	free(load.conns);
	return r;
}
