#pragma once

/*
 * How "ackd --reload" makes a running ackd reload and learns the outcome: the daemon listens on a
 * UNIX socket that only its user and root can connect to. A connection is a request; the answer is
 * one byte, an exit status, and the close.
 *
 * The socket is "control" in $RUNTIME_DIRECTORY, the service's own directory. Without that
 * variable, as when someone starts ackd by hand, it is "ackd-PID.control" in /run for root, and in
 * /run/user/UID for any other user. Nobody else can create files there.
 */

#include "ackd/server/exit_status.h"
#include "ackd/sockets/binding.h"

#include <uv.h>

/* How many requests one reload answers; further ones wait for the next. */
#define CONTROL_WAITING_MAX 16

/* The daemon's side. Zeroed: there is no socket. Main thread. */
struct control {
	struct binding *binding; /* NULL: there is no socket */
	uv_poll_t poll;
	void (*on_request)(void *data);
	void *data;
	int waiting[CONTROL_WAITING_MAX]; /* connections of requests that are not answered */
	unsigned n_waiting;
};

/*
 * Begins to listen. @on_request is called once requests have come; control_report() or
 * control_drop() is to follow.
 * Without a place for the socket there is none, which is logged.
 */
void control_init(struct control *control, uv_loop_t *loop, void (*on_request)(void *data),
		  void *data);

/* Takes no requests until control_accept() is called: those that come wait. */
void control_hold(struct control *control);

/* Takes requests again, also after an error. */
void control_accept(struct control *control);

/* Answers the requests that wait with @status. Never blocks. */
void control_report(struct control *control, enum exit_status status);

/* Closes the requests that wait without an answer: the daemon ends. */
void control_drop(struct control *control);

/* Removes the socket and drops what waits. The loop has closed the handle. */
void control_finish(struct control *control);

/*
 * What "ackd --reload" does once it has checked the configuration: asks the daemon of
 * $RUNTIME_DIRECTORY, or without that variable the process $MAINPID, to reload, waits for the
 * outcome and returns it. Errors go to stderr.
 */
enum exit_status control_reload(void);
