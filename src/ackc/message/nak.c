#include "ackc/message/nak.h"

#include <string.h>

static const char opening[] = "NAK ";

size_t nak_length(const uint8_t *p, size_t n)
{
	size_t digits = strlen(opening);
	size_t end;

	if (n > NAK_KEPT_MAX)
		n = NAK_KEPT_MAX;
	if (n < strlen(opening) || memcmp(p, opening, strlen(opening)) != 0)
		return 0;
	while (digits < n && p[digits] >= '0' && p[digits] <= '9')
		digits++;
	if (digits == strlen(opening) || digits == n || p[digits] != ' ')
		return 0;
	for (end = digits; end < n && p[end] >= ' ' && p[end] <= '~';)
		end++;
	return end;
}

/* Returns whether a NAK may begin with the @n bytes at @p. */
static bool may_begin(const uint8_t *p, size_t n)
{
	size_t i = strlen(opening);

	if (n <= i)
		return n == 0 || memcmp(p, opening, n) == 0;
	if (memcmp(p, opening, i) != 0)
		return false;
	while (i < n && p[i] >= '0' && p[i] <= '9')
		i++;
	return i == n || nak_length(p, n) == (n < NAK_KEPT_MAX ? n : NAK_KEPT_MAX);
}

enum nak_status nak_in_frame(const struct frame *f, const uint8_t *p, size_t n,
			     char ret_nak[NAK_KEPT_MAX + 1])
{
	uint8_t text[NAK_KEPT_MAX];
	size_t kept = 0;
	struct frame_splitter s;
	struct frame_piece piece;
	enum frame_event event;
	size_t length;

	frame_splitter_init(
		&s, f->kind == FRAME_DELIMITED || f->kind == FRAME_LENGTH ? f : &frame_line);
	while ((event = frame_next(&s, &p, &n, &piece)) == FRAME_TEXT && kept < sizeof(text)) {
		size_t room = sizeof(text) - kept;
		size_t part = piece.n < room ? piece.n : room;

		memcpy(text + kept, piece.p, part);
		kept += part;
	}
	if (event == FRAME_SKIPPED || event == FRAME_INVALID)
		return NAK_NO;
	if (event == FRAME_MORE && kept < sizeof(text))
		return may_begin(text, kept) ? NAK_MAYBE : NAK_NO;
	length = nak_length(text, kept);
	memcpy(ret_nak, text, length);
	ret_nak[length] = '\0';
	return length ? NAK_YES : NAK_NO;
}

void nak_find_in_text(struct nak_finder *f, const uint8_t *p, size_t n)
{
	size_t room = sizeof(f->line) - f->n;
	size_t kept = n < room ? n : room;

	memcpy(f->line + f->n, p, kept);
	f->n += kept;
}

void nak_find_end(struct nak_finder *f)
{
	if (f->n > 0 && nak_length(f->line, f->n) == f->n) {
		f->found++;
		memcpy(f->last, f->line, f->n);
		f->last[f->n] = '\0';
	}
	f->n = 0;
}

void nak_find(struct nak_finder *f, const uint8_t *p, size_t n)
{
	while (n > 0) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t part = end ? (size_t)(end - p) : n;

		nak_find_in_text(f, p, part);
		if (end) {
			nak_find_end(f);
			part++;
		}
		p += part;
		n -= part;
	}
}
