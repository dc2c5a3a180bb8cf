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

static void fill(uint8_t *text, size_t n, enum corpus_text kind, uint64_t *state)
{
	size_t i = 0;

	while (kind == TEXT_CJK && n - i >= 3) {
		uint32_t c = 0x4e00 + (uint32_t)(next_random(state) % 0x5200);

		text[i++] = (uint8_t)(0xe0 | c >> 12);
		text[i++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		text[i++] = (uint8_t)(0x80 | (c & 0x3f));
	}
	while (kind == TEXT_BINARY && i < n)
		text[i++] = (uint8_t)(next_random(state) >> 32);
	while (i < n)
		text[i++] = (uint8_t)(' ' + next_random(state) % 95);
}

int corpus_init(struct corpus *corpus, const struct corpus_options *options)
{
	size_t prefix_length = strlen(options->prefix), frame = frame_bytes(&options->frame);
	uint64_t state = 0x9e3779b97f4a7c15;
	size_t text_bytes, n_lines;

	*corpus = (struct corpus){
		.line_bytes = options->size,
		.reply_bytes = options->size + prefix_length,
		.n_starts = CORPUS_TARGET_BYTES / options->size,
	};
	if (options->size <= frame)
		return -EINVAL;
	text_bytes = options->size - frame;
	if (corpus->n_starts < CORPUS_STARTS_MIN)
		corpus->n_starts = CORPUS_STARTS_MIN;
	n_lines = corpus->n_starts + options->lines;
	corpus->sent = malloc(n_lines * corpus->line_bytes);
	corpus->replies = prefix_length == 0 ? corpus->sent : malloc(n_lines * corpus->reply_bytes);
	if (!corpus->sent || !corpus->replies) {
		corpus_finish(corpus);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_lines; i++) {
		uint8_t *text, *reply;

		text = frame_put(&options->frame, corpus->sent + i * corpus->line_bytes,
				 text_bytes);
		fill(text, text_bytes, options->text, &state);
		if (prefix_length == 0)
			continue;
		reply = frame_put(&options->frame, corpus->replies + i * corpus->reply_bytes,
				  prefix_length + text_bytes);
		memcpy(reply, options->prefix, prefix_length);
		memcpy(reply + prefix_length, text, text_bytes);
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
