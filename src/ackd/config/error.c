#include "ackd/config/error.h"

#include "core/text/printable.h"
#include "core/utf8/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Stores @text, which it takes, in order of arrival. */
static int keep(struct config_errors *errors, char *text, unsigned order)
{
	struct config_error_line *grown;
	size_t i;

	for (i = 0; i < errors->n_text; i++) {
		if (errors->lines[i].order == order) {
			free(text);
			return 0;
		}
	}
	if (errors->n == CONFIG_ERRORS_MAX) {
		errors->too_many = true;
		free(text);
		return 0;
	}
	grown = reallocarray(errors->lines, errors->n + 1, sizeof(*grown));
	if (grown == NULL) {
		free(text);
		return -ENOMEM;
	}
	errors->lines = grown;
	grown[errors->n] = (struct config_error_line){text, order, errors->n};
	errors->n++;
	return 0;
}

void config_errors_end_text(struct config_errors *errors)
{
	errors->n_text = errors->n;
}

/* Takes @line and returns it with non-printable bytes escaped, or NULL when out of memory. */
static char *escaped(char *line)
{
	size_t size = PRINTABLE_SIZE(strlen(line));
	char *copy = malloc(size);

	if (copy != NULL)
		printable_escape(copy, size, line);
	free(line);
	return copy;
}

int config_error(const struct config_place *place, const char *format, ...)
{
	struct config_errors *errors = place->errors;
	char *line = NULL;
	size_t n;
	FILE *f;
	va_list args;

	if (errors == NULL)
		return -EINVAL;
	f = open_memstream(&line, &n);
	if (f == NULL) {
		errors->no_memory = true;
		return -EINVAL;
	}
	if (place->file != NULL)
		fputs(place->file, f);
	if (place->line > 0)
		fprintf(f, ":%u", place->line);
	if (place->file != NULL)
		fputs(": ", f);
	if (place->setting != NULL)
		fprintf(f, "%s%s: ", place->group != NULL ? place->group : "", place->setting);
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	if (fclose(f) != 0 || line == NULL) { /* glibc can fail to allocate it without an error */
		free(line);
		line = NULL;
	} else {
		line = escaped(
			line); /* values are quoted already; file and setting names are not */
	}
	if (line == NULL)
		errors->no_memory = true;
	else if (keep(errors, line, place->order) < 0)
		errors->no_memory = true;
	return -EINVAL;
}

/* Compares by order, then by arrival, because qsort(3) is not stable. */
static int compare_lines(const void *a, const void *b)
{
	const struct config_error_line *line_a = a, *line_b = b;

	if (line_a->order != line_b->order)
		return line_a->order < line_b->order ? -1 : 1;
	return line_a->number < line_b->number ? -1 : 1;
}

void config_errors_write(struct config_errors *errors, FILE *out)
{
	if (errors->n > 0)
		qsort(errors->lines, errors->n, sizeof(*errors->lines), compare_lines);
	for (size_t i = 0; i < errors->n; i++) {
		/* an error in a top-level setting occurs for every listener */
		if (i == 0 || strcmp(errors->lines[i].text, errors->lines[i - 1].text) != 0)
			fprintf(out, "%s\n", errors->lines[i].text);
	}
	if (errors->too_many)
		fprintf(out, "more than %d errors: the rest is left out\n", CONFIG_ERRORS_MAX);
}

void config_errors_finish(struct config_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->lines[i].text);
	free(errors->lines);
	*errors = (struct config_errors){0};
}

/*
 * Writes the quoted form of the character at @text to @out and sets *@ret_n to its length. Returns
 * how many bytes of @text it consumed.
 */
static size_t quote_character(const char *text, char out[5], size_t *ret_n)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n;

	if (!printable_next(p, strnlen(text, UTF8_CHARACTER_MAX), &n)) {
		char c = text[0];
		const char *letter = c == '\n' ? "n" : c == '\r' ? "r" : c == '\t' ? "t" : NULL;

		*ret_n = (size_t)(letter != NULL ? snprintf(out, 5, "\\%s", letter)
						 : snprintf(out, 5, "\\x%02x", p[0]));
		return 1;
	}
	if (text[0] == '"' || text[0] == '\\')
		*ret_n = (size_t)snprintf(out, 5, "\\%c", text[0]);
	else
		memcpy(out, text, *ret_n = n);
	return n;
}

const char *config_quote(const char *text, char out[QUOTE_MAX])
{
	size_t n = 0, written;
	char piece[5];

	out[n++] = '"';
	while (*text != '\0') {
		text += quote_character(text, piece, &written);
		if (n + written + sizeof("...\"") > QUOTE_MAX) {
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		memcpy(out + n, piece, written);
		n += written;
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}
