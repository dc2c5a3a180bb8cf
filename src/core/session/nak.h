#pragma once

/* Negative acknowledgements: a fault in received data, and the line that reports it. */

#include <stddef.h>
#include <stdint.h>

/* Why data is rejected: the reasons in NAK lines, as named by nak_reason_name(). */
enum nak_reason {
	NAK_INVALID_START,
	NAK_INVALID_CONTINUATION,
	NAK_UNEXPECTED_END,
	NAK_CANNOT_ENCODE,
	NAK_LINE_TOO_LONG,
	NAK_FRAME_TOO_LONG,
	NAK_INVALID_LENGTH,
	NAK_UNEXPECTED_END_OF_FRAME,
	NAK_REPLY_TOO_LONG,
	NAK_TOO_MANY_CONNECTIONS,
	NAK_NOT_IN_CHARSET, /* of the received text */
	NAK_REASON_COUNT,
};

/* A fault in the data. */
struct nak {
	enum nak_reason reason;
	uint32_t code_point; /* NAK_CANNOT_ENCODE */
	uint64_t offset;     /* number of received bytes before the first byte of the fault */
};

/* The longest NAK line, LF included. */
#define NAK_LINE_MAX 64

/*
 * Returns the reason as it appears in NAK lines and metrics, without the code point: "cannot
 * encode". Static.
 */
const char *nak_reason_name(enum nak_reason reason);

/* The size of the buffer for nak_reason_format(). */
#define NAK_REASON_MAX 33

/* Writes the reason as it appears in NAK lines: "cannot encode U+20AC". Returns @out. */
const char *nak_reason_format(const struct nak *nak, char out[NAK_REASON_MAX]);

/* Writes the line "NAK <offset> <reason>\n" to @out (not NUL-terminated); returns its length. */
size_t nak_format(const struct nak *nak, char out[NAK_LINE_MAX]);
