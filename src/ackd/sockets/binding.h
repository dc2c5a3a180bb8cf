#pragma once

/*
 * Listening sockets: one binding per bound address, with one SO_REUSEPORT socket per worker where
 * that makes sense, else one that the workers share. They belong to the server and outlive reloads.
 *
 * Closing a listening socket resets the connections in its accept queue, and those whose handshake
 * is under way. So a binding that goes is first retired: it gets no new connections, but completes
 * the handshakes that it has begun. It is closed BINDING_RETIRED_MS later.
 */

#include "base/address.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* What a file is, whatever its name. */
struct file_id {
	dev_t device;
	ino_t inode; /* 0: unknown */
};

struct binding {
	struct binding *next;
	char *listener;			    /* name of the listener that it serves */
	struct sockaddr_storage configured; /* what was asked for: the port may be 0 */
	struct sockaddr_storage bound;
	socklen_t length;
	bool passed;	     /* by socket activation: the service manager's, with its own backlog */
	bool retired;	     /* gets no new connections, and cannot be used again */
	char *stored_as;     /* its name in the service manager's store, or NULL */
	struct file_id file; /* of a UNIX socket, so that only our own is changed or removed */
	unsigned n_fds;
	int *fds;
};

/* How to bind, from the listener's settings and the daemon's. */
struct binding_options {
	unsigned n_sockets; /* SO_REUSEPORT sockets, if the address is TCP */
	int backlog;
	bool freebind;
	bool shared; /* the address overlaps that of a binding which is about to be retired */
	mode_t mode;
	uint64_t idle_timeout_ms; /* for TCP_USER_TIMEOUT */
};

/*
 * How long a retired binding stays open. A SYN-ACK that is lost is sent again after one second;
 * this is enough for its answer.
 */
#define BINDING_RETIRED_MS 2000

/*
 * Binds; binding_listen() must follow. Does not take over an address that anyone, another ackd too,
 * listens on; a UNIX socket's file that nobody listens on is replaced. With @options->shared the
 * address may overlap that of listening sockets of the same user that have SO_REUSEPORT. Returns 0
 * and the caller's *@ret_binding, or a negative errno.
 */
int binding_create(const char *listener, const struct sockaddr *address, socklen_t length,
		   const struct binding_options *options, struct binding **ret_binding);

/*
 * Begins to listen on a binding that binding_create() has made. Returns 0, or a negative errno and
 * @binding is only to be destroyed.
 */
int binding_listen(struct binding *binding, const struct binding_options *options);

/*
 * Takes the sockets of @binding out of the kernel's look-up of listening sockets, or removes a UNIX
 * socket's file if it is still ours: new connections go to other sockets or are refused. Handshakes
 * under way are completed, and what is in the accept queue stays there. It cannot be undone. Before
 * Linux 5.7 a TCP socket gets connections until it is closed. @binding is not passed.
 */
void binding_retire(struct binding *binding);

/*
 * Whether the kernel lets us bind to an address that overlaps that of @binding: its sockets must be
 * the user's that we run as. Those from the store may be another's, after a change of User=.
 */
bool binding_is_own(const struct binding *binding);

/*
 * Whether sockets at the address of @binding and at @address conflict: the same UNIX path, or TCP
 * with the same family, port and address, or with an address that is the wildcard.
 */
bool binding_overlaps(const struct binding *binding, const struct sockaddr_storage *address,
		      socklen_t length);

/*
 * Makes a binding of a listening socket that was passed to us. @fd is the binding's from here on,
 * even when this fails. Returns 0, -EINVAL when @fd is not a listening stream socket, or another
 * negative errno.
 */
int binding_adopt(const char *listener, int fd, struct binding **ret_binding);

/*
 * Adds a listening socket that was kept in the store under @stored_as to the binding of its address
 * in the list *@bindings, which is made if there is none. @file is that of a UNIX socket; one that
 * is unknown is neither changed nor removed. @fd is the binding's from here on, even when this
 * fails. Returns 0, -EINVAL when @fd is not a listening stream socket, -ENOENT when it is a UNIX
 * socket and
 * @file is not at its path any more, or another negative errno.
 */
int binding_readopt(const char *listener, const char *stored_as, struct file_id file, int fd,
		    struct binding **bindings);

/*
 * Puts changed options (backlog, mode, time-out) of a reload into effect: the mode of a UNIX
 * socket's file if that is still ours.
 */
void binding_configure(struct binding *binding, const struct binding_options *options);

/*
 * Sets TCP_USER_TIMEOUT of a TCP socket to the idle time-out; 0: never. Accepted connections
 * inherit it from their listening socket.
 */
void binding_set_timeout(int fd, uint64_t idle_timeout_ms);

/*
 * Closes the sockets, removes a UNIX socket's file if it is still ours and no store has the socket,
 * and frees. NULL is fine.
 */
void binding_destroy(struct binding *binding);
