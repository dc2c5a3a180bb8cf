#pragma once

/* Inside of the scan (config_scan.h): one file's bytes, and the tokens that are more than a
 * character. */

#include "config_scan.h"

/* The file that is being scanned. */
struct scan_input {
	struct config_scan *scan;
	const char *file;
	const char *p; /* the next byte */
	const char *end;
	unsigned line;
	bool line_start; /* nothing but blanks since the line began */
};

/* Returns the place of line @line, with the name of the setting that is being read. */
struct config_place scan_place(const struct scan_input *in, unsigned line);

/*
 * Begins a line of the text for what comes from line @line of the file, unless the last one is for
 * it. Returns 0 or -ENOMEM.
 */
int scan_emit_line(struct scan_input *in, unsigned line);

/* Writes the token of @n bytes, which is from line @line. Returns 0 or -ENOMEM. */
int scan_emit(struct scan_input *in, unsigned line, const char *token, size_t n);

/* Tells that no token begins at in->p. Returns -EINVAL. */
int scan_fail_at_character(struct scan_input *in);

/*
 * Each takes the token at in->p, which begins like one of its kind, and moves in->p after it.
 * Returns 0; -EINVAL, told, when it has no end; -ENOMEM.
 */
int scan_comment(struct scan_input *in);
int scan_string(struct scan_input *in);
int scan_number(struct scan_input *in);
int scan_name(struct scan_input *in);
