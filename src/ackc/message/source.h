#pragma once

/*
 * The messages of ping and load: generated numbered texts, or pieces of a file. The same number
 * always gives the same message, so replies are checked without storing what was sent.
 */

#include "ackc/message/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The minimum size: one byte and LF. */
#define SOURCE_SIZE_MIN 2
#define SOURCE_SIZE_MAX (16U << 20)
/* The maximum size of a file to send. */
#define SOURCE_FILE_MAX (256U << 20)
/* The connection and the message number (modulo 2^32) as eight hexadecimal digits each. */
#define SOURCE_HEAD 16

/* The buffer size for the error of source_cut_texts(). */
#define SOURCE_WORDS_MAX (FRAME_WORDS_MAX + 30)

struct message {
	union {
		/* The numbers. The body and the terminator follow. */
		uint8_t head[SOURCE_HEAD];
		/* The same as words, for fast generation and comparison. */
		uint64_t words[SOURCE_HEAD / 8];
	};
	uint32_t head_n; /* 0 for a piece of a file */
	uint32_t body_n;
	uint32_t terminator_n; /* LF, CRLF or the end of a frame; 0: none */
	uint32_t header_n;     /* the beginning of the frame that it is sent in; 0: none */
	const uint8_t *body;
	const uint8_t *terminator;
	uint8_t header[FRAME_HEADER_MAX];
};

struct source_piece {
	uint32_t offset;
	uint32_t length; /* including the terminator, except in frames */
};

/* Immutable once made; shared by the threads. */
struct source {
	const struct frame *frame; /* frame_line, unless another is given */
	bool framed;		   /* it was given */
	size_t size_max;	   /* size of the longest message, in bytes, with its frame */
	size_t text_n;		   /* of generated messages, without the frame */
	uint8_t *bytes;		   /* a file's text, or the filler of generated messages */
	size_t n_bytes;
	struct source_piece *pieces; /* NULL: generated messages */
	size_t n_pieces;
	size_t room; /* for pieces */
};

/*
 * Prepares generated messages in frames of the given kind, which the caller keeps; @size is that of
 * the text. FRAME_NONE stands for lines, whose @size includes LF. Returns 0 or UV_ENOMEM.
 */
int source_generate(size_t size, const struct frame *frame, struct source *ret_source);

/*
 * Reads the file at @path; source_cut() cuts it into messages. Returns 0 or a negative errno:
 * UV_EOF for an empty file, -EFBIG for a file of more than SOURCE_FILE_MAX bytes.
 */
int source_read(const char *path, struct source *ret_source);

/*
 * Cuts the file into messages, each a line without its LF, to be sent in a frame. The caller keeps
 * @frame. Returns 0, UV_ENOMEM, or -EINVAL if a line cannot be sent so; then @words describes it.
 */
int source_cut_texts(struct source *s, const struct frame *frame, char words[SOURCE_WORDS_MAX]);

/*
 * Cuts the file into messages. With @lines, they are its lines, each with its terminator; an
 * unterminated last line gets LF. Otherwise they are pieces of at most @size bytes that end at
 * character boundaries. Returns 0 or UV_ENOMEM.
 */
int source_cut(struct source *s, bool lines, size_t size);

/* Frees the bytes and pieces. */
void source_finish(struct source *s);

/* source_message() without the header, for pieces of a file and texts shorter than the head. */
void source_other_message(const struct source *s, uint32_t connection, uint64_t index,
			  struct message *ret_message);

/*
 * Returns the eight hexadecimal digits of @value, in memory order. It runs twice per message and
 * computes all digits in parallel: it spreads each nibble to a byte, adds '0', and adds the
 * distance to the letters for those above 9.
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

/* Makes message @index of connection @connection; it points into @s. */
static inline void source_message(const struct source *s, uint32_t connection, uint64_t index,
				  struct message *ret_message)
{
	if (s->pieces || s->text_n < SOURCE_HEAD) {
		source_other_message(s, connection, index, ret_message);
	} else {
		ret_message->words[0] = source_hex(connection);
		ret_message->words[1] = source_hex((uint32_t)index);
		ret_message->head_n = SOURCE_HEAD;
		ret_message->body_n = (uint32_t)s->n_bytes;
		ret_message->body = s->bytes;
		ret_message->terminator = s->frame->end;
		ret_message->terminator_n = s->frame->end_n;
	}
	ret_message->header_n = s->frame->header_n;
	if (ret_message->header_n)
		frame_header(s->frame, (uint64_t)ret_message->head_n + ret_message->body_n,
			     ret_message->header);
}

static inline size_t message_size(const struct message *m)
{
	return (size_t)m->header_n + m->head_n + m->body_n + m->terminator_n;
}

/* Writes the message to @out, which has room for it. Returns its length in bytes. */
static inline size_t message_copy(const struct message *m, uint8_t *out)
{
	uint8_t *p = out;

	for (uint32_t i = 0; i < m->header_n; i++)
		*p++ = m->header[i];
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

/* Returns whether the bytes at @p equal the message's head. */
static inline bool message_head_matches(const struct message *m, const uint8_t *p)
{
	uint64_t words[SOURCE_HEAD / 8];

	if (m->head_n != SOURCE_HEAD)
		return memcmp(p, m->head, m->head_n) == 0;
	memcpy(&words[0], p, 8);
	memcpy(&words[1], p + 8, 8);
	return words[0] == m->words[0] && words[1] == m->words[1];
}
