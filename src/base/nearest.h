#pragma once

/*
 * Finds the known word closest to a misspelt one. Usage:
 *
 *	struct nearest n = {.word = word};
 *
 *	for each known name: nearest_offer(&n, name);
 *	if (n.name) "unknown setting 'prot'; did you mean 'port'?"
 */

/* Longer words have no match. */
#define NEAREST_WORD_MAX 40

struct nearest {
	const char *word; /* the misspelt word */
	const char *name; /* the best name offered so far; NULL: none is close */
	unsigned edits;	  /* distance of @name */
};

/*
 * Compares @name with @n->word, and keeps a reference to @name if it is the closest so far. The
 * distance is the number of characters inserted, deleted, replaced or swapped with their neighbour
 * (optimal string alignment). Upper and lower case of ASCII letters are equal, as are '-' and '_'.
 * A name is close if the distance is at most a third of @n->word's length, or 1 if that has two or
 * three characters. The first of equally close names wins.
 */
void nearest_offer(struct nearest *n, const char *name);
