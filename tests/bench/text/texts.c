#include "texts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The characters of a script, used without corpora. */
struct script {
	const char *name; /* of the text, and of its file among the corpora */
	uint32_t first, last;
	unsigned of_script; /* of 10,000 characters; the others are ASCII */
};

static const struct script scripts[] = {
	{"ascii-logs", 'a', 'z', 0},	      {"logs-few-nonascii", 0xe0, 0xfe, 4},
	{"european-latin1", 0xe0, 0xfe, 300}, {"cyrillic", 0x430, 0x44f, 8300},
	{"arabic", 0x627, 0x64a, 7300},	      {"cjk", 0x4e00, 0x9fa5, 7200},
	{"south-asian", 0x905, 0x939, 8700},  {"emoji-mixed", 0x1f600, 0x1f64f, 4200},
	{"multiscript", 0x20, 0xffff, 2000},  {"european-cp1252", 0x201c, 0x201d, 600},
};

#define N_TEXTS (sizeof(scripts) / sizeof(scripts[0]))

static struct text texts[N_TEXTS];

uint32_t texts_random(void)
{
	static uint32_t seed = 2463534242;

	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed >> 4;
}

static void *allocate(size_t n)
{
	void *p = aligned_alloc(64, (n + 63) / 64 * 64);

	if (!p) {
		perror("bench-text");
		exit(EXIT_FAILURE);
	}
	return p;
}

static size_t write_character(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* Fills @n bytes with words of the script, ASCII between them; returns how many are whole. */
static size_t make_text(const struct script *script, uint8_t *p, size_t n)
{
	size_t i = 0;

	while (n - i >= 4) {
		uint32_t c = script->first + texts_random() % (script->last - script->first + 1);

		if (texts_random() % 10000 >= script->of_script)
			c = texts_random() % 6 ? 'a' + texts_random() % 26 : ' ';
		if (c < 0xd800 || c > 0xdfff)
			i += write_character(c, p + i);
	}
	return i;
}

static size_t read_text(const char *corpora, const char *name, uint8_t *p, size_t n)
{
	char path[4096];
	FILE *file;
	size_t length;

	snprintf(path, sizeof(path), "%s/%s.txt", corpora, name);
	file = fopen(path, "rb");
	if (!file) {
		fprintf(stderr, "bench-text: %s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	length = fread(p, 1, n, file);
	fclose(file);
	return length;
}

/* Ends a text where a character does, and repeats it up to TEXT_LONG, the end being ASCII. */
static void repeat_text(uint8_t *p, size_t length)
{
	size_t i;

	while (length > 0 && (p[length - 1] & 0xc0) == 0x80)
		length--;
	if (length > 0 && p[length - 1] >= 0xc0)
		length--;
	for (i = length; TEXT_LONG - i >= length; i += length)
		memcpy(p + i, p, length);
	memset(p + i, '.', TEXT_LONG - i);
}

const struct text *texts_load(const char *corpora, size_t *ret_n)
{
	for (size_t i = 0; i < N_TEXTS; i++) {
		uint8_t *p = allocate(TEXT_LONG);
		size_t length = corpora ? read_text(corpora, scripts[i].name, p, TEXT_LONG)
					: make_text(&scripts[i], p, TEXT_SHORT * 2);

		repeat_text(p, length);
		texts[i] = (struct text){scripts[i].name, p};
	}
	*ret_n = N_TEXTS;
	return texts;
}

const struct text *texts_find(const char *name)
{
	for (size_t i = 0; i < N_TEXTS; i++) {
		if (strcmp(texts[i].name, name) == 0)
			return &texts[i];
	}
	return NULL;
}

uint8_t *text_with_faults(const struct text *text, size_t n, unsigned percent)
{
	uint8_t *p = allocate(n + 1);

	memcpy(p, text->bytes, n);
	p[n] = '.';
	for (size_t i = 0; i < n; i++) {
		if (texts_random() % 100 < percent)
			p[i] = (uint8_t)(0x80 + texts_random() % 128);
	}
	return p;
}

void pieces_make(struct pieces *pieces, const uint8_t *text, size_t total, size_t size, int whole)
{
	size_t at = 0;

	*pieces = (struct pieces){.text = text};
	pieces->offsets = allocate((total / size * 2 + 2) * sizeof(uint32_t));
	/* the last piece ends with a character, so that the text can be repeated */
	while (total < TEXT_LONG && (text[total] & 0xc0) == 0x80)
		total--;
	while (at < total) {
		size_t end = total - at > size ? at + size : total;

		while (whole && end < total && (text[end] & 0xc0) == 0x80)
			end--;
		pieces->offsets[pieces->n++] = (uint32_t)at;
		at = end;
	}
	pieces->offsets[pieces->n] = (uint32_t)at;
	pieces->total_bytes = at;
}

void pieces_finish(struct pieces *pieces)
{
	free(pieces->offsets);
}
