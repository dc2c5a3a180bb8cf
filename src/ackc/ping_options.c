#include "ackc/options.h"
#include "ackc/source.h"

#include <getopt.h>
#include <string.h>

#define INTERVAL_MAX_S 1e6
#define DEFAULT_SIZE 64
/* What monitoring wants: a few probes, and an answer soon. */
#define PLUGIN_COUNT 5
#define PLUGIN_INTERVAL_MS 200

enum {
	OPTION_NEW_CONNECTION = OPTION_JSON + 1,
	OPTION_NO_RECONNECT,
	OPTION_PLUGIN,
	OPTION_WARN,
	OPTION_CRIT,
	OPTION_PREFIX,
	OPTION_SUFFIX,
};

static const struct option long_options[] = {
	{"count", required_argument, NULL, 'c'},
	{"interval", required_argument, NULL, 'i'},
	{"size", required_argument, NULL, 's'},
	{"wait", required_argument, NULL, 'W'},
	{"quiet", no_argument, NULL, 'q'},
	{"new-connection", no_argument, NULL, OPTION_NEW_CONNECTION},
	{"no-reconnect", no_argument, NULL, OPTION_NO_RECONNECT},
	{"wall-clock", no_argument, NULL, 'D'},
	{"plugin", no_argument, NULL, OPTION_PLUGIN},
	{"warn", required_argument, NULL, OPTION_WARN},
	{"crit", required_argument, NULL, OPTION_CRIT},
	{"prefix", required_argument, NULL, OPTION_PREFIX},
	{"suffix", required_argument, NULL, OPTION_SUFFIX},
	COMMON_LONG_OPTIONS,
};

/* MS, or MS,LOSS%, as check_ping has it; MS may be a duration with a unit. */
static bool parse_threshold(const char *option, const char *text, FILE *errors,
			    struct threshold *ret)
{
	struct threshold t = {.loss_percent = -1};
	const char *comma = strchr(text, ',');
	char part[32] = "";
	size_t n = comma ? (size_t)(comma - text) : strlen(text);
	bool good = n < sizeof(part);

	if (good) {
		memcpy(part, text, n);
		part[n] = '\0';
		good = parse_duration(part, 1000, &t.ms);
		t.ms /= 1000;
	}
	if (good && comma) {
		n = strlen(comma + 1);
		good = n > 1 && n < sizeof(part) && comma[n] == '%';
	}
	if (good && comma) {
		memcpy(part, comma + 1, n - 1);
		part[n - 1] = '\0';
		good = parse_real(part, &t.loss_percent) && t.loss_percent <= 100;
	}
	if (!good) {
		usage_error(errors, "%s: '%s' is not MILLISECONDS or MILLISECONDS,LOSS%%", option,
			    text);
		return false;
	}
	*ret = t;
	return true;
}

static bool take(int option, FILE *errors, void *options)
{
	struct ping_options *o = options;

	switch (option) {
	case 'c':
		return parse_count("-c", optarg, 1, UINT32_MAX, errors, &o->count);
	case 'i':
		return parse_seconds("-i", optarg, 0, INTERVAL_MAX_S, errors, &o->interval_ms);
	case 's':
		return parse_size("-s", optarg, SOURCE_SIZE_MIN, SOURCE_SIZE_MAX, errors, &o->size);
	case 'W':
		return parse_seconds("-W", optarg, 0.001, INTERVAL_MAX_S, errors, &o->wait_ms);
	case OPTION_PLUGIN:
		break;
	case OPTION_WARN:
		return parse_threshold("--warn", optarg, errors, &o->warn);
	case OPTION_CRIT:
		return parse_threshold("--crit", optarg, errors, &o->crit);
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

#define SHORT_OPTIONS ":c:i:s:W:qD" COMMON_SHORT_OPTIONS

static const struct syntax syntax = {SHORT_OPTIONS, long_options, take, false};

/* Whether an option asks for a plugin, wherever it stands: that changes how errors are told. */
static bool asks_for_plugin(int argc, char **argv)
{
	bool found = false;
	int option;

	optind = 0;
	opterr = 0;
	/* "-": leaves the arguments in their order */
	while ((option = getopt_long(argc, argv, "-" SHORT_OPTIONS, long_options, NULL)) != -1) {
		if (option == ':')
			option = optopt; /* its value is missing */
		found = found || option == OPTION_PLUGIN || option == OPTION_WARN ||
			option == OPTION_CRIT;
	}
	return found;
}

enum parse_outcome ping_options_parse(int argc, char **argv, FILE *errors, struct ping_options *ret)
{
	struct ping_options o = {
		.interval_ms = UINT64_MAX,
		.size = DEFAULT_SIZE,
		.warn = {-1, -1},
		.crit = {-1, -1},
		.plugin = asks_for_plugin(argc, argv),
	};
	enum parse_outcome outcome = options_parse(&syntax, argc, argv, errors, &o.common, &o);

	ret->plugin = o.plugin;
	if (outcome != PARSE_RUN)
		return outcome;
	if (o.plugin && o.common.json)
		return usage_error(errors, "a plugin prints one line: it does not go with --json");
	if (o.warn.ms >= 0 && o.crit.ms >= 0 && o.warn.ms > o.crit.ms)
		return usage_error(errors, "--warn is above --crit");
	if (o.new_connection && o.no_reconnect)
		return usage_error(errors, "options '--new-connection' and '--no-reconnect' do not "
					   "go together");
	if (o.interval_ms == UINT64_MAX)
		o.interval_ms = o.plugin ? PLUGIN_INTERVAL_MS : 1000;
	if (o.plugin && o.count == 0)
		o.count = PLUGIN_COUNT;
	if (o.wait_ms == 0)
		o.wait_ms = o.common.timeout_ms;
	*ret = o;
	return PARSE_RUN;
}
