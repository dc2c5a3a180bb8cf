#pragma once

/* The texts that the benchmark of the text engine works on. */

#include <stddef.h>
#include <stdint.h>

/* The size of the longest piece; shorter pieces come from the first TEXT_SHORT bytes. */
#define TEXT_LONG ((size_t)1024 * 1024)
#define TEXT_SHORT ((size_t)64 * 1024)

struct text {
	const char *name;
	uint8_t *bytes; /* TEXT_LONG */
};

/* A text cut into pieces of about the same size. */
struct pieces {
	const uint8_t *text;
	size_t n;
	size_t total_bytes;
	uint32_t *offsets; /* n + 1: where each begins and the last ends */
};

/*
 * Returns the texts: files of the directory @corpora, or generated ones if that is NULL. Ends the
 * program when a file cannot be read.
 */
const struct text *texts_load(const char *corpora, size_t *ret_n);

/* Returns a random number below 2^28, the same ones in each run. */
uint32_t texts_random(void);

/* Returns the text of that name, or NULL. */
const struct text *texts_find(const char *name);

/* Returns the first @n bytes of @text, about @percent of them overwritten by bad ones, and a full
 * stop. */
uint8_t *text_with_faults(const struct text *text, size_t n, unsigned percent);

/*
 * Cuts @text after each @size bytes, or, if @whole, at the character boundary before; up to the
 * last character of the first @total bytes. The byte after those can be read.
 */
void pieces_make(struct pieces *pieces, const uint8_t *text, size_t total, size_t size, int whole);
void pieces_finish(struct pieces *pieces);
