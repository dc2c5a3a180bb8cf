#pragma once

/* Error messages for options that getopt_long(3) does not accept, for both programs. */

#include <getopt.h>

/* The buffer size for option_error(). */
#define OPTION_ERROR_MAX 1024

/*
 * Returns the argument that holds the option which the next call of getopt_long() parses; NULL if
 * there is none. The option may be in a cluster ("-xt"). Must be called before getopt_long():
 * afterwards argv[optind - 1] can be another argument, or NULL with musl.
 */
const char *option_argument(int argc, char *argv[]);

/*
 * Describes the error for which getopt_long() returned @option, '?' or ':', with opterr 0 and an
 * option string that begins with ':'. @argument is from option_argument(). Truncates a long
 * description. Returns @out, which may contain unprintable characters of @argument.
 */
const char *option_error(int option, const char *argument, const struct option *longs,
			 char out[OPTION_ERROR_MAX]);
