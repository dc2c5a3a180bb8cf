#include "ackc/message/nak.h"

#include <string.h>

static const char opening[] = "NAK ";

static bool is_nak(const struct nak_finder *f)
{
	size_t digits;

	if (f->n < sizeof(opening))
		return false;
	digits = strspn(f->line + strlen(opening), "0123456789");
	return digits > 0 && f->line[strlen(opening) + digits] == ' ';
}

static void line_end(struct nak_finder *f)
{
	if (!f->hopeless && is_nak(f)) {
		f->found++;
		memcpy(f->last, f->line, f->n + 1);
	}
	f->n = 0;
	f->hopeless = false;
}

void nak_find(struct nak_finder *f, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n') {
			line_end(f);
		} else if (f->hopeless) {
			const uint8_t *end = memchr(p + i, '\n', n - i);

			if (!end)
				return;
			i = (size_t)(end - p) - 1;
		} else if (f->n == NAK_LINE_MAX || p[i] < ' ' || p[i] > '~' ||
			   (f->n < strlen(opening) && p[i] != (uint8_t)opening[f->n])) {
			f->hopeless = true;
		} else {
			f->line[f->n++] = (char)p[i];
			f->line[f->n] = '\0';
		}
	}
}
