/*
 * The io_uring echo: multishot accept and receive, buffers picked by the kernel from a ring, one
 * io_uring_enter() for each batch of completions. Buffers of a connection are sent one at a time,
 * in order; while none is free, receiving stops.
 *
 * Exit status 77: the kernel does not permit io_uring.
 */
#include "listen.h"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 65536
#define ENTRIES 4096
#define N_BUFFERS 512
#define BUFFER_BYTES (64 * 1024)
#define BUFFER_STRIDE (BUFFER_BYTES + 64) /* so that buffers do not share cache sets */
#define NONE (-1)

enum operation { OP_ACCEPT, OP_RECEIVE, OP_SEND };

struct conn {
	int first, last; /* buffers to be sent, the first under way; NONE */
	bool open;
	bool starved; /* receiving ended because no buffer was free */
	bool ended;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static uint8_t *memory;
static int next_of[N_BUFFERS], length_of[N_BUFFERS];
static struct conn conns[FDS_MAX];
static int starved[FDS_MAX], n_starved;

static struct io_uring_sqe *prepare(void)
{
	struct io_uring_sqe *sqe;

	while ((sqe = io_uring_get_sqe(&ring)) == NULL)
		io_uring_submit(&ring);
	return sqe;
}

static void tag(struct io_uring_sqe *sqe, enum operation operation, int fd, int buffer)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)operation << 56 | (uint64_t)(uint16_t)buffer << 32 |
					     (uint32_t)fd);
}

static void receive(int fd)
{
	struct io_uring_sqe *sqe = prepare();

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	tag(sqe, OP_RECEIVE, fd, 0);
}

static void send_first(int fd)
{
	int buffer = conns[fd].first;
	struct io_uring_sqe *sqe = prepare();

	/* With MSG_WAITALL the kernel goes on after a short send. */
	io_uring_prep_send(sqe, fd, memory + (size_t)buffer * BUFFER_STRIDE,
			   (size_t)length_of[buffer], MSG_NOSIGNAL | MSG_WAITALL);
	tag(sqe, OP_SEND, fd, buffer);
}

static void give_back(int buffer)
{
	io_uring_buf_ring_add(buffers, memory + (size_t)buffer * BUFFER_STRIDE, BUFFER_BYTES,
			      (unsigned short)buffer, io_uring_buf_ring_mask(N_BUFFERS), 0);
	io_uring_buf_ring_advance(buffers, 1);
}

static void on_accept(int listen_fd, const struct io_uring_cqe *cqe)
{
	struct io_uring_sqe *sqe;
	int fd = cqe->res;

	if (fd >= 0 && fd < FDS_MAX) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		conns[fd] = (struct conn){.first = NONE, .last = NONE, .open = true};
		receive(fd);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		sqe = prepare();
		io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, 0);
		tag(sqe, OP_ACCEPT, listen_fd, 0);
	}
}

static void close_if_done(int fd)
{
	if (!conns[fd].ended || conns[fd].first != NONE || !conns[fd].open)
		return;
	conns[fd].open = false;
	close(fd);
}

static void on_receive(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *conn = &conns[fd];
	int buffer;

	if (cqe->res == -ENOBUFS) {
		if (!conn->starved)
			starved[n_starved++] = fd;
		conn->starved = true;
		return;
	}
	if (cqe->res <= 0) {
		if (cqe->flags & IORING_CQE_F_BUFFER)
			give_back((int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
		conn->ended = true;
		close_if_done(fd);
		return;
	}
	buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	length_of[buffer] = cqe->res;
	next_of[buffer] = NONE;
	if (conn->first == NONE) {
		conn->first = conn->last = buffer;
		send_first(fd);
	} else {
		next_of[conn->last] = buffer;
		conn->last = buffer;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		receive(fd);
}

static void on_sent(int fd, int buffer, const struct io_uring_cqe *cqe)
{
	struct conn *conn = &conns[fd];

	conn->first = next_of[buffer];
	if (cqe->res < 0)
		conn->ended = true;
	give_back(buffer);
	while (cqe->res < 0 && conn->first != NONE) {
		give_back(conn->first);
		conn->first = next_of[conn->first];
	}
	if (conn->first != NONE)
		send_first(fd);
	close_if_done(fd);
	if (n_starved > 0) {
		int waiting = starved[--n_starved];

		conns[waiting].starved = false;
		receive(waiting);
	}
}

static void set_up(void)
{
	struct io_uring_params best = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE,
		.cq_entries = 4 * ENTRIES,
	};
	struct io_uring_params plain = {.flags = IORING_SETUP_CQSIZE, .cq_entries = 4 * ENTRIES};
	struct io_uring_buf_reg registration = {.ring_entries = N_BUFFERS};

	if (io_uring_queue_init_params(ENTRIES, &ring, &best) < 0 &&
	    io_uring_queue_init_params(ENTRIES, &ring, &plain) < 0)
		exit(77);
	memory = aligned_alloc(4096, (size_t)N_BUFFERS * BUFFER_STRIDE);
	buffers = aligned_alloc(4096, N_BUFFERS * sizeof(struct io_uring_buf));
	if (!memory || !buffers)
		exit(71);
	registration.ring_addr = (uintptr_t)buffers;
	if (io_uring_register_buf_ring(&ring, &registration, 0) < 0)
		exit(77);
	io_uring_buf_ring_init(buffers);
	for (int i = 0; i < N_BUFFERS; i++)
		give_back(i);
}

int main(int argc, char **argv)
{
	int listen_fd = listen_or_exit(argc, argv, false);

	set_up();
	on_accept(listen_fd, &(struct io_uring_cqe){.res = -1});
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;

		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			int fd = (int)(uint32_t)cqe->user_data;

			n++;
			switch (cqe->user_data >> 56) {
			case OP_ACCEPT:
				on_accept(fd, cqe);
				break;
			case OP_RECEIVE:
				on_receive(fd, cqe);
				break;
			default:
				on_sent(fd, (int)(uint16_t)(cqe->user_data >> 32), cqe);
			}
		}
		io_uring_cq_advance(&ring, n);
	}
}
