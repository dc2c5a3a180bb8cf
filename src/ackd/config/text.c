/*
 * read_file() reads a file. scan() processes it token by token, copies the tokens, and calls
 * scan_include() for each @include.
 *
 * A token after which the rest cannot be interpreted ends the scan: an unterminated string or
 * comment, a character that begins no token, a word where a value is expected. Other errors are
 * recorded and the scan continues. A text with a missing file is not passed to libconfig, whose
 * errors would mislead.
 */

#include "ackd/config/text.h"

#include "core/utf8/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The state shared by all files. */
struct scanner {
	struct config_text *text;
	struct config_errors *errors;
	config_reader reader;
	void *reader_data;
	FILE *out;	  /* the text */
	size_t n_put;	  /* bytes written to @out */
	unsigned n_names; /* number of names that are assigned */
	unsigned n_lines; /* lines of the text; the last one may be incomplete */
	size_t n_read;	  /* bytes of all files */
	unsigned depth;	  /* of nested files */
	bool lacks_file;  /* a file could not be read */
	unsigned n_held;  /* newlines held back after a string: see put_token() */
	bool after_string;
	char before;	    /* the last token if a value must follow it, one of "=:[(", or NUL */
	char last_name[64]; /* the current setting, for messages */
};

/* The file that is being scanned. */
struct input {
	struct scanner *scanner;
	const char *file;
	const char *p; /* the next byte */
	const char *end;
	unsigned line;
	bool line_start; /* only white space since the start of the line */
};

/* Returns the place of @line with the current setting. */
static struct config_place place_of(const struct input *in, unsigned line)
{
	const char *name = in->scanner->last_name;

	return (struct config_place){
		.errors = in->scanner->errors,
		.file = in->file,
		.line = line,
		.order = in->scanner->n_lines,
		.setting = name[0] != '\0' ? name : NULL,
	};
}

/* Returns the place of @line without a setting. */
static struct config_place place_in_file(const struct input *in, unsigned line)
{
	struct config_place place = place_of(in, line);

	place.setting = NULL;
	return place;
}

/*
 * Records that the current line of the text comes from the current line of @in. Returns 0 or
 * -ENOMEM.
 */
static int begin_segment(struct input *in)
{
	struct config_text *text = in->scanner->text;
	struct config_segment *grown =
		reallocarray(text->segments, text->n_segments + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	text->segments = grown;
	grown[text->n_segments++] = (struct config_segment){
		in->scanner->n_lines,
		{in->file, in->line},
	};
	return 0;
}

/*
 * Writes to the text. glibc can lose output silently when out of memory, which config_text_read()
 * detects.
 */
static void put(struct scanner *scanner, const char *p, size_t n)
{
	fwrite(p, 1, n, scanner->out);
	scanner->n_put += n;
}

/* Ends the current line of the text and of the file. */
static void put_newline(struct input *in)
{
	struct scanner *scanner = in->scanner;

	in->line++;
	scanner->n_lines++;
	if (scanner->after_string)
		scanner->n_held++;
	else
		put(scanner, "\n", 1);
}

/*
 * Copies the token of @n bytes and advances past it.
 *
 * libconfig reads one token past a string before it records the line of the element. To make that
 * the string's line, a token that closes the element is put on the line of the string.
 */
static void put_token(struct input *in, size_t n)
{
	struct scanner *scanner = in->scanner;
	bool closes = n == 1 && strchr(",;])}", *in->p) != NULL;

	if (closes)
		put(scanner, in->p, n);
	for (; scanner->n_held > 0; scanner->n_held--)
		put(scanner, "\n", 1);
	scanner->after_string = *in->p == '"';
	if (!closes)
		put(scanner, in->p, n);
	for (size_t i = 0; i < n; i++) { /* a string may contain newlines */
		in->line += in->p[i] == '\n';
		scanner->n_lines += in->p[i] == '\n';
	}
	in->p += n;
}

static int fail_at_character(const struct input *in)
{
	struct config_place place = place_in_file(in, in->line);
	const uint8_t *p = (const uint8_t *)in->p;
	size_t n = (size_t)(in->end - in->p), valid, length;

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

static int scan_comment(struct input *in)
{
	struct config_place place = place_in_file(in, in->line);
	size_t n = (size_t)(in->end - in->p), valid, length;
	const char *end;

	if (in->p[0] == '/' && in->p[1] == '*') {
		end = memmem(in->p + 2, n - 2, "*/", 2);
		if (end == NULL)
			return config_error(&place, "syntax error: found a comment without end; "
						    "allowed: /* ... */");
		end += 2;
	} else {
		end = memchr(in->p, '\n', n);
		if (end == NULL)
			end = in->end;
	}
	n = (size_t)(end - in->p);
	if (utf8_check((const uint8_t *)in->p, n, &valid, &length) != UTF8_COMPLETE) {
		for (const char *p = in->p; p < in->p + valid; p++)
			place.line += *p == '\n';
		config_error(&place, "found the byte 0x%02X; allowed: UTF-8, in comments too",
			     (uint8_t)in->p[valid]);
	}
	put(in->scanner, " ", 1); /* a comment separates words */
	for (; in->p < end; in->p++) {
		if (*in->p == '\n')
			put_newline(in);
	}
	return 0;
}

/* Checks the escape sequence at the backslash @p in line @line. Returns its length. */
static size_t check_escape(const struct input *in, const char *p, unsigned line)
{
	struct config_place place = place_of(in, line);
	size_t n = (size_t)(in->end - p);

	if (n >= 4 && (p[1] == 'x' || p[1] == 'X') && isxdigit((unsigned char)p[2]) &&
	    isxdigit((unsigned char)p[3])) {
		if (p[2] == '0' && p[3] == '0')
			config_error(&place,
				     "found a string with \\x00; allowed: text without NUL");
		return 4;
	}
	if (n >= 2 && p[1] != '\0' && strchr("nrtf\\\"", p[1]) != NULL)
		return 2;
	config_error(&place,
		     "found the escape \\%.*s in a string; "
		     "allowed: \\\\ \\\" \\n \\r \\t \\f and \\xHH",
		     n >= 2 && isprint((unsigned char)p[1]) ? 1 : 0, p + 1);
	return 1;
}

static int scan_string(struct input *in)
{
	struct config_place place = place_of(in, in->line);
	const char *p = in->p + 1;
	unsigned line = in->line;

	while (p < in->end && *p != '"' && *p != '\0') {
		line += *p == '\n';
		p += *p == '\\' ? check_escape(in, p, line) : 1;
	}
	if (p == in->end)
		return config_error(&place, "syntax error: found a string without closing quote");
	if (*p == '\0') {
		put_token(in, (size_t)(p - in->p));
		return fail_at_character(in);
	}
	put_token(in, (size_t)(p + 1 - in->p));
	in->scanner->before = '\0';
	return 0;
}

/* The kind of a word where a value is expected. */
enum number { NUMBER_NONE, NUMBER_FITS, NUMBER_TOO_LARGE, NUMBER_LEADING_ZERO };

/* An integer has 32 bits, or 64 with the suffix L or LL. */
static enum number classify_number(const char *p, size_t n)
{
	bool hex = n > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X'), large = false;
	char text[320], *end; /* longer than any double in decimal notation */
	long long value;

	if (n >= sizeof(text))
		return NUMBER_NONE;
	memcpy(text, p, n);
	text[n] = '\0';
	if (!hex && strspn(text, "0123456789+-.eE") == n && strpbrk(text, ".eE") != NULL) {
		strtod(text, &end);
		return end != text && *end == '\0' ? NUMBER_FITS : NUMBER_NONE;
	}
	for (int i = 0; i < 2 && n > 0 && text[n - 1] == 'L'; i++) {
		text[--n] = '\0';
		large = true;
	}
	errno = 0;
	value = strtoll(text, &end, hex ? 16 : 10);
	if (end == text || *end != '\0')
		return NUMBER_NONE;
	if (!hex && text[strcspn(text, "0123456789")] == '0' && n > 1 + strcspn(text, "0123456789"))
		return NUMBER_LEADING_ZERO; /* octal in some versions of libconfig */
	return errno == 0 && (large || (value >= INT32_MIN && value <= INT32_MAX))
		       ? NUMBER_FITS
		       : NUMBER_TOO_LARGE;
}

static bool is_boolean(const char *p, size_t n)
{
	return (n == 4 && strncasecmp(p, "true", n) == 0) ||
	       (n == 5 && strncasecmp(p, "false", n) == 0);
}

/*
 * Returns the length of the word at @p, which consists of letters, digits and characters in
 * @others.
 */
static size_t word_length(const char *p, const char *end, const char *others)
{
	const char *begin = p;

	while (p < end && *p != '\0' && (isalnum((unsigned char)*p) || strchr(others, *p) != NULL))
		p++;
	return (size_t)(p - begin);
}

/* Checks a word where a value is expected: a number, true or false. */
static int check_value(const struct input *in, size_t n)
{
	struct config_place place = place_of(in, in->line);
	const char *p = in->p;
	enum number number = classify_number(p, n);
	int length = (int)(n < QUOTE_MAX ? n : QUOTE_MAX);

	if (number == NUMBER_FITS || is_boolean(p, n))
		return 0;
	if (number == NUMBER_TOO_LARGE) {
		config_error(&place, "found %.*s; allowed: an integer of at most %s", length, p,
			     p[n - 1] == 'L' ? "64 bits"
					     : "32 bits, or of 64 bits with the suffix L");
		return 0;
	}
	if (number == NUMBER_LEADING_ZERO) {
		config_error(&place,
			     "found %.*s; allowed: an integer without leading zeros, or a "
			     "string in quotes",
			     length, p);
		return 0;
	}
	n = word_length(p, in->end, "+-*_.:/%"); /* 5s, 64KiB, 10.0.0.0/8, fe80::1%eth0 */
	return config_error(
		&place, "syntax error: found the word %.*s; allowed: %s, or a string in quotes",
		(int)(n < QUOTE_MAX ? n : QUOTE_MAX), p,
		in->scanner->before == '(' ? "a group { ... }" : "true, false, a number");
}

/* Checks a word where a name is expected, and records it. */
static int check_name(struct input *in, size_t n)
{
	struct config_place place = place_in_file(in, in->line);
	const char *dot = memchr(in->p, '.', n);
	int length = (int)(n < QUOTE_MAX ? n : QUOTE_MAX);

	if (dot != NULL) {
		length = dot - in->p < length ? (int)(dot - in->p) : length;
		return config_error(&place,
				    "syntax error: found the name %.*s with a dot; "
				    "allowed: %.*s = { name = value; };",
				    length, in->p, length, in->p);
	}
	if (++in->scanner->n_names > CONFIG_TEXT_NAMES_MAX)
		return config_error(&place, "found more than %u settings; allowed: fewer",
				    CONFIG_TEXT_NAMES_MAX);
	if (n < sizeof(in->scanner->last_name)) {
		memcpy(in->scanner->last_name, in->p, n);
		in->scanner->last_name[n] = '\0';
	}
	return 0;
}

static int scan_word(struct input *in)
{
	size_t n = word_length(in->p, in->end, "+-*_.");
	bool letter = isalpha((unsigned char)*in->p) || *in->p == '*';
	int r = 0;

	if (in->scanner->before != '\0' || !letter)
		r = check_value(in, n);
	else if (!is_boolean(in->p, n)) /* after a comma in an array */
		r = check_name(in, n);
	if (r < 0)
		return r;
	put_token(in, n);
	in->scanner->before = '\0';
	return 0;
}

static int scan_file(struct scanner *scanner, const char *path, const struct input *parent);

/* Returns the path of an @include (malloc), relative to the directory of @file. */
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

/* Inserts the file of the "@include" at in->p into the text. */
static int scan_include(struct input *in)
{
	static const char word[] = "@include";
	struct config_place place = place_of(in, in->line);
	size_t n = (size_t)(in->end - in->p);
	const char *p = in->p, *begin;
	char *path;
	int r;

	if (n < sizeof(word) - 1 || memcmp(p, word, sizeof(word) - 1) != 0)
		return fail_at_character(in);
	place.setting = word;
	if (!in->line_start)
		return config_error(&place, "syntax error: found after something else; "
					    "allowed: at the start of a line");
	for (p += sizeof(word) - 1; p < in->end && (*p == ' ' || *p == '\t');)
		p++;
	if (p == in->end || *p != '"')
		return config_error(&place, "syntax error; allowed: @include \"FILE\"");
	for (begin = ++p; p < in->end && *p != '"' && *p != '\n' && *p != '\0';)
		p += *p == '\\' && p + 1 < in->end && p[1] != '\n' ? 2 : 1;
	if (p == in->end || *p != '"' || p == begin)
		return config_error(&place, "syntax error; allowed: @include \"FILE\"");
	path = include_path(in->file, begin, (size_t)(p - begin));
	if (path == NULL)
		return -ENOMEM;
	r = scan_file(in->scanner, path, in);
	free(path);
	in->p = p + 1;
	if (r < 0)
		return r;
	put_newline(in);
	in->line--;
	return begin_segment(in);
}

static int scan_token(struct input *in)
{
	const char *p = in->p;
	size_t n = (size_t)(in->end - p);

	if (*p == '"')
		return scan_string(in);
	if (*p == '#' || (*p == '/' && n > 1 && (p[1] == '/' || p[1] == '*')))
		return scan_comment(in);
	if (*p == '@')
		return scan_include(in);
	if (isalnum((unsigned char)*p) || (*p != '\0' && strchr("*-+.", *p) != NULL))
		return scan_word(in);
	if (*p == '\0' || strchr("=:,;{}[]()", *p) == NULL)
		return fail_at_character(in);
	in->scanner->before = strchr("=:[(", *p) != NULL ? *p : '\0';
	put_token(in, 1);
	return 0;
}

static int scan(struct input *in)
{
	int r;

	if (in->end - in->p >= 3 && memcmp(in->p, "\xef\xbb\xbf", 3) == 0)
		in->p += 3; /* a byte order mark */
	while (in->p < in->end) {
		if (*in->p == '\n') {
			in->line_start = true;
			in->p++;
			put_newline(in);
		} else if (strchr(" \t\r\f", *in->p) != NULL && *in->p != '\0') {
			put(in->scanner, in->p++, 1);
		} else {
			r = scan_token(in);
			if (r < 0)
				return r;
			in->line_start = false;
		}
	}
	return 0;
}

/* Adds @path to the list of file names, which live as long as the text. */
static const char *add_file(struct config_text *text, const char *path)
{
	char **grown = reallocarray(text->files, text->n_files + 1, sizeof(*grown));

	if (grown == NULL)
		return NULL;
	text->files = grown;
	grown[text->n_files] = strdup(path);
	return grown[text->n_files] != NULL ? grown[text->n_files++] : NULL;
}

/* Reports why @path is not read, at the @include of @parent (NULL: the first file). */
static void report_unread(const struct scanner *scanner, const char *path,
			  const struct input *parent, int error)
{
	struct config_place place = {.errors = scanner->errors, .file = path};
	char quoted[QUOTE_MAX] = "";

	if (parent != NULL) {
		place = place_of(parent, parent->line);
		place.setting = "@include";
		config_quote(path, quoted);
	}
	if (error == -ELOOP)
		config_error(&place, "found %s nested in %d others; allowed: %d", quoted,
			     CONFIG_TEXT_DEPTH_MAX, CONFIG_TEXT_DEPTH_MAX - 1);
	else if (error == -EFBIG)
		config_error(&place, "%s%smore than %u MiB in all; allowed: less", quoted,
			     parent != NULL ? ": " : "", CONFIG_TEXT_BYTES_MAX >> 20);
	else if (error == -EACCES)
		config_error(&place,
			     "cannot read%s%s: %s; the user that runs ackd (user ID %ju) must be "
			     "able to read it",
			     parent != NULL ? " " : "", quoted, strerror(EACCES),
			     (uintmax_t)geteuid());
	else
		config_error(&place, "cannot read%s%s: %s", parent != NULL ? " " : "", quoted,
			     strerror(-error));
}

/*
 * Reads the file at @path. Returns 0 and gives *@ret_bytes to the caller. *@ret_bytes is NULL if
 * the file cannot be read, after an error was reported. Other results are as in config_text_read().
 */
static int read_file(struct scanner *scanner, const char *path, const struct input *parent,
		     char **ret_bytes, size_t *ret_n)
{
	char *bytes = NULL;
	size_t n = 0;
	int r = -ELOOP;

	if (scanner->depth < CONFIG_TEXT_DEPTH_MAX)
		r = scanner->reader(scanner->reader_data, path, &bytes, &n);
	if (r == -ENOMEM || (r == -ENOENT && parent == NULL))
		return r;
	if (r == 0 && n > CONFIG_TEXT_BYTES_MAX - scanner->n_read) {
		free(bytes);
		r = -EFBIG;
	}
	if (r < 0) {
		report_unread(scanner, path, parent, r);
		scanner->lacks_file = true;
		/* Stop here: these two errors could repeat without bound. */
		return parent == NULL || r == -ELOOP || r == -EFBIG ? -EINVAL : 0;
	}
	scanner->n_read += n;
	*ret_bytes = bytes;
	*ret_n = n;
	return 0;
}

static int scan_file(struct scanner *scanner, const char *path, const struct input *parent)
{
	struct input in = {.scanner = scanner, .line = 1, .line_start = true};
	char *bytes = NULL;
	size_t n = 0;
	int r;

	in.file = add_file(scanner->text, path);
	if (in.file == NULL)
		return -ENOMEM;
	r = read_file(scanner, in.file, parent, &bytes, &n);
	if (r < 0 || bytes == NULL)
		return r;
	in.p = bytes;
	in.end = bytes + n;
	scanner->depth++;
	r = begin_segment(&in);
	if (r == 0)
		r = scan(&in);
	scanner->depth--;
	free(bytes);
	return r;
}

static int read_descriptor(int fd, char **ret_bytes, size_t *ret_n)
{
	size_t n = 0, capacity = 16384;
	char *bytes = malloc(capacity), *grown;
	ssize_t n_read;

	while (bytes != NULL) {
		n_read = read(fd, bytes + n, capacity - n);
		if (n_read == 0) {
			*ret_bytes = bytes;
			*ret_n = n;
			return 0;
		}
		if (n_read < 0 && errno == EINTR)
			continue;
		n += n_read > 0 ? (size_t)n_read : 0;
		if (n_read < 0 || n > CONFIG_TEXT_BYTES_MAX) {
			int r = n_read < 0 ? -errno : -EFBIG;

			free(bytes);
			return r;
		}
		if (n == capacity) {
			capacity *= 2;
			grown = realloc(bytes, capacity);
			if (grown == NULL)
				free(bytes);
			bytes = grown;
		}
	}
	return -ENOMEM;
}

/* The default reader. It also reads pipes such as /dev/stdin. */
static int read_path(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

	if (fd < 0)
		return -errno;
	r = read_descriptor(fd, ret_bytes, ret_n);
	close(fd);
	return r;
}

int config_text_read(struct config_text *ret_text, const char *path, config_reader reader,
		     void *reader_data, struct config_errors *errors)
{
	struct scanner scanner = {
		.text = ret_text,
		.errors = errors,
		.reader = reader != NULL ? reader : read_path,
		.reader_data = reader_data,
		.n_lines = 1,
	};
	int r;

	*ret_text = (struct config_text){0};
	scanner.out = open_memstream(&ret_text->bytes, &ret_text->n_bytes);
	if (scanner.out == NULL)
		return -ENOMEM;
	r = scan_file(&scanner, path, NULL);
	if (fclose(scanner.out) != 0 || ret_text->bytes == NULL ||
	    ret_text->n_bytes != scanner.n_put)
		r = -ENOMEM;
	return r == 0 && scanner.lacks_file ? -EINVAL : r;
}

void config_text_finish(struct config_text *text)
{
	for (size_t i = 0; i < text->n_files; i++)
		free(text->files[i]);
	free(text->files);
	free(text->segments);
	free(text->bytes);
	*text = (struct config_text){0};
}

struct config_origin config_text_origin(const struct config_text *text, unsigned line)
{
	size_t low = 0, high = text->n_segments; /* the result is in [low, high) */

	if (high == 0)
		return (struct config_origin){text->files[0], 1};
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (text->segments[middle].first <= line)
			low = middle;
		else
			high = middle;
	}
	return (struct config_origin){
		text->segments[low].origin.file,
		text->segments[low].origin.line + (line > 0 ? line : 1) - text->segments[low].first,
	};
}
