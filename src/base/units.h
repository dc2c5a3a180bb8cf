#pragma once

/* Durations and sizes with units, as configurations and command lines write them. */

#include <stdbool.h>
#include <stdint.h>

/*
 * Parse "500ms" (us, ms, s, min, h, d; with a fraction if the result is whole microseconds) and
 * "64KiB" (B, KiB, MiB, GiB, TiB; whole). Return false, and leave the output alone, when @text is
 * something else.
 */
bool duration_parse(const char *text, uint64_t *ret_us);
bool size_parse(const char *text, uint64_t *ret_bytes);

/* The most that the functions below write. */
#define UNITS_TEXT_MAX 32

/* Write a value for a message, in the largest unit that it is a multiple of. Return @out. */
const char *duration_text(uint64_t us, char out[UNITS_TEXT_MAX]);
const char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);
