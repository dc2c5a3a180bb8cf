#pragma once

/* Durations and sizes as libconfig holds them; with units as text, see core/units.h. */

#include "base/units.h"

#include <stdio.h>

/* Converts seconds; returns false for what is negative, not a number or too large. */
bool duration_from_seconds(double seconds, uint64_t *ret_us);

/* Write a value as duration_parse() and size_parse() or a plain number of libconfig's give it back.
 */
void duration_print(uint64_t us, FILE *out);
void size_print(uint64_t bytes, FILE *out);
