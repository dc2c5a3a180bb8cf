#include "ackc/message/framer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

void framer_init(struct framer *f, const struct frame *frame, bool whole)
{
	*f = (struct framer){.frame = frame, .whole = whole};
}

/* Returns room for @n more bytes, or NULL. */
static uint8_t *make_room(struct framer_bytes *b, size_t n)
{
	if (b->room - b->n < n) {
		size_t room = 2 * b->room > b->n + n ? 2 * b->room : b->n + n;
		void *more = realloc(b->p, room);

		if (!more)
			return NULL;
		b->p = more;
		b->room = room;
	}
	return b->p + b->n;
}

static int append(struct framer_bytes *b, const uint8_t *p, size_t n)
{
	uint8_t *out = n ? make_room(b, n) : NULL;

	if (n && !out)
		return UV_ENOMEM;
	if (n)
		memcpy(out, p, n);
	b->n += n;
	return 0;
}

int framer_put(struct framer *f, const uint8_t *text, size_t n)
{
	uint8_t header[FRAME_HEADER_MAX];
	int r = append(&f->wire, header, frame_header(f->frame, n, header));

	if (r == 0)
		r = append(&f->wire, text, n);
	if (r == 0)
		r = append(&f->wire, f->frame->end, f->frame->end_n);
	f->frames += r == 0;
	return r;
}

/* Ends the text. */
static int end_text(struct framer *f, char words[FRAMER_WORDS_MAX])
{
	char why[FRAME_WORDS_MAX];
	int r;

	if (frame_refuses(f->frame, f->text.p, f->text.n, why)) {
		if (f->whole)
			snprintf(words, FRAMER_WORDS_MAX, "%s", why);
		else
			snprintf(words, FRAMER_WORDS_MAX, "line %" PRIu64 ": %s", f->frames + 1,
				 why);
		return -EINVAL;
	}
	r = framer_put(f, f->text.p, f->text.n);
	f->text.n = 0;
	return r;
}

int framer_add(struct framer *f, const uint8_t *p, size_t n, bool last,
	       char words[FRAMER_WORDS_MAX])
{
	int r = 0;

	while (r == 0 && n > 0) {
		const uint8_t *end = f->whole ? NULL : memchr(p, '\n', n);
		size_t part = end ? (size_t)(end - p) : n;

		if (part > FRAMER_TEXT_MAX - f->text.n) {
			snprintf(words, FRAMER_WORDS_MAX, "a text has more than %u bytes",
				 FRAMER_TEXT_MAX);
			return -EINVAL;
		}
		r = append(&f->text, p, part);
		if (r == 0 && end) {
			r = end_text(f, words);
			part++;
		}
		p += part;
		n -= part;
	}
	if (r == 0 && last && (f->whole || f->text.n))
		r = end_text(f, words);
	return r;
}

void framer_finish(struct framer *f)
{
	free(f->wire.p);
	free(f->text.p);
}
