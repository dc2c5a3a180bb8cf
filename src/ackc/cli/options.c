#include "ackc/cli/options.h"
#include "ackc/message/shape.h"
#include "base/nearest.h"
#include "base/next_option.h"
#include "base/units.h"
#include "core/text/printable.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_TIMEOUT_MS 5000
#define TIMEOUT_MAX_S 1e6
/* A longer error message, with a long argument in it, is truncated. */
#define USAGE_TEXT_MAX 1024

const char *const command_names[N_COMMANDS] = {"send", "ping", "load"};

enum parse_outcome usage_error(FILE *errors, const char *format, ...)
{
	char text[USAGE_TEXT_MAX];
	char escaped[PRINTABLE_SIZE(sizeof(text))];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printable_escape(escaped, sizeof(escaped), text);
	fprintf(errors, "ackc: %s\nTry 'ackc --help' for more information.\n", escaped);
	return PARSE_USAGE;
}

bool parse_real(const char *text, double *ret)
{
	char *end;

	/* Reject what strtod() accepts beyond plain numbers: hexadecimal, "inf", leading spaces. */
	if (!*text || strspn(text, "0123456789.") != strlen(text))
		return false;
	*ret = strtod(text, &end);
	return !*end && isfinite(*ret);
}

bool parse_count(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		 uint64_t *ret)
{
	uint64_t value = 0;
	bool good = *text && strspn(text, "0123456789") == strlen(text);

	if (good) {
		errno = 0;
		value = strtoull(text, NULL, 10);
		good = errno == 0 && value >= min && value <= max;
	}
	if (!good) {
		usage_error(errors, "%s: '%s' is not a number from %llu to %llu", option, text,
			    (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret = value;
	return true;
}

bool parse_duration(const char *text, uint64_t unit_us, double *ret_us)
{
	uint64_t us;

	if (duration_parse(text, &us))
		*ret_us = (double)us;
	else if (parse_real(text, ret_us))
		*ret_us *= (double)unit_us;
	else
		return false;
	return true;
}

bool parse_seconds(const char *option, const char *text, double min, double max, FILE *errors,
		   uint64_t *ret_ms)
{
	double us;

	if (!parse_duration(text, 1000000, &us) || us < min * 1e6 || us > max * 1e6) {
		usage_error(errors,
			    "%s: '%s' is not a duration from %.10g to %.10g seconds; examples: 2, "
			    "0.5, 500ms, 2min",
			    option, text, min, max);
		return false;
	}
	*ret_ms = (uint64_t)(us / 1000 + 0.5);
	return true;
}

bool parse_size(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		size_t *ret)
{
	bool plain = *text && strspn(text, "0123456789") == strlen(text);
	char bytes[32];
	uint64_t value;

	/* A number without a unit is in bytes. */
	if (plain && (size_t)snprintf(bytes, sizeof(bytes), "%sB", text) >= sizeof(bytes))
		plain = false;
	if (!size_parse(plain ? bytes : text, &value) || value < min || value > max) {
		usage_error(errors,
			    "%s: '%s' is not a size from %llu to %llu bytes; examples: 1000, "
			    "64KiB, 1MiB",
			    option, text, (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret = (size_t)value;
	return true;
}

bool parse_affix(const char *option, const char *text, FILE *errors, const char **ret)
{
	if (strlen(text) > AFFIX_MAX) {
		usage_error(errors, "%s: more than %d bytes", option, AFFIX_MAX);
		return false;
	}
	*ret = text;
	return true;
}

/*
 * Returns whether there is an option of @value, or, if @value is 0, one whose name starts with
 * @name.
 */
static bool has_option(const struct option *options, int value, const char *name)
{
	for (; options->name; options++) {
		if (value ? options->val == value : strncmp(options->name, name, strlen(name)) == 0)
			return true;
	}
	return false;
}

/* Reports an unknown long option; @name is its argument as written. */
static enum parse_outcome complain_unknown(const struct syntax *syntax, const char *name,
					   FILE *errors)
{
	char word[NEAREST_WORD_MAX + 2] = "";
	struct nearest n = {.word = word};
	const char *start = name + strspn(name, "-");

	/* A word that does not fit is too long for a suggestion. */
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(start, "="), start);
	for (const struct option *o = syntax->long_options; o->name; o++)
		nearest_offer(&n, o->name);
	if (n.name)
		return usage_error(errors, "unknown option '%s'; did you mean '--%s'?", name,
				   n.name);
	return usage_error(errors, "unknown option '%s'", name);
}

/* Reports the error that getopt_long() found in the option of the argument @name. */
static enum parse_outcome complain(const struct syntax *syntax, const char *name, int option,
				   FILE *errors)
{
	bool known = has_option(syntax->long_options, optopt, name + strspn(name, "-"));

	if (option == ':')
		return usage_error(errors, "option '%s' needs a value", name);
	if (optopt)
		return known ? usage_error(errors, "option '%s': it takes no value", name)
			     : usage_error(errors, "unknown option '-%c'", optopt);
	if (known)
		return usage_error(errors, "option '%s' is ambiguous", name);
	return complain_unknown(syntax, name, errors);
}

const char *command_meant(const char *first, const char *host)
{
	struct nearest n = {.word = host};

	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(first, command_names[i]) == 0)
			return NULL;
		nearest_offer(&n, command_names[i]);
	}
	return n.name;
}

static enum parse_outcome parse_target(int argc, char **argv, FILE *errors, struct target *t)
{
	int family = t->family;
	struct proxy_choice proxy = t->proxy;
	const char *host;
	const char *port = NULL;
	const char *wrong;
	const char *command;

	if (optind >= argc)
		return usage_error(errors, "HOST is missing");
	host = argv[optind++];
	if (target_is_unix(host) && family != AF_UNSPEC)
		return usage_error(errors, "%s: a UNIX socket, which '-4' and '-6' do not go with",
				   host);
	if (target_takes_port(host) && optind < argc)
		port = argv[optind++];
	wrong = target_parse(host, port, t);
	command = wrong && port ? command_meant(argv[0], host) : NULL;
	if (command)
		return usage_error(errors, "unknown command '%s'; did you mean '%s'?", host,
				   command);
	if (wrong)
		return usage_error(errors, "%s: %s", port ? port : host, wrong);
	t->family = family;
	t->proxy = proxy;
	return PARSE_RUN;
}

static bool take_family(int family, FILE *errors, struct target *t)
{
	if (t->family != AF_UNSPEC && t->family != family) {
		usage_error(errors, "options '-4' and '-6' do not go together");
		return false;
	}
	t->family = family;
	return true;
}

static bool take_proxy(FILE *errors, struct target *t)
{
	const char *wrong = proxy_choice_parse(optarg, &t->proxy);

	if (wrong)
		usage_error(errors, "--proxy: '%s': %s", optarg, wrong);
	return !wrong;
}

/* Processes one option, common or command-specific. Returns PARSE_RUN to continue. */
static enum parse_outcome take(const struct syntax *syntax, int option, FILE *errors,
			       struct common_options *c, void *options)
{
	bool good = true;

	if (syntax->translate)
		option = syntax->translate(option, options);
	switch (option) {
	case 'w':
	case OPTION_TIMEOUT:
		good = parse_seconds("-w", optarg, 0.001, TIMEOUT_MAX_S, errors, &c->timeout_ms);
		break;
	case '4':
		good = take_family(AF_INET, errors, &c->target);
		break;
	case '6':
		good = take_family(AF_INET6, errors, &c->target);
		break;
	case OPTION_PROXY:
		good = take_proxy(errors, &c->target);
		break;
	case OPTION_JSON:
		c->json = true;
		break;
	case 'h':
		return PARSE_HELP;
	case 'V':
		return PARSE_VERSION;
	default:
		good = syntax->take(option, errors, options);
	}
	return good ? PARSE_RUN : PARSE_USAGE;
}

enum parse_outcome options_parse(const struct syntax *syntax, int argc, char **argv, FILE *errors,
				 struct common_options *c, void *options)
{
	enum parse_outcome outcome = PARSE_RUN;

	*c = (struct common_options){.timeout_ms = DEFAULT_TIMEOUT_MS};
	c->target.family = AF_UNSPEC;
	/* 0 makes GNU getopt also reset its position in a cluster of short options. */
	optind = 0;
	opterr = 0;
	while (outcome == PARSE_RUN) {
		const char *argument = next_option(argc, argv);
		int option =
			getopt_long(argc, argv, syntax->short_options, syntax->long_options, NULL);

		if (option == -1)
			break;
		if (option == '?' || option == ':')
			outcome = complain(syntax, argument, option, errors);
		else
			outcome = take(syntax, option, errors, c, options);
	}
	if (outcome == PARSE_RUN)
		outcome = parse_target(argc, argv, errors, &c->target);
	if (outcome == PARSE_RUN && !syntax->texts && optind < argc)
		outcome = usage_error(errors, "'%s': too many arguments", argv[optind]);
	return outcome;
}
