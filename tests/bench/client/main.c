#include "client.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(const struct options *options);
} commands[] = {
	{"load", client_load},	 {"churn", client_churn},     {"idle", client_idle},
	{"start", client_start}, {"trickle", client_trickle},
};

static _Noreturn void usage(void)
{
	fputs("usage: bench-client load|churn|idle|start --port PORT [--session SID] [--conns N]\n"
	      "       bench-client trickle --path PATH --session SID\n"
	      "       [--size BYTES] [--lines N] [--text ascii|cjk|binary]\n"
	      "       [--frame none|line|delimited:END[:START]|length:BYTES[:little]]\n"
	      "       [--prefix TEXT] [--warm SECONDS]\n"
	      "       [--seconds SECONDS | --count MESSAGES] [--spin] [--server-cpu CPU]\n"
	      "       [--tls] [--handshakes]\n"
	      "       [-- COMMAND...]\n",
	      stderr);
	exit(64);
}

static int text_parse(const char *word, enum corpus_text *ret_text)
{
	static const char *const words[] = {
		[TEXT_ASCII] = "ascii", [TEXT_CJK] = "cjk", [TEXT_BINARY] = "binary"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(word, words[i]) == 0) {
			*ret_text = (enum corpus_text)i;
			return 0;
		}
	}
	return -1;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"port", required_argument, NULL, 'p'},
		{"path", required_argument, NULL, 'P'},
		{"session", required_argument, NULL, 's'},
		{"conns", required_argument, NULL, 'n'},
		{"size", required_argument, NULL, 'b'},
		{"lines", required_argument, NULL, 'l'},
		{"text", required_argument, NULL, 'j'},
		{"frame", required_argument, NULL, 'f'},
		{"prefix", required_argument, NULL, 'x'},
		{"warm", required_argument, NULL, 'w'},
		{"seconds", required_argument, NULL, 't'},
		{"count", required_argument, NULL, 'c'},
		{"spin", no_argument, NULL, 'i'},
		{"tls", no_argument, NULL, 'T'},
		{"handshakes", no_argument, NULL, 'H'},
		{"server-cpu", required_argument, NULL, 'u'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", names, NULL)) != -1) {
		switch (option) {
		case 'p':
			options->port = (uint16_t)atoi(optarg);
			break;
		case 'P':
			options->path = optarg;
			break;
		case 's':
			options->session = atoi(optarg);
			break;
		case 'n':
			options->conns = (unsigned)atoi(optarg);
			break;
		case 'b':
			options->corpus.size = strtoul(optarg, NULL, 10);
			break;
		case 'l':
			options->corpus.lines = strtoul(optarg, NULL, 10);
			break;
		case 'j':
			if (text_parse(optarg, &options->corpus.text) < 0)
				usage();
			break;
		case 'f':
			if (frame_parse(optarg, &options->corpus.frame) < 0)
				usage();
			break;
		case 'x':
			options->corpus.prefix = optarg;
			break;
		case 'w':
			options->warm_seconds = atof(optarg);
			break;
		case 't':
			options->seconds = atof(optarg);
			break;
		case 'c':
			options->count = strtoull(optarg, NULL, 10);
			break;
		case 'i':
			options->spin = true;
			break;
		case 'T':
			options->tls = true;
			break;
		case 'H':
			options->handshakes = true;
			break;
		case 'u':
			options->server_cpu = atoi(optarg);
			break;
		default:
			usage();
		}
	}
	options->command = argv + optind;
}

int main(int argc, char **argv)
{
	struct options options = {
		.conns = 1,
		.corpus = {.size = 64, .lines = 1, .prefix = ""},
		.seconds = 1,
		.server_cpu = -1,
	};

	if (argc < 2)
		usage();
	frame_parse("line", &options.corpus.frame);
	parse(argc - 1, argv + 1, &options);
	if ((options.port == 0 && !options.path) || options.conns == 0 ||
	    options.corpus.size == 0 || options.corpus.lines == 0)
		usage();
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(argv[1], commands[i].name) == 0) {
			if (commands[i].run == client_start && !options.command[0])
				usage();
			if (commands[i].run == client_idle && options.session <= 0)
				usage();
			if ((commands[i].run == client_trickle) != (options.path != NULL))
				usage();
			return commands[i].run(&options);
		}
	}
	usage();
}
