#pragma once

#include <getopt.h>
#include <stddef.h>

/*
 * Returns the argument whose option the next call of getopt_long(3) takes, for an error message; it
 * may be one within a cluster ("-xt"). NULL: there is none. To be asked before that call: after it
 * argv[optind - 1] can be another argument, or NULL with musl.
 */
static inline const char *next_option(int argc, char *argv[])
{
	for (int i = optind > 0 ? optind : 1; i < argc && argv[i]; i++)
		if (argv[i][0] == '-' && argv[i][1] != '\0')
			return argv[i];
	return NULL;
}
