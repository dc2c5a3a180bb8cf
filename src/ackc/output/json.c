#include "ackc/output/json.h"

#include "core/text/printable.h"
#include "core/utf8/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Writes the @n bytes of UTF-8 at @p as a string. Unprintable characters become \n or \uNNNN. */
static void quoted(FILE *out, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	const uint8_t *plain = p; /* from here to @p nothing needs escaping */
	size_t length;

	putc('"', out);
	for (; p < end; p += length) {
		bool printable = printable_next(p, (size_t)(end - p), &length);

		if (printable && *p != '"' && *p != '\\')
			continue;
		fwrite(plain, 1, (size_t)(p - plain), out);
		plain = p + length;
		if (printable)
			fprintf(out, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", out);
		else
			fprintf(out, "\\u%04x", utf8_code_point(p));
	}
	fwrite(plain, 1, (size_t)(end - plain), out);
	putc('"', out);
}

static void name_of(struct json *j, const char *name)
{
	if (j->comma)
		putc(',', j->out);
	j->comma = true;
	if (name)
		fprintf(j->out, "\"%s\":", name);
}

void json_begin(struct json *j, FILE *out)
{
	j->out = out;
	j->comma = false;
	putc('{', out);
}

void json_end(struct json *j)
{
	fputs("}\n", j->out);
}

void json_open(struct json *j, const char *name, char bracket)
{
	name_of(j, name);
	putc(bracket, j->out);
	j->comma = false;
}

void json_close(struct json *j, char bracket)
{
	putc(bracket, j->out);
	j->comma = true;
}

void json_string(struct json *j, const char *name, const char *value)
{
	const uint8_t *p = (const uint8_t *)value;
	size_t n = strlen(value);

	name_of(j, name);
	/* JSON cannot hold invalid UTF-8: write the part before the fault. */
	quoted(j->out, p, utf8_check(p, n).valid);
}

void json_text(struct json *j, const char *name, const char *text)
{
	if (text && *text)
		json_string(j, name, text);
	else
		json_null(j, name);
}

void json_number(struct json *j, const char *name, uint64_t value)
{
	name_of(j, name);
	fprintf(j->out, "%" PRIu64, value);
}

void json_double(struct json *j, const char *name, double value)
{
	name_of(j, name);
	if (isfinite(value))
		fprintf(j->out, "%.6f", value);
	else
		fputs("null", j->out);
}

void json_ms(struct json *j, const char *name, uint64_t ns)
{
	json_double(j, name, (double)ns / 1e6);
}

void json_bool(struct json *j, const char *name, bool value)
{
	name_of(j, name);
	fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *name)
{
	name_of(j, name);
	fputs("null", j->out);
}

static void base64(FILE *out, const uint8_t *p, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = (uint32_t)p[i] << 16;

		if (i + 1 < n)
			bits |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < n)
			bits |= p[i + 2];
		putc(digits[bits >> 18], out);
		putc(digits[bits >> 12 & 63], out);
		putc(i + 1 < n ? digits[bits >> 6 & 63] : '=', out);
		putc(i + 2 < n ? digits[bits & 63] : '=', out);
	}
}

void json_bytes(struct json *j, const uint8_t *p, size_t n)
{
	if (utf8_check(p, n).status == UTF8_COMPLETE) {
		name_of(j, "text");
		quoted(j->out, p, n);
		return;
	}
	name_of(j, "base64");
	putc('"', j->out);
	base64(j->out, p, n);
	putc('"', j->out);
}
