#pragma once

/*
 * The UTF-8 check beside two functions of simdutf: validate_utf8_with_errors(), which also finds
 * the position of an error, and validate_utf8(), which does not. All of them take turns over the
 * same bytes, in random order and some 30 microseconds each, so that their ratios are exact
 * although the machine's speed drifts. Each round takes another part of the text, to another
 * place in a page of memory.
 */

#include <stdbool.h>

struct beside {
	const char *library; /* the file name of simdutf's shared object */
	const char *kernel;  /* of our check, or NULL for the best one */
	bool is_json;
	unsigned rounds;
};

/* Measures and prints all texts and sizes. Exits if the library cannot be used. */
void beside_run(const struct beside *beside);
