#include "ackc/output/display.h"

#include "core/text/printable.h"

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
	if (c == '\n' || c == '\t' || is_printable(c))
		putc(c, out);
	else
		fprintf(out, "^%c", c ^ 0x40);
}

static void character(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	uint32_t c = utf8_code_point(p);

	if (c < 0x80) {
		ascii(d, p[0], out);
		return;
	}
	if (d->carriage_return)
		fputs("^M", out);
	d->carriage_return = false;
	if (is_printable(c))
		fwrite(p, 1, n, out);
	else
		fprintf(out, c < 0xA0 ? "\\x%02x" : "\\u%04x", c);
}

static void bad(struct display *d, const uint8_t *p, size_t n, FILE *out)
{
	if (d->carriage_return)
		fputs("^M", out);
	d->carriage_return = false;
	raw(p, n, out);
}

/* Completes the character cut off by the end of the last call. Returns the number of bytes used. */
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
			character(d, p + i, part, out);
		}
		if (checked.status == UTF8_PARTIAL)
			utf8_carry_set(&d->carry, p + checked.valid, checked.length);
		else if (checked.status != UTF8_COMPLETE)
			bad(d, p + checked.valid, checked.length, out);
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
