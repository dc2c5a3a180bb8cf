#pragma once

/* Durations and sizes as libconfig values; see base/units.h for text with units. */

#include "base/units.h"

#include <stdio.h>

/*
 * Converts seconds to microseconds. Returns false if @seconds is negative, not a number or too
 * large.
 */
bool duration_from_seconds(double seconds, uint64_t *ret_us);

/*
 * Write a value so that duration_parse(), size_parse() or a plain number in libconfig syntax reads
 * the same value.
 */
void duration_print(uint64_t us, FILE *out);
void size_print(uint64_t bytes, FILE *out);
