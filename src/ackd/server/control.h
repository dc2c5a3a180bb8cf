#pragma once

/*
 * How "ackd --reload" makes a running ackd reload and learns the result. The daemon listens on a
 * UNIX socket to which only its user and root can connect. A connection is a request. The answer is
 * one byte, the exit status, after which the connection is closed.
 *
 * The socket is "control" in the service's $RUNTIME_DIRECTORY. Without that variable, as when ackd
 * is started by hand, it is "ackd-PID.control" in /run for root and in /run/user/UID for any other
 * user. No other user can create files there. Systems other than Linux have /var/run instead of
 * /run, without directories of users.
 */

#include "ackd/server/exit_status.h"
#include "ackd/sockets/endpoint.h"

#include <uv.h>

/* How many requests one reload answers; further ones wait for the next reload. */
#define CONTROL_WAITING_MAX 16

/* The daemon's side. Zeroed: no socket. Main thread. */
struct control {
	struct endpoint *endpoint; /* NULL: no socket */
	uv_poll_t poll;
	void (*on_request)(void *data);
	void *data;
	int waiting[CONTROL_WAITING_MAX]; /* connections of unanswered requests */
	unsigned n_waiting;
};

/*
 * Begins to listen. If that fails, the failure is logged and there is no socket. @on_request is
 * called when requests have arrived; control_report() or control_drop() must follow.
 */
void control_init(struct control *control, uv_loop_t *loop, void (*on_request)(void *data),
		  void *data);

/* Stops accepting requests until control_accept() is called. New requests wait in the queue. */
void control_hold(struct control *control);

/* Accepts requests, also after an error. */
void control_accept(struct control *control);

/* Answers all waiting requests with @status. Never blocks. */
void control_report(struct control *control, enum exit_status status);

/* Closes all waiting requests without an answer, because the daemon ends. */
void control_drop(struct control *control);

/* Removes the socket and drops waiting requests. The loop must have closed the handle. */
void control_finish(struct control *control);

/*
 * The action of "ackd --reload" after checking the configuration. Asks the daemon of
 * $RUNTIME_DIRECTORY, or without that variable the process $MAINPID, to reload. Waits for the
 * result and returns it. Errors are written to stderr.
 */
enum exit_status control_reload(void);
