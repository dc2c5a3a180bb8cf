#include "ackc/cli/options.h"
#include "ackc/message/source.h"

#include <getopt.h>

#define DEFAULT_SIZE 64
#define CONNECTIONS_MAX 1000000
#define THREADS_MAX 256
#define DEPTH_MAX 65536
#define DURATION_MAX_S 1e6
#define RATE_MIN 0.001
#define RATE_MAX 1e9
#define COUNT_MAX (UINT64_C(1) << 48)

enum {
	OPTION_LINES = OPTION_JSON + 1,
	OPTION_FILE,
	OPTION_HISTOGRAM,
	OPTION_PREFIX,
	OPTION_SUFFIX,
};

static const struct option long_options[] = {
	{"connections", required_argument, NULL, 'c'},
	{"threads", required_argument, NULL, 't'},
	{"depth", required_argument, NULL, 'p'},
	{"duration", required_argument, NULL, 'd'},
	{"count", required_argument, NULL, 'n'},
	{"size", required_argument, NULL, 's'},
	{"rate", required_argument, NULL, 'r'},
	{"quiet", no_argument, NULL, 'q'},
	{"lines", no_argument, NULL, OPTION_LINES},
	{"file", required_argument, NULL, OPTION_FILE},
	{"histogram", no_argument, NULL, OPTION_HISTOGRAM},
	{"prefix", required_argument, NULL, OPTION_PREFIX},
	{"suffix", required_argument, NULL, OPTION_SUFFIX},
	COMMON_LONG_OPTIONS,
};

static bool parse_unsigned(const char *option, unsigned max, FILE *errors, unsigned *ret)
{
	uint64_t value;

	if (!parse_count(option, optarg, 1, max, errors, &value))
		return false;
	*ret = (unsigned)value;
	return true;
}

static bool take(int option, FILE *errors, void *options)
{
	struct load_options *o = options;

	switch (option) {
	case 'c':
		return parse_unsigned("--connections", CONNECTIONS_MAX, errors, &o->connections);
	case 't':
		return parse_unsigned("--threads", THREADS_MAX, errors, &o->threads);
	case 'p':
		return parse_unsigned("--depth", DEPTH_MAX, errors, &o->depth);
	case 'd':
		return parse_seconds("--duration", optarg, 0.001, DURATION_MAX_S, errors,
				     &o->duration_ms);
	case 'n':
		return parse_count("--count", optarg, 1, COUNT_MAX, errors, &o->count);
	case 's':
		return parse_size("--size", optarg, SOURCE_SIZE_MIN, SOURCE_SIZE_MAX, errors,
				  &o->size);
	case 'r':
		if (parse_real(optarg, &o->rate) && o->rate >= RATE_MIN && o->rate <= RATE_MAX)
			return true;
		usage_error(errors,
			    "--rate: '%s' is not a number of messages a second from %g to %.10g",
			    optarg, RATE_MIN, RATE_MAX);
		return false;
	case OPTION_PREFIX:
		return parse_affix("--prefix", optarg, errors, &o->prefix);
	case OPTION_SUFFIX:
		return parse_affix("--suffix", optarg, errors, &o->suffix);
	case OPTION_FILE:
		o->file = optarg;
		break;
	case OPTION_LINES:
		o->lines = true;
		break;
	case OPTION_HISTOGRAM:
		o->histogram = true;
		break;
	case 'q':
		o->quiet = true;
		break;
	default:
		break;
	}
	return true;
}

static const struct syntax syntax = {":c:t:p:d:n:s:r:q" COMMON_SHORT_OPTIONS, long_options, take,
				     false, NULL};

enum parse_outcome load_options_parse(int argc, char **argv, FILE *errors, struct load_options *ret)
{
	struct load_options o = {
		.connections = 10,
		.threads = 1,
		.depth = 1,
	};
	enum parse_outcome outcome = options_parse(&syntax, argc, argv, errors, &o.common, &o);

	if (outcome != PARSE_RUN)
		return outcome;
	if (o.count && o.duration_ms)
		return usage_error(errors, "options '--count' and '--duration' do not go together");
	if (o.histogram && o.common.json)
		return usage_error(errors, "options '--histogram' and '--json' do not go together");
	if (o.lines && o.file && o.size)
		return usage_error(errors, "option '--size' does not go with the lines of a file");
	if (!o.size)
		o.size = DEFAULT_SIZE;
	if (!o.duration_ms)
		o.duration_ms = 10000;
	if (o.threads > o.connections)
		o.threads = o.connections;
	*ret = o;
	return PARSE_RUN;
}
