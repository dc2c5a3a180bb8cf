#include "ackc/display.h"

#include <string.h>

static void raw(const uint8_t *p, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, "\\x%02x", p[i]);
}

static void ascii(struct display *d, uint8_t c, FILE *out)
{
	if (d->carriage_return && c != '\n')
		fputs("^M", out);
	else if (d->carriage_return)
		putc('\r', out);
	d->carriage_return = c == '\r';
	if (c == '\r')
		return;
	if (c == '\n' || c == '\t' || (c >= ' ' && c != 0x7F))
		putc(c, out);
	else
		fprintf(out, "^%c", c ^ 0x40);
}

/* Whether it moves text about: the bidirectional controls, and the separators of lines. */
static bool turns_text(uint32_t c)
{
	return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static void character(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	uint32_t c = p[0] & (0x7FU >> n);

	if (n == 1) {
		ascii(d, p[0], out);
		return;
	}
	if (d->carriage_return)
		fputs("^M", out);
	d->carriage_return = false;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3F);
	if (c >= 0x80 && c < 0xA0)
		fprintf(out, "\\x%02x", c);
	else if (turns_text(c))
		fprintf(out, "\\u%04x", c);
	else
		fwrite(p, 1, n, out);
}

static size_t character_length(uint8_t lead)
{
	return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static void bad(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	if (d->carriage_return)
		fputs("^M", out);
	d->carriage_return = false;
	raw(p, n, out);
}

/* Finishes the character that the last call ended in; returns how many bytes that took. */
static size_t join(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t length = 0;
	size_t used = 0;
	enum utf8_status status = utf8_carry_join(&d->carry, p, n, head, &length, &used);

	if (status == UTF8_COMPLETE)
		character(d, head, length, out);
	else if (status != UTF8_PARTIAL)
		bad(d, head, length, out);
	return used;
}

void display_write(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	while (n > 0) {
		size_t valid;
		size_t length;
		enum utf8_status status;

		if (d->carry.length) {
			size_t used = join(d, p, n, out);

			p += used;
			n -= used;
			continue;
		}
		status = utf8_check(p, n, &valid, &length);
		for (size_t i = 0; i < valid; i += character_length(p[i]))
			character(d, p + i, character_length(p[i]), out);
		if (status == UTF8_PARTIAL) {
			memcpy(d->carry.bytes, p + valid, length);
			d->carry.length = (uint8_t)length;
		} else if (status != UTF8_COMPLETE) {
			bad(d, p + valid, length, out);
		}
		p += valid + length;
		n -= valid + length;
	}
}

void display_end(struct display *d, FILE *out)
{
	if (d->carriage_return)
		putc('\r', out);
	d->carriage_return = false;
	raw(d->carry.bytes, d->carry.length, out);
	d->carry.length = 0;
}
