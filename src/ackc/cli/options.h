#pragma once

/*
 * The command line. One table in options.c holds all options: it drives the parser, the checks of
 * values, the suggestions and --help.
 */

#include "ackc/cli/threshold.h"
#include "ackc/message/frame.h"
#include "ackc/net/target.h"
#include "ackc/output/exit_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The buffer size for the error of options_parse(). */
#define OPTIONS_ERROR_MAX 4400

enum command { COMMAND_SEND, COMMAND_PING, COMMAND_LOAD, N_COMMANDS };

struct options {
	enum command command;
	struct target target;
	uint64_t timeout_ms;
	bool json;
	struct frame frame; /* FRAME_NONE: none was given */

	/* send */
	bool whole;	    /* standard input is the text of one frame */
	uint64_t linger_ms; /* required silence after the input, before the half-close */
	char **texts;	    /* points into argv; none: standard input */
	int n_texts;
	const char *command_meant; /* the command of which HOST may be a misspelling, or NULL */

	/* ping and load */
	uint64_t count; /* messages in all; 0: ping until interrupted, load for duration_ms */
	size_t size;	/* of a message in bytes, with its LF; of its text if there is a frame */
	bool quiet;
	const char *prefix; /* NULL: learnt */
	const char *suffix;

	/* ping */
	uint64_t interval_ms;
	uint64_t wait_ms;     /* for each reply */
	uint64_t deadline_ms; /* for everything; 0: none */
	bool new_connection;
	bool no_reconnect;
	bool wall_clock;
	bool plugin;
	struct threshold warn;
	struct threshold crit;
	struct days certificate_days;

	/* load */
	unsigned connections;
	unsigned threads; /* at most as many as connections */
	unsigned depth;
	uint64_t duration_ms;
	double rate; /* messages per second of all connections; 0: as fast as replies arrive */
	bool lines;
	bool histogram;
	const char *file; /* NULL: generated messages */
};

enum parse_outcome {
	PARSE_RUN,
	PARSE_HELP,
	PARSE_VERSION,
	PARSE_USAGE, /* the error was written */
};

/*
 * Parses the command line of ackc, with the program's name in argv[0]. The caller owns the strings;
 * @ret points to them. @error gets the error, with a reference to the help; or is empty. @ret is
 * complete only for PARSE_RUN, but its command and plugin are always set. Has no other side effects
 * and can be called repeatedly.
 */
enum parse_outcome options_parse(int argc, char **argv, char error[OPTIONS_ERROR_MAX],
				 struct options *ret);

/* Writes the text of --help. */
void options_help(FILE *out);
