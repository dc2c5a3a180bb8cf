#pragma once

/*
 * The text of a configuration file and its includes, as passed to libconfig. The bytes of the files
 * are unchanged. They are checked for input that libconfig silently misreads, or for which its
 * error message is not helpful:
 *
 * - an integer that is out of range (libconfig 1.5 wraps it);
 * - \x00 in a string (it ends the string) and escapes that some versions do not support;
 * - a word where a value is expected (missing quotes), a name with a dot, an unterminated string or
 *   comment, bytes that are not UTF-8.
 *
 * Each line of the text corresponds to one line of one file.
 */

#include "ackd/config/error.h"

#include <stddef.h>

/* Limits on the size of all files together, and on the nesting of files. */
#define CONFIG_TEXT_BYTES_MAX (16U * 1024 * 1024)
#define CONFIG_TEXT_DEPTH_MAX 10

/* Limit on the number of names, because libconfig compares each with all others of its group. */
#define CONFIG_TEXT_NAMES_MAX 20000U

/*
 * Reads the file at @path. Returns 0 and gives *@ret_bytes (malloc) of length *@ret_n to the
 * caller, or a negative errno: -EFBIG for more than CONFIG_TEXT_BYTES_MAX.
 */
typedef int (*config_reader)(void *data, const char *path, char **ret_bytes, size_t *ret_n);

/* The origin of a line. */
struct config_origin {
	const char *file;
	unsigned line;
};

/* Consecutive lines of one file. */
struct config_segment {
	unsigned first; /* line of the text, from 1 */
	struct config_origin origin;
};

struct config_text {
	char *bytes; /* ends with NUL, for config_read_string() */
	size_t n_bytes;
	struct config_segment *segments;
	size_t n_segments;
	char **files; /* file names to which the origins point */
	size_t n_files;
};

/*
 * Reads the file at @path and its includes with @reader (NULL: from the file system). @ret_text
 * must be released with config_text_finish() after any result. Returns 0 (even if errors->n > 0),
 * -EINVAL when the text must not be passed to libconfig, -ENOENT when there is no file at @path
 * (without reporting an error), or -ENOMEM.
 */
int config_text_read(struct config_text *ret_text, const char *path, config_reader reader,
		     void *reader_data, struct config_errors *errors);

/* Releases the text, including the names to which origins point. */
void config_text_finish(struct config_text *text);

/* Returns the origin of line @line (from 1) of the text. */
struct config_origin config_text_origin(const struct config_text *text, unsigned line);
