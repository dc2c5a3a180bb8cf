/*
 * The tokens of libconfig's lexer (lib/scanner.l, versions 1.5 to 1.8), written such that every
 * version takes them for the same.
 */

#include "config_token.h"

#include "config_setting.h"
#include "core/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Passes over the comment at in->p, whose last byte is the one before @end. */
static void pass_comment(struct scan_input *in, const char *end)
{
	struct config_place place = scan_place(in, in->line);
	const uint8_t *p = (const uint8_t *)in->p;
	size_t valid, length;

	if (utf8_check(p, (size_t)(end - in->p), &valid, &length) != UTF8_COMPLETE) {
		for (const uint8_t *q = p; q < p + valid; q++)
			place.line += *q == '\n';
		place.setting = NULL;
		config_error(&place, "found the byte 0x%02X; allowed: UTF-8, in comments too",
			     p[valid]);
	}
	for (; in->p < end; in->p++)
		in->line += *in->p == '\n';
}

int scan_comment(struct scan_input *in)
{
	size_t n = (size_t)(in->end - in->p);
	const char *end;

	if (in->p[0] == '/' && in->p[1] == '*') {
		end = memmem(in->p + 2, n - 2, "*/", 2);
		if (end == NULL) {
			struct config_place place = scan_place(in, in->line);

			place.setting = NULL;
			return config_error(&place, "syntax error: found a comment without end; "
						    "allowed: /* ... */");
		}
		end += 2;
	} else {
		end = memchr(in->p, '\n', n);
		if (end == NULL)
			end = in->end;
	}
	pass_comment(in, end);
	return 0;
}

/* Writes the escape at in->p, which is a backslash. */
static void scan_escape(struct scan_input *in, unsigned line)
{
	const char *p = in->p;
	size_t n = (size_t)(in->end - p);
	struct config_scan *scan = in->scan;

	if (n >= 4 && (p[1] == 'x' || p[1] == 'X') && isxdigit((unsigned char)p[2]) &&
	    isxdigit((unsigned char)p[3])) {
		if (p[2] == '0' && p[3] == '0')
			fputs(VALUE_NUL, scan->out);
		else
			fwrite(p, 1, 4, scan->out);
		in->p += 4;
	} else if (n >= 2 && p[1] != '\0' && strchr("nrtf\\\"", p[1]) != NULL) {
		fwrite(p, 1, 2, scan->out);
		in->p += 2;
	} else {
		struct config_place place = scan_place(in, line);
		char escape[3] = {'\\', n >= 2 ? p[1] : '\0', '\0'};

		if (!isprint((unsigned char)escape[1]))
			escape[1] = '\0';
		config_error(&place,
			     "found the escape %s in a string; "
			     "allowed: \\\\ \\\" \\n \\r \\t \\f and \\xHH",
			     escape);
		fputs("\\\\", scan->out);
		in->p++;
	}
}

int scan_string(struct scan_input *in)
{
	unsigned line = in->line;
	FILE *out = in->scan->out;
	int r;

	r = scan_emit_line(in, line);
	if (r < 0)
		return r;
	fputc('"', out);
	for (in->p++; in->p < in->end && *in->p != '"';) {
		if (*in->p == '\\') {
			scan_escape(in, in->line);
			continue;
		}
		if (*in->p == '\0')
			return scan_fail_at_character(in);
		if (*in->p == '\n') {
			fputs("\\n", out);
			in->line++;
		} else {
			fputc(*in->p, out);
		}
		in->p++;
	}
	if (in->p == in->end) {
		struct config_place place = scan_place(in, line);

		return config_error(&place, "syntax error: found a string without closing quote");
	}
	in->p++;
	fputs("\" ", out);
	in->scan->after_string = true;
	in->scan->value_after = '\0';
	return 0;
}

static size_t digits(const char *p, const char *end)
{
	const char *begin = p;

	while (p < end && isdigit((unsigned char)*p))
		p++;
	return (size_t)(p - begin);
}

/* Returns the length of the exponent at @p, or 0. */
static size_t exponent(const char *p, const char *end)
{
	size_t n = 1, n_digits;

	if (p == end || (*p != 'e' && *p != 'E'))
		return 0;
	if (p + n < end && (p[n] == '-' || p[n] == '+'))
		n++;
	n_digits = digits(p + n, end);
	return n_digits > 0 ? n + n_digits : 0;
}

/* Returns the length of the float at @p, or 0. */
static size_t float_length(const char *p, const char *end)
{
	const char *q = p;
	size_t n_whole, n_exponent;
	bool point;

	if (q < end && (*q == '-' || *q == '+'))
		q++;
	n_whole = digits(q, end);
	q += n_whole;
	point = q < end && *q == '.';
	if (point) {
		q++;
		q += digits(q, end);
	}
	n_exponent = exponent(q, end);
	if (!point && (n_exponent == 0 || n_whole == 0))
		return 0;
	return (size_t)(q - p) + n_exponent;
}

/* Returns the length of the integer at @p, without suffix, or 0; and what it is written in. */
static size_t integer_length(const char *p, const char *end, int *ret_base, size_t *ret_prefix)
{
	static const struct {
		const char *letters;
		const char *digits;
		int base;
	} bases[] = {
		{"xX", "0123456789abcdefABCDEF", 16},
		{"bB", "01", 2},
		{"oOqQ", "01234567", 8},
	};
	size_t n, sign = p < end && (*p == '-' || *p == '+');

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		if (end - p < 3 || p[0] != '0' || p[1] == '\0' ||
		    strchr(bases[i].letters, p[1]) == NULL)
			continue;
		for (n = 2; p + n < end && p[n] != '\0' && strchr(bases[i].digits, p[n]);)
			n++;
		if (n > 2) {
			*ret_base = bases[i].base;
			*ret_prefix = 2;
			return n;
		}
	}
	*ret_base = 10;
	*ret_prefix = 0;
	n = digits(p + sign, end);
	return n > 0 ? sign + n : 0;
}

/* Adds @text to those that do not fit; returns the number that stands for it in *@ret_value. */
static int add_big_integer(struct config_scan *scan, const char *text, size_t n, int64_t *ret_value)
{
	char **grown;
	char *copy;

	grown = reallocarray(scan->big_integers, scan->n_big_integers + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	scan->big_integers = grown;
	copy = strndup(text, n);
	if (copy == NULL)
		return -ENOMEM;
	*ret_value = INT64_MIN + (int64_t)scan->n_big_integers;
	grown[scan->n_big_integers++] = copy;
	return 0;
}

/*
 * Writes the integer of @n bytes at in->p and its suffix as a 64-bit decimal. Without suffix it has
 * to fit 32 bits in every base, as the manual of libconfig has it.
 */
static int scan_integer(struct scan_input *in, size_t n, int base, size_t prefix)
{
	char text[80], token[32];
	int64_t value, low, high;
	size_t n_suffix = 0;
	bool fits = n < sizeof(text);
	int r;

	while (n_suffix < 2 && in->p + n + n_suffix < in->end && in->p[n + n_suffix] == 'L')
		n_suffix++;
	low = n_suffix > 0 ? INT64_MIN / 2 : INT32_MIN; /* numbers below stand for others */
	high = n_suffix > 0 ? INT64_MAX : INT32_MAX;
	if (fits) {
		memcpy(text, in->p, n);
		text[n] = '\0';
		errno = 0;
		value = strtoll(text + prefix, NULL, base);
		fits = errno == 0 && value >= low && value <= high;
	}
	if (!fits) {
		r = add_big_integer(in->scan, in->p, n + n_suffix, &value);
		if (r < 0)
			return r;
	}
	in->p += n + n_suffix;
	snprintf(token, sizeof(token), "%" PRId64 "L", value);
	return scan_emit(in, in->line, token, strlen(token));
}

/* Returns how long a word the operator sees at @p: what would stand in quotes, if in any. */
static size_t word_length(const char *p, const char *end)
{
	const char *begin = p;

	while (p < end && *p != '\0' && (isalnum((unsigned char)*p) || strchr("+-*_.:/%", *p)))
		p++;
	return (size_t)(p - begin);
}

/* Tells that the word at @p is no value: what else would be a mystery to those who forget quotes.
 * Returns -EINVAL. */
static int fail_at_word(struct scan_input *in, const char *p)
{
	struct config_place place = scan_place(in, in->line);
	size_t n = word_length(p, in->end);

	return config_error(
		&place, "syntax error: found the word %.*s; allowed: %s, or a string in quotes",
		(int)(n < QUOTE_MAX ? n : QUOTE_MAX), p,
		in->scan->value_after == '(' ? "a group { ... }" : "true, false, a number");
}

int scan_number(struct scan_input *in)
{
	const char *begin = in->p;
	size_t n_float = float_length(in->p, in->end);
	size_t prefix, n;
	int base, r;

	n = integer_length(in->p, in->end, &base, &prefix);
	if (n == 0 && n_float == 0)
		return scan_fail_at_character(in);
	if (n >= n_float) {
		r = scan_integer(in, n, base, prefix);
	} else {
		r = scan_emit(in, in->line, in->p, n_float);
		in->p += n_float;
	}
	if (r == 0 && in->p < in->end &&
	    (isalnum((unsigned char)*in->p) || *in->p == '.' || *in->p == '_'))
		return fail_at_word(in, begin); /* 5s, 64KiB, 127.0.0.1 */
	return r;
}

static bool is_boolean(const char *p, size_t n)
{
	return (n == 4 && strncasecmp(p, "true", n) == 0) ||
	       (n == 5 && strncasecmp(p, "false", n) == 0);
}

/* Tells that the name at @p has a dot in it, as the messages and the manual write it. */
static int fail_at_dot(struct scan_input *in, const char *p, size_t n)
{
	struct config_place place = scan_place(in, in->line);

	if (n > QUOTE_MAX)
		n = QUOTE_MAX;
	place.setting = NULL;
	return config_error(&place,
			    "syntax error: found the name %.*s with a dot; "
			    "allowed: %.*s = { name = value; };",
			    (int)n, p, (int)n, p);
}

int scan_name(struct scan_input *in)
{
	struct config_scan *scan = in->scan;
	const char *p = in->p;
	size_t n;
	int r;

	while (in->p < in->end && (isalnum((unsigned char)*in->p) || strchr("*_-", *in->p)) &&
	       *in->p != '\0')
		in->p++;
	n = (size_t)(in->p - p);
	if (scan->value_after != '\0' && !is_boolean(p, n))
		return fail_at_word(in, p);
	if (scan->value_after == '\0' && in->p < in->end && *in->p == '.')
		return fail_at_dot(in, p, n);
	r = scan_emit(in, in->line, p, n);
	if (n < sizeof(scan->last_name) && !is_boolean(p, n)) {
		memcpy(scan->last_name, p, n);
		scan->last_name[n] = '\0';
	}
	return r;
}
