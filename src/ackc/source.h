#pragma once

/*
 * What ping and load send: numbered lines that they make up, or the pieces of a file. The same
 * number always gives the same message, so that a reply can be checked without keeping what was
 * sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The smallest message: one byte and its LF. */
#define SOURCE_SIZE_MIN 2
#define SOURCE_SIZE_MAX (16U << 20)
/* The longest file that is sent. */
#define SOURCE_FILE_MAX (256U << 20)
#define SOURCE_HEAD_MAX 20

struct message {
	uint8_t head[SOURCE_HEAD_MAX]; /* the number; then the body; then the terminator */
	uint32_t head_n;
	uint32_t body_n;
	uint32_t terminator_n; /* 0, LF or CRLF */
	const uint8_t *body;
	const uint8_t *terminator;
};

struct source_piece {
	uint32_t offset;
	uint32_t length; /* with the terminator */
};

/* Immutable once made; shared by the threads. */
struct source {
	size_t size_max; /* of the longest message, in bytes */
	uint8_t *bytes;	 /* a file's text, or the filling of made-up messages */
	size_t n_bytes;
	struct source_piece *pieces; /* NULL: made-up messages */
	size_t n_pieces;
};

/* Makes messages of @size bytes, LF included. Returns 0 or -ENOMEM. */
int source_generate(size_t size, struct source *ret_source);

/*
 * Makes messages of the file at @path: its lines (each with its terminator; LF is added to a last
 * one without), or with @lines false pieces of at most @size bytes that end where characters do.
 * Returns 0, a negative errno, -ENODATA for an empty file or -EFBIG.
 */
int source_read(const char *path, bool lines, size_t size, struct source *ret_source);

void source_finish(struct source *s);

/* Gives message @index of connection @connection; it points into @s. */
void source_message(const struct source *s, uint32_t connection, uint64_t index,
		    struct message *ret_message);

static inline size_t message_size(const struct message *m)
{
	return (size_t)m->head_n + m->body_n + m->terminator_n;
}

/* Writes the message to @out, which has room for it; returns its length in bytes. */
size_t message_copy(const struct message *m, uint8_t *out);
