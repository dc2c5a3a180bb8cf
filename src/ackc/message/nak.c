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

static void line_end(struct nak_finder *f)
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
		size_t room = sizeof(f->line) - f->n;
		size_t kept = part < room ? part : room;

		memcpy(f->line + f->n, p, kept);
		f->n += kept;
		if (end) {
			line_end(f);
			part++;
		}
		p += part;
		n -= part;
	}
}
