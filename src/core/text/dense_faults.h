#pragma once

/*
 * Block decoding for input with frequent faults, where a separate search for each fault costs more
 * than the decoding. It classifies a whole block and finds its faults by arithmetic on sets of its
 * bytes.
 */

#include "core/text/decode.h"

#include <stddef.h>
#include <stdint.h>

#define REPAIR_BLOCK ((size_t)64)

/*
 * The number of readable bytes that repair_block() requires, so that it copies without end checks.
 */
#define REPAIR_READABLE (2 * REPAIR_BLOCK)

/*
 * The number of writable bytes that it requires: \xNN for each byte, plus the overshoot of a copy.
 */
#define REPAIR_WRITABLE (5 * REPAIR_BLOCK)

/*
 * Decodes a block at @raw (REPAIR_READABLE bytes are readable) to UTF-8 at @out (REPAIR_WRITABLE
 * bytes are writable). @errors is not DECODE_STRICT. Bytes of @out after *@ret_written may be
 * overwritten. Leaves a possible character cut off by the block's end unread. Sets *@ret_read and
 * *@ret_written; returns the number of faults.
 */
unsigned repair_block(enum decode_errors errors, const uint8_t *raw, uint8_t *out, size_t *ret_read,
		      size_t *ret_written);
