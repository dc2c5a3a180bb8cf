#include "ackd/config/error.h"

#include "base/array.h"
#include "core/text/printable.h"
#include "core/utf8/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Inserts @text, which it takes, after the errors of the same line and of earlier ones. */
static void keep(struct config_errors *errors, char *text, unsigned line)
{
	struct config_error_line *lines = errors->lines;
	size_t i = errors->n;

	while (i > 0 && lines[i - 1].line > line)
		i--;
	for (size_t j = i; j > 0 && lines[j - 1].line == line; j--) {
		if ((lines[j - 1].in_text && !errors->in_text) ||
		    strcmp(lines[j - 1].text, text) == 0) {
			free(text);
			return;
		}
	}
	memmove(&lines[i + 1], &lines[i], (errors->n - i) * sizeof(*lines));
	lines[i] = (struct config_error_line){text, line, errors->in_text};
	errors->n++;
}

/* Takes @line and returns it with unprintable bytes escaped, or NULL when out of memory. */
static char *escaped(char *line)
{
	size_t size = PRINTABLE_SIZE(strlen(line));
	char *copy = malloc(size);

	if (copy)
		printable_escape(copy, size, line);
	free(line);
	return copy;
}

/* Returns whether @option, "--set NAME", names the setting at @place. */
static bool names_setting(const char *option, const struct config_place *place)
{
	size_t n = strlen(option), n_setting = place->setting ? strlen(place->setting) : 0;
	const char *end = option + n - n_setting;

	if (place->errors->in_text || !place->setting)
		return true;
	return n > n_setting && strcmp(end, place->setting) == 0 &&
	       (end[-1] == ' ' || end[-1] == '.');
}

/* Writes where an error is: "FILE:LINE: SETTING: ". */
static void write_place(const struct config_place *place, FILE *out)
{
	struct config_origin origin = config_errors_origin(place->errors, place->line);

	if (origin.file && origin.line > 0)
		fprintf(out, "%s:%u: ", origin.file, origin.line);
	else if (origin.file)
		fprintf(out, "%s: ", origin.file);
	if (origin.file && origin.line == 0 && names_setting(origin.file, place))
		return;
	if (place->setting && place->listener >= 0)
		fprintf(out, "listeners[%d].", place->listener);
	if (place->setting)
		fprintf(out, "%s: ", place->setting);
}

int config_error(const struct config_place *place, const char *format, ...)
{
	struct config_errors *errors = place->errors;
	char *line = NULL;
	size_t n;
	FILE *f;
	va_list args;

	errors->too_many = errors->too_many || errors->n == CONFIG_ERRORS_MAX;
	if (errors->too_many)
		return -EINVAL;
	f = open_memstream(&line, &n);
	if (!f) {
		errors->no_memory = true;
		return -EINVAL;
	}
	write_place(place, f);
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	if (fclose(f) == 0 && line) { /* glibc can fail to allocate it without an error */
		line = escaped(line); /* values are quoted; other names are not */
	} else {
		free(line);
		line = NULL;
	}
	if (line)
		keep(errors, line, place->line);
	else
		errors->no_memory = true;
	return -EINVAL;
}

int config_errors_add_segment(struct config_errors *errors, unsigned first, const char *file,
			      unsigned line)
{
	struct config_segment *grown =
		array_resize(errors->segments, errors->n_segments + 1, sizeof(*grown));
	char *copy = strdup(file);

	if (grown)
		errors->segments = grown;
	if (!grown || !copy) {
		free(copy);
		return -ENOMEM;
	}
	grown[errors->n_segments] = (struct config_segment){.first = first, .line = line};
	grown[errors->n_segments++].file = copy;
	return 0;
}

struct config_origin config_errors_origin(const struct config_errors *errors, unsigned line)
{
	const struct config_segment *segments = errors->segments;
	size_t low = 0, high = errors->n_segments; /* the result is in [low, high) */

	if (line == 0 || high == 0)
		return (struct config_origin){0};
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (segments[middle].first <= line)
			low = middle;
		else
			high = middle;
	}
	return (struct config_origin){
		segments[low].file,
		segments[low].line == 0 ? 0 : segments[low].line + line - segments[low].first,
	};
}

void config_errors_write(const struct config_errors *errors, FILE *out)
{
	for (size_t i = 0; i < errors->n; i++)
		fprintf(out, "%s\n", errors->lines[i].text);
	if (errors->too_many)
		fprintf(out, "more than %d errors: the rest is left out\n", CONFIG_ERRORS_MAX);
}

void config_errors_finish(struct config_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->lines[i].text);
	for (size_t i = 0; i < errors->n_segments; i++)
		free(errors->segments[i].file);
	free(errors->segments);
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

		*ret_n = (size_t)(letter ? snprintf(out, 5, "\\%s", letter)
					 : snprintf(out, 5, "\\x%02x", p[0]));
		return 1;
	}
	if (text[0] == '"' || text[0] == '\\')
		*ret_n = (size_t)snprintf(out, 5, "\\%c", text[0]);
	else
		memcpy(out, text, *ret_n = n);
	return n;
}

void config_quote_print(const char *text, FILE *out)
{
	char piece[5];
	size_t n;

	fputc('"', out);
	while (*text != '\0') {
		text += quote_character(text, piece, &n);
		fwrite(piece, 1, n, out);
	}
	fputc('"', out);
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
