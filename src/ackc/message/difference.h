#pragma once

/*
 * Reports how a reply differs from the expected one, as cmp(1) does: the position of the first
 * wrong byte, what was expected there and what was received. The kinds of fault that help to locate
 * the cause have a name.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_FLIPPED,	  /* one bit differs, the rest is right */
	FAULT_LOST,	  /* the expected bytes continue after a gap */
	FAULT_DUPLICATED, /* bytes were received again, then the expected ones continue */
	FAULT_SWAPPED,	  /* the reply to another message */
	FAULT_UNEXPECTED, /* bytes after every message had its reply */
	FAULT_NAK,	  /* the server rejected the message */
	FAULT_DIFFERENT,  /* anything else */
	FAULT_KINDS
};

#define FAULT_WORDS_MAX 200

struct fault {
	enum fault_kind kind;
	char words[FAULT_WORDS_MAX];
};

/* Returns a short name of the kind for statistics: "bit flipped", "bytes lost"... */
const char *fault_name(enum fault_kind kind);

/* This many equal bytes are not a coincidence. */
#define DIFFERENCE_PROOF 4

struct difference {
	const uint8_t *expected; /* the bytes around the first wrong one */
	size_t expected_n;
	size_t at; /* the first wrong byte is instead of expected[at]; those before were right */
	const uint8_t *received; /* the wrong byte and what follows it */
	size_t received_n;
	size_t offset; /* position of the wrong byte in its reply, from 0, to report */
};

/* Returns the kind of @d: FAULT_FLIPPED, _LOST, _DUPLICATED, _UNEXPECTED or _DIFFERENT. */
enum fault_kind difference_kind(const struct difference *d);

/* Sets @ret to "@what at byte N: expected '...', received '...'". */
void difference_describe(const struct difference *d, enum fault_kind kind, const char *what,
			 struct fault *ret);

/*
 * Looks for a NAK line at the start of the @n bytes at @p, optionally after one LF. If there is
 * one, sets @ret to it and returns true.
 */
bool fault_find_nak(const uint8_t *p, size_t n, struct fault *ret);

/* Returns the length of the common beginning of @a (@n bytes) and @b (@m bytes). */
size_t bytes_in_common(const uint8_t *a, size_t n, const uint8_t *b, size_t m);

/* The buffer size for a quotation of about 40 bytes. */
#define QUOTE_MAX 48

/*
 * Writes the @n bytes at @p to @out (@room bytes, at least 16) in quotation marks, as printable
 * ASCII with escapes. Three dots replace what does not fit.
 */
void bytes_quote(const uint8_t *p, size_t n, char *out, size_t room);
