#pragma once

/*
 * What one process tells the next about the connections that it hands over: a sealed block of
 * bytes, with a version, lengths and a checksum. Pure: no descriptors, no I/O. Nothing in it is
 * believed before the whole of it has been checked.
 */

#include "ackd/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A state of another version is not understood, up or down. */
#define STATE_VERSION 1

/* The most numbers that a listener's counters are. */
#define STATE_COUNTERS_MAX 64

/* No state is larger: what all connections may hold, and their records. */
#define STATE_SIZE_MAX ((size_t)1 << 32)

/* One connection. */
struct state_connection {
	const char *listener; /* its name, NUL-terminated */
	struct address address;
	uint64_t connection; /* its number */
	uint64_t received;   /* offset of the first byte of @input */
	uint64_t line_start; /* offset of the current line's first byte */
	uint64_t messages;
	uint64_t sent; /* bytes that the socket has taken */
	bool ended;    /* the peer has closed its side */
	bool done;     /* after @output no reply follows: shut down */
	bool skipping; /* the rest of the current line is dropped */
	bool sent_anything;
	uint8_t last_byte;    /* the last byte of the replies so far, @output included */
	const uint8_t *input; /* received and not answered */
	size_t input_length;
	const uint8_t *output; /* answered and not delivered */
	size_t output_length;
};

/* The counters of one listener. */
struct state_counters {
	const char *listener;
	size_t n;
	uint64_t values[STATE_COUNTERS_MAX];
};

/* A state under construction. Zeroed: empty. */
struct state_writer {
	uint8_t *bytes;
	size_t length;
	size_t capacity;
	uint32_t n_connections;
	uint32_t n_counters;
};

/*
 * Adds a connection. Returns 0, -ENOMEM, or -EFBIG when the state would be too large; then nothing
 * was added.
 */
int state_add(struct state_writer *writer, const struct state_connection *connection);

/*
 * Adds a listener's counters; all of them come after the connections. Returns as state_add() does.
 */
int state_add_counters(struct state_writer *writer, const struct state_counters *counters);

/* A place in a state under construction, to go back to. */
struct state_mark {
	size_t length;
	uint32_t n_connections;
};

/* Returns where the state ends now. */
struct state_mark state_mark(const struct state_writer *writer);

/* Removes every connection that was added after @mark. */
void state_truncate(struct state_writer *writer, const struct state_mark *mark);

/*
 * Completes the state: @numbered is the number of the last connection so far. Its bytes are
 * writer->bytes and writer->length. Returns 0 or -ENOMEM.
 */
int state_seal(struct state_writer *writer, uint64_t numbered);

/* Releases the bytes. */
void state_writer_finish(struct state_writer *writer);

/* A state that is being read. The bytes outlive it and what it gives out. */
struct state_reader {
	const uint8_t *next;
	const uint8_t *end;
	uint32_t n_connections;
	uint32_t n_counters;
	const uint8_t *counters;
	uint64_t numbered;
};

/*
 * Checks all @length bytes. Returns 0, -EBADMSG (damaged) or -EPROTO (another version).
 */
int state_open(const uint8_t *bytes, size_t length, struct state_reader *ret_reader);

/* Gives the next connection. Returns false after the last one. */
bool state_next(struct state_reader *reader, struct state_connection *ret_connection);

/* Gives the next listener's counters. Returns false after the last one. */
bool state_next_counters(struct state_reader *reader, struct state_counters *ret_counters);
