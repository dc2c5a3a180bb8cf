#include "ackc/cli/options.h"
#include "ackc/message/source.h"

#include <getopt.h>

#define INTERVAL_MAX_S 1e6
#define DEFAULT_SIZE 64
/* Defaults for a monitoring plugin: a few probes, and a result soon. */
#define PLUGIN_COUNT 5
#define PLUGIN_INTERVAL_MS 200
#define PLUGIN_DEADLINE_MS 10000

enum {
	OPTION_NEW_CONNECTION = OPTION_JSON + 1,
	OPTION_NO_RECONNECT,
	OPTION_PLUGIN,
	OPTION_WARNING,
	OPTION_CRITICAL,
	OPTION_COUNT,
	OPTION_PREFIX,
	OPTION_SUFFIX,
};

static const struct option long_options[] = {
	{"count", required_argument, NULL, OPTION_COUNT},
	{"interval", required_argument, NULL, 'i'},
	{"size", required_argument, NULL, 's'},
	{"wait", required_argument, NULL, 'W'},
	{"quiet", no_argument, NULL, 'q'},
	{"new-connection", no_argument, NULL, OPTION_NEW_CONNECTION},
	{"no-reconnect", no_argument, NULL, OPTION_NO_RECONNECT},
	{"wall-clock", no_argument, NULL, 'D'},
	{"plugin", no_argument, NULL, OPTION_PLUGIN},
	{"warning", required_argument, NULL, OPTION_WARNING},
	{"critical", required_argument, NULL, OPTION_CRITICAL},
	{"deadline", required_argument, NULL, 't'},
	{"prefix", required_argument, NULL, OPTION_PREFIX},
	{"suffix", required_argument, NULL, OPTION_SUFFIX},
	COMMON_LONG_OPTIONS,
};

static bool parse_threshold(const char *option, const char *text, FILE *errors,
			    struct threshold *ret)
{
	if (threshold_parse(text, ret))
		return true;
	usage_error(errors,
		    "%s: '%s' is not MS or MS,LOSS%%, where MS and LOSS are [@][START:][END]; "
		    "examples: "
		    "10, 10,20%%, 5:100,50%%",
		    option, text);
	return false;
}

static bool take(int option, FILE *errors, void *options)
{
	struct ping_options *o = options;

	switch (option) {
	case 'c':
	case OPTION_COUNT:
		return parse_count("--count", optarg, 1, UINT32_MAX, errors, &o->count);
	case 't':
		return parse_seconds("-t", optarg, 0.001, INTERVAL_MAX_S, errors, &o->deadline_ms);
	case 'i':
		return parse_seconds("-i", optarg, 0, INTERVAL_MAX_S, errors, &o->interval_ms);
	case 's':
		return parse_size("-s", optarg, SOURCE_SIZE_MIN, SOURCE_SIZE_MAX, errors, &o->size);
	case 'W':
		return parse_seconds("-W", optarg, 0.001, INTERVAL_MAX_S, errors, &o->wait_ms);
	case OPTION_PLUGIN:
		break;
	case OPTION_WARNING:
		return parse_threshold("--warning", optarg, errors, &o->warn);
	case OPTION_CRITICAL:
		return parse_threshold("--critical", optarg, errors, &o->crit);
	case OPTION_PREFIX:
		return parse_affix("--prefix", optarg, errors, &o->prefix);
	case OPTION_SUFFIX:
		return parse_affix("--suffix", optarg, errors, &o->suffix);
	case 'q':
		o->quiet = true;
		break;
	case OPTION_NEW_CONNECTION:
		o->new_connection = true;
		break;
	case OPTION_NO_RECONNECT:
		o->no_reconnect = true;
		break;
	case 'D':
		o->wall_clock = true;
		break;
	default:
		break;
	}
	return true;
}

/* Maps options that the Monitoring Plugins define differently from ping. */
static int translate(int option, const void *options)
{
	const struct ping_options *o = options;

	if (!o->plugin)
		return option;
	switch (option) {
	case 'w':
		return OPTION_WARNING;
	case 'c':
		return OPTION_CRITICAL;
	case OPTION_TIMEOUT:
		return 't';
	default:
		return option;
	}
}

#define SHORT_OPTIONS ":c:i:s:W:t:qD" COMMON_SHORT_OPTIONS

static const struct syntax syntax = {SHORT_OPTIONS, long_options, take, false, translate};

/*
 * Returns whether an option in any position requests a plugin, which changes how errors are
 * reported.
 */
static bool asks_for_plugin(int argc, char **argv)
{
	bool found = false;
	int option;

	optind = 0;
	opterr = 0;
	/* "-" keeps the arguments in their order */
	while ((option = getopt_long(argc, argv, "-" SHORT_OPTIONS, long_options, NULL)) != -1) {
		if (option == ':')
			option = optopt; /* its value is missing */
		found = found || option == OPTION_PLUGIN || option == OPTION_WARNING ||
			option == OPTION_CRITICAL;
	}
	return found;
}

static bool set_plugin_defaults(struct ping_options *o, FILE *errors)
{
	/* Defaults: any loss is a warning, and the loss of all probes is critical. */
	if (!o->warn.loss_percent.given)
		o->warn.loss_percent = (struct range){.given = true};
	if (!o->crit.loss_percent.given)
		o->crit.loss_percent = (struct range){.given = true, .end = 100};
	if (o->count == 0)
		o->count = PLUGIN_COUNT;
	if (o->deadline_ms == 0)
		o->deadline_ms = PLUGIN_DEADLINE_MS;
	if (o->wait_ms)
		o->common.timeout_ms = o->wait_ms;
	if (o->interval_ms == UINT64_MAX) {
		/* Half of the time is reserved for the replies. */
		o->interval_ms = o->deadline_ms / 2 / o->count;
		if (o->interval_ms > PLUGIN_INTERVAL_MS)
			o->interval_ms = PLUGIN_INTERVAL_MS;
	}
	if (o->interval_ms == 0 || (o->deadline_ms - 1) / o->interval_ms >= o->count - 1)
		return true;
	usage_error(errors, "%llu probes every %g s do not fit into the %g s of -t",
		    (unsigned long long)o->count, (double)o->interval_ms / 1e3,
		    (double)o->deadline_ms / 1e3);
	return false;
}

enum parse_outcome ping_options_parse(int argc, char **argv, FILE *errors, struct ping_options *ret)
{
	struct ping_options o = {
		.interval_ms = UINT64_MAX,
		.size = DEFAULT_SIZE,
		.plugin = asks_for_plugin(argc, argv),
	};
	enum parse_outcome outcome = options_parse(&syntax, argc, argv, errors, &o.common, &o);

	ret->plugin = o.plugin;
	if (outcome != PARSE_RUN)
		return outcome;
	if (o.plugin && o.common.json)
		return usage_error(errors, "a plugin prints one line: it does not go with --json");
	if (range_above(&o.warn.ms, &o.crit.ms) ||
	    range_above(&o.warn.loss_percent, &o.crit.loss_percent))
		return usage_error(errors, "--warning is above --critical");
	if (o.new_connection && o.no_reconnect)
		return usage_error(errors, "options '--new-connection' and '--no-reconnect' do not "
					   "go together");
	if (o.plugin && !set_plugin_defaults(&o, errors))
		return PARSE_USAGE;
	if (o.interval_ms == UINT64_MAX)
		o.interval_ms = 1000;
	if (o.wait_ms == 0)
		o.wait_ms = o.common.timeout_ms;
	*ret = o;
	return PARSE_RUN;
}
