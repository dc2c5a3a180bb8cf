#include "ackc/options.h"

#include <getopt.h>

static const struct option long_options[] = {COMMON_LONG_OPTIONS};

/* "+": what follows HOST is text, even if it begins with a dash. */
static const struct syntax syntax = {"+:" COMMON_SHORT_OPTIONS, long_options, NULL, true};

enum parse_outcome send_options_parse(int argc, char **argv, FILE *errors, struct send_options *ret)
{
	struct send_options o = {0};
	enum parse_outcome outcome = options_parse(&syntax, argc, argv, errors, &o.common, NULL);

	if (outcome != PARSE_RUN)
		return outcome;
	o.texts = argv + optind;
	o.n_texts = argc - optind;
	o.command_meant = command_meant(argv[0], o.common.target.host);
	*ret = o;
	return PARSE_RUN;
}
