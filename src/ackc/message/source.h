#pragma once

/*
 * What ping and load send: numbered lines that they make up, or the pieces of a file. The same
 * number always gives the same message, so that a reply can be checked without keeping what was
 * sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The smallest message: one byte and its LF. */
#define SOURCE_SIZE_MIN 2
#define SOURCE_SIZE_MAX (16U << 20)
/* The longest file that is sent. */
#define SOURCE_FILE_MAX (256U << 20)
/* Connection and number as eight hexadecimal digits each, the latter modulo 2^32. */
#define SOURCE_HEAD 16

struct message {
	union {
		/* The numbers; then the body; then the terminator. */
		uint8_t head[SOURCE_HEAD];
		/* The same, for where a message is made or checked in a few nanoseconds. */
		uint64_t words[SOURCE_HEAD / 8];
	};
	uint32_t head_n; /* 0 for a piece of a file */
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
 * Reads the file at @path, to be cut into messages. Returns 0 or a negative errno: -ENODATA for an
 * empty file, -EFBIG for one of more than SOURCE_FILE_MAX bytes.
 */
int source_read(const char *path, struct source *ret_source);

/*
 * Makes messages of the file that was read: its lines (each with its terminator; LF is added to a
 * last one without), or with @lines false pieces of at most @size bytes that end where characters
 * do. Returns 0 or -ENOMEM.
 */
int source_cut(struct source *s, bool lines, size_t size);

/* Releases the bytes and pieces. */
void source_finish(struct source *s);

/* source_message() for the pieces of a file, and for messages too short for the whole head. */
void source_other_message(const struct source *s, uint32_t connection, uint64_t index,
			  struct message *ret_message);

/*
 * Returns the eight hexadecimal digits of @value, in the order of memory. It is done twice a
 * message and so all digits at a time: each half byte is spread to a byte of its own, and those
 * above 9 get what leads to letters.
 */
static inline uint64_t source_hex(uint32_t value)
{
	uint64_t x = ((uint64_t)value << 16 | value) & 0x0000FFFF0000FFFF;
	uint64_t letters;

	x = (x << 8 | x) & 0x00FF00FF00FF00FF;
	x = (x << 4 | x) & 0x0F0F0F0F0F0F0F0F;
	letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
	x += 0x3030303030303030 + letters * ('a' - '0' - 10);
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(x) : x;
}

/* Gives message @index of connection @connection; it points into @s. */
static inline void source_message(const struct source *s, uint32_t connection, uint64_t index,
				  struct message *ret_message)
{
	if (s->pieces || s->size_max <= SOURCE_HEAD) {
		source_other_message(s, connection, index, ret_message);
		return;
	}
	ret_message->words[0] = source_hex(connection);
	ret_message->words[1] = source_hex((uint32_t)index);
	ret_message->head_n = SOURCE_HEAD;
	ret_message->body_n = (uint32_t)s->n_bytes;
	ret_message->body = s->bytes;
	ret_message->terminator = (const uint8_t *)"\n";
	ret_message->terminator_n = 1;
}

static inline size_t message_size(const struct message *m)
{
	return (size_t)m->head_n + m->body_n + m->terminator_n;
}

/* Writes the message to @out, which has room for it; returns its length in bytes. */
static inline size_t message_copy(const struct message *m, uint8_t *out)
{
	uint8_t *p = out;

	if (m->head_n == SOURCE_HEAD) {
		memcpy(p, &m->words[0], 8);
		memcpy(p + 8, &m->words[1], 8);
	} else {
		memcpy(p, m->head, m->head_n);
	}
	p += m->head_n;
	memcpy(p, m->body, m->body_n);
	p += m->body_n;
	for (uint32_t i = 0; i < m->terminator_n; i++)
		p[i] = m->terminator[i];
	return message_size(m);
}

/* Whether the bytes at @p are those of the message's head. */
static inline bool message_head_matches(const struct message *m, const uint8_t *p)
{
	uint64_t words[SOURCE_HEAD / 8];

	if (m->head_n != SOURCE_HEAD)
		return memcmp(p, m->head, m->head_n) == 0;
	memcpy(&words[0], p, 8);
	memcpy(&words[1], p + 8, 8);
	return words[0] == m->words[0] && words[1] == m->words[1];
}
