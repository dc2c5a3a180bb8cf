#pragma once

/*
 * The load client of the benchmark. It shares no code with the project's own client and daemon, so
 * that a common error cannot hide. It reads the server's processor time when no message is in
 * flight, so that time and messages match exactly.
 */

#include "corpus.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct options {
	uint16_t port;
	const char *path; /* of a UNIX socket, for trickle */
	pid_t session;	  /* the server's, to be measured; 0: none */
	unsigned conns;	  /* connections; for churn those that are open at a time */
	struct corpus_options corpus;
	double warm_seconds; /* before the measured phase */
	double seconds;
	uint64_t count; /* messages a connection in place of seconds; 0: none */
	bool tls;
	bool handshakes; /* churn: no message */
	bool spin;	 /* never sleep, so that wake-ups of the client do not count */
	int server_cpu;	 /* for start; -1: any */
	char **command;	 /* for start */
};

/*
 * The commands. Each prints one JSON object and returns 0, or reports the error on stderr and
 * returns an exit status: 1 the network or the server failed, 2 a reply was wrong.
 */

/* Closed loop: each connection sends a message, compares the reply, and sends the next. */
int client_load(const struct options *options);

/*
 * Connect, exchange one message unless only handshakes are wanted, half-close, wait for the end,
 * close; repeated until time is up.
 */
int client_churn(const struct options *options);

/* Opens the connections, exchanges one message on each, and reports their memory. */
int client_idle(const struct options *options);

/* Starts the command and reports the time until a message has been answered. */
int client_start(const struct options *options);

/* Sends one message a byte at a time, and reports the server's time per byte. */
int client_trickle(const struct options *options);

/* Shared by the commands. */

/* Returns CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/* Returns a blocking connection to @port of this host, or a negative errno. */
int dial(uint16_t port);

/* Raises the descriptor limit and checks that @n connections fit. Returns 0 or an exit status. */
int raise_descriptor_limit(unsigned n);
