#pragma once

#include <getopt.h>
#include <stddef.h>

/*
 * Returns the argument that holds the option which the next call of getopt_long(3) parses, for an
 * error message; NULL if there is none. The option may be in a cluster ("-xt"). Must be called
 * before getopt_long(): afterwards argv[optind - 1] can be another argument, or NULL with musl.
 */
static inline const char *next_option(int argc, char *argv[])
{
	for (int i = optind > 0 ? optind : 1; i < argc && argv[i]; i++)
		if (argv[i][0] == '-' && argv[i][1] != '\0')
			return argv[i];
	return NULL;
}
