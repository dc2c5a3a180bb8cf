#pragma once

/*
 * Connections out of one process and into the next. The descriptors are queued as SCM_RIGHTS in a
 * stream socket pair, whose reading end goes to the service manager's store: a descriptor each
 * would cost the service manager quadratic time. A message of the queue carries a segment of the
 * state (state.h) as a sealed memfd, and the descriptors of the connections in it, in their order.
 *
 * The reading end goes to the store before any connection is touched. So a store that is full or
 * does not exist is found out while everything can still go on as before.
 *
 * Segments keep the memory for the state small. Records are written straight into the memfd, and a
 * connection's memory is released when its record is written. The next process unmaps a segment
 * when the last of its connections has been restored. Thus each process needs what the connections
 * hold and a part of it more, see handover_init().
 *
 * The next process takes the queue out of the store before it looks into it: a state that makes it
 * fail must not come back on every start.
 */

#include "ackd/admission/admission.h"
#include "ackd/handover/state.h"
#include "ackd/systemd/systemd.h"

/*
 * The most connections of a segment. With the segment a message carries 252 descriptors, which is
 * what fits into the 1,024 bytes of control data that sendmsg() of musl takes.
 */
#define HANDOVER_BATCH 251

/* How many segments a worker's share of the state has, beyond those that HANDOVER_BATCH makes. */
#define HANDOVER_SEGMENTS_PER_WORKER 8

/* What a process hands over. One thread at a time uses it. */
struct handover {
	const struct limits *limits;
	int writing;  /* messages are queued here */
	int *closing; /* allocated: listening sockets that end with this process */
	size_t n_closing;

	int memfd;		/* the segment that is being written; -1: none */
	size_t length;		/* where its last complete record ends */
	uint32_t n_connections; /* in it */
	uint32_t n_counters;
	const char *listener; /* of the record that is being written */
	size_t put_bytes;     /* of output and input in it */

	size_t segment_bytes; /* a segment that has so many is complete */
	size_t trim_bytes;    /* freed memory goes back to the system after so many */
	size_t untrimmed_bytes;

	uint64_t n_handed_over;
	uint64_t n_lost; /* connections that could not be added, */
	int error;	 /* and why: of the last one, a negative errno */
};

/* Makes the queue. Returns 0 and both ends, which are the caller's, or a negative errno. */
int handover_queue(int *ret_writing, int *ret_reading);

/*
 * Puts the queue into the store; takes @reading, while @writing stays the caller's. Returns 0; or a
 * negative errno, and nothing is in the store: -ENOSPC when the service manager does not keep it.
 * May block.
 */
int handover_store(int writing, int reading);

/*
 * Begins with no connection, and takes @writing. A segment gets the HANDOVER_SEGMENTS_PER_WORKER-th
 * part of the share of one of @n_workers workers in what connections hold now. So all segments that
 * the next process reads at a time are that part of it all.
 */
void handover_init(struct handover *handover, int writing, const struct limits *limits,
		   unsigned n_workers);

/* Takes the queue out of the store again, before any connection was handed over. May block. */
void handover_cancel(struct handover *handover);

/* Whether the listening socket @fd ends with this process, so that its queue is to be emptied. */
bool handover_closes(const struct handover *handover, int fd);

/*
 * Begins the record of a connection of the listener named @listener, which stays until the record
 * is ended. Returns 0 or a negative errno. A record that is not ended is replaced by the next one.
 */
int handover_begin(struct handover *handover, const char *listener);

/*
 * Adds @n bytes to the record: first all output, then all input, then the names. Returns 0 or a
 * negative errno.
 */
int handover_put(struct handover *handover, const void *p, size_t n);

/*
 * Ends the record. Completes @record with the length of the listener's name. Returns 0 or a
 * negative errno.
 */
int handover_end(struct handover *handover, struct state_record *record);

/* Whether handover_send() is to be called before the next record. */
bool handover_is_full(const struct handover *handover);

/*
 * Completes the segment and queues it with the descriptors @fds of its connections. They stay the
 * caller's. Returns 0, or a negative errno, and these connections are lost.
 */
int handover_send(struct handover *handover, const int *fds);

/* Adds a listener's counters, after the last handover_send(). Returns 0 or a negative errno. */
int handover_add_counters(struct handover *handover, const char *listener, const uint64_t *values,
			  size_t n);

/*
 * Queues the last segment: when this returns 0 the process may end. Returns 0, or -EPIPE when the
 * queue has left the store meanwhile, and all is lost.
 */
int handover_complete(struct handover *handover);

/* Closes our end of the queue, and frees. */
void handover_finish(struct handover *handover);

/* A segment in memory, which is released with the last of its connections. */
struct takeover_segment;

/* A connection from the process before. */
struct takeover_connection {
	int fd;			   /* -1: there was no room for it */
	const uint8_t *connection; /* for state_read() */
	struct takeover_segment *segment;
};

/* What the process before has handed over. Zeroed: nothing. */
struct takeover {
	struct takeover_connection *connections;
	size_t n; /* of them; those without a descriptor are the last ones */
	size_t n_without_fd;
	size_t capacity;
	size_t n_taken; /* by takeover_take() */
	struct takeover_segment *last;
	struct state_reader counters; /* for state_next_counters() */
	uint64_t numbered;	      /* the number of the last connection so far */
	uint64_t n_lost;	      /* connections whose state is not usable, */
	int error;		      /* and why: of the last one, a negative errno */
};

/* Whether @fd, passed by the service manager, is part of what was handed over. */
bool takeover_is_part(const struct systemd_fd *fd);

/*
 * Takes what was handed over out of the store, then receives and checks it. @fds are the @n that
 * takeover_is_part() found; they are consumed. At most @max_fds descriptors are kept; the other
 * connections have none. May block. Returns 0 and the caller's *@ret_takeover; or -EPROTO (of
 * another version), -ENODATA (there is no segment) or another negative errno, and the connections
 * are closed.
 */
int takeover_init(struct systemd_fd *fds, size_t n, uint64_t max_fds,
		  struct takeover *ret_takeover);

/* Gives the next connection to the caller, for takeover_release(). Returns false after the last. */
bool takeover_take(struct takeover *takeover, struct takeover_connection *ret_connection);

/* The same for the last connection, if it has no descriptor. Returns false when it has one. */
bool takeover_drop(struct takeover *takeover, struct takeover_connection *ret_connection);

/*
 * Releases the state of @connection, and closes its descriptor unless that is -1. Any thread. A
 * second call does nothing.
 */
void takeover_release(struct takeover_connection *connection);

/* Releases what was not taken. */
void takeover_finish(struct takeover *takeover);
