#pragma once

/*
 * The input that a worker has received in one loop iteration. All ready sockets are read first,
 * then the sessions answer, then the answers are sent. The code of each step thus stays in the
 * nearest caches from one connection to the next; kernel code would displace it in between. The
 * size of a turn is limited so that its bytes stay there, too.
 */

#include "core/session/session.h"

/* Limits of a turn; reaching either one ends it. */
#define TURN_READS_MAX 64
#define TURN_BYTES_MAX ((size_t)64 * 1024)

/* The buffer of a turn. A read that begins one byte below the limit must still fit. */
#define TURN_BUFFER_BYTES (TURN_BYTES_MAX + SESSION_READ_MAX)

/* Reads are aligned to cache lines. */
#define TURN_ALIGNMENT ((size_t)64)

struct conn;
struct reactor;

struct turn_read {
	struct conn *conn;
	struct iovec bytes; /* the input; later the answer that remains to be sent */
};

struct turn {
	uint8_t *buffer; /* TURN_BUFFER_BYTES */
	size_t n_bytes;	 /* where the next read begins */
	unsigned n_reads;
	struct turn_read reads[TURN_READS_MAX];
};

/* Returns the buffer position for the next read, with room for SESSION_READ_MAX bytes. */
static inline uint8_t *turn_room(const struct turn *turn)
{
	return turn->buffer + turn->n_bytes;
}

/*
 * Adds the @n bytes that @c has received at turn_room(). Returns whether the turn must be answered
 * now.
 */
static inline bool turn_add(struct turn *turn, struct conn *c, size_t n)
{
	turn->reads[turn->n_reads++] = (struct turn_read){c, {turn_room(turn), n}};
	turn->n_bytes += (n + TURN_ALIGNMENT - 1) & ~(TURN_ALIGNMENT - 1);
	return turn->n_reads == TURN_READS_MAX || turn->n_bytes >= TURN_BYTES_MAX;
}

/*
 * Answers the input that the connections of @reactor have received in this loop iteration. Called
 * after all ready connections have been read, and before any other event of one of them is handled.
 */
void turn_answer(struct reactor *reactor);
