#pragma once

/*
 * An endpoint: one bound address and its listening sockets. A TCP address has one SO_REUSEPORT
 * socket per worker if the kernel spreads connections over them, and the store has room for them;
 * otherwise workers share sockets. Endpoints belong to the server (socket_set.h) and outlive
 * reloads.
 *
 * Closing a listening socket resets the connections in its accept queue and those whose handshake
 * is under way. An endpoint that is no longer needed is therefore retired first: it gets no new
 * connections, but completes the handshakes that have begun. It is closed ENDPOINT_RETIRED_MS
 * later.
 */

#include "base/address.h"
#include "base/list.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The identity of a file, independent of its name. */
struct file_id {
	dev_t device;
	ino_t inode; /* 0: unknown */
};

enum endpoint_state {
	ENDPOINT_NEW,	    /* bound by the change under way */
	ENDPOINT_INHERITED, /* from the service manager, not in effect yet */
	ENDPOINT_ACTIVE,    /* in effect */
	ENDPOINT_RETIRED,   /* gets no new connections and cannot be reused */
};

struct endpoint {
	struct list node;		    /* in the server's set */
	uint8_t state;			    /* enum endpoint_state */
	char *listener;			    /* name of the listener that it serves */
	bool metrics;			    /* it serves the metrics instead */
	struct sockaddr_storage configured; /* the requested address: the port may be 0 */
	struct sockaddr_storage bound;
	socklen_t length;
	bool passed; /* by socket activation: the service manager keeps it and sets its backlog */
	char *stored_as;     /* its name in the service manager's store, or NULL */
	struct file_id file; /* file of a UNIX socket: only ackd's own file is changed or removed */
	unsigned n_fds;
	int *fds;
	struct { /* its use after the change under way, see socket_set.h */
		bool needed;
		size_t user; /* index in the candidate */
		struct sockaddr_storage configured;
	} next;
};

/* Options from the settings of the listener and the daemon. */
struct endpoint_options {
	unsigned n_sockets; /* number of SO_REUSEPORT sockets if the address is TCP */
	unsigned backlog;
	bool freebind;
	bool shared; /* the address overlaps that of an endpoint that is about to be retired */
	mode_t mode;
	uint64_t idle_timeout_ms; /* these two are for endpoint_set_timeouts() */
	unsigned keepalive_s;
};

/*
 * How long a retired endpoint stays open. A lost SYN-ACK is sent again after one second, which
 * leaves time for the client's answer.
 */
#define ENDPOINT_RETIRED_MS 2000

/*
 * Binds without listening; endpoint_listen() must follow. Fails if any other socket, including
 * another ackd's, listens on the address. A UNIX socket's file on which no process listens is
 * replaced. With @options->shared the address may overlap that of listening sockets of the same
 * user that have SO_REUSEPORT. Returns 0 and gives *@ret_endpoint (ENDPOINT_NEW, in no list) to the
 * caller, or a negative errno.
 */
int endpoint_create(const char *listener, const struct sockaddr *address, socklen_t length,
		    const struct endpoint_options *options, struct endpoint **ret_endpoint);

/*
 * Begins to listen on a new endpoint, or applies changed options (backlog, mode, timeout) to one
 * that listens. The mode of a UNIX socket's file is changed only if it is still ackd's; the backlog
 * of a passed socket is not changed. Returns 0, or a negative errno, after which a new @endpoint
 * can only be destroyed.
 */
int endpoint_listen(struct endpoint *endpoint, const struct endpoint_options *options);

/* Asserts what holds in each state. */
void endpoint_check_invariant(const struct endpoint *endpoint);

/* Makes @endpoint, which is new or inherited, active. Does nothing if it is active. */
void endpoint_activate(struct endpoint *endpoint);

/*
 * Stops new connections to @endpoint: removes its sockets from the kernel's look-up of listening
 * sockets, or removes a UNIX socket's file if it is still ackd's. New connections go to other
 * sockets or are refused. Handshakes under way are completed, and the accept queue is kept. This
 * cannot be undone. Before Linux 5.7 a TCP socket gets connections until it is closed. A passed
 * socket is not changed, because the service manager continues to use it.
 */
void endpoint_retire(struct endpoint *endpoint);

/*
 * Returns whether the kernel permits binding to an address that overlaps that of @endpoint. Its
 * sockets must belong to the present user. Sockets from the store may belong to another user after
 * a change of User=.
 */
bool endpoint_is_own(const struct endpoint *endpoint);

/*
 * Returns whether sockets at the address of @endpoint and at @address conflict: they have the same
 * UNIX socket file, or the same TCP family and port and either the same address or a wildcard.
 */
bool endpoint_overlaps(const struct endpoint *endpoint, const struct sockaddr_storage *address);

/*
 * Returns whether @endpoint was bound for the configured @address. For an endpoint of @listener
 * from the store, port 0 matches any port, so a restart keeps the port that the kernel chose. False
 * for passed and retired endpoints.
 */
bool endpoint_matches(const struct endpoint *endpoint, const struct sockaddr_storage *address,
		      const char *listener);

/*
 * Creates an endpoint from a passed listening socket and adds it to @endpoints. Takes @fd, even on
 * failure. Returns 0 and *@ret_endpoint (the list's), -EINVAL when @fd is not a listening stream
 * socket, or another negative errno.
 */
int endpoint_adopt(const char *listener, int fd, struct list *endpoints,
		   struct endpoint **ret_endpoint);

/*
 * Adds a listening socket from the store, named @stored_as there, to the endpoint of its address in
 * @endpoints, creating it if necessary. @file identifies the file of a UNIX socket; an unknown file
 * is neither changed nor removed. Takes @fd, even on failure. Returns 0, -EINVAL when @fd is not a
 * listening stream socket, -ENOENT when the file of a UNIX socket is no longer at its path, or
 * another negative errno.
 */
int endpoint_restore(const char *listener, const char *stored_as, struct file_id file, int fd,
		     struct list *endpoints);

/* Returns an endpoint in @endpoints that was passed for @listener, or NULL. */
struct endpoint *endpoint_find_passed(const struct list *endpoints, const char *listener);

/*
 * Sets TCP_USER_TIMEOUT of a TCP socket to the idle timeout; 0: never. Keepalive probes begin after
 * @keepalive_s without data; 0: there are none. Accepted connections inherit both from their
 * listening socket.
 */
void endpoint_set_timeouts(int fd, uint64_t idle_timeout_ms, unsigned keepalive_s);

/*
 * Removes @endpoint from its list, closes the sockets and frees. Removes a UNIX socket's file if it
 * is still ackd's and the socket is not in the store. Accepts NULL.
 */
void endpoint_destroy(struct endpoint *endpoint);
