#pragma once

/* Durations and sizes, as they are written in a configuration. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Parse "500ms" (us, ms, s, min, h, d; with a fraction if the result is whole microseconds) and
 * "64KiB" (B, KiB, MiB, GiB, TiB; whole). Return whether that is what @text is.
 */
bool duration_parse(const char *text, uint64_t *ret_us);
bool size_parse(const char *text, uint64_t *ret_bytes);

/* Converts seconds; returns false for what is negative, not a number or too large. */
bool duration_from_seconds(double seconds, uint64_t *ret_us);

/* Write a value as duration_parse() and size_parse() or a plain number of libconfig's give it back.
 */
void duration_print(uint64_t us, FILE *out);
void size_print(uint64_t bytes, FILE *out);

/* The most that the functions below write. */
#define UNITS_TEXT_MAX 32

/* Write a value for a message, in the largest unit that it is a multiple of. Return @out. */
const char *duration_text(uint64_t us, char out[UNITS_TEXT_MAX]);
const char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX]);
