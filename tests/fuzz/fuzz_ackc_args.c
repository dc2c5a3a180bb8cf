/*
 * ackc's command line: for any arguments, a parser returns options within their bounds or an error.
 * The first byte chooses the command; the others are the arguments, each ended by NUL.
 */

#include "ackc/cli/options.h"
#include "ackc/message/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 32

static void check_frame(const struct options *o)
{
	const struct frame *f = &o->frame;
	char why[FRAME_WORDS_MAX];

	assert(f->header_n <= FRAME_HEADER_MAX && f->end_n <= FRAME_SEQUENCE_MAX);
	assert((f->kind == FRAME_DELIMITED) == (f->end_n > 0));
	assert(f->kind != FRAME_LENGTH || f->header_n == 1 || f->header_n == 2 || f->header_n == 4);
	assert((f->kind == FRAME_FIXED) == (f->size > 0) && f->size <= FRAME_FIXED_MAX);
	assert(!o->whole || (f->kind != FRAME_NONE && o->n_texts == 0));
	for (int i = 0; i < o->n_texts; i++)
		assert(!frame_refuses(f, (const uint8_t *)o->texts[i], strlen(o->texts[i]), why));
	if (o->command != COMMAND_SEND) {
		assert(frame_permits_words(f) && (!o->lines || f->kind == FRAME_NONE));
		assert(o->file || o->size <= frame_text_max(f));
		assert(f->kind != FRAME_FIXED || o->size == f->size);
	}
}

static void check(const struct options *o, int argc)
{
	assert(o->timeout_ms >= 1 && o->timeout_ms <= 1000000000);
	assert(memchr(o->target.label, '\0', sizeof(o->target.label)));
	assert((o->target.host[0] == '\0') != (o->target.path[0] == '\0'));
	assert(o->target.port > 0);
	check_frame(o);
	if (o->command == COMMAND_SEND) {
		assert(o->n_texts >= 0 && o->n_texts < argc);
		for (int i = 0; i < o->n_texts; i++)
			assert(o->texts[i]);
		return;
	}
	assert(o->size >= SOURCE_SIZE_MIN || (o->size == 1 && o->frame.kind == FRAME_FIXED));
	assert(o->size <= SOURCE_SIZE_MAX);
	if (o->command == COMMAND_PING) {
		assert(o->wait_ms > 0 && o->interval_ms <= 1000000000);
		assert(!o->plugin || o->count > 0);
		assert(o->plugin || (!o->warn.ms.given && !o->crit.ms.given));
		assert(!o->plugin || (o->deadline_ms > 0 && o->warn.loss_percent.given));
		assert(o->warn.ms.start <= o->warn.ms.end && o->crit.ms.start <= o->crit.ms.end);
	} else {
		assert(o->connections > 0 && o->threads > 0 && o->depth > 0);
		assert(o->threads <= o->connections);
		assert(o->duration_ms > 0 && o->rate >= 0 && o->rate <= 1e9);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "ackc";
	char commands[3][5] = {"send", "ping", "load"};
	char *argv[ARGUMENTS_MAX + 3] = {name};
	int argc = 2;
	struct options options;
	char *text;
	char error[OPTIONS_ERROR_MAX];
	enum parse_outcome outcome;

	if (size < 1)
		return 0;
	text = malloc(size);
	if (!text)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	for (size_t at = 0; at < size && argc <= ARGUMENTS_MAX + 1; at += strlen(text + at) + 1)
		argv[argc++] = text + at;
	argv[1] = commands[data[0] % 3];
	outcome = options_parse(argc, argv, error, &options);
	if (outcome == PARSE_RUN)
		check(&options, argc);
	assert((outcome == PARSE_USAGE) == (error[0] != '\0'));
	free(text);
	return 0;
}
