#pragma once

/* The command line: one parser a command. They print what is wrong, touch nothing else, and can be
 * called again and again (the fuzzer does). */

#include "ackc/cli/threshold.h"
#include "ackc/net/target.h"
#include "ackc/output/exit_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The commands, in the order of enum command. */
enum command { COMMAND_SEND, COMMAND_PING, COMMAND_LOAD, N_COMMANDS };
extern const char *const command_names[N_COMMANDS];

enum parse_outcome {
	PARSE_RUN,
	PARSE_HELP,
	PARSE_VERSION,
	PARSE_USAGE, /* what is wrong was written */
};

struct common_options {
	struct target target;
	uint64_t timeout_ms;
	bool json;
};

struct send_options {
	struct common_options common;
	uint64_t linger_ms; /* of silence after the input, before the half-close */
	char **texts;	    /* points into argv; none: standard input */
	int n_texts;
	const char *command_meant; /* what HOST may be a misspelling of; NULL: of nothing */
};

struct ping_options {
	struct common_options common;
	uint64_t count; /* 0: until it is interrupted */
	uint64_t interval_ms;
	size_t size;
	uint64_t wait_ms;     /* for each reply */
	uint64_t deadline_ms; /* for everything; 0: none */
	bool quiet;
	bool new_connection;
	bool no_reconnect;
	bool wall_clock;
	bool plugin;
	struct threshold warn;
	struct threshold crit;
	const char *prefix; /* NULL: learnt */
	const char *suffix;
};

struct load_options {
	struct common_options common;
	unsigned connections;
	unsigned threads;
	unsigned depth;
	uint64_t duration_ms; /* used when count is 0 */
	uint64_t count;	      /* messages of all connections; 0: until the time is up */
	size_t size;
	double rate; /* messages a second of all connections; 0: as fast as replies come */
	bool lines;
	bool histogram;
	bool quiet;
	const char *file; /* NULL: made-up messages */
	const char *prefix;
	const char *suffix;
};

/*
 * Parse @argv, of which argv[0] is the command's name, or, when none was given, the program's; the
 * strings stay the caller's and are pointed to. What is wrong goes to @errors, with the program's
 * name before it. @ret is filled for PARSE_RUN; only ping's @ret->plugin always tells whether that
 * was asked for.
 */
enum parse_outcome send_options_parse(int argc, char **argv, FILE *errors,
				      struct send_options *ret);
enum parse_outcome ping_options_parse(int argc, char **argv, FILE *errors,
				      struct ping_options *ret);
enum parse_outcome load_options_parse(int argc, char **argv, FILE *errors,
				      struct load_options *ret);

/* Writes a complaint and where to find help; returns PARSE_USAGE. */
enum parse_outcome usage_error(FILE *errors, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Returns the command that the word @host is probably a misspelling of, or NULL: also when @first,
 * argv[0] of a parser, shows that a command was given.
 */
const char *command_meant(const char *first, const char *host);

/*
 * Read numbers of an option: decimal, within [@min, @max]. Return false after a complaint to
 * @errors that names @option.
 */
bool parse_count(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		 uint64_t *ret);
/* Takes a duration: a plain number is one of seconds, as are @min and @max. */
bool parse_seconds(const char *option, const char *text, double min, double max, FILE *errors,
		   uint64_t *ret_ms);
/* Takes a size: a plain number is one of bytes. */
bool parse_size(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		size_t *ret);

/* Read a number without complaining: a plain one; a duration with a unit, or in units of @unit_us.
 */
bool parse_real(const char *text, double *ret);
bool parse_duration(const char *text, uint64_t unit_us, double *ret_us);

/* Takes a text that a server puts around its replies. */
bool parse_affix(const char *option, const char *text, FILE *errors, const char **ret);

/* The options that all commands have, for getopt_long(). */
#define COMMON_SHORT_OPTIONS "w:46hV"
#define OPTION_JSON 1000
#define OPTION_PROXY 999
#define OPTION_TIMEOUT 998 /* -w, which may be another option of a command's */
#define COMMON_LONG_OPTIONS                                                                        \
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},                                      \
		{"json", no_argument, NULL, OPTION_JSON},                                          \
		{"proxy", required_argument, NULL, OPTION_PROXY},                                  \
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},             \
	{                                                                                          \
		0                                                                                  \
	}

struct option;

/* A command's own part of the command line. */
struct syntax {
	const char
		*short_options; /* with COMMON_SHORT_OPTIONS; for getopt_long(), so is the next */
	const struct option *long_options;
	/* Takes an option with its value, optarg, into @options. Returns false after a complaint.
	 */
	bool (*take)(int option, FILE *errors, void *options);
	bool texts; /* arguments may follow the target: from argv[optind] on */
	/* Returns the option that is meant by one of getopt_long()'s. NULL: each means itself. */
	int (*translate)(int option, const void *options);
};

/*
 * Parses a command line into @c, with the defaults where it says nothing, and by @syntax->take into
 * @options. Complaints go to @errors.
 */
enum parse_outcome options_parse(const struct syntax *syntax, int argc, char **argv, FILE *errors,
				 struct common_options *c, void *options);
