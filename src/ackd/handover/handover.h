#pragma once

/*
 * Hands connections over from one process to the next. The descriptors are queued as SCM_RIGHTS in
 * a stream socket pair, whose reading end is kept in the service manager's store. Storing each
 * descriptor separately would cost the service manager quadratic time. Each message of the queue
 * carries a segment of the state (state.h) as a sealed memfd, followed by the descriptors of the
 * segment's connections in their order.
 *
 * The reading end is stored before any connection is touched. A full or missing store is thus
 * detected while the daemon can still continue unchanged.
 *
 * Segments limit the memory for the state. Records are written directly to the memfd, and a
 * connection's memory is released when its record is complete. The next process unmaps a segment
 * when the last of its connections has been restored. Each process thus needs the memory that
 * connections hold and a fraction of it more, see handover_init().
 *
 * The next process removes the queue from the store before it reads it: a state that crashes it
 * must not return on every start.
 */

#include "ackd/handover/state.h"
#include "ackd/limits/limits.h"
#include "ackd/systemd/systemd.h"

/*
 * The most connections per segment. With the segment a message carries 252 descriptors, which fit
 * the 1,024 bytes of control data that musl's sendmsg() accepts.
 */
#define HANDOVER_BATCH 251

/*
 * How many segments a worker's share of the state is divided into, beyond those that HANDOVER_BATCH
 * makes.
 */
#define HANDOVER_SEGMENTS_PER_WORKER 8

/* The outgoing side. handover.c has the table of transitions. */
enum handover_state {
	HANDOVER_IDLE,	   /* no segment is open */
	HANDOVER_SEGMENT,  /* a segment is open, and its last record is complete */
	HANDOVER_RECORD,   /* the record of a connection has begun */
	HANDOVER_COMPLETE, /* the last segment has been queued */
};

/* A hand-over under way. One thread at a time uses it. */
struct handover {
	const struct limits *limits;
	int writing;  /* the end of the queue that messages are written to */
	int *closing; /* allocated: listening sockets that are closed with this process */
	size_t n_closing;

	uint8_t state;		/* enum handover_state */
	int memfd;		/* the current segment; -1: none */
	size_t length;		/* the end of its last complete record */
	uint32_t n_connections; /* in it */
	uint32_t n_counters;
	const char *counter_names; /* see handover_name_counters() */
	struct state_names_record counter_names_record;
	const char *listener; /* of the current record */
	size_t put_bytes;     /* bytes of output, input, names and TLS in the current record */

	size_t segment_bytes; /* size at which a segment is complete */
	size_t trim_bytes;    /* freed bytes after which memory is returned to the system */
	size_t untrimmed_bytes;

	uint64_t n_handed_over;
	uint64_t n_lost; /* connections that could not be added */
	int error;	 /* and why: of the last one, a negative errno */
};

/* Creates the queue. Returns 0 and gives both ends to the caller, or a negative errno. */
int handover_queue(int *ret_writing, int *ret_reading);

/*
 * Puts the queue into the store. Takes @reading; @writing stays the caller's. Returns 0, or a
 * negative errno with nothing in the store: -ENOSPC when the service manager does not keep it. May
 * block.
 */
int handover_store(int writing, int reading);

/*
 * Initializes @handover without connections. Takes @writing. The size of a segment is the memory
 * that connections hold now, divided by @n_workers * HANDOVER_SEGMENTS_PER_WORKER. If the next
 * process reads one segment per worker at a time, these are 1/HANDOVER_SEGMENTS_PER_WORKER of the
 * whole state.
 */
void handover_init(struct handover *handover, int writing, const struct limits *limits,
		   unsigned n_workers);

/* Removes the queue from the store, before any connection was handed over. May block. */
void handover_cancel(struct handover *handover);

/*
 * Returns whether the listening socket @fd is closed with this process, so that its accept queue
 * must be emptied.
 */
bool handover_closes(const struct handover *handover, int fd);

/*
 * Begins the record of a connection. @listener is its listener's name and must stay valid until the
 * record is ended. A record that is not ended is replaced by the next one. Returns 0 or a negative
 * errno.
 */
int handover_begin(struct handover *handover, const char *listener);

/*
 * Adds @n bytes to the record: first all output, then all input, then the names, then the part
 * of TLS. Returns 0 or a
 * negative errno.
 */
int handover_put(struct handover *handover, const void *p, size_t n);

/*
 * Ends the record and fills in the length of the listener's name in @record. Returns 0 or a
 * negative errno.
 */
int handover_end(struct handover *handover, struct state_record *record);

/* Returns whether handover_send() must be called before the next record. */
bool handover_is_full(const struct handover *handover);

/*
 * Completes the segment and queues it with the descriptors @fds of its connections, which stay the
 * caller's. Returns 0, or a negative errno, in which case these connections are lost.
 */
int handover_send(struct handover *handover, const int *fds);

/*
 * Sets the names of the counters: @n strings in @length bytes, each with a NUL. They must stay
 * valid until the last segment is complete. Call it after the last handover_send().
 */
void handover_name_counters(struct handover *handover, const char *names, uint32_t length,
			    uint32_t n);

/*
 * Adds a listener's counters, as many as there are names. Returns 0 or a negative errno.
 */
int handover_add_counters(struct handover *handover, const char *listener, const uint64_t *values);

/*
 * Queues the last segment. Returns 0, after which the process may end, or -EPIPE if the queue has
 * left the store and all connections are lost.
 */
int handover_complete(struct handover *handover);

/* Closes the writing end of the queue and frees. */
void handover_finish(struct handover *handover);

/* Asserts what holds in the state of @handover. */
void handover_check_invariant(const struct handover *handover);

/* A mapped segment, released with the last of its connections. */
struct takeover_segment;

/* A connection from the previous process. */
struct takeover_connection {
	int fd;			   /* -1: no descriptor was available */
	const uint8_t *connection; /* for state_read() */
	struct takeover_segment *segment;
};

/* The incoming side. handover.c has the table of transitions. */
enum takeover_state {
	TAKEOVER_NONE, /* nothing was handed over, or everything has been released */
	TAKEOVER_RECEIVING,
	TAKEOVER_WHOLE, /* the last segment has been received, and it has the counters */
	TAKEOVER_CUT,	/* the previous process ended before it queued the last segment */
};

/* The connections handed over by the previous process. Zeroed: none. */
struct takeover {
	uint8_t state; /* enum takeover_state */
	struct takeover_connection *connections;
	size_t n; /* number of connections; those without a descriptor come last */
	size_t n_without_fd;
	size_t capacity;
	size_t n_taken; /* taken by takeover_take() */
	struct takeover_segment *last;
	struct state_reader counters; /* for state_next_counters() */
	uint64_t numbered;	      /* number of the latest connection */
	uint64_t n_lost;	      /* connections with an unusable state */
	int error;		      /* and why: of the last one, a negative errno */
};

/* Returns whether @fd, passed by the service manager, belongs to a hand-over. */
bool takeover_is_part(const struct systemd_fd *fd);

/*
 * Removes the hand-over from the store. Waits up to 5 s until it has left. Returns 0, -ETIMEDOUT if
 * the service manager has not handled that yet (systemd_barrier() waits longer), or another
 * negative errno.
 */
int takeover_withdraw(void);

/*
 * Receives and checks the hand-over after takeover_withdraw(), whose last result is @withdrawn.
 * @fds are the @n descriptors that takeover_is_part() identified. Closes them and frees their
 * names, but not the array. Keeps at most @max_fds descriptors of connections; further connections
 * get none. Returns 0 and gives *@ret_takeover to the caller. Otherwise the connections are closed,
 * and it returns -EPROTO (another version), -ENODATA (no segment) or another negative errno.
 */
int takeover_init(struct systemd_fd *fds, size_t n, int withdrawn, uint64_t max_fds,
		  struct takeover *ret_takeover);

/*
 * Receives and checks everything in the queue @reading, which stays the caller's; takeover_init()
 * without the store. @ret_takeover is initialized in any case.
 */
int takeover_receive(int reading, uint64_t max_fds, struct takeover *ret_takeover);

/*
 * Gives the next connection to the caller, who must call takeover_release(). Returns false after
 * the last one.
 */
bool takeover_take(struct takeover *takeover, struct takeover_connection *ret_connection);

/* Gives the last connection to the caller if it has no descriptor; otherwise returns false. */
bool takeover_drop(struct takeover *takeover, struct takeover_connection *ret_connection);

/*
 * Releases the state of @connection and closes its descriptor unless that is -1. Any thread. A
 * second call does nothing.
 */
void takeover_release(struct takeover_connection *connection);

/* Releases the connections that were not taken. */
void takeover_finish(struct takeover *takeover);

/* Asserts what holds in the state of @takeover. */
void takeover_check_invariant(const struct takeover *takeover);
