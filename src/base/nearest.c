#include "base/nearest.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Maps characters that count as equal to the same value. */
static int fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	return c == '_' ? '-' : (unsigned char)c;
}

static unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Returns the distance of two words of at most NEAREST_WORD_MAX characters. */
static unsigned distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	unsigned rows[3][NEAREST_WORD_MAX + 1]; /* row i is rows[i % 3] */

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i - 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			bool same = fold(a[i - 1]) == fold(b[j - 1]);

			row[j] = min(above[j - 1] + !same, min(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]))
				row[j] = min(row[j], rows[(i - 2) % 3][j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

void nearest_offer(struct nearest *n, const char *name)
{
	size_t word_length = strlen(n->word);
	size_t name_length = strlen(name);
	unsigned limit = word_length < 4 ? 1 : (unsigned)word_length / 3;
	unsigned edits;

	if (word_length < 2 || word_length > NEAREST_WORD_MAX || name_length > NEAREST_WORD_MAX)
		return;
	edits = distance(n->word, word_length, name, name_length);
	if (edits <= limit && edits < name_length && (!n->name || edits < n->edits)) {
		n->name = name;
		n->edits = edits;
	}
}
