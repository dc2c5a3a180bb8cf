#include "frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads hexadecimal digits up to ':' or the end; returns where they end, or NULL. */
static const char *parse_mark(const char *digits, uint8_t *ret_mark, size_t *ret_n)
{
	unsigned byte;
	int used;

	for (*ret_n = 0; *digits && *digits != ':'; digits += 2) {
		if (*ret_n == FRAME_MARK_MAX || sscanf(digits, "%2x%n", &byte, &used) != 1 ||
		    used != 2)
			return NULL;
		ret_mark[(*ret_n)++] = (uint8_t)byte;
	}
	return *ret_n > 0 ? digits : NULL;
}

static int parse_delimited(const char *marks, struct frame *frame)
{
	const char *rest = parse_mark(marks, frame->end, &frame->n_end);

	if (rest && *rest == ':')
		rest = parse_mark(rest + 1, frame->start, &frame->n_start);
	return rest && !*rest ? 0 : -EINVAL;
}

static int parse_length(const char *words, struct frame *frame)
{
	char *rest;

	frame->header_bytes = strtoul(words, &rest, 10);
	frame->little = strcmp(rest, ":little") == 0;
	if (*rest && !frame->little)
		return -EINVAL;
	return frame->header_bytes == 1 || frame->header_bytes == 2 || frame->header_bytes == 4
		       ? 0
		       : -EINVAL;
}

int frame_parse(const char *word, struct frame *ret_frame)
{
	*ret_frame = (struct frame){0};
	if (strcmp(word, "none") == 0)
		return 0;
	if (strcmp(word, "line") == 0)
		return parse_delimited("0a", ret_frame);
	if (strncmp(word, "delimited:", 10) == 0)
		return parse_delimited(word + 10, ret_frame);
	if (strncmp(word, "length:", 7) == 0)
		return parse_length(word + 7, ret_frame);
	return -EINVAL;
}

size_t frame_bytes(const struct frame *frame)
{
	return frame->n_start + frame->header_bytes + frame->n_end;
}

uint8_t *frame_put(const struct frame *frame, uint8_t *out, size_t n)
{
	memcpy(out, frame->start, frame->n_start);
	out += frame->n_start;
	for (size_t i = 0; i < frame->header_bytes; i++)
		out[frame->little ? i : frame->header_bytes - 1 - i] = (uint8_t)(n >> 8 * i);
	out += frame->header_bytes;
	memcpy(out + n, frame->end, frame->n_end);
	return out;
}
