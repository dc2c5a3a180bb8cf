#include "corpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CORPUS_TARGET_BYTES ((size_t)1024 * 1024)
#define CORPUS_STARTS_MIN ((size_t)32)

/* xorshift64: the same corpus in each run. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill_line(uint8_t *line, size_t n, bool cjk, uint64_t *state)
{
	size_t i = 0;

	while (cjk && n - 1 - i >= 3) {
		uint32_t c = 0x4e00 + (uint32_t)(next_random(state) % 0x5200);

		line[i++] = (uint8_t)(0xe0 | c >> 12);
		line[i++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		line[i++] = (uint8_t)(0x80 | (c & 0x3f));
	}
	while (i < n - 1)
		line[i++] = (uint8_t)(' ' + next_random(state) % 95);
	line[i] = '\n';
}

int corpus_init(struct corpus *corpus, size_t line_bytes, size_t lines, bool cjk,
		const char *prefix)
{
	size_t prefix_length = strlen(prefix), n_lines, i;
	uint64_t state = 0x9e3779b97f4a7c15;

	*corpus = (struct corpus){
		.line_bytes = line_bytes,
		.reply_bytes = line_bytes + prefix_length,
		.n_starts = CORPUS_TARGET_BYTES / line_bytes,
	};
	if (corpus->n_starts < CORPUS_STARTS_MIN)
		corpus->n_starts = CORPUS_STARTS_MIN;
	n_lines = corpus->n_starts + lines;
	corpus->sent = malloc(n_lines * line_bytes);
	corpus->replies = prefix_length == 0 ? corpus->sent : malloc(n_lines * corpus->reply_bytes);
	if (!corpus->sent || !corpus->replies) {
		corpus_finish(corpus);
		return -ENOMEM;
	}
	for (i = 0; i < n_lines; i++) {
		uint8_t *line = corpus->sent + i * line_bytes;

		fill_line(line, line_bytes, cjk, &state);
		if (prefix_length > 0) {
			uint8_t *reply = corpus->replies + i * corpus->reply_bytes;

			memcpy(reply, prefix, prefix_length);
			memcpy(reply + prefix_length, line, line_bytes);
		}
	}
	return 0;
}

void corpus_finish(struct corpus *corpus)
{
	if (corpus->replies != corpus->sent)
		free(corpus->replies);
	free(corpus->sent);
	*corpus = (struct corpus){0};
}
