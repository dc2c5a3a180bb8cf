#pragma once

/*
 * Suggests the known word that a misspelt word probably stands for. Usage:
 *
 *	struct nearest n = {.word = word};
 *
 *	for each known name: nearest_offer(&n, name);
 *	if (n.name) "unknown setting 'prot'; did you mean 'port'?"
 */

/* Words longer than this are compared with nothing. */
#define NEAREST_WORD_MAX 40

struct nearest {
	const char *word; /* what was written */
	const char *name; /* the best name offered so far; NULL: none is close */
	unsigned edits;	  /* distance of @name */
};

/*
 * Compares @name, which is kept, with @n->word. The distance is the number of characters inserted,
 * deleted, replaced or swapped with their neighbour (optimal string alignment); ASCII letters of
 * both cases are equal, and so are '-' and '_'. A name is close when the distance is at most a
 * third of the word's length, or 1 in a word of two or three characters. Of equally close names the
 * first wins.
 */
void nearest_offer(struct nearest *n, const char *name);
