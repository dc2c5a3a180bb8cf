/*
 * For each file: read_file() gets its bytes, scan_bytes() takes them apart into tokens
 * (config_token.c), and scan_emit() writes each to the text; scan_include() does the same with
 * another file in between.
 *
 * What ends the scan: an unterminated string or comment, a character that no token begins with.
 * libconfig would only say "syntax error" there. All else is told, and the scan goes on; but what
 * lacks a file is no text for libconfig, for errors that come of that would mislead.
 */

#include "config_scan.h"

#include "config_file.h"
#include "config_token.h"
#include "core/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct config_place scan_place(const struct scan_input *in, unsigned line)
{
	const char *name = in->scan->last_name;

	return (struct config_place){
		.errors = in->scan->errors,
		.file = in->file,
		.line = line,
		.order = (unsigned)in->scan->n_origins,
		.setting = name[0] != '\0' ? name : NULL,
	};
}

int scan_emit_line(struct scan_input *in, unsigned line)
{
	struct config_scan *scan = in->scan;
	size_t n = scan->n_origins;
	struct config_origin *grown;

	if (n > 0 && scan->origins[n - 1].line == line && scan->origins[n - 1].file == in->file)
		return 0;
	if ((n & (n - 1)) == 0) { /* a power of 2: full */
		grown = reallocarray(scan->origins, n > 0 ? n * 2 : 1, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		scan->origins = grown;
	}
	if (n > 0)
		fputc('\n', scan->out);
	scan->origins[scan->n_origins++] = (struct config_origin){in->file, line};
	return 0;
}

/*
 * libconfig looks one token past a string before it notes the line of the element that it is: what
 * closes an element stays on the line on which the element began.
 */
int scan_emit(struct scan_input *in, unsigned line, const char *token, size_t n)
{
	struct config_scan *scan = in->scan;
	bool closes = n == 1 && strchr(",;])}", token[0]) != NULL;
	int r;

	if (!(scan->after_string && closes)) {
		r = scan_emit_line(in, line);
		if (r < 0)
			return r;
	}
	fwrite(token, 1, n, scan->out);
	fputc(' ', scan->out);
	scan->after_string = false;
	scan->value_after = n == 1 && strchr("=:[(", token[0]) != NULL ? token[0] : '\0';
	return 0;
}

int scan_fail_at_character(struct scan_input *in)
{
	struct config_place place = scan_place(in, in->line);
	const uint8_t *p = (const uint8_t *)in->p;
	size_t n = (size_t)(in->end - in->p), valid, length;

	place.setting = NULL;
	if (*p == '\0')
		return config_error(&place, "syntax error: found a NUL byte; allowed: text");
	if (*p == '\'')
		return config_error(&place, "syntax error: found a single quote; allowed: strings "
					    "in double quotes");
	if (*p < 0x80 && isprint(*p))
		return config_error(&place, "syntax error: found an unexpected '%c'", *p);
	utf8_check(p, n < UTF8_CHARACTER_MAX ? n : UTF8_CHARACTER_MAX, &valid, &length);
	if (valid == 0)
		return config_error(&place, "syntax error: found the byte 0x%02X; allowed: UTF-8",
				    *p);
	return config_error(&place, "syntax error: found U+%04" PRIX32 " outside of a string",
			    utf8_code_point(p));
}

static int scan_file(struct config_scan *scan, const char *path, const struct scan_input *parent);

/* Returns the path that an @include names (malloc): relative to the directory of @file. */
static char *include_path(const char *file, const char *p, size_t n)
{
	const char *slash = strrchr(file, '/');
	size_t n_directory = slash != NULL && p[0] != '/' ? (size_t)(slash - file) + 1 : 0;
	char *path = malloc(n_directory + n + 1), *out = path;

	if (path == NULL)
		return NULL;
	memcpy(path, file, n_directory);
	out += n_directory;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\' && i + 1 < n)
			i++;
		*out++ = p[i];
	}
	*out = '\0';
	return path;
}

/* Reads what the "@include" at in->p names; in->p is after its closing quote then. */
static int scan_include(struct scan_input *in)
{
	static const char word[] = "@include";
	struct config_place place = scan_place(in, in->line);
	size_t n = (size_t)(in->end - in->p);
	const char *p = in->p, *begin;
	char *path;
	int r;

	if (n < sizeof(word) - 1 || memcmp(p, word, sizeof(word) - 1) != 0)
		return scan_fail_at_character(in);
	place.setting = word;
	if (!in->line_start)
		return config_error(&place, "syntax error: found after something else; "
					    "allowed: at the start of a line");
	for (p += sizeof(word) - 1; p < in->end && (*p == ' ' || *p == '\t');)
		p++;
	if (p == in->end || *p != '"')
		return config_error(&place, "syntax error; allowed: @include \"FILE\"");
	for (begin = ++p; p < in->end && *p != '"' && *p != '\n' && *p != '\0';)
		p += *p == '\\' && p + 1 < in->end ? 2 : 1;
	if (p == in->end || *p != '"' || p == begin)
		return config_error(&place, "syntax error; allowed: @include \"FILE\"");
	in->p = p + 1;
	path = include_path(in->file, begin, (size_t)(p - begin));
	if (path == NULL)
		return -ENOMEM;
	r = scan_file(in->scan, path, in);
	free(path);
	return r;
}

static int scan_token(struct scan_input *in)
{
	const char *p = in->p;
	size_t n = (size_t)(in->end - p);
	int r;

	if (*p == '"')
		return scan_string(in);
	if (*p == '#' || (*p == '/' && n > 1 && (p[1] == '/' || p[1] == '*')))
		return scan_comment(in);
	if (*p == '@')
		return scan_include(in);
	if (isalpha((unsigned char)*p) || *p == '*')
		return scan_name(in);
	if (isdigit((unsigned char)*p) || *p == '-' || *p == '+' || *p == '.')
		return scan_number(in);
	if (*p == '\0' || strchr("=:,;{}[]()", *p) == NULL)
		return scan_fail_at_character(in);
	r = scan_emit(in, in->line, p, 1);
	in->p++;
	return r;
}

static int scan_bytes(struct scan_input *in)
{
	int r;

	if (in->end - in->p >= 3 && memcmp(in->p, "\xef\xbb\xbf", 3) == 0)
		in->p += 3; /* a byte order mark */
	in->line = 1;
	in->line_start = true;
	while (in->p < in->end) {
		if (*in->p == '\n') {
			in->line++;
			in->line_start = true;
			in->p++;
		} else if (*in->p == ' ' || *in->p == '\t' || *in->p == '\r' || *in->p == '\f') {
			in->p++;
		} else {
			r = scan_token(in);
			if (r < 0)
				return r;
			in->line_start = false;
		}
	}
	return 0;
}

/* Adds @path to the names of files, which live as long as the scan. */
static const char *add_file(struct config_scan *scan, const char *path)
{
	char **grown = reallocarray(scan->files, scan->n_files + 1, sizeof(*grown));

	if (grown == NULL)
		return NULL;
	scan->files = grown;
	grown[scan->n_files] = strdup(path);
	return grown[scan->n_files] != NULL ? grown[scan->n_files++] : NULL;
}

/* Tells, at the @include of @parent (NULL: the first file), why @path is not read. */
static void tell_unread(struct config_scan *scan, const char *path, const struct scan_input *parent,
			int error)
{
	struct config_place place = {.errors = scan->errors, .file = path};
	char quoted[QUOTE_MAX] = "";

	if (parent != NULL) {
		place = scan_place(parent, parent->line);
		place.setting = "@include";
		config_quote(path, quoted);
	}
	if (error == -ELOOP)
		config_error(&place, "found %s nested in %d others; allowed: %d", quoted,
			     CONFIG_SCAN_DEPTH_MAX, CONFIG_SCAN_DEPTH_MAX - 1);
	else if (error == -EFBIG)
		config_error(&place, "%s%smore than %u MiB in all; allowed: less", quoted,
			     parent != NULL ? ": " : "", CONFIG_SCAN_BYTES_MAX >> 20);
	else
		config_error(&place, "cannot read%s%s: %s", parent != NULL ? " " : "", quoted,
			     strerror(-error));
}

/*
 * Reads the file at @path. Returns 0 and gives the caller *@ret_bytes (NULL: it was told that it
 * cannot be read), or as config_scan() does.
 */
static int read_file(struct config_scan *scan, const char *path, const struct scan_input *parent,
		     char **ret_bytes, size_t *ret_n)
{
	char *bytes = NULL;
	size_t n = 0;
	int r = -ELOOP;

	if (scan->depth < CONFIG_SCAN_DEPTH_MAX)
		r = scan->reader(scan->reader_data, path, &bytes, &n);
	if (r == -ENOMEM || (r == -ENOENT && parent == NULL))
		return r;
	if (r == 0 && n > CONFIG_SCAN_BYTES_MAX - scan->n_read) {
		free(bytes);
		r = -EFBIG;
	}
	if (r < 0) {
		tell_unread(scan, path, parent, r);
		scan->lacks_file = true;
		/* These two could be told without end. */
		return parent == NULL || r == -ELOOP || r == -EFBIG ? -EINVAL : 0;
	}
	scan->n_read += n;
	*ret_bytes = bytes;
	*ret_n = n;
	return 0;
}

static int scan_file(struct config_scan *scan, const char *path, const struct scan_input *parent)
{
	struct scan_input in = {.scan = scan};
	char *bytes = NULL;
	size_t n = 0;
	int r;

	in.file = add_file(scan, path);
	if (in.file == NULL)
		return -ENOMEM;
	r = read_file(scan, in.file, parent, &bytes, &n);
	if (r < 0 || bytes == NULL)
		return r;
	in.p = bytes;
	in.end = bytes + n;
	scan->depth++;
	r = scan_bytes(&in);
	scan->depth--;
	free(bytes);
	return r;
}

int config_scan(struct config_scan *scan, const char *path, config_reader reader, void *reader_data,
		struct config_errors *errors)
{
	int r;

	*scan = (struct config_scan){
		.errors = errors,
		.reader = reader != NULL ? reader : config_file_read,
		.reader_data = reader_data,
	};
	scan->out = open_memstream(&scan->text, &scan->n_text);
	if (scan->out == NULL)
		return -ENOMEM;
	r = scan_file(scan, path, NULL);
	fputc('\n', scan->out);
	if (fclose(scan->out) != 0 || scan->text == NULL) /* glibc can lose it without an error */
		r = -ENOMEM;
	scan->out = NULL;
	return r == 0 && scan->lacks_file ? -EINVAL : r;
}

void config_scan_finish(struct config_scan *scan)
{
	for (size_t i = 0; i < scan->n_files; i++)
		free(scan->files[i]);
	for (size_t i = 0; i < scan->n_big_integers; i++)
		free(scan->big_integers[i]);
	free(scan->files);
	free(scan->big_integers);
	free(scan->origins);
	free(scan->text);
	*scan = (struct config_scan){0};
}

struct config_origin config_scan_origin(const struct config_scan *scan, unsigned line)
{
	if (scan->n_origins == 0)
		return (struct config_origin){scan->files[0], 1};
	if (line == 0)
		line = 1;
	return scan->origins[line <= scan->n_origins ? line - 1 : scan->n_origins - 1];
}

const char *config_scan_big_integer(const struct config_scan *scan, int64_t value)
{
	uint64_t i = (uint64_t)value - (uint64_t)INT64_MIN;

	return i < scan->n_big_integers ? scan->big_integers[i] : NULL;
}
