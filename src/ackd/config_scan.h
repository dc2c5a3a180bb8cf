#pragma once

/*
 * Reads a configuration file and what it includes into one text for libconfig, so that every
 * version of libconfig reads the same:
 *
 *  - @include is relative to the including file, in whatever version;
 *  - integers are written as 64-bit decimals; one that does not fit becomes a number that stands
 *    for it (libconfig 1.5 would wrap it);
 *  - \x00 in a string becomes VALUE_NUL (libconfig would end the string there), an escape that not
 *    every version knows is an error;
 *  - comments are gone, and each line of the text is of one line of one file.
 */

#include "config_error.h"

#include <stddef.h>
#include <stdint.h>

/* More than this in all files together, or files nested deeper, is an error. */
#define CONFIG_SCAN_BYTES_MAX (16U * 1024 * 1024)
#define CONFIG_SCAN_DEPTH_MAX 10

/* Where a line of the text comes from. */
struct config_origin {
	const char *file;
	unsigned line;
};

/*
 * Gives the caller the bytes of the file at @path (malloc), with *@ret_n their number. Returns 0 or
 * a negative errno.
 */
typedef int (*config_reader)(void *data, const char *path, char **ret_bytes, size_t *ret_n);

struct config_scan {
	char *text; /* for config_read_string() */
	size_t n_text;
	struct config_origin *origins; /* of line i + 1 of the text */
	size_t n_origins;
	char **files; /* the names that the origins point to */
	size_t n_files;
	char **big_integers; /* integers that do not fit, as written */
	size_t n_big_integers;

	struct config_errors *errors;
	config_reader reader;
	void *reader_data;
	size_t n_read; /* bytes of all files */
	unsigned depth;
	bool lacks_file; /* one could not be read */
	bool after_string;
	char value_after;   /* the last token, if it is one that a value follows, else NUL */
	char last_name[64]; /* the setting that is being read, for messages */
	FILE *out;
};

/*
 * Scans the file at @path with @reader (NULL: the file system). @scan is empty before; after any
 * outcome it is released with config_scan_finish(). Returns 0 (there may be errors all the same:
 * see errors->n), -EINVAL when the text is no use, -ENOENT when there is no file at @path (without
 * an error written), or -ENOMEM.
 */
int config_scan(struct config_scan *scan, const char *path, config_reader reader, void *reader_data,
		struct config_errors *errors);

/* Releases the text, and the names that origins point to. */
void config_scan_finish(struct config_scan *scan);

/* Returns where line @line (from 1) of the text comes from. */
struct config_origin config_scan_origin(const struct config_scan *scan, unsigned line);

/* Returns how an integer that does not fit was written if @value stands for one, else NULL. */
const char *config_scan_big_integer(const struct config_scan *scan, int64_t value);
