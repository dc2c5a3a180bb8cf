#include "ackc/options.h"

#include <getopt.h>

enum parse_outcome send_options_parse(int argc, char **argv, FILE *errors, struct send_options *ret)
{
	static const struct option long_options[] = {COMMON_LONG_OPTIONS};
	struct send_options o = {0};
	enum parse_outcome outcome;

	common_options_begin(&o.common);
	/* "+": what follows HOST is text, even if it begins with a dash. */
	if (common_options_next(argc, argv, "+:" COMMON_SHORT_OPTIONS, long_options, errors,
				&o.common, &outcome) != -1)
		return outcome;
	if (!common_options_target(argc, argv, errors, &o.common))
		return PARSE_USAGE;
	o.texts = argv + optind;
	o.n_texts = argc - optind;
	*ret = o;
	return PARSE_RUN;
}
