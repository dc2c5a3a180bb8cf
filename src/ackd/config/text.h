#pragma once

/*
 * The text of a configuration file with its includes in place, as libconfig is given it. The bytes
 * are those of the files. On the way they are checked for what libconfig reads as something else
 * without an error, or reports without saying what is wrong:
 *
 *  - an integer that does not fit (libconfig 1.5 wraps it);
 *  - \x00 in a string (it ends the string there) and escapes that not every version knows;
 *  - a word where a value belongs (quotes forgotten), a name with a dot, a missing end of a string
 *    or of a comment, bytes that are not UTF-8.
 *
 * Each line of the text comes from one line of one file.
 */

#include "ackd/config/error.h"

#include <stddef.h>

/* More than this in all files together, or files nested deeper, is an error. */
#define CONFIG_TEXT_BYTES_MAX (16U * 1024 * 1024)
#define CONFIG_TEXT_DEPTH_MAX 10

/* More names than this are an error: libconfig compares each with all others of its group. */
#define CONFIG_TEXT_NAMES_MAX 20000U

/*
 * Gives the caller the bytes of the file at @path (malloc), with *@ret_n their number. Returns 0 or
 * a negative errno; -EFBIG for more than CONFIG_TEXT_BYTES_MAX.
 */
typedef int (*config_reader)(void *data, const char *path, char **ret_bytes, size_t *ret_n);

/* Where a line comes from. */
struct config_origin {
	const char *file;
	unsigned line;
};

/* Lines that follow one another in one file. */
struct config_segment {
	unsigned first; /* line of the text, from 1 */
	struct config_origin origin;
};

struct config_text {
	char *bytes; /* ends with NUL, for config_read_string() */
	size_t n_bytes;
	struct config_segment *segments;
	size_t n_segments;
	char **files; /* the names that the origins point to */
	size_t n_files;
};

/*
 * Reads the file at @path, and what it includes, with @reader (NULL: from the file system).
 * @ret_text is to be released with config_text_finish() after any outcome. Returns 0 (there may be
 * errors nevertheless: see errors->n), -EINVAL when the text is not fit for libconfig, -ENOENT when
 * there is no file at @path (without an error written), or -ENOMEM.
 */
int config_text_read(struct config_text *ret_text, const char *path, config_reader reader,
		     void *reader_data, struct config_errors *errors);

/* Releases the text, and the names that origins point to. */
void config_text_finish(struct config_text *text);

/* Returns where line @line (from 1) of the text comes from. */
struct config_origin config_text_origin(const struct config_text *text, unsigned line);
