#pragma once

/*
 * Finds ackd's NAKs in received bytes, independent of read boundaries. A NAK is a line, or with
 * other framings the text of a frame. An echo server may return text that looks like a NAK.
 * Therefore NAKs in the sent text are counted too, and only the excess in the received text is the
 * server's own.
 */

#include "ackc/message/frame.h"

#include <stddef.h>
#include <stdint.h>

/* A longer NAK line is cut to this length. */
#define NAK_KEPT_MAX 100

/*
 * Returns the length of the NAK line ("NAK", a number, a reason) that the @n bytes at @p begin
 * with, without its line end and at most NAK_KEPT_MAX; 0 if there is none. The line ends at the
 * first byte that is not printable ASCII.
 */
size_t nak_length(const uint8_t *p, size_t n);

enum nak_status {
	NAK_NO,
	NAK_MAYBE, /* more bytes must show it */
	NAK_YES,
};

/* Returns whether the @n bytes at @p begin with a frame that holds a NAK. FRAME_FIXED has lines. */
enum nak_status nak_in_frame(const struct frame *f, const uint8_t *p, size_t n,
			     char ret_nak[NAK_KEPT_MAX + 1]);

struct nak_finder {
	uint64_t found;
	char last[NAK_KEPT_MAX + 1];	/* the latest NAK line, without its LF */
	uint8_t line[NAK_KEPT_MAX + 1]; /* the beginning of the current line or text */
	size_t n;
};

/* Processes the next @n bytes at @p, which are lines. */
void nak_find(struct nak_finder *f, const uint8_t *p, size_t n);

/* Processes @n bytes of the text of a frame. After the last of them, nak_find_end() is called. */
void nak_find_in_text(struct nak_finder *f, const uint8_t *p, size_t n);
void nak_find_end(struct nak_finder *f);
