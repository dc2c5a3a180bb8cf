#pragma once

/*
 * The errors of a configuration, one line each, and the files that they are in. All errors are
 * reported together, in the order of the lines that they concern.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The most errors that are kept. */
#define CONFIG_ERRORS_MAX 1000

/* The option of the command line that sets a setting, before the setting's name. */
#define CONFIG_OPTION "--set "

/* A line of a file, or an option of the command line. */
struct config_origin {
	const char *file; /* or CONFIG_OPTION and a name; NULL: none, as for -p */
	unsigned line;	  /* 0: an option */
};

struct config_errors {
	/* Which lines of the text (text.h) come from which file. */
	struct config_segment {
		unsigned first; /* line of the text, from 1 */
		char *file;
		unsigned line; /* of the file: the origin of @first; 0: an option */
	} * segments;
	size_t n_segments;

	struct config_error_line {
		char *text;
		unsigned line;
		bool in_text;
	} lines[CONFIG_ERRORS_MAX];
	size_t n;

	bool in_text;	/* errors concern the text itself; see config_error() */
	bool too_many;	/* more than CONFIG_ERRORS_MAX errors occurred */
	bool no_memory; /* an error could not be kept */
};

/* A place in a configuration, and where errors about it are reported. */
struct config_place {
	struct config_errors *errors;
	unsigned line;	     /* of the text; 0: none, as for -p and defaults */
	int listener;	     /* the listener in whose group the setting is; -1: at top level */
	const char *setting; /* dotted; NULL: none */
};

/*
 * Stores "FILE:LINE: SETTING: " and the message. For an option it is "--set NAME: ", followed by
 * the setting only if NAME is another one. An error is dropped if the same one is stored already,
 * or if an error in the text of that line is: the settings in such a line are unknown. Always
 * returns -EINVAL, so that the caller can return it. If out of memory, sets
 * @place->errors->no_memory.
 */
int config_error(const struct config_place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Records that the lines of the text from @first on come from @file, where the first one is line
 * @line, or from the option @file, if @line is 0. Calls must be in the order of @first. Returns 0
 * or -ENOMEM.
 */
int config_errors_add_segment(struct config_errors *errors, unsigned first, const char *file,
			      unsigned line);

/* Returns the origin of line @line of the text. Its file is valid as long as @errors. */
struct config_origin config_errors_origin(const struct config_errors *errors, unsigned line);

/* Writes the errors as lines. */
void config_errors_write(const struct config_errors *errors, FILE *out);

/* Releases the memory of the errors. */
void config_errors_finish(struct config_errors *errors);

/* Writes @text in double quotes as libconfig reads it; unprintable bytes are escaped. */
void config_quote_print(const char *text, FILE *out);

/* The size of the buffer for config_quote(), including the NUL. */
#define QUOTE_MAX 128

/* The same to @out, for a message: long text is cut. Returns @out. */
const char *config_quote(const char *text, char out[QUOTE_MAX]);
