#pragma once

/* The errors of a configuration, one line each: all that a file has are reported together. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What comes after so many is not kept: nobody reads that far. */
#define CONFIG_ERRORS_MAX 1000

struct config_errors {
	struct config_error_line {
		char *text;
		unsigned order;
		size_t number; /* in which they came */
	} * lines;
	size_t n;
	size_t n_text;	/* the first so many are of the text: see config_errors_end_text() */
	bool too_many;	/* there were more than CONFIG_ERRORS_MAX */
	bool no_memory; /* an error could not be kept */
};

/* Where something stands in a configuration, and where errors about it are reported. */
struct config_place {
	struct config_errors *errors; /* NULL: errors are dropped */
	const char *file;	      /* NULL: no file, as for -p */
	unsigned line;		      /* 0: none */
	unsigned order;		      /* errors are written by this number, then as they came */
	const char *group;	      /* what comes before the name: "", "listeners[1]." */
	const char *setting;	      /* dotted; NULL: none */
};

/*
 * Keeps "FILE:LINE: SETTING: " and the message. Returns -EINVAL, so that the caller can return it
 * in turn; -ENOMEM is seen in @place->errors->no_memory.
 */
int config_error(const struct config_place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Ends the errors that are of the text itself. What it says in those lines is not known, so later
 * errors with the order of one of them are dropped.
 */
void config_errors_end_text(struct config_errors *errors);

/* Writes the errors, a line each. */
void config_errors_write(struct config_errors *errors, FILE *out);

/* Forgets the errors, and releases their memory. */
void config_errors_finish(struct config_errors *errors);

/* The most that config_quote() writes, its NUL counted. */
#define QUOTE_MAX 128

/*
 * Writes @text between double quotes, as libconfig would read it back, without control characters
 * and ill-formed UTF-8, cut to fit. Returns @out.
 */
const char *config_quote(const char *text, char out[QUOTE_MAX]);
