#include "ackc/output/display.h"

#include "core/text/printable.h"

static void raw(const uint8_t *p, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, "\\x%02x", p[i]);
}

/* Writes a character, or an ill-formed sequence, with the CR before it. */
static void write_one(struct display *d, const uint8_t *p, size_t n, bool well_formed, FILE *out)
{
	uint32_t c = well_formed ? utf8_code_point(p) : 0;

	if (d->carriage_return)
		fputs(c == '\n' ? "\r" : "^M", out);
	d->carriage_return = c == '\r';
	if (d->carriage_return)
		return;
	if (!well_formed)
		raw(p, n, out);
	else if (c == '\n' || c == '\t' || is_printable(c))
		fwrite(p, 1, n, out);
	else if (c < 0x80)
		fprintf(out, "^%c", c ^ 0x40);
	else
		fprintf(out, c < 0xA0 ? "\\x%02x" : "\\u%04x", c);
}

/* Completes the character cut off by the end of the last call. Returns the number of bytes used. */
static size_t join(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t length = 0;
	size_t used = 0;
	enum utf8_status status = utf8_carry_join(&d->carry, p, n, head, &length, &used);

	if (status != UTF8_PARTIAL)
		write_one(d, head, length, status == UTF8_COMPLETE, out);
	return used;
}

void display_write(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	while (n > 0) {
		struct utf8_checked checked;
		size_t part;

		if (d->carry.length) {
			size_t used = join(d, p, n, out);

			p += used;
			n -= used;
			continue;
		}
		checked = utf8_check(p, n);
		for (size_t i = 0; i < checked.valid; i += part) {
			utf8_character(p + i, checked.valid - i, &part);
			write_one(d, p + i, part, true, out);
		}
		if (checked.status == UTF8_PARTIAL)
			utf8_carry_set(&d->carry, p + checked.valid, checked.length);
		else if (checked.status != UTF8_COMPLETE)
			write_one(d, p + checked.valid, checked.length, false, out);
		p += checked.valid + checked.length;
		n -= checked.valid + checked.length;
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
