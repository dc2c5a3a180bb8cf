#pragma once

/*
 * Command-line parsers, one per command. They write error messages, have no other side effects, and
 * can be called repeatedly (the fuzzer does).
 */

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
	PARSE_USAGE, /* the error was reported */
};

struct common_options {
	struct target target;
	uint64_t timeout_ms;
	bool json;
};

struct send_options {
	struct common_options common;
	uint64_t linger_ms; /* required silence after the input, before the half-close */
	char **texts;	    /* points into argv; none: standard input */
	int n_texts;
	const char *command_meant; /* similar command name; NULL: none */
};

struct ping_options {
	struct common_options common;
	uint64_t count; /* 0: until interrupted */
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
	const char *prefix; /* NULL: learned */
	const char *suffix;
};

struct load_options {
	struct common_options common;
	unsigned connections;
	unsigned threads;
	unsigned depth;
	uint64_t duration_ms; /* used if count is 0 */
	uint64_t count;	      /* messages of all connections; 0: until the time is up */
	size_t size;
	double rate; /* messages per second of all connections; 0: as fast as replies arrive */
	bool lines;
	bool histogram;
	bool quiet;
	const char *file; /* NULL: generated messages */
	const char *prefix;
	const char *suffix;
};

/*
 * Parse @argv. argv[0] is the command's name, or the program's name if no command was given. The
 * caller owns the strings, and @ret points to them. Errors are written to @errors, with the
 * program's name before them. @ret is filled for PARSE_RUN. In addition, ping always sets
 * @ret->plugin if that option was given.
 */
enum parse_outcome send_options_parse(int argc, char **argv, FILE *errors,
				      struct send_options *ret);
enum parse_outcome ping_options_parse(int argc, char **argv, FILE *errors,
				      struct ping_options *ret);
enum parse_outcome load_options_parse(int argc, char **argv, FILE *errors,
				      struct load_options *ret);

/* Writes an error message and a reference to the help. Returns PARSE_USAGE. */
enum parse_outcome usage_error(FILE *errors, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Returns the command of which the word @host is probably a misspelling, or NULL. Returns NULL,
 * too, if @first (argv[0] of a parser) shows that a command was given.
 */
const char *command_meant(const char *first, const char *host);

/*
 * Parse the number given to an option: decimal, within [@min, @max]. On an error, report it to
 * @errors with the name @option and return false.
 */
bool parse_count(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		 uint64_t *ret);
/* Parses a duration. A number without a unit is in seconds, as are @min and @max. */
bool parse_seconds(const char *option, const char *text, double min, double max, FILE *errors,
		   uint64_t *ret_ms);
/* Parses a size. A number without a unit is in bytes. */
bool parse_size(const char *option, const char *text, uint64_t min, uint64_t max, FILE *errors,
		size_t *ret);

/*
 * Parse a number without reporting errors. parse_real() takes no unit; parse_duration() takes a
 * unit, or a plain number in units of @unit_us.
 */
bool parse_real(const char *text, double *ret);
bool parse_duration(const char *text, uint64_t unit_us, double *ret_us);

/* Parses the text that a server puts before or after its replies. */
bool parse_affix(const char *option, const char *text, FILE *errors, const char **ret);

/* The options common to all commands, for getopt_long(). */
#define COMMON_SHORT_OPTIONS "w:46hV"
#define OPTION_JSON 1000
#define OPTION_PROXY 999
#define OPTION_TIMEOUT 998 /* -w, for which a command may have another meaning */
#define COMMON_LONG_OPTIONS                                                                        \
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},                                      \
		{"json", no_argument, NULL, OPTION_JSON},                                          \
		{"proxy", required_argument, NULL, OPTION_PROXY},                                  \
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},             \
	{                                                                                          \
		0                                                                                  \
	}

struct option;

/* The command-specific part of the command line. */
struct syntax {
	const char *short_options; /* for getopt_long(), with COMMON_SHORT_OPTIONS */
	const struct option *long_options;
	/*
	 * Stores an option and its value, optarg, into @options. Returns false after reporting an
	 * error.
	 */
	bool (*take)(int option, FILE *errors, void *options);
	bool texts; /* arguments may follow the target, starting at argv[optind] */
	/* Maps an option returned by getopt_long() to the intended one. NULL: no mapping. */
	int (*translate)(int option, const void *options);
};

/*
 * Parses a command line: common options into @c, with defaults for those not given, and others into
 * @options through @syntax->take. Errors are reported to @errors.
 */
enum parse_outcome options_parse(const struct syntax *syntax, int argc, char **argv, FILE *errors,
				 struct common_options *c, void *options);
