#include "ackc/load/load.h"
#include "ackc/output/failure.h"
#include "ackc/output/output.h"
#include "ackc/output/process.h"
#include "ackc/ping/ping.h"
#include "ackc/ping/report.h"
#include "ackc/send/send.h"

#include <uv.h>

/* Reads the certificates for --tls. Returns false on an error, which @error describes. */
static bool prepare_tls(struct target *t, char error[OPTIONS_ERROR_MAX])
{
	char words[TLS_WORDS_MAX];

	if (!t->tls.wanted)
		return true;
	t->tls_client = tls_client_create(&t->tls, t->host, words);
	if (!t->tls_client)
		snprintf(error, OPTIONS_ERROR_MAX, "ackc: %s\n", words);
	return t->tls_client;
}

/* Ends without running a command. @error has the error of the command line, if any. */
static int not_run(enum parse_outcome outcome, bool plugin, const char *error)
{
	if (outcome == PARSE_USAGE && plugin)
		return ping_plugin_unknown(error);
	if (outcome == PARSE_USAGE)
		fputs(error, stderr);
	else if (outcome == PARSE_HELP)
		options_help(stdout);
	else if (outcome == PARSE_VERSION)
		printf("ackc %s\nlibuv %s\nopenssl %s\n", ACKD_VERSION, uv_version_string(),
		       tls_library_version());
	/* A plugin that does not ping has the state UNKNOWN, even after --help. */
	return output_end(plugin ? EXIT_UNKNOWN : outcome == PARSE_USAGE ? EXIT_USAGE : EXIT_GOOD);
}

/* Ends after @failure, which occurred before the event loop ran. */
static int not_started(int failure, bool plugin)
{
	if (plugin)
		return ping_plugin_unknown(failure_text(failure));
	fprintf(stderr, "ackc: %s\n", failure_text(failure));
	return EXIT_NETWORK;
}

int main(int argc, char **argv)
{
	static int (*const runs[N_COMMANDS])(const struct options *options) = {
		[COMMAND_SEND] = send_run,
		[COMMAND_PING] = ping_run,
		[COMMAND_LOAD] = load_run,
	};
	char error[OPTIONS_ERROR_MAX];
	struct options options;
	bool prepared = process_prepare(&argc, &argv);
	enum parse_outcome outcome = options_parse(argc, argv, error, &options);
	int status;

	if (options.plugin)
		output_fail_with(EXIT_UNKNOWN);
	if (outcome == PARSE_RUN && !prepare_tls(&options.target, error))
		outcome = PARSE_USAGE;
	if (outcome != PARSE_RUN)
		status = not_run(outcome, options.plugin, error);
	else if (!prepared)
		status = UV_EMFILE;
	else
		status = runs[options.command](&options);
	if (status < 0)
		status = not_started(status, options.plugin);
	tls_client_destroy(options.target.tls_client);
	return status;
}
