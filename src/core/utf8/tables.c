#include "core/utf8/internal.h"

/* The ways in which a pair of bytes can be wrong. */
enum {
	TOO_SHORT = 1 << 0,  /* a lead byte, then no continuation byte */
	TOO_LONG = 1 << 1,   /* ASCII, then a continuation byte */
	OVERLONG_3 = 1 << 2, /* E0, then 80 to 9F */
	TOO_LARGE = 1 << 3,  /* F4, then 90 to BF; F5 to FF, then the same */
	SURROGATE = 1 << 4,  /* ED, then A0 to BF */
	OVERLONG_2 = 1 << 5, /* C0 or C1, then a continuation byte */
	OVERLONG_4 = 1 << 6, /* F0, then 80 to 8F; F5 to FF, then the same */
	TWO_CONTS = -128,    /* two continuation bytes: wrong unless a longer character is due */
	/* for any low nibble of the first byte */
	ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTS,
	/* for any first byte of a character */
	ANY_SECOND = TOO_LONG | OVERLONG_2 | TWO_CONTS,
	ABOVE_F4 = ANY_LOW | TOO_LARGE | OVERLONG_4,
};

#define FOUR(x) (x), (x), (x), (x)
#define EIGHT(x) FOUR(x), FOUR(x)
#define SIXTEEN(x) EIGHT(x), EIGHT(x)

const struct utf8_tables utf8_tables = {
	.first_high =
		{
			EIGHT(TOO_LONG),
			FOUR(TWO_CONTS),
			TOO_SHORT | OVERLONG_2,
			TOO_SHORT,
			TOO_SHORT | OVERLONG_3 | SURROGATE,
			TOO_SHORT | TOO_LARGE | OVERLONG_4,
		},
	.first_low =
		{
			ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4,
			ANY_LOW | OVERLONG_2,
			ANY_LOW,
			ANY_LOW,
			ANY_LOW | TOO_LARGE,
			EIGHT(ABOVE_F4),
			ABOVE_F4 | SURROGATE,
			ABOVE_F4,
			ABOVE_F4,
		},
	.second_high =
		{
			EIGHT(TOO_SHORT),
			ANY_SECOND | OVERLONG_3 | OVERLONG_4,
			ANY_SECOND | OVERLONG_3 | TOO_LARGE,
			ANY_SECOND | SURROGATE | TOO_LARGE,
			ANY_SECOND | SURROGATE | TOO_LARGE,
			FOUR(TOO_SHORT),
		},
	.nibble = {SIXTEEN(0x0f)},
	.third = {SIXTEEN(0xe0 - 0x80)},
	.fourth = {SIXTEEN(0xf0 - 0x80)},
	.high_bit = {SIXTEEN(0x80)},
};
