#pragma once

/* Names what is wrong with a reply, so that a person knows where to look. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_BIT,     /* one bit of one byte is another */
	FAULT_CHANGED, /* one byte is another, in more than one bit */
	FAULT_DROPPED, /* a byte is missing */
	FAULT_DOUBLED, /* a byte came twice */
	FAULT_ADDED,   /* a byte was put in */
	FAULT_SWAPPED, /* it is the reply to another message */
	FAULT_EXTRA,   /* bytes came that answer nothing */
	FAULT_NAK,     /* the server says that it cannot */
	FAULT_OTHER,   /* anything else */
	FAULT_KINDS
};

#define FAULT_WORDS_MAX 200
/* So many equal bytes are no chance. */
#define EXPLAIN_PROOF 4

struct fault {
	enum fault_kind kind;
	char words[FAULT_WORDS_MAX];
};

/* Returns a short name of the kind for statistics: "bit changed", "byte dropped"... */
const char *fault_name(enum fault_kind kind);

/*
 * Says how the reply of @m bytes at @got differs from the @n bytes at @expected. @got may be a
 * beginning only, or have more replies after it. Both begin at byte @from of the reply. Fills @ret
 * with one of FAULT_BIT to FAULT_ADDED, FAULT_EXTRA or FAULT_OTHER.
 */
void explain_difference(size_t from, const uint8_t *expected, size_t n, const uint8_t *got,
			size_t m, struct fault *ret);

/*
 * Looks for a NAK line ("NAK", a number, a reason) at the start of @got, one LF before it allowed;
 * fills @ret and returns true if there is one.
 */
bool explain_nak(const uint8_t *got, size_t m, struct fault *ret);

/*
 * Whether @got contains @expected but for one byte that was changed, dropped or put in, or in other
 * letters of the same names, or its beginning and then something else; then fills @ret. For a first
 * reply, of which the beginning is not known yet.
 */
bool explain_search(const uint8_t *expected, size_t n, const uint8_t *got, size_t m,
		    struct fault *ret);

/* Room for a quotation of some 40 bytes. */
#define QUOTE_MAX 48

/*
 * Writes the @n bytes at @p to @out, of @room bytes (at least 16), in quotation marks and such that
 * they can do a terminal no harm; three dots stand for what there is no room for.
 */
void explain_quote(const uint8_t *p, size_t n, char *out, size_t room);

/* Returns how many bytes @a and @b begin with alike. */
size_t explain_common(const uint8_t *a, size_t n, const uint8_t *b, size_t m);
