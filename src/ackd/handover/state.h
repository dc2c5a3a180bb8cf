#pragma once

/*
 * The state of connections that one process hands over to the next, divided into segments. A
 * segment is a struct state_header, the records of connections, then the counters of listeners.
 * Counters have names, so that versions with other counters understand each other. Numbers use the
 * machine's representation, because no segment leaves the machine. Pure: no descriptors, no I/O. No
 * part of a segment is used before the whole has been checked.
 */

#include "base/address.h"
#include "core/session/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A state of any other version is rejected. */
#define STATE_VERSION 8

struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t n_connections;
	uint32_t n_counters;
	uint32_t is_last;  /* 0 or 1: no segment follows */
	uint64_t length;   /* of the segment, header included */
	uint64_t numbered; /* number of the latest connection */
	uint64_t checksum; /* of the bytes after the header */
};

/*
 * A connection. The listener's name, the output, the input, the names and the part of TLS follow
 * the record.
 */
struct state_record {
	uint64_t connection; /* its number; 0: its PROXY header is incomplete */
	uint64_t sent;	     /* bytes that the socket has accepted; see @counted */
	struct session_place place;
	struct address address;
	uint8_t ended;		 /* 0 or 1: the peer has closed its side */
	uint8_t listener_length; /* with the NUL */
	/*
	 * unique ID, authority and destination from a PROXY header, and subject of the client's
	 * certificate, with their NULs; 0: none
	 */
	uint16_t names_length;
	uint32_t output_length; /* undelivered replies, with TLS their records */
	uint32_t input_length;	/* unanswered input */
	uint32_t tls_length;	/* 0: no TLS; conn/tls.c has the format */
	int16_t error;		/* see struct conn */
	uint8_t end_reason;	/* enum conn_reason; not CONN_OPEN: it ends after the output */
	uint8_t counted;	/* 0 or 1: @sent, and the listener's counter, include the output */
};

/*
 * The names of the counters, in a segment that has counters. @n strings of @length bytes in all,
 * with their NULs, follow the record.
 */
struct state_names_record {
	uint32_t n;
	uint32_t length;
};

/* The counters of a listener. Its name and 64-bit values in the order of the names follow. */
struct state_counters_record {
	uint8_t listener_length; /* with the NUL */
	uint8_t reserved[7];
};

/* A connection that was read. The pointers point into the segment. */
struct state_connection {
	struct state_record record;
	const char *listener; /* its name, NUL-terminated */
	const uint8_t *output;
	const uint8_t *input;
	const char *proxy_id; /* NUL-terminated, "" for none; the next three likewise */
	const char *authority;
	const char *local;
	const char *tls_subject;
	const uint8_t *tls;
};

/* The counters of a listener that were read. The pointers point into the segment. */
struct state_counters {
	const char *listener;
	const uint8_t *values; /* for state_counter() */
};

/*
 * Fills in magic, version, length and checksum of the header of the segment of @length bytes at
 * @bytes. Ignores the contents of the header's own bytes.
 */
void state_complete(struct state_header *header, const uint8_t *bytes, size_t length);

/* A reader of a segment. The segment must outlive the reader and everything read from it. */
struct state_reader {
	struct state_header header;
	const uint8_t *next;
	uint32_t connections_left;
	const uint8_t *next_counters;
	uint32_t counters_left;
	const char *names; /* of the counters */
	uint32_t n_names;
};

/*
 * Checks all @length bytes of a segment. Returns 0, -EBADMSG (damaged) or -EPROTO (another
 * version).
 */
int state_open(const uint8_t *bytes, size_t length, struct state_reader *ret_reader);

/* Returns the next connection, to be read by state_read(), or NULL after the last one. */
const uint8_t *state_next(struct state_reader *reader);

/* Reads a connection that state_next() has returned. */
struct state_connection state_read(const uint8_t *connection);

/* Returns the place of the counter @name, or -1 if the segment does not have it. */
int64_t state_find_counter(const struct state_reader *reader, const char *name);

/* Reads the next listener's counters. Returns false after the last one. */
bool state_next_counters(struct state_reader *reader, struct state_counters *ret_counters);

/* Returns the counter at @place, a result of state_find_counter(): 0 for -1. */
uint64_t state_counter(const struct state_counters *counters, int64_t place);
