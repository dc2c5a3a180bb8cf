/* The command line and its actions. */

#include "ackd/config/config.h"
#include "ackd/server/control.h"
#include "ackd/server/server.h"
#include "ackd/systemd/systemd.h"
#include "ackd/tls/context.h"
#include "base/array.h"
#include "base/option_error.h"
#include "core/text/printable.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { OPTION_RELOAD = 256, OPTION_SET };

static const char shorts[] = ":c:p:tThV";
static const struct option longs[] = {
	{"config", required_argument, NULL, 'c'},
	{"port", required_argument, NULL, 'p'},
	{"set", required_argument, NULL, OPTION_SET},
	{"check-config", no_argument, NULL, 't'},
	{"dump-config", no_argument, NULL, 'T'},
	{"reload", no_argument, NULL, OPTION_RELOAD},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

struct options {
	bool help;
	bool version;
	bool check;
	bool dump; /* implies check */
	bool reload;
	struct config_source source;
};

static const char usage[] =
	"Usage: ackd [-c FILE] [-p PORT] [--set NAME=VALUE]... [-t] [-T] [-h] [-V]\n"
	"       ackd [-c FILE] --reload\n"
	"\n"
	"Accepts connections, checks what arrives as UTF-8 and answers: an echo, or an\n"
	"acknowledgement. It stays in the foreground.\n"
	"\n"
	"  -c, --config FILE   read FILE instead of " CONFIG_PATH "\n"
	"  -p, --port PORT     listen on PORT (0 to 65535) instead of the top-level port\n"
	"      --set NAME=VALUE  set any setting, such as limits.max_memory=64MiB; takes\n"
	"                      precedence over FILE; can be repeated\n"
	"  -t, --check-config  check the configuration and exit (0: valid, 78: not)\n"
	"  -T, --dump-config   print the checked configuration with defaults and exit\n"
	"      --reload        make a running ackd (the one of $RUNTIME_DIRECTORY, or the\n"
	"                      process $MAINPID) reload, and exit with the result\n"
	"  -h, --help          print this help and exit\n"
	"  -V, --version       print the versions of ackd and what it uses, and exit\n"
	"\n"
	"See ackd(8) and ackd.conf(5).\n";

/* Reports an error in the command line. */
__attribute__((format(printf, 1, 2))) static enum exit_status usage_error(const char *format, ...)
{
	char text[1024];
	char escaped[PRINTABLE_SIZE(sizeof(text))];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printable_escape(escaped, sizeof(escaped), text);
	fprintf(stderr, "ackd: %s\nTry 'ackd --help'.\n", escaped);
	return EXIT_USAGE;
}

static int parse_port(const char *text, int *ret_port)
{
	char *end;
	long port;

	errno = 0;
	port = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || port > 65535)
		return -EINVAL;
	*ret_port = (int)port;
	return 0;
}

/* Checks that no option is without effect in combination with another. */
static enum exit_status check_together(const struct options *o)
{
	if (o->reload && o->source.port >= 0)
		return usage_error("options '--reload' and '-p' cannot be combined: the running "
				   "ackd keeps the port that it was started with");
	if (o->reload && o->source.n_assignments > 0)
		return usage_error("options '--reload' and '--set' cannot be combined: the running "
				   "ackd keeps the settings that it was started with");
	if (o->reload && (o->check || o->dump))
		return usage_error("options '--reload' and '%s' cannot be combined",
				   o->check ? "-t" : "-T");
	return EXIT_DONE;
}

/* Adds the argument of --set. */
static enum exit_status add_assignment(struct config_source *source, const char *argument)
{
	const char **grown;

	if (!strchr(argument, '=') || *argument == '=')
		return usage_error("option '--set' needs NAME=VALUE, such as log.level=debug; "
				   "found '%s'",
				   argument);
	grown = array_resize((void *)(uintptr_t)source->assignments, source->n_assignments + 1,
			     sizeof(*grown));
	if (!grown) {
		fprintf(stderr, "ackd: %s\n", strerror(ENOMEM));
		return EXIT_OS;
	}
	source->assignments = grown;
	grown[source->n_assignments++] = argument;
	return EXIT_DONE;
}

/*
 * Returns EXIT_DONE and *@ret_options, EXIT_USAGE or EXIT_OS. Options after --help or --version are
 * ignored. The assignments are needed as long as the process runs, and are never released.
 */
static enum exit_status parse_options(int argc, char *argv[], struct options *ret_options)
{
	struct options *o = ret_options;
	char error[OPTION_ERROR_MAX];
	enum exit_status status;
	const char *argument;
	int option;

	*o = (struct options){.source.port = -1};
	opterr = 0;
	while (argument = option_argument(argc, argv),
	       (option = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			if (*optarg == '\0')
				return usage_error("option '-c' needs the name of a file");
			o->source.path = optarg;
			break;
		case 'p':
			if (parse_port(optarg, &o->source.port) < 0)
				return usage_error("port \"%s\" is not a number from 0 to "
						   "65535",
						   optarg);
			break;
		case 't':
			o->check = true;
			break;
		case 'T':
			o->dump = true;
			break;
		case OPTION_RELOAD:
			o->reload = true;
			break;
		case OPTION_SET:
			status = add_assignment(&o->source, optarg);
			if (status != EXIT_DONE)
				return status;
			break;
		case 'h':
			o->help = true;
			return EXIT_DONE;
		case 'V':
			o->version = true;
			return EXIT_DONE;
		default:
			return usage_error("%s", option_error(option, argument, longs, error));
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);
	return check_together(o);
}

/* Flushes stdout, so that a full disk is reported as an error. */
static enum exit_status finish_output(void)
{
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "ackd: cannot write the output: %s\n",
			strerror(errno != 0 ? errno : EIO));
		return EXIT_OS;
	}
	return EXIT_DONE;
}

static void print_version(void)
{
	printf("ackd %s\nlibuv %s\nlibconfig %s\nlibsystemd %s\nopenssl %s\nUTF-8 kernel %s\n",
	       ACKD_VERSION, uv_version_string(), config_library_version(), systemd_version(),
	       tls_library_version(), utf8_kernel_name());
}

static void print_warnings(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *l = &config->listeners[i];
		const char *warning = l->tls_context ? tls_context_warning(l->tls_context) : NULL;
		char escaped[PRINTABLE_SIZE(PATH_MAX)];

		if (!warning)
			continue;
		printable_escape(escaped, sizeof(escaped), warning);
		fprintf(stderr, "warning: listener %s: %s\n", l->name, escaped);
	}
}

static void print_no_errors(const struct config *config)
{
	char escaped[PRINTABLE_SIZE(PATH_MAX)];

	print_warnings(config);
	printable_escape(escaped, sizeof(escaped),
			 config->path ? config->path : "built-in defaults");
	printf("%s: no errors\n", escaped);
}

/*
 * Carries out -t, -T and --reload. They read the configuration, but neither resolve names nor bind.
 */
static enum exit_status run_command(const struct options *options)
{
	struct config *config;
	int r = config_load(&options->source, stderr, &config);

	if (r == -EINVAL)
		return EXIT_CONFIG;
	if (r < 0) {
		fprintf(stderr, "ackd: %s\n", uv_strerror(r));
		return EXIT_OS;
	}
	if (options->dump)
		config_dump(config, stdout); /* finish_output() reports a failure */
	else if (options->check)
		print_no_errors(config);
	config_unref(config);
	return options->reload ? control_reload() : finish_output();
}

/*
 * Opens closed standard descriptors. Otherwise the next pipe or socket would get such a number, and
 * the log would be written to it.
 */
static enum exit_status open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0) {
		fprintf(stderr, "ackd: cannot open /dev/null: %s\n", strerror(errno));
		return EXIT_OS;
	}
	close(fd);
	return EXIT_DONE;
}

int main(int argc, char *argv[])
{
	/* static, for threads that are abandoned at exit: see candidate_job_begin() */
	static struct options options;
	enum exit_status status;

	tls_library_init();
	if (utf8_kernel_select(getenv("ACKD_UTF8_KERNEL")) < 0)
		return usage_error("ACKD_UTF8_KERNEL=%s: this processor has no such UTF-8 kernel",
				   getenv("ACKD_UTF8_KERNEL"));
	status = parse_options(argc, argv, &options);
	if (status != EXIT_DONE)
		return status;
	if (options.help || options.version) {
		if (options.help)
			fputs(usage, stdout);
		else
			print_version();
		return finish_output();
	}
	/* systemd passes credentials to the main process only, not to ExecReload= */
	options.source.without_tls_files = options.reload;
	if (options.reload || options.check || options.dump)
		return run_command(&options);
	status = open_standard_descriptors();
	if (status != EXIT_DONE)
		return status;
	signal(SIGPIPE, SIG_IGN); /* writes to a closed connection return EPIPE instead */
	signal(SIGCHLD, SIG_IGN); /* as process 1 of a container: orphans end without a trace */
	return server_run(&options.source);
}
