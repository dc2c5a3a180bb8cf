#pragma once

/* Describes the fault in a reply in words that help to locate it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_BIT,     /* one bit of one byte differs */
	FAULT_CHANGED, /* one byte differs in more than one bit */
	FAULT_DROPPED, /* a byte is missing */
	FAULT_DOUBLED, /* a byte was duplicated */
	FAULT_ADDED,   /* a byte was inserted */
	FAULT_SWAPPED, /* the reply to another message */
	FAULT_EXTRA,   /* unsolicited bytes */
	FAULT_NAK,     /* the server rejected the message */
	FAULT_OTHER,   /* anything else */
	FAULT_KINDS
};

#define FAULT_WORDS_MAX 200
/* This many equal bytes are not a coincidence. */
#define EXPLAIN_PROOF 4

struct fault {
	enum fault_kind kind;
	char words[FAULT_WORDS_MAX];
};

/* Returns a short name of the kind for statistics: "bit changed", "byte dropped"... */
const char *fault_name(enum fault_kind kind);

/*
 * Describes how the reply of @m bytes at @got differs from the @n bytes at @expected. @got may be
 * incomplete, or include further replies. Both start at byte @from of the reply. Fills @ret with a
 * kind from FAULT_BIT to FAULT_ADDED, FAULT_EXTRA or FAULT_OTHER.
 */
void explain_difference(size_t from, const uint8_t *expected, size_t n, const uint8_t *got,
			size_t m, struct fault *ret);

/*
 * Looks for a NAK line ("NAK", a number, a reason) at the start of @got, optionally after one LF.
 * If there is one, fills @ret and returns true.
 */
bool explain_nak(const uint8_t *got, size_t m, struct fault *ret);

/*
 * Searches @got for @expected in damaged form: with one byte changed, dropped or inserted, with
 * letters of different case, or with only its beginning intact. If found, fills @ret and returns
 * true. For a first reply, whose prefix is not known yet.
 */
bool explain_search(const uint8_t *expected, size_t n, const uint8_t *got, size_t m,
		    struct fault *ret);

/* The buffer size for a quotation of about 40 bytes. */
#define QUOTE_MAX 48

/*
 * Writes the @n bytes at @p to @out (@room bytes, at least 16) in quotation marks, with harmful
 * characters escaped. Three dots replace what does not fit.
 */
void explain_quote(const uint8_t *p, size_t n, char *out, size_t room);

/* Returns the length of the common prefix of @a and @b. */
size_t explain_common(const uint8_t *a, size_t n, const uint8_t *b, size_t m);
