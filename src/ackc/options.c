#include "ackc/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_TIMEOUT_MS 5000
#define TIMEOUT_MAX_S 1e6

enum parse_outcome usage_error(FILE *errors, const char *format, ...)
{
	va_list args;

	fputs("ackc: ", errors);
	va_start(args, format);
	vfprintf(errors, format, args);
	va_end(args);
	fputs("\nTry 'ackc --help' for more information.\n", errors);
	return PARSE_USAGE;
}

bool parse_real(const char *text, double *ret)
{
	char *end;

	/* No hexadecimal, no "inf", no leading space: what people mean by a number. */
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

bool parse_seconds(const char *option, const char *text, double min, double max, FILE *errors,
		   uint64_t *ret_ms)
{
	double value;

	if (!parse_real(text, &value) || value < min || value > max) {
		usage_error(errors, "%s: '%s' is not a number of seconds from %g to %g", option,
			    text, min, max);
		return false;
	}
	*ret_ms = (uint64_t)(value * 1000 + 0.5);
	return true;
}

bool parse_size(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		size_t *ret)
{
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits;
	uint64_t factor = strcmp(unit, "KiB") == 0 ? 1024 : strcmp(unit, "MiB") == 0 ? 1048576 : 1;
	uint64_t value = 0;

	if (digits > 0 && digits < 19)
		value = strtoull(text, NULL, 10);
	if (digits == 0 || digits >= 19 || (*unit && factor == 1) || value > max / factor ||
	    value * factor < min) {
		usage_error(errors, "%s: '%s' is not a size from %llu to %llu bytes", option, text,
			    (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret = (size_t)(value * factor);
	return true;
}

void common_options_begin(struct common_options *c)
{
	*c = (struct common_options){.timeout_ms = DEFAULT_TIMEOUT_MS};
	c->target.family = AF_UNSPEC;
	/* GNU: also forgets where in a cluster of short options it was. */
	optind = 0;
	opterr = 0;
}

static int complain(int argc, char **argv, int option, FILE *errors)
{
	const char *name = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	if (option == ':')
		usage_error(errors, "option '%s' needs a value", name);
	else if (optopt > 0 && optopt < 128 && strncmp(name, "--", 2) != 0)
		usage_error(errors, "unknown option '-%c'", optopt);
	else
		usage_error(errors, "unknown or ambiguous option '%s', or one without a value",
			    name);
	return -2;
}

int common_options_next(int argc, char **argv, const char *short_options,
			const struct option *long_options, FILE *errors, struct common_options *c,
			enum parse_outcome *ret_outcome)
{
	int option;

	*ret_outcome = PARSE_USAGE;
	while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
		switch (option) {
		case 'w':
			if (!parse_seconds("-w", optarg, 0.001, TIMEOUT_MAX_S, errors,
					   &c->timeout_ms))
				return -2;
			break;
		case '4':
		case '6':
			c->target.family = option == '4' ? AF_INET : AF_INET6;
			break;
		case OPTION_JSON:
			c->json = true;
			break;
		case 'h':
			*ret_outcome = PARSE_HELP;
			return -2;
		case 'V':
			*ret_outcome = PARSE_VERSION;
			return -2;
		case '?':
		case ':':
			return complain(argc, argv, option, errors);
		default:
			return option;
		}
	}
	return -1;
}

bool common_options_target(int argc, char **argv, FILE *errors, struct common_options *c)
{
	int family = c->target.family;
	const char *host;
	const char *port = NULL;
	const char *wrong;

	if (optind >= argc) {
		usage_error(errors, "HOST is missing");
		return false;
	}
	host = argv[optind++];
	if (!target_is_unix(host) && optind < argc)
		port = argv[optind++];
	wrong = target_parse(host, port, &c->target);
	if (wrong) {
		usage_error(errors, "%s%s%s", port ? port : host, ": ", wrong);
		return false;
	}
	c->target.family = family;
	return true;
}

enum parse_outcome common_options_end(int argc, char **argv, FILE *errors)
{
	if (optind < argc)
		return usage_error(errors, "'%s': too many arguments", argv[optind]);
	return PARSE_RUN;
}
