#include "ackd/handover/handover.h"

#include "base/array.h"
#include "base/states.h"
#include "base/trim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_NAME "ackd-handover"
/*
 * F_SEAL_WRITE would fail while anything in the kernel refers to a page, which on a busy machine
 * lasts longer than the kernel waits. F_SEAL_FUTURE_WRITE does not wait. It permits writing through
 * mappings that exist, but no process maps a segment for writing.
 */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)

/* Minimum size of a segment, and of the freed memory before a trim. */
#define SEGMENT_BYTES_MIN ((size_t)256 * 1024)
#define TRIMS 16

/* Descriptors per message: the segment's and those of its connections. */
#define MESSAGE_FDS (1 + HANDOVER_BATCH)

/* Room for the descriptors of one message. */
union fds_control {
	char bytes[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
	struct cmsghdr first;
};

static_assert(sizeof(union fds_control) <= 1024, "sendmsg() of musl takes no more");

/* Room for the kernel's maximum per message (SCM_MAX_FD), which exceeds MESSAGE_FDS. */
union fds_control_max {
	char bytes[CMSG_SPACE(253 * sizeof(int))];
	struct cmsghdr first;
};

static const struct state_row handover_states[] = {
	[HANDOVER_IDLE] = {"idle", STATES_BIT(HANDOVER_SEGMENT) | STATES_BIT(HANDOVER_COMPLETE)},
	[HANDOVER_SEGMENT] = {"segment", STATES_BIT(HANDOVER_SEGMENT) |
						 STATES_BIT(HANDOVER_RECORD) |
						 STATES_BIT(HANDOVER_IDLE)},
	/* a record that is not ended is dropped when the next one begins, or with the segment */
	[HANDOVER_RECORD] = {"record", STATES_BIT(HANDOVER_SEGMENT) | STATES_BIT(HANDOVER_IDLE)},
	[HANDOVER_COMPLETE] = {"complete", 0},
};

static const struct state_row takeover_states[] = {
	[TAKEOVER_NONE] = {"none", STATES_BIT(TAKEOVER_RECEIVING)},
	[TAKEOVER_RECEIVING] = {"receiving", STATES_BIT(TAKEOVER_WHOLE) | STATES_BIT(TAKEOVER_CUT) |
						     STATES_BIT(TAKEOVER_NONE)},
	[TAKEOVER_WHOLE] = {"whole", STATES_BIT(TAKEOVER_NONE)},
	[TAKEOVER_CUT] = {"cut", STATES_BIT(TAKEOVER_NONE)},
};

void handover_check_invariant(const struct handover *handover)
{
	const uint32_t open = STATES_BIT(HANDOVER_SEGMENT) | STATES_BIT(HANDOVER_RECORD);

	assert((handover->memfd >= 0) == states_in(handover->state, open));
	assert(handover->n_connections <= HANDOVER_BATCH);
	assert(handover->memfd >= 0 || handover->n_connections + handover->n_counters == 0);
	assert(handover->memfd < 0 || handover->length >= sizeof(struct state_header));
}

void takeover_check_invariant(const struct takeover *takeover)
{
	assert(takeover->n_taken <= takeover->n && takeover->n <= takeover->capacity);
	assert(takeover->n_without_fd <= takeover->n);
	assert((takeover->last != NULL) == (takeover->state == TAKEOVER_WHOLE));
	assert(takeover->state != TAKEOVER_NONE || takeover->capacity == 0);
}

static size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

int handover_queue(int *ret_writing, int *ret_reading)
{
	int fds[2], room = INT_MAX;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	/* a message takes 768 bytes of the buffer, whose maximum is twice net.core.wmem_max */
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	*ret_writing = fds[0];
	*ret_reading = fds[1];
	return 0;
}

int handover_store(int writing, int reading)
{
	return systemd_store_end(STORE_NAME, reading, writing);
}

void handover_init(struct handover *handover, int writing, const struct limits *limits,
		   unsigned n_workers)
{
	size_t held = budget_used(&limits->budget);
	size_t n_segments = (size_t)n_workers * HANDOVER_SEGMENTS_PER_WORKER;

	*handover = (struct handover){
		.limits = limits,
		.writing = writing,
		.memfd = -1,
		.segment_bytes = max_size(held / n_segments, SEGMENT_BYTES_MIN),
		.trim_bytes = max_size(held / TRIMS, SEGMENT_BYTES_MIN),
	};
}

void handover_cancel(struct handover *handover)
{
	systemd_store_remove(STORE_NAME);
	handover_finish(handover);
}

bool handover_closes(const struct handover *handover, int fd)
{
	for (size_t i = 0; i < handover->n_closing; i++)
		if (handover->closing[i] == fd)
			return true;
	return false;
}

void handover_finish(struct handover *handover)
{
	free(handover->closing);
	if (handover->memfd >= 0)
		close(handover->memfd);
	close(handover->writing);
}

/* ---- a segment ---- */

static int write_at(int fd, const void *p, size_t n, size_t at)
{
	const uint8_t *from = p;

	while (n > 0) {
		ssize_t written = pwrite(fd, from, n, (off_t)at);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		from += written;
		at += (size_t)written;
		n -= (size_t)written;
	}
	return 0;
}

static int segment_begin(struct handover *handover)
{
	int memfd;

	if (handover->state != HANDOVER_IDLE) {
		states_move(handover_states, &handover->state, HANDOVER_SEGMENT);
		return 0;
	}
	memfd = memfd_create(STORE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0)
		return -errno;
	handover->memfd = memfd;
	handover->length = sizeof(struct state_header);
	states_move(handover_states, &handover->state, HANDOVER_SEGMENT);
	return 0;
}

/* Closes the current segment. */
static void segment_end(struct handover *handover)
{
	close(handover->memfd);
	handover->memfd = -1;
	handover->n_connections = 0;
	handover->n_counters = 0;
	states_move(handover_states, &handover->state, HANDOVER_IDLE);
	handover_check_invariant(handover);
}

/* Writes the header and seals the memfd. */
static int segment_seal(struct handover *handover, bool is_last)
{
	struct state_header header = {
		.n_connections = handover->n_connections,
		.n_counters = handover->n_counters,
		.is_last = is_last,
	};
	int memfd = handover->memfd;
	void *bytes;
	int r;

	header.numbered = atomic_load(&handover->limits->numbered);
	/* truncates an unfinished record, and extends a file without any record */
	if (ftruncate(memfd, (off_t)handover->length) < 0)
		return -errno;
	bytes = mmap(NULL, handover->length, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	state_complete(&header, bytes, handover->length);
	munmap(bytes, handover->length);
	r = write_at(memfd, &header, sizeof(header), 0);
	if (r == 0 && fcntl(memfd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	return r;
}

/* ---- records ---- */

static size_t name_length(const char *listener)
{
	return strlen(listener) + 1;
}

int handover_begin(struct handover *handover, const char *listener)
{
	int r;

	handover->listener = listener;
	handover->put_bytes = 0;
	r = segment_begin(handover);
	if (r == 0)
		states_move(handover_states, &handover->state, HANDOVER_RECORD);
	return r;
}

int handover_put(struct handover *handover, const void *p, size_t n)
{
	size_t at = handover->length + sizeof(struct state_record) +
		    name_length(handover->listener) + handover->put_bytes;
	int r = write_at(handover->memfd, p, n, at);

	if (r == 0)
		handover->put_bytes += n;
	return r;
}

int handover_end(struct handover *handover, struct state_record *record)
{
	size_t length = name_length(handover->listener);
	uint8_t bytes[sizeof(*record) + UINT8_MAX];
	int r;

	if (length > UINT8_MAX)
		return -ENAMETOOLONG;
	record->listener_length = (uint8_t)length;
	memcpy(bytes, record, sizeof(*record));
	memcpy(bytes + sizeof(*record), handover->listener, length);
	length += sizeof(*record);
	r = write_at(handover->memfd, bytes, length, handover->length);
	if (r < 0)
		return r;
	handover->length += length + handover->put_bytes;
	handover->n_connections++;
	states_move(handover_states, &handover->state, HANDOVER_SEGMENT);
	handover_check_invariant(handover);
	return 0;
}

void handover_name_counters(struct handover *handover, const char *names, uint32_t length,
			    uint32_t n)
{
	handover->counter_names = names;
	handover->counter_names_record = (struct state_names_record){.n = n, .length = length};
}

/* Writes @n bytes at *@at and moves *@at past them, unless *@r is a negative errno. */
static void append(const struct handover *handover, const void *p, size_t n, size_t *at, int *r)
{
	if (*r == 0)
		*r = write_at(handover->memfd, p, n, *at);
	*at += n;
}

int handover_add_counters(struct handover *handover, const char *listener, const uint64_t *values)
{
	const struct state_names_record *names = &handover->counter_names_record;
	struct state_counters_record record = {0};
	size_t length = name_length(listener), at;
	int r = segment_begin(handover);

	if (r < 0)
		return r;
	if (length > UINT8_MAX)
		return -ENAMETOOLONG;
	record.listener_length = (uint8_t)length;
	at = handover->length;
	if (handover->n_counters == 0) {
		append(handover, names, sizeof(*names), &at, &r);
		append(handover, handover->counter_names, names->length, &at, &r);
	}
	append(handover, &record, sizeof(record), &at, &r);
	append(handover, listener, length, &at, &r);
	append(handover, values, names->n * sizeof(*values), &at, &r);
	if (r < 0)
		return r;
	handover->length = at;
	handover->n_counters++;
	return 0;
}

/* ---- messages ---- */

bool handover_is_full(const struct handover *handover)
{
	return handover->n_connections == HANDOVER_BATCH ||
	       (handover->state != HANDOVER_IDLE && handover->length >= handover->segment_bytes);
}

/* Queues the segment with the descriptors of its connections. */
static int segment_send(struct handover *handover, const int *fds)
{
	size_t n = 1 + handover->n_connections;
	union fds_control control;
	struct iovec byte = {(char[1]){0}, 1}; /* a message carries at least one byte */
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	struct cmsghdr *c = &control.first;
	unsigned char *p = CMSG_DATA(c);

	memset(&control, 0, sizeof(control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(p, &handover->memfd, sizeof(int));
	memcpy(p + sizeof(int), fds, handover->n_connections * sizeof(int));
	return sendmsg(handover->writing, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Returns memory freed by connections to the system once enough has accumulated. */
static void trim(struct handover *handover)
{
	handover->untrimmed_bytes += handover->length;
	if (handover->untrimmed_bytes < handover->trim_bytes)
		return;
	trim_memory();
	handover->untrimmed_bytes = 0;
}

int handover_send(struct handover *handover, const int *fds)
{
	int r = segment_seal(handover, false);

	trim(handover);
	if (r == 0)
		r = segment_send(handover, fds);
	if (r == 0)
		handover->n_handed_over += handover->n_connections;
	segment_end(handover);
	return r;
}

int handover_complete(struct handover *handover)
{
	/*
	 * a failure is not fatal: the connections remain usable, and the next process reports the
	 * missing segment
	 */
	if (segment_begin(handover) == 0) {
		if (segment_seal(handover, true) == 0)
			segment_send(handover, &(int){-1});
		segment_end(handover);
	}
	states_move(handover_states, &handover->state, HANDOVER_COMPLETE);
	return systemd_store_has_end(handover->writing) ? 0 : -EPIPE;
}

/* ---- the next process ---- */

bool takeover_is_part(const struct systemd_fd *fd)
{
	return strcmp(fd->name, STORE_NAME) == 0;
}

struct takeover_segment {
	_Atomic size_t users; /* unreleased connections, and the takeover's reference to the last
				 segment */
	uint8_t *bytes;	      /* mapped */
	size_t length;
};

static void segment_unref(struct takeover_segment *segment)
{
	if (!segment || atomic_fetch_sub(&segment->users, 1) > 1)
		return;
	munmap(segment->bytes, segment->length);
	free(segment);
}

static int segment_map(int memfd, struct takeover_segment *segment)
{
	int seals = fcntl(memfd, F_GET_SEALS);
	struct stat st;
	void *bytes;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EBADMSG; /* unsealed: the contents could change during use */
	if (fstat(memfd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > PTRDIFF_MAX)
		return -EBADMSG;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	/* keys of TLS, and what clients sent, stay out of core dumps */
	madvise(bytes, (size_t)st.st_size, MADV_DONTDUMP);
	segment->bytes = bytes;
	segment->length = (size_t)st.st_size;
	return 0;
}

/*
 * Maps and checks the segment @memfd. It must have exactly @n connections, the number of
 * descriptors in its message, or at least @n if @cut. Returns 0 and a reference to the segment, or
 * a negative errno.
 */
static int segment_open(int memfd, size_t n, bool cut, struct takeover_segment **ret_segment,
			struct state_reader *ret_reader)
{
	struct takeover_segment *segment = calloc(1, sizeof(*segment));
	int r = segment ? segment_map(memfd, segment) : -ENOMEM;

	if (r < 0) {
		free(segment);
		return r;
	}
	atomic_init(&segment->users, 1);
	r = state_open(segment->bytes, segment->length, ret_reader);
	if (r == 0 &&
	    (cut ? ret_reader->header.n_connections < n : ret_reader->header.n_connections != n))
		r = -EBADMSG;
	if (r < 0) {
		segment_unref(segment);
		return r;
	}
	*ret_segment = segment;
	return 0;
}

/* Makes room for @n more connections. */
static int takeover_reserve(struct takeover *takeover, size_t n)
{
	size_t capacity = max_size(takeover->capacity * 2, takeover->n + n);
	struct takeover_connection *connections;

	if (takeover->n + n <= takeover->capacity)
		return 0;
	connections = array_resize(takeover->connections, capacity, sizeof(*connections));
	if (!connections)
		return -ENOMEM;
	takeover->connections = connections;
	takeover->capacity = capacity;
	return 0;
}

/* A received message. */
struct message {
	int fds[253];
	size_t n;
	size_t n_given; /* how many of the first descriptors have been passed on */
	bool cut;	/* MSG_CTRUNC: the process could not receive more descriptors */
};

/* Adds the connections of a segment. Connections above @max_fds get no descriptor. */
static void takeover_add(struct takeover *takeover, struct takeover_segment *segment,
			 struct state_reader *reader, struct message *message, uint64_t max_fds)
{
	const uint8_t *connection;

	while ((connection = state_next(reader)) != NULL) {
		bool has_fd = message->n_given < message->n &&
			      takeover->n - takeover->n_without_fd < max_fds &&
			      takeover->n_without_fd == 0;

		assert(takeover->connections); /* takeover_reserve() has made room */
		takeover->connections[takeover->n++] = (struct takeover_connection){
			.fd = has_fd ? message->fds[message->n_given++] : -1,
			.connection = connection,
			.segment = segment,
		};
		takeover->n_without_fd += !has_fd;
		atomic_fetch_add(&segment->users, 1);
	}
}

/* Reads the segment of @message. Returns 0 or a negative errno. */
static int takeover_read(struct takeover *takeover, struct message *message, uint64_t max_fds)
{
	struct takeover_segment *segment;
	struct state_reader reader;
	int r;

	if (message->n == 0)
		return message->cut ? -EMFILE : -EBADMSG;
	r = segment_open(message->fds[0], message->n - 1, message->cut, &segment, &reader);
	close(message->fds[0]);
	message->n_given = 1;
	if (r < 0)
		return r;
	r = takeover_reserve(takeover, reader.header.n_connections);
	if (r < 0) {
		segment_unref(segment);
		return r;
	}
	takeover->numbered = reader.header.numbered;
	takeover_add(takeover, segment, &reader, message, max_fds);
	if (!reader.header.is_last) {
		segment_unref(segment);
		return 0;
	}
	takeover->last = segment;
	takeover->counters = reader;
	states_move(takeover_states, &takeover->state, TAKEOVER_WHOLE);
	return 0;
}

/* Receives a message. Returns 0, -ENODATA if there is none, or another negative errno. */
static int message_receive(int reading, struct message *ret_message)
{
	union fds_control_max control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t received = recvmsg(reading, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (received < 0 && errno != EAGAIN)
		return -errno;
	if (received <= 0)
		return -ENODATA;
	c = CMSG_FIRSTHDR(&header);
	ret_message->n = 0;
	ret_message->n_given = 0;
	ret_message->cut = header.msg_flags & MSG_CTRUNC;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		ret_message->n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(ret_message->fds, CMSG_DATA(c), ret_message->n * sizeof(int));
	}
	return 0;
}

/* Receives all messages. An unusable segment loses only its own connections. */
static int receive_all(struct takeover *takeover, int reading, uint64_t max_fds)
{
	struct message message = {.n = 0};
	int r = -ENODATA;

	while (takeover->state == TAKEOVER_RECEIVING) {
		r = message_receive(reading, &message);
		if (r < 0)
			break;
		r = takeover_read(takeover, &message, max_fds);
		for (size_t i = message.n_given; i < message.n; i++)
			close(message.fds[i]);
		if (r == -EPROTO)
			return r;
		if (r < 0) {
			takeover->n_lost += message.n > 1 ? message.n - 1 : 0;
			takeover->error = r;
		}
	}
	if (takeover->state == TAKEOVER_WHOLE)
		return 0;
	if (takeover->n == 0 && takeover->n_lost == 0)
		return r;
	/* the previous process ended during the hand-over */
	states_move(takeover_states, &takeover->state, TAKEOVER_CUT);
	if (takeover->error == 0)
		takeover->error = r;
	return 0;
}

int takeover_receive(int reading, uint64_t max_fds, struct takeover *ret_takeover)
{
	int r;

	*ret_takeover = (struct takeover){.state = TAKEOVER_NONE};
	states_move(takeover_states, &ret_takeover->state, TAKEOVER_RECEIVING);
	r = receive_all(ret_takeover, reading, max_fds);
	if (r < 0)
		takeover_finish(ret_takeover);
	takeover_check_invariant(ret_takeover);
	return r;
}

int takeover_withdraw(void)
{
	int r = systemd_store_remove(STORE_NAME);

	return r < 0 ? r : systemd_barrier();
}

int takeover_init(struct systemd_fd *fds, size_t n, int withdrawn, uint64_t max_fds,
		  struct takeover *ret_takeover)
{
	struct stat st;
	int r = withdrawn;

	/* version 1 stored the state beside the queue */
	if (r == 0 && (n != 1 || fstat(fds[0].fd, &st) < 0 || !S_ISSOCK(st.st_mode)))
		r = -EPROTO;
	if (r == 0)
		r = takeover_receive(fds[0].fd, max_fds, ret_takeover);
	systemd_fds_finish(fds, n);
	return r;
}

bool takeover_take(struct takeover *takeover, struct takeover_connection *ret_connection)
{
	if (takeover->n_taken == takeover->n)
		return false;
	*ret_connection = takeover->connections[takeover->n_taken++];
	takeover_check_invariant(takeover);
	return true;
}

bool takeover_drop(struct takeover *takeover, struct takeover_connection *ret_connection)
{
	if (takeover->n_without_fd == 0)
		return false;
	takeover->n_without_fd--;
	*ret_connection = takeover->connections[--takeover->n];
	takeover_check_invariant(takeover);
	return true;
}

void takeover_release(struct takeover_connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
	segment_unref(connection->segment);
	connection->segment = NULL;
}

void takeover_finish(struct takeover *takeover)
{
	struct takeover_connection connection;

	while (takeover_take(takeover, &connection))
		takeover_release(&connection);
	free(takeover->connections);
	segment_unref(takeover->last);
	if (takeover->state != TAKEOVER_NONE)
		states_move(takeover_states, &takeover->state, TAKEOVER_NONE);
	*takeover = (struct takeover){.state = takeover->state};
	takeover_check_invariant(takeover);
}
