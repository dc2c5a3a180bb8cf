#pragma once

/*
 * The text of a configuration file and its includes, as passed to libconfig. It is checked for
 * input that libconfig silently misreads, or for which its error message is not helpful:
 *
 * - an integer that is out of range (libconfig 1.5 wraps it);
 * - \x00 in a string (it ends the string) and escapes that some versions do not support;
 * - a word where a value is expected (missing quotes), a name with a dot, an unterminated string or
 *   comment, bytes that are not UTF-8.
 *
 * Each line of the text corresponds to one line of one file.
 */

#include "ackd/config/error.h"
#include "ackd/config/reader.h"

/* Limits on the size of all files together, and on the nesting of files. */
#define CONFIG_TEXT_BYTES_MAX (16U * 1024 * 1024)
#define CONFIG_TEXT_DEPTH_MAX 10

/* Limit on the number of names, because libconfig compares each with all others of its group. */
#define CONFIG_TEXT_NAMES_MAX 20000U

/*
 * A config_reader for files that another process has to read once more. It does not wait for data,
 * and returns -ESPIPE for a pipe, whose data can be read only once.
 */
int config_read_again(void *data, const char *path, char **ret_bytes, size_t *ret_n);

/*
 * Reads the file at @path and its includes with @reader (NULL: from the file system), and records
 * in @errors which lines come from which file. Returns 0 (even if it reported errors) and gives the
 * text to the caller in *@ret_text (free); -EINVAL when the text must not be passed to libconfig;
 * -ENOENT when there is no file at @path (without reporting an error); or -ENOMEM.
 */
int config_text_read(const char *path, config_reader reader, void *reader_data,
		     struct config_errors *errors, char **ret_text);

/*
 * Does the same to @bytes, the text of an option of the command line. Its first line is line @line
 * of all text. It cannot include files.
 */
int config_text_from_option(const char *bytes, unsigned line, struct config_errors *errors,
			    char **ret_text);

/* Returns whether @value is a number or a boolean in a file, whether it is in range or not. */
bool config_text_is_word(const char *value);
