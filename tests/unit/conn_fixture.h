#pragma once

/*
 * A thread's loop that the test owns and steps, with one listener whose connections are socket
 * pairs. The program's clocks stand still unless the test moves them.
 */

#include "ackd/config/config.h"
#include "ackd/conn/conn.h"
#include "ackd/conn/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* More loop iterations than any test needs. */
#define STEPS_MAX 10000

struct fixture {
	struct counters counters;
	struct limits limits;
	struct reactor reactor;
	struct config *config;
	struct listener *listener; /* the test's own reference */
};

/* Initializes the loop, and a listener with the configuration @text. */
void begin(struct fixture *f, const char *text);

/* Replaces the listener by one with the configuration @text, as a reload does. */
void reload(struct fixture *f, const char *text);

/*
 * Expects that the connections end, and that they have released everything. Releases the rest. The
 * test has closed its ends of the sockets.
 */
void end(struct fixture *f);

/* Runs one iteration of the loop, then checks the invariants of all connections. */
void step(struct fixture *f);

/* Moves the clocks by @ms and runs the timers that are due, with what they begin. */
void advance(struct fixture *f, uint64_t ms);

/* Runs iterations until the loop has freed all connections. */
void until_empty(struct fixture *f);

/*
 * Connects a client, which is admitted or refused. Returns its end of the socket pair, which is
 * non-blocking. connect_from() sets its address.
 */
int connect_client(struct fixture *f);
int connect_from(struct fixture *f, const char *ip);

/* Like connect_client(), but with small socket buffers. */
int connect_small(struct fixture *f);

/* Returns the connection that began last, of those in the queue @class. */
struct conn *last_conn(const struct fixture *f, enum conn_queue_class class);

/* Returns the number of connections in the queue @class of the listener. */
unsigned queue_length(const struct fixture *f, enum conn_queue_class class);

/* Sends all of @text. */
void say(int fd, const char *text);

/* Runs one iteration. Expects that the client then receives exactly @text, and no end. */
void expect(struct fixture *f, int fd, const char *text);

/* Runs one iteration. Expects the end of the data, or a reset. */
void expect_end(struct fixture *f, int fd);
void expect_reset(struct fixture *f, int fd);

/* Sends to @fd until the connection does not read any more. Returns the number of bytes. */
size_t fill(struct fixture *f, int fd);

/* Receives @n bytes while the loop runs. Returns them; the caller frees them. */
char *receive_all(struct fixture *f, int fd, size_t n);

/* Returns the value of a counter of the listener. */
uint64_t count_of(const struct fixture *f, unsigned counter);

/* Returns how many connections that were served have ended for @reason. */
uint64_t count_closed(const struct fixture *f, enum conn_reason reason);

/* Uses up the memory budget except for @left bytes; give_memory() ends that. */
void take_memory(struct fixture *f, size_t left);
void give_memory(struct fixture *f);
