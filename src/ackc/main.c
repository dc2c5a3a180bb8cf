#include "ackc/cli/commands.h"
#include "ackc/output/output.h"
#include "ackc/ping/report.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* libuv's epoll, eventfd and two signal pipes, plus the connection and a spare */
#define DESCRIPTORS_OF_LIBUV 8

static const char help[] =
	"Usage: ackc [send] [OPTIONS] HOST [PORT] [TEXT]...   send text, print the replies\n"
	"       ackc ping   [OPTIONS] HOST [PORT]             round-trip times, verified\n"
	"       ackc load   [OPTIONS] HOST [PORT]             throughput and latencies\n"
	"HOST is a name, an address or unix:PATH. PORT is 10080 unless given; HOST:PORT and\n"
	"[ADDRESS]:PORT are accepted. SECONDS and BYTES may have a unit: 500ms, 2min, 64KiB.\n"
	"\n"
	"Each TEXT is sent with a line end; without TEXT standard input is sent as it is.\n"
	"\n"
	"  -w, --timeout SECONDS  for connecting, and for each reply (5)\n"
	"  -4, -6                 IPv4 or IPv6 only\n"
	"      --proxy v1|v2[,SRC:PORT]\n"
	"                         send a PROXY header first (of a connection from SRC:PORT)\n"
	"      --json             objects of JSON, one a line\n"
	"  -h, --help             this text\n"
	"  -V, --version          the versions of ackc and libuv\n"
	"send:\n"
	"      --linger SECONDS   of silence after the last reply, before the half-close (0.5)\n"
	"ping:\n"
	"  -c, --count N          stop after N probes\n"
	"  -i, --interval SECONDS between probes (1)\n"
	"  -s, --size BYTES       of a probe, its line end included (64)\n"
	"  -W, --wait SECONDS     for a reply (as --timeout)\n"
	"  -q, --quiet            only the summary\n"
	"  -D, --wall-clock       the time of day before each line\n"
	"      --new-connection   a connection for each probe\n"
	"      --no-reconnect     end when the connection has ended\n"
	"  -t, --deadline SECONDS for everything\n"
	"      --plugin           be a monitoring plugin: one line, its exit statuses, and\n"
	"                         its -w and -c for the next two, -t or --timeout (10)\n"
	"      --warning MS[,LOSS%], --critical MS[,LOSS%]\n"
	"                         ranges of the mean time and the loss; imply --plugin\n"
	"load:\n"
	"  -c, --connections N    (10)\n"
	"  -t, --threads N        (1)\n"
	"  -p, --depth N          messages under way on each connection (1)\n"
	"  -d, --duration SECONDS (10)\n"
	"  -n, --count N          messages in all, instead of a duration\n"
	"  -s, --size BYTES       of a message (64)\n"
	"  -r, --rate N           messages a second, by a fixed schedule\n"
	"      --lines            the server answers line by line; a FILE is sent so\n"
	"      --file FILE        send its text\n"
	"      --histogram        of the latencies\n"
	"  -q, --quiet            no progress\n"
	"ping and load:\n"
	"      --prefix TEXT, --suffix TEXT\n"
	"                         what the server is to put around a text (else learnt)\n"
	"\n"
	"Exit status: 0 good, 1 the network failed, 2 a wrong reply or a NAK, 64 usage.\n";

/* Returns the exit status of a command line that runs no command. */
static int not_run(enum parse_outcome outcome)
{
	if (outcome == PARSE_HELP)
		fputs(help, stdout);
	else if (outcome == PARSE_VERSION)
		printf("ackc %s\nlibuv %s\n", ACKD_VERSION, uv_version_string());
	return output_end(outcome == PARSE_USAGE ? EXIT_USAGE : EXIT_GOOD);
}

/* Set if all standard descriptors are open. */
static bool standard_filled;

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
	return standard_filled && n == DESCRIPTORS_OF_LIBUV;
}

/* Reports that libuv could not start. Returns the exit status. */
static int no_descriptors(bool plugin)
{
	if (plugin)
		return ping_plugin_unknown("too many open files");
	fputs("ackc: too many open files\n", stderr);
	return EXIT_NETWORK;
}

static int send_main(int argc, char **argv)
{
	struct send_options options;
	enum parse_outcome outcome = send_options_parse(argc, argv, stderr, &options);

	if (outcome != PARSE_RUN)
		return not_run(outcome);
	return descriptors_left() ? send_run(&options) : no_descriptors(false);
}

/* Ends a plugin that does not ping, which includes --help and --version: the state is UNKNOWN. */
static int plugin_not_run(enum parse_outcome outcome, const char *errors)
{
	if (outcome == PARSE_USAGE)
		return ping_plugin_unknown(errors ? errors : "usage");
	not_run(outcome);
	return EXIT_UNKNOWN;
}

static int ping_main(int argc, char **argv)
{
	struct ping_options options = {0};
	char *errors = NULL;
	size_t n;
	FILE *stream = open_memstream(&errors, &n);
	enum parse_outcome outcome =
		ping_options_parse(argc, argv, stream ? stream : stderr, &options);
	int status;

	if (stream)
		fclose(stream);
	if (options.plugin)
		output_fail_with(EXIT_UNKNOWN);
	else if (errors)
		fputs(errors, stderr);
	if (outcome == PARSE_RUN && descriptors_left())
		status = ping_run(&options);
	else if (outcome == PARSE_RUN)
		status = no_descriptors(options.plugin);
	else
		status = options.plugin ? plugin_not_run(outcome, errors) : not_run(outcome);
	free(errors);
	return status;
}

static int load_main(int argc, char **argv)
{
	struct load_options options;
	enum parse_outcome outcome = load_options_parse(argc, argv, stderr, &options);

	if (outcome != PARSE_RUN)
		return not_run(outcome);
	return descriptors_left() ? load_run(&options) : no_descriptors(false);
}

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

int main(int argc, char **argv)
{
	static int (*const mains[N_COMMANDS])(int argc, char **argv) = {
		[COMMAND_SEND] = send_main,
		[COMMAND_PING] = ping_main,
		[COMMAND_LOAD] = load_main,
	};

	/* libuv writes to sockets without MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	standard_filled = fill_standard_descriptors();
	for (size_t i = 0; argc > 1 && i < N_COMMANDS; i++) {
		if (strcmp(argv[1], command_names[i]) == 0)
			return mains[i](argc - 1, argv + 1);
	}
	return send_main(argc, argv);
}
