#pragma once

/*
 * Decoding where faults are so frequent that looking for each anew costs more than the decoding:
 * a block is classified at once, and its faults are found with arithmetic on sets of its bytes.
 */

#include "core/text/decode.h"

#include <stddef.h>
#include <stdint.h>

#define REPAIR_BLOCK ((size_t)64)

/* What repair_block() may read, so that it can copy without looking for the end. */
#define REPAIR_READABLE (2 * REPAIR_BLOCK)

/* What it may write: \xNN for each byte, and as much beyond. */
#define REPAIR_WRITABLE (5 * REPAIR_BLOCK)

/*
 * Decodes a block at @raw, of which REPAIR_READABLE bytes are there, with the handler @errors, not
 * DECODE_STRICT, to UTF-8 at @out, of which REPAIR_WRITABLE bytes are there; what it does not
 * return as written there is overwritten all the same. Leaves what may be a character cut off by
 * the block's end. Sets *@ret_read and *@ret_written; returns the number of faults.
 */
unsigned repair_block(enum decode_errors errors, const uint8_t *raw, uint8_t *out, size_t *ret_read,
		      size_t *ret_written);
