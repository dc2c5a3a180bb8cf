#include "ackc/load/load.h"
#include "ackc/net/failure.h"
#include "ackc/output/output.h"
#include "ackc/ping/ping.h"
#include "ackc/ping/report.h"
#include "ackc/send/send.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* libuv's epoll, eventfd and two signal pipes, plus the connection and a spare */
#define DESCRIPTORS_OF_LIBUV 8

/*
 * Opens standard descriptors that the caller has closed. Otherwise a libuv socket or pipe would get
 * that number, and replies would be printed into it. The substitutes fail on every read or write.
 */
static bool fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	}
	return true;
}

/* Returns whether enough descriptors are left for libuv, which aborts without them. */
static bool descriptors_left(void)
{
	int fds[DESCRIPTORS_OF_LIBUV];
	unsigned n;

	for (n = 0; n < DESCRIPTORS_OF_LIBUV; n++) {
		fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0)
			break;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	return n == DESCRIPTORS_OF_LIBUV;
}

/*
 * Reads the certificates for --tls. Returns an error message for the caller to free; NULL if there
 * is none.
 */
static char *prepare_tls(struct target *t)
{
	char words[TLS_WORDS_MAX];
	char *error = NULL;

	if (!t->tls.wanted)
		return NULL;
	t->tls_client = tls_client_create(&t->tls, t->host, words);
	if (!t->tls_client && asprintf(&error, "ackc: %s\n", words) < 0)
		abort();
	return error;
}

/* Ends without running a command. @errors has the error of the command line, if any. */
static int not_run(enum parse_outcome outcome, bool plugin, const char *errors)
{
	if (outcome == PARSE_USAGE && plugin)
		return ping_plugin_unknown(errors ? errors : "usage");
	if (outcome == PARSE_USAGE && errors)
		fputs(errors, stderr);
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
	struct options options;
	char *errors = NULL;
	size_t errors_n;
	bool standard_filled = fill_standard_descriptors();
	FILE *stream = open_memstream(&errors, &errors_n);
	enum parse_outcome outcome = options_parse(argc, argv, stream ? stream : stderr, &options);
	int status;

	if (stream)
		fclose(stream);
	/* libuv writes to sockets without MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	if (options.plugin)
		output_fail_with(EXIT_UNKNOWN);
	if (outcome == PARSE_RUN) {
		free(errors);
		errors = prepare_tls(&options.target);
		outcome = errors ? PARSE_USAGE : PARSE_RUN;
	}
	if (outcome != PARSE_RUN)
		status = not_run(outcome, options.plugin, errors);
	else if (!standard_filled || !descriptors_left())
		status = UV_EMFILE;
	else
		status = runs[options.command](&options);
	if (status < 0)
		status = not_started(status, options.plugin);
	tls_client_destroy(options.target.tls_client);
	free(errors);
	return status;
}
