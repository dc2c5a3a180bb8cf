#pragma once

/* The errors of a configuration, one line each. All errors of a file are reported together. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The most errors that are kept. */
#define CONFIG_ERRORS_MAX 1000

struct config_errors {
	struct config_error_line {
		char *text;
		unsigned order;
		size_t number; /* in order of arrival */
	} * lines;
	size_t n;
	size_t n_text;	/* how many at the beginning concern the text itself: see
			   config_errors_end_text() */
	bool too_many;	/* more than CONFIG_ERRORS_MAX errors occurred */
	bool no_memory; /* an error could not be kept */
};

/* A place in a configuration, and where errors about it are reported. */
struct config_place {
	struct config_errors *errors; /* NULL: errors are dropped */
	const char *file;	      /* NULL: no file, as for -p */
	unsigned line;		      /* 0: none */
	unsigned order;	     /* errors are written in this order, then in order of arrival */
	const char *group;   /* prefix of the name: "", "listeners[1]." */
	const char *setting; /* dotted; NULL: none */
};

/*
 * Stores "FILE:LINE: SETTING: " and the message. Always returns -EINVAL, so that the caller can
 * return it. If out of memory, sets @place->errors->no_memory.
 */
int config_error(const struct config_place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Ends the errors about the text itself. The settings in those lines are unknown, so later errors
 * with the same order are dropped.
 */
void config_errors_end_text(struct config_errors *errors);

/* Writes the errors as lines. */
void config_errors_write(struct config_errors *errors, FILE *out);

/* Drops the errors and releases their memory. */
void config_errors_finish(struct config_errors *errors);

/* The size of the buffer for config_quote(), including the NUL. */
#define QUOTE_MAX 128

/*
 * Writes @text in double quotes as libconfig would read it. Control characters and invalid UTF-8
 * are escaped; long text is cut. Returns @out.
 */
const char *config_quote(const char *text, char out[QUOTE_MAX]);
