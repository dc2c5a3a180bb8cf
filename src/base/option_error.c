#include "base/option_error.h"

#include "base/nearest.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *option_argument(int argc, char *argv[])
{
	for (int i = optind > 0 ? optind : 1; i < argc && argv[i]; i++)
		if (argv[i][0] == '-' && argv[i][1] != '\0')
			return argv[i];
	return NULL;
}

/* Describes a long option that is unknown, or the beginning of several. */
static void describe_unknown(const char *argument, const struct option *longs,
			     char out[OPTION_ERROR_MAX])
{
	char word[NEAREST_WORD_MAX + 2]; /* a longer word is not close to any option */
	struct nearest nearest = {.word = word};
	const char *name = argument + strspn(argument, "-");

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "="), name);
	for (; longs->name; longs++) {
		if (*word && strncmp(longs->name, word, strlen(word)) == 0) {
			snprintf(out, OPTION_ERROR_MAX, "option '%s' is ambiguous", argument);
			return;
		}
		nearest_offer(&nearest, longs->name);
	}
	if (nearest.name)
		snprintf(out, OPTION_ERROR_MAX, "unknown option '%s'; did you mean '--%s'?",
			 argument, nearest.name);
	else
		snprintf(out, OPTION_ERROR_MAX, "unknown option '%s'", argument);
}

const char *option_error(int option, const char *argument, const struct option *longs,
			 char out[OPTION_ERROR_MAX])
{
	/* musl sets additional bits for letters outside ASCII */
	unsigned char letter = (unsigned char)optopt;

	/* BSD and mingw-w64 return ':' for a value that is not wanted, too */
	if (option == ':' && !(strncmp(argument, "--", 2) == 0 && strchr(argument, '='))) {
		snprintf(out, OPTION_ERROR_MAX, "option '%s' needs a value", argument);
		return out;
	}
	if (optopt == 0) {
		describe_unknown(argument, longs, out);
		return out;
	}
	snprintf(out, OPTION_ERROR_MAX,
		 letter < 0x80 ? "unknown option '-%c'" : "unknown option '-\\x%02x'", letter);
	for (; longs->name; longs++)
		if (longs->val == optopt)
			snprintf(out, OPTION_ERROR_MAX, "option '%s' takes no value", argument);
	return out;
}
