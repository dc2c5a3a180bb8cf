#pragma once

/* Durations and sizes with units, as written in configurations and on command lines. */

#include <stdbool.h>
#include <stdint.h>

/*
 * Parse "500ms" (units us, ms, s, min, h, d) and "64KiB" (units B, KiB, MiB, GiB, TiB). A duration
 * may have a fraction if the result is a whole number of microseconds; a size is a whole number.
 * Return false, and leave the output unchanged, if @text is anything else.
 */
bool duration_parse(const char *text, uint64_t *ret_us);
bool size_parse(const char *text, uint64_t *ret_bytes);

/*
 * Parse a decimal number without sign, exponent and unit ("10", "0.5"), and a duration that has
 * either a unit or is such a number of @default_us. Return false for anything else.
 */
bool number_parse(const char *text, double *ret);
bool duration_parse_default(const char *text, uint64_t default_us, double *ret_us);

/* The buffer size for the functions below. */
#define UNITS_TEXT_MAX 32

/* Format a value for a message, in the largest unit of which it is a multiple. Return @out. */
const char *duration_text(uint64_t us, char out[UNITS_TEXT_MAX]);
const char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);
