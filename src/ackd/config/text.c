/*
 * read_file() reads a file. scan() processes it token by token, copies the tokens without comments,
 * and calls scan_include() for each @include.
 *
 * A token after which the rest cannot be interpreted ends the scan: an unterminated string or
 * comment, a character that begins no token, a word where a value is expected. Other errors are
 * recorded and the scan continues. A text with a missing file is not passed to libconfig, whose
 * errors would mislead.
 */

#include "ackd/config/text.h"

#include "base/descriptors.h"
#include "core/text/printable.h"
#include "core/utf8/utf8.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The state shared by all files. */
struct scanner {
	struct config_errors *errors;
	config_reader reader;
	void *reader_data;
	FILE *out;	   /* the text */
	size_t n_put;	   /* bytes written to @out */
	unsigned line;	   /* the current line of the text, from 1 */
	unsigned n_held;   /* newlines before @line that are not written yet: put_token() */
	bool after_string; /* the last token is a string */
	char before;	   /* the last token if a value must follow it, one of "=:[(", or NUL */
	char name[64];	   /* the current setting, for messages */
	unsigned n_names;  /* number of names that are assigned */
	size_t n_read;	   /* bytes of all files */
	unsigned depth;	   /* of nested files */
	bool lacks_file;   /* a file could not be read */
};

/* The file that is being scanned. */
struct input {
	struct scanner *scanner;
	const char *file;
	const char *p; /* the next byte */
	const char *end;
	bool line_start; /* only white space since the start of the line */
};

/* Returns the place of the current line, with @setting (NULL: none). */
static struct config_place place_of(const struct input *in, const char *setting)
{
	return (struct config_place){in->scanner->errors, in->scanner->line, -1, setting};
}

/* Returns the place of a value in the current line. */
static struct config_place value_place(const struct input *in)
{
	return place_of(in, in->scanner->name[0] != '\0' ? in->scanner->name : NULL);
}

/* Advances past @n bytes. Their newlines are counted, but not copied. */
static void skip(struct input *in, size_t n)
{
	for (const char *end = in->p + n; in->p < end; in->p++)
		in->scanner->line += *in->p == '\n';
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

/*
 * Copies the token of @n bytes, after the newlines before it, and advances past it.
 *
 * libconfig reads one token past a string before it records the line of the element. To make that
 * the string's line, a token that closes the element is put on the line of the string.
 */
static void put_token(struct input *in, size_t n)
{
	struct scanner *scanner = in->scanner;
	bool closes = n == 1 && strchr(",;])}", *in->p) != NULL;

	for (; scanner->n_held > 0 && !(closes && scanner->after_string); scanner->n_held--)
		put(scanner, "\n", 1);
	scanner->after_string = *in->p == '"';
	put(scanner, in->p, n);
	put(scanner, " ", 1); /* a comment separates words */
	skip(in, n);
	in->line_start = false;
}

/* Advances past @n bytes of white space or a comment. */
static void skip_blank(struct input *in, size_t n)
{
	unsigned line = in->scanner->line;

	skip(in, n);
	in->scanner->n_held += in->scanner->line - line;
	in->line_start = in->line_start || in->scanner->line > line;
}

static int fail_at_character(const struct input *in)
{
	struct config_place place = place_of(in, NULL);
	char character[UTF8_CHARACTER_MAX + 1] = "", quoted[QUOTE_MAX];
	size_t n;

	printable_next((const uint8_t *)in->p, (size_t)(in->end - in->p), &n);
	memcpy(character, in->p, n);
	return config_error(&place,
			    "syntax error: found the character %s; allowed: name = value; with "
			    "strings in double quotes",
			    config_quote(character, quoted));
}

static int scan_comment(struct input *in)
{
	struct config_place place = place_of(in, NULL);
	size_t n = (size_t)(in->end - in->p);
	bool block = in->p[0] == '/' && in->p[1] == '*';
	const char *end = block ? memmem(in->p + 2, n - 2, "*/", 2) : memchr(in->p, '\n', n);

	if (!end && block)
		return config_error(&place, "syntax error: found a comment without end; allowed: "
					    "/* ... */");
	skip_blank(in, !end ? n : (size_t)(end - in->p) + (block ? 2 : 0));
	return 0;
}

/* Checks the escape sequence at the backslash @p. Returns its length. */
static size_t check_escape(const char *p, const char *end, const struct config_place *place)
{
	size_t n = (size_t)(end - p);

	if (n >= 4 && (p[1] == 'x' || p[1] == 'X') && isxdigit((unsigned char)p[2]) &&
	    isxdigit((unsigned char)p[3])) {
		if (p[2] == '0' && p[3] == '0')
			config_error(place, "found a string with \\x00; allowed: text without NUL");
		return 4;
	}
	if (n >= 2 && strchr("nrtf\\\"", p[1]))
		return 2;
	config_error(place,
		     "found the escape \\%.*s in a string; "
		     "allowed: \\\\ \\\" \\n \\r \\t \\f and \\xHH",
		     n >= 2 && isprint((unsigned char)p[1]) ? 1 : 0, p + 1);
	return 1;
}

static int scan_string(struct input *in)
{
	struct config_place place = value_place(in), escape = place;
	const char *p = in->p + 1;

	while (p < in->end && *p != '"') {
		escape.line += *p == '\n';
		p += *p == '\\' ? check_escape(p, in->end, &escape) : 1;
	}
	if (p == in->end)
		return config_error(&place, "syntax error: found a string without closing quote");
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
	if (!hex && strspn(text, "0123456789+-.eE") == n && strpbrk(text, ".eE")) {
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

	while (p < end && (isalnum((unsigned char)*p) || strchr(others, *p)))
		p++;
	return (size_t)(p - begin);
}

/* Checks a word where a value is expected: a number, true or false. */
static int check_value(const struct input *in, size_t n)
{
	struct config_place place = value_place(in);
	const char *p = in->p;
	enum number number = classify_number(p, n);
	int length = (int)(n < QUOTE_MAX ? n : QUOTE_MAX);

	if (number == NUMBER_FITS || is_boolean(p, n))
		return 0;
	if (number == NUMBER_NONE) {
		n = word_length(p, in->end, "+-*_.:/%"); /* 5s, 64KiB, 10.0.0.0/8, fe80::1%eth0 */
		return config_error(
			&place,
			"syntax error: found the word %.*s; allowed: %s, or a string in quotes",
			(int)(n < QUOTE_MAX ? n : QUOTE_MAX), p,
			in->scanner->before == '(' ? "a group { ... }" : "true, false, a number");
	}
	config_error(&place, "found %.*s; allowed: an integer %s", length, p,
		     number == NUMBER_LEADING_ZERO
			     ? "without leading zeros, or a string in quotes"
			     : "of at most 32 bits, or of 64 bits with the suffix L");
	return 0;
}

/* Checks a word where a name is expected, and records it. */
static int check_name(struct input *in, size_t n)
{
	struct config_place place = place_of(in, NULL);
	const char *dot = memchr(in->p, '.', n);
	int length = (int)(n < QUOTE_MAX ? n : QUOTE_MAX);

	if (dot) {
		length = dot - in->p < length ? (int)(dot - in->p) : length;
		return config_error(&place,
				    "syntax error: found the name %.*s with a dot; "
				    "allowed: %.*s = { name = value; };",
				    length, in->p, length, in->p);
	}
	if (++in->scanner->n_names > CONFIG_TEXT_NAMES_MAX)
		return config_error(&place, "found more than %u settings; allowed: at most %u",
				    CONFIG_TEXT_NAMES_MAX, CONFIG_TEXT_NAMES_MAX);
	snprintf(in->scanner->name, sizeof(in->scanner->name), "%.*s", length, in->p);
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

/*
 * Returns the path of the @include whose quoted name begins at @p and has @n bytes (malloc),
 * relative to the directory of @file, or NULL when out of memory.
 */
static char *include_path(const char *file, const char *p, size_t n)
{
	const char *slash = strrchr(file, '/');
	size_t n_directory = slash && p[0] != '/' ? (size_t)(slash - file) + 1 : 0;
	char *path = malloc(n_directory + n + 1), *out = path;

	if (!path)
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
	struct scanner *scanner = in->scanner;
	struct config_place place = place_of(in, word);
	unsigned line = config_errors_origin(scanner->errors, scanner->line).line;
	size_t n = (size_t)(in->end - in->p);
	const char *p = in->p + sizeof(word) - 1, *begin;
	char *path;
	int r;

	if (n < sizeof(word) - 1 || memcmp(in->p, word, sizeof(word) - 1) != 0)
		return fail_at_character(in);
	if (!in->file)
		return config_error(&place, "@include is for files only");
	while (p < in->end && (*p == ' ' || *p == '\t'))
		p++;
	begin = p < in->end && *p == '"' ? ++p : in->end;
	while (p < in->end && *p != '"' && *p != '\n')
		p += *p == '\\' && p + 1 < in->end && p[1] != '\n' ? 2 : 1;
	if (p == in->end || *p != '"' || p <= begin || !in->line_start)
		return config_error(&place, "syntax error; allowed: @include \"FILE\" at the start "
					    "of a line");
	path = include_path(in->file, begin, (size_t)(p - begin));
	if (!path)
		return -ENOMEM;
	r = scan_file(scanner, path, in);
	free(path);
	if (r < 0)
		return r;
	in->p = p + 1;
	in->line_start = false;
	scanner->n_held++; /* the rest of the line is a line of its own in the text */
	return config_errors_add_segment(scanner->errors, ++scanner->line, in->file, line);
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
	if (isalnum((unsigned char)*p) || strchr("*-+.", *p))
		return scan_word(in);
	if (!strchr("=:,;{}[]()", *p))
		return fail_at_character(in);
	in->scanner->before = strchr("=:[(", *p) ? *p : '\0';
	put_token(in, 1);
	return 0;
}

/* Checks that the file is UTF-8 and has no NUL byte. */
static int check_encoding(const struct input *in)
{
	struct config_place place = place_of(in, NULL);
	size_t n = (size_t)(in->end - in->p);
	size_t valid = utf8_check((const uint8_t *)in->p, n).valid;
	const char *nul = memchr(in->p, '\0', n);

	if (nul && (size_t)(nul - in->p) < valid)
		valid = (size_t)(nul - in->p);
	if (valid == n)
		return 0;
	for (const char *p = in->p; p < in->p + valid; p++)
		place.line += *p == '\n';
	return config_error(&place, "found the byte 0x%02X; allowed: UTF-8 without NUL",
			    (uint8_t)in->p[valid]);
}

static int scan(struct input *in)
{
	int r = check_encoding(in);

	if (in->end - in->p >= 3 && memcmp(in->p, "\xef\xbb\xbf", 3) == 0)
		in->p += 3; /* a byte order mark */
	while (in->p < in->end && r == 0) {
		if (strchr(" \t\r\f\n", *in->p))
			skip_blank(in, 1);
		else
			r = scan_token(in);
	}
	return r;
}

/* Reports why @path is not read, at the @include of @parent (NULL: the first file). */
static void report_unread(const struct scanner *scanner, const char *path,
			  const struct input *parent, int error)
{
	struct config_place place = {.errors = scanner->errors, .listener = -1};
	char quoted[QUOTE_MAX], reason[160];

	if (parent)
		place = place_of(parent, "@include");
	snprintf(reason, sizeof(reason), "%s", strerror(-error));
	if (error == -ELOOP)
		snprintf(reason, sizeof(reason), "files nest more than %d deep",
			 CONFIG_TEXT_DEPTH_MAX);
	else if (error == -EFBIG)
		snprintf(reason, sizeof(reason), "all files together have more than %u MiB",
			 CONFIG_TEXT_BYTES_MAX >> 20);
	else if (error == -EACCES)
		snprintf(reason, sizeof(reason),
			 "%s; the user that runs ackd (user ID %u) must be able to read it",
			 strerror(EACCES), (unsigned)geteuid());
	if (parent)
		config_error(&place, "cannot read %s: %s", config_quote(path, quoted), reason);
	else
		config_error(&place, "%s: cannot read: %s", path, reason);
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
	if (r == -ENOMEM || (r == -ENOENT && !parent))
		return r;
	if (r == 0 && n > CONFIG_TEXT_BYTES_MAX - scanner->n_read) {
		free(bytes);
		r = -EFBIG;
	}
	if (r < 0) {
		report_unread(scanner, path, parent, r);
		scanner->lacks_file = true;
		/* Stop here: these two errors could repeat without bound. */
		return !parent || r == -ELOOP || r == -EFBIG ? -EINVAL : 0;
	}
	scanner->n_read += n;
	*ret_bytes = bytes;
	*ret_n = n;
	return 0;
}

/* Scans the @n bytes of the file @path, or, if that is NULL, of an option. */
static int scan_bytes(struct scanner *scanner, const char *path, const char *bytes, size_t n)
{
	struct input in = {scanner, path, bytes, bytes + n, .line_start = true};

	return scan(&in);
}

static int scan_file(struct scanner *scanner, const char *path, const struct input *parent)
{
	char *bytes = NULL;
	size_t n = 0;
	int r = read_file(scanner, path, parent, &bytes, &n);

	if (r < 0 || !bytes)
		return r;
	scanner->depth++;
	r = config_errors_add_segment(scanner->errors, scanner->line, path, 1);
	if (r == 0)
		r = scan_bytes(scanner, path, bytes, n);
	scanner->depth--;
	free(bytes);
	return r;
}

/* The default reader. It also reads pipes such as /dev/stdin. */
static int read_path(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

	if (fd < 0)
		return -errno;
	r = descriptor_read_all(fd, CONFIG_TEXT_BYTES_MAX, ret_bytes, ret_n);
	close(fd);
	return r;
}

int config_read_again(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (S_ISFIFO(st.st_mode))
		r = -ESPIPE;
	else
		r = descriptor_read_all(fd, CONFIG_TEXT_BYTES_MAX, ret_bytes, ret_n);
	close(fd);
	return r;
}

/* Scans the file @path, or, if that is NULL, the @bytes of an option. See config_text_read(). */
static int read_text(struct scanner *scanner, const char *path, const char *bytes, char **ret_text)
{
	char *text = NULL;
	size_t n;
	int r;

	assert(path || bytes);
	scanner->out = open_memstream(&text, &n);
	if (!scanner->out)
		return -ENOMEM;
	scanner->errors->in_text = true;
	r = path ? scan_file(scanner, path, NULL) : scan_bytes(scanner, NULL, bytes, strlen(bytes));
	scanner->errors->in_text = false;
	for (; scanner->n_held > 0; scanner->n_held--)
		put(scanner, "\n", 1);
	if (fclose(scanner->out) != 0 || !text || n != scanner->n_put)
		r = -ENOMEM;
	if (r == 0 && scanner->lacks_file)
		r = -EINVAL;
	if (r == 0)
		*ret_text = text;
	else
		free(text);
	return r;
}

int config_text_read(const char *path, config_reader reader, void *reader_data,
		     struct config_errors *errors, char **ret_text)
{
	struct scanner scanner = {
		.errors = errors,
		.reader = reader ? reader : read_path,
		.reader_data = reader_data,
		.line = 1,
	};

	return read_text(&scanner, path, NULL, ret_text);
}

int config_text_from_option(const char *bytes, unsigned line, struct config_errors *errors,
			    char **ret_text)
{
	struct scanner scanner = {.errors = errors, .line = line};

	return read_text(&scanner, NULL, bytes, ret_text);
}

bool config_text_is_word(const char *value)
{
	size_t n = strlen(value);

	return classify_number(value, n) != NUMBER_NONE || is_boolean(value, n);
}
