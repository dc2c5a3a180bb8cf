#pragma once

/*
 * Connections out of one process and into the next. The descriptors are queued as SCM_RIGHTS in a
 * stream socket pair, whose reading end goes to the service manager's store together with a sealed
 * memfd that holds the state: a descriptor each would cost the service manager quadratic time.
 *
 * The next process takes both out of the store before it looks into them: a state that makes it
 * fail must not come back on every start.
 */

#include "ackd/state.h"
#include "ackd/systemd.h"

/* The most descriptors that one message can carry (SCM_MAX_FD of Linux). */
#define HANDOVER_BATCH 253

/* What a process hands over. */
struct handover {
	int writing; /* descriptors are queued here */
	int reading;
	struct state_writer writer;
	uint64_t n_lost; /* connections that could not be added, */
	int error;	 /* and why: of the last one */
};

/*
 * Begins with no connection. Returns 0 or a negative errno: also when the service manager does not
 * answer, who would take nothing. May block.
 */
int handover_init(struct handover *handover);

/*
 * Queues the descriptors (1 to HANDOVER_BATCH) of the connections that were added to the writer
 * last, in their order. They stay the caller's. Returns 0 or a negative errno.
 */
int handover_send(struct handover *handover, const int *fds, size_t n);

/*
 * Completes the state and gives everything to the store, with a barrier: when this returns 0 the
 * process may end. @numbered: see state_seal(). May block. Returns 0 or a negative errno.
 */
int handover_store(struct handover *handover, uint64_t numbered);

/* Closes our ends; what has not been stored is lost. */
void handover_finish(struct handover *handover);

/* What the process before has handed over. Zeroed: nothing. */
struct takeover {
	struct state_reader reader;
	uint8_t *bytes; /* mapped */
	size_t length;
	int *fds; /* in the order of the state's connections; -1: given away */
	size_t n_fds;
};

/* Whether @fd, passed by the service manager, is part of what was handed over. */
bool takeover_is_part(const struct systemd_fd *fd);

/*
 * Takes what was handed over out of the store, then checks it and receives the descriptors. @fds
 * are the @n that takeover_is_part() found; they are consumed. May block. Returns 0 and the
 * caller's *@ret_takeover; or -EBADMSG, -EPROTO (see state_open()), -ENODATA (descriptors are
 * missing) or another negative errno, and the connections are closed.
 */
int takeover_init(struct systemd_fd *fds, size_t n, struct takeover *ret_takeover);

/* Closes the descriptors that were not given away, and unmaps the state. */
void takeover_finish(struct takeover *takeover);
