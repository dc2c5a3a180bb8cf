#include "ackc/cli/options.h"

#include <getopt.h>

#define DEFAULT_LINGER_MS 500
#define LINGER_MAX_S 1e6

enum { OPTION_LINGER = OPTION_JSON + 1 };

static const struct option long_options[] = {
	{"linger", required_argument, NULL, OPTION_LINGER},
	COMMON_LONG_OPTIONS,
};

static bool take(int option, FILE *errors, void *options)
{
	struct send_options *o = options;

	return option != OPTION_LINGER ||
	       parse_seconds("--linger", optarg, 0, LINGER_MAX_S, errors, &o->linger_ms);
}

/* "+": everything after HOST is text, even if it starts with a dash. */
static const struct syntax syntax = {"+:" COMMON_SHORT_OPTIONS, long_options, take, true, NULL};

enum parse_outcome send_options_parse(int argc, char **argv, FILE *errors, struct send_options *ret)
{
	struct send_options o = {.linger_ms = DEFAULT_LINGER_MS};
	enum parse_outcome outcome = options_parse(&syntax, argc, argv, errors, &o.common, &o);

	if (outcome != PARSE_RUN)
		return outcome;
	o.texts = argv + optind;
	o.n_texts = argc - optind;
	o.command_meant = command_meant(argv[0], o.common.target.host);
	*ret = o;
	return PARSE_RUN;
}
