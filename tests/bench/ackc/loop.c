/*
 * The reference for "ackc load": the same work on bare epoll. It sends numbered messages, DEPTH of
 * them in flight on each connection, compares every reply and counts every latency. It uses no
 * library, timeouts, reconnects or greeting.
 *
 * loop PORT CONNECTIONS DEPTH SIZE SECONDS: prints one JSON object; exit status 2 for a wrong
 * reply.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NUMBER 17 /* digits of connection and message, and a dot between */
#define CHUNK (64 * 1024)
#define EVENTS_MAX 1024

/* Buckets of 1/1024, as ackc has them: the same work for the processor's cache. */
static uint64_t buckets[33 << 10];
static uint64_t counted;

struct conn {
	int fd;
	uint32_t id;
	uint64_t sent;
	uint64_t received; /* whole messages */
	size_t offset;	   /* into the incoming message */
	uint64_t *times;
};

static size_t size;
static unsigned depth;
static uint8_t *filling;
static uint8_t *out;
static uint64_t end_ns;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void count(uint64_t ns)
{
	unsigned shift = ns < 2048 ? 0 : 53 - (unsigned)__builtin_clzll(ns);

	buckets[(shift << 10) + (ns >> shift)]++;
	counted++;
}

static double percentile_ms(double percent)
{
	uint64_t wanted = (uint64_t)(percent / 100 * (double)counted);
	uint64_t seen = 0;

	for (unsigned i = 0; i < sizeof(buckets) / sizeof(buckets[0]); i++) {
		unsigned shift = i < 2048 ? 0 : (i >> 10) - 1;

		seen += buckets[i];
		if (seen > wanted)
			return (double)((uint64_t)(i - (shift << 10)) << shift) / 1e6;
	}
	return 0;
}

static void number(uint32_t id, uint64_t message, uint8_t *p)
{
	for (int i = 5; i >= 0; i--, id >>= 4)
		p[i] = (uint8_t) "0123456789abcdef"[id & 15];
	p[6] = '.';
	for (int i = 16; i > 6; i--, message >>= 4)
		p[i] = (uint8_t) "0123456789abcdef"[message & 15];
}

static void send_more(struct conn *c)
{
	uint64_t first = c->sent;
	uint64_t time_ns;
	size_t n = 0;

	while (c->sent - c->received < depth && n + size <= CHUNK) {
		number(c->id, c->sent++, out + n);
		memcpy(out + n + NUMBER, filling, size - NUMBER);
		n += size;
	}
	time_ns = now_ns();
	if (time_ns >= end_ns) {
		c->sent = first;
		return;
	}
	for (uint64_t i = first; i < c->sent; i++)
		c->times[i % depth] = time_ns;
	/* Small enough by the choice of arguments to fit the socket's buffer. */
	if (n && send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
		fail("send");
}

static void take(struct conn *c, const uint8_t *p, size_t n)
{
	uint64_t time_ns = now_ns();
	uint8_t digits[NUMBER];

	while (n > 0) {
		size_t part = size - c->offset < n ? size - c->offset : n;
		size_t head = c->offset < NUMBER ? NUMBER - c->offset : 0;
		size_t from = c->offset > NUMBER ? c->offset - NUMBER : 0;

		if (head > part)
			head = part;
		number(c->id, c->received, digits);
		if ((head && memcmp(p, digits + c->offset, head) != 0) ||
		    memcmp(p + head, filling + from, part - head) != 0) {
			fprintf(stderr, "wrong reply\n");
			exit(2);
		}
		p += part;
		n -= part;
		c->offset += part;
		if (c->offset == size) {
			c->offset = 0;
			count(time_ns - c->times[c->received++ % depth]);
		}
	}
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static void run(int epoll_fd, unsigned under_way)
{
	static uint8_t in[CHUNK];
	struct epoll_event events[EVENTS_MAX];

	while (under_way > 0) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			ssize_t got = recv(c->fd, in, sizeof(in), MSG_DONTWAIT);

			if (got <= 0)
				fail("recv");
			take(c, in, (size_t)got);
			send_more(c);
			under_way -= c->sent == c->received;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned conns = argc == 6 ? (unsigned)atoi(argv[2]) : 0;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct conn *all = calloc(conns, sizeof(*all));
	uint64_t start_ns;
	uint64_t cpu;

	if (argc != 6 || !all || epoll_fd < 0)
		return 64;
	depth = (unsigned)atoi(argv[3]);
	size = (size_t)atol(argv[4]);
	if (conns == 0 || depth == 0 || size <= NUMBER || size > CHUNK)
		return 64;
	filling = malloc(size);
	out = malloc(CHUNK);
	for (size_t i = 0; i < size; i++)
		filling[i] = (uint8_t)('a' + i * 7 % 26);
	filling[size - NUMBER - 1] = '\n';
	for (unsigned i = 0; i < conns; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};

		all[i] = (struct conn){.fd = dial((uint16_t)atoi(argv[1])), .id = i};
		all[i].times = calloc(depth, sizeof(uint64_t));
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	cpu = cpu_ns();
	start_ns = now_ns();
	end_ns = start_ns + (uint64_t)(atof(argv[5]) * 1e9);
	for (unsigned i = 0; i < conns; i++)
		send_more(&all[i]);
	run(epoll_fd, conns);
	printf("{\"completed\":%llu,\"cpu_ms\":%f,\"time_ms\":%f,\"p50\":%f,\"p99\":%f}\n",
	       (unsigned long long)counted, (double)(cpu_ns() - cpu) / 1e6,
	       (double)(now_ns() - start_ns) / 1e6, percentile_ms(50), percentile_ms(99));
	return 0;
}
