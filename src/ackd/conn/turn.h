#pragma once

/*
 * What a worker has received in one turn of its loop. First all sockets that are ready are read
 * from, then the sessions answer, then the answers are sent: the instructions of a step are still
 * in the nearest caches for the next connection, where the kernel's would displace them between one
 * connection and the next. A turn takes so little at once that its bytes stay there, too.
 */

#include "core/session/session.h"

/* What is answered at once when it is reached. */
#define TURN_READS_MAX 64
#define TURN_BYTES_MAX ((size_t)64 * 1024)

/* The memory for it: another read may begin where there is one byte less. */
#define TURN_BUFFER_BYTES (TURN_BYTES_MAX + SESSION_READ_MAX)

/* Reads are aligned to cache lines. */
#define TURN_ALIGNMENT ((size_t)64)

struct conn;

struct turn_read {
	struct conn *conn;
	struct iovec bytes; /* what it has received; then the answer that is still to be sent */
};

struct turn {
	uint8_t *buffer; /* TURN_BUFFER_BYTES */
	size_t n_bytes;	 /* where the next read begins */
	unsigned n_reads;
	struct turn_read reads[TURN_READS_MAX];
};

/* Returns where SESSION_READ_MAX bytes may be received. */
static inline uint8_t *turn_room(const struct turn *turn)
{
	return turn->buffer + turn->n_bytes;
}

/* Adds the @n bytes that @c has received there. Returns whether the turn must be answered now. */
static inline bool turn_add(struct turn *turn, struct conn *c, size_t n)
{
	turn->reads[turn->n_reads++] = (struct turn_read){c, {turn_room(turn), n}};
	turn->n_bytes += (n + TURN_ALIGNMENT - 1) & ~(TURN_ALIGNMENT - 1);
	return turn->n_reads == TURN_READS_MAX || turn->n_bytes >= TURN_BYTES_MAX;
}
