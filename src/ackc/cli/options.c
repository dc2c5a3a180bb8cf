#include "ackc/cli/options.h"
#include "ackc/message/shape.h"
#include "ackc/message/source.h"
#include "base/nearest.h"
#include "base/option_error.h"
#include "base/units.h"
#include "core/text/printable.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A longer error message, with a long argument in it, is truncated. */
#define USAGE_TEXT_MAX 1024

#define SECONDS_MIN 0.001
#define SECONDS_MAX 1e6
#define COUNT_MAX 281474976710656 /* 2^48 */

/* Defaults for a monitoring plugin: a few probes, and a result soon. */
#define PLUGIN_COUNT 5
#define PLUGIN_INTERVAL_MS 200
#define PLUGIN_DEADLINE_MS 10000

static const char *const command_names[N_COMMANDS] = {"send", "ping", "load"};

#define SEND (1U << COMMAND_SEND)
#define PING (1U << COMMAND_PING)
#define LOAD (1U << COMMAND_LOAD)
#define ALL (SEND | PING | LOAD)

enum type {
	TYPE_FLAG, /* takes no value, and stores min */
	TYPE_COUNT,
	TYPE_REAL,
	TYPE_SECONDS, /* stored in milliseconds */
	TYPE_SIZE,
	TYPE_TEXT, /* of at most max bytes */
	TYPE_THRESHOLD,
	TYPE_PROXY,
	TYPE_FRAME,
	TYPE_ALPN,
	TYPE_DAYS,
	TYPE_HELP,
	TYPE_VERSION,
};

struct row {
	unsigned commands; /* that have the option */
	char letter;	   /* 0: none */
	enum type type;
	const char *name;     /* NULL: none */
	const char *argument; /* for the help; NULL: takes no value */
	size_t offset;	      /* of the member of struct options that stores the value */
	size_t width;
	double min;
	double max;
	const char *initial; /* the default; NULL: the member is zero */
	const char *help;
};

#define AT(member) offsetof(struct options, member), sizeof(((struct options *)NULL)->member)

/* clang-format off */
static const struct row rows[] = {
	{ALL, 'w', TYPE_SECONDS, "timeout", "SECONDS", AT(timeout_ms), SECONDS_MIN, SECONDS_MAX,
	 "5", "time limit for connecting, and for each reply"},
	{ALL, '4', TYPE_FLAG, NULL, NULL, AT(target.family), AF_INET, 0, NULL, "IPv4 only"},
	{ALL, '6', TYPE_FLAG, NULL, NULL, AT(target.family), AF_INET6, 0, NULL, "IPv6 only"},
	{ALL, 0, TYPE_PROXY, "proxy", "v1|v2[,SRC:PORT]", AT(target.proxy), 0, 0, NULL,
	 "send a PROXY header first (with the source SRC:PORT)"},
	{ALL, 0, TYPE_FRAME, "frame", "FRAME", AT(frame), 0, 0, NULL,
	 "frame messages, and expect framed replies:\n"
	 "delimited:END[:START] (in hex; MLLP is delimited:1c0d:0b),\n"
	 "length:N[:little][:inclusive] or fixed:N"},
	{ALL, 0, TYPE_FLAG, "tls", NULL, AT(target.tls.wanted), true, 0, NULL,
	 "use TLS 1.2 or 1.3, and verify the server's certificate"},
	{ALL, 0, TYPE_TEXT, "ca", "FILE", AT(target.tls.ca), 0, (double)SIZE_MAX, NULL,
	 "certificates to trust (default: the system's)"},
	{ALL, 0, TYPE_TEXT, "cert", "FILE", AT(target.tls.cert), 0, (double)SIZE_MAX, NULL,
	 "certificate of this client, with its chain"},
	{ALL, 0, TYPE_TEXT, "key", "FILE", AT(target.tls.key), 0, (double)SIZE_MAX, NULL,
	 "its key (default: in the file of --cert)"},
	{ALL, 0, TYPE_TEXT, "sni", "NAME", AT(target.tls.sni), 0, TARGET_HOST_MAX, NULL,
	 "name to ask for and to verify (default: HOST)"},
	{ALL, 0, TYPE_ALPN, "alpn", "NAME[,NAME]", AT(target.tls.alpn), 0, 0, NULL,
	 "application protocols to offer"},
	{ALL, 0, TYPE_FLAG, "insecure", NULL, AT(target.tls.insecure), true, 0, NULL,
	 "accept any certificate, and report what is wrong with it"},
	{ALL, 0, TYPE_FLAG, "json", NULL, AT(json), true, 0, NULL,
	 "print JSON objects, one per line"},
	{ALL, 'h', TYPE_HELP, "help", NULL, 0, 0, 0, 0, NULL, "print this text"},
	{ALL, 'V', TYPE_VERSION, "version", NULL, 0, 0, 0, 0, NULL,
	 "print the versions of ackc, libuv and OpenSSL"},

	{SEND, 0, TYPE_SECONDS, "linger", "SECONDS", AT(linger_ms), 0, SECONDS_MAX, "0.5",
	 "silence after the last reply, before the half-close"},
	{SEND, 0, TYPE_FLAG, "whole", NULL, AT(whole), true, 0, NULL,
	 "with --frame: send standard input as one frame, not line by line"},

	{PING, 'c', TYPE_COUNT, "count", "N", AT(count), 1, UINT32_MAX, NULL,
	 "stop after N probes"},
	{PING, 'i', TYPE_SECONDS, "interval", "SECONDS", AT(interval_ms), 0, SECONDS_MAX, "1",
	 "time between two probes"},
	{PING, 'W', TYPE_SECONDS, "wait", "SECONDS", AT(wait_ms), SECONDS_MIN, SECONDS_MAX, NULL,
	 "time limit for a reply (as --timeout)"},
	{PING, 'q', TYPE_FLAG, "quiet", NULL, AT(quiet), true, 0, NULL,
	 "print only the summary, and the first failure of each kind"},
	{PING, 'D', TYPE_FLAG, "wall-clock", NULL, AT(wall_clock), true, 0, NULL,
	 "print the time of day before each line"},
	{PING, 0, TYPE_FLAG, "new-connection", NULL, AT(new_connection), true, 0, NULL,
	 "use a new connection for each probe"},
	{PING, 0, TYPE_FLAG, "no-reconnect", NULL, AT(no_reconnect), true, 0, NULL,
	 "end when the connection has ended"},
	{PING, 't', TYPE_SECONDS, "deadline", "SECONDS", AT(deadline_ms), SECONDS_MIN, SECONDS_MAX,
	 NULL, "time limit for everything"},
	{PING, 0, TYPE_FLAG, "plugin", NULL, AT(plugin), true, 0, NULL,
	 "act as a monitoring plugin: one line, the plugins' exit statuses;\n"
	 "-w is --warning, -c is --critical, --timeout is --deadline (10)"},
	{PING, 0, TYPE_THRESHOLD, "warning", "MS[,LOSS%]", AT(warn), 0, 0, NULL,
	 "range of the mean time, and of the loss; implies --plugin"},
	{PING, 0, TYPE_THRESHOLD, "critical", "MS[,LOSS%]", AT(crit), 0, 0, NULL,
	 "the same for the critical state"},
	{PING, 0, TYPE_DAYS, "certificate-days", "WARN[,CRIT]", AT(certificate_days), 0, 0, NULL,
	 "fewest days until the certificate expires; implies --plugin"},

	{LOAD, 'c', TYPE_COUNT, "connections", "N", AT(connections), 1, 1000000, "10",
	 "number of connections"},
	{LOAD, 't', TYPE_COUNT, "threads", "N", AT(threads), 1, 256, "1", "number of threads"},
	{LOAD, 'p', TYPE_COUNT, "depth", "N", AT(depth), 1, 65536, "1",
	 "messages in flight on each connection"},
	{LOAD, 'd', TYPE_SECONDS, "duration", "SECONDS", AT(duration_ms), SECONDS_MIN, SECONDS_MAX,
	 "10", "how long to send"},
	{LOAD, 'n', TYPE_COUNT, "count", "N", AT(count), 1, COUNT_MAX, NULL,
	 "messages in all, instead of a duration"},
	{LOAD, 'r', TYPE_REAL, "rate", "N", AT(rate), 0.001, 1e9, NULL,
	 "messages per second, by a fixed schedule"},
	{LOAD, 0, TYPE_FLAG, "lines", NULL, AT(lines), true, 0, NULL,
	 "expect a reply to each line; send FILE line by line"},
	{LOAD, 0, TYPE_TEXT, "file", "FILE", AT(file), 0, (double)SIZE_MAX, NULL,
	 "send the text of FILE"},
	{LOAD, 0, TYPE_FLAG, "histogram", NULL, AT(histogram), true, 0, NULL,
	 "print a histogram of the latencies"},
	{LOAD, 'q', TYPE_FLAG, "quiet", NULL, AT(quiet), true, 0, NULL, "print no progress"},

	{PING | LOAD, 's', TYPE_SIZE, "size", "BYTES", AT(size), SOURCE_SIZE_MIN, SOURCE_SIZE_MAX,
	 "64", "size of a probe or message, its line end included, its frame not"},
	{PING | LOAD, 0, TYPE_TEXT, "prefix", "TEXT", AT(prefix), 0, AFFIX_MAX, NULL,
	 "what the server must add before a text\n(default: learnt from the first replies)"},
	{PING | LOAD, 0, TYPE_TEXT, "suffix", "TEXT", AT(suffix), 0, AFFIX_MAX, NULL,
	 "what the server must add after a text\n(default: learnt from the first replies)"},
};
/* clang-format on */

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))
static_assert(N_ROWS <= 64, "struct parser.given has a bit per row");

/* Options that exclude each other, by letter or name. The third, if any, must be given too. */
static const char *const conflicts[][3] = {
	{"4", "6"},
	{"count", "duration"},
	{"histogram", "json"},
	{"plugin", "json"},
	{"new-connection", "no-reconnect"},
	{"frame", "lines"},
	{"size", "lines", "file"},
	{"size", "frame", "file"},
};

/* Options that need another one. */
static const char *const needs[][2] = {
	{"ca", "tls"},	 {"cert", "tls"},     {"key", "tls"},  {"sni", "tls"},
	{"alpn", "tls"}, {"insecure", "tls"}, {"key", "cert"}, {"certificate-days", "tls"},
};

/* The options that have another meaning for a monitoring plugin. */
static const struct {
	const char *given; /* as a letter or as a name */
	const char *meant;
} plugin_meanings[] = {{"w", "warning"}, {"c", "critical"}, {"timeout", "deadline"}};

/* getopt_long() returns the letter of a short option, and this plus the row's index for a name. */
#define LONG_OPTION 1000

struct parser {
	bool named; /* the command was given */
	int argc;
	char **argv; /* argv[0] is not parsed */
	char *error; /* OPTIONS_ERROR_MAX bytes */
	struct options *options;
	uint64_t given; /* a bit per row */
	struct option longs[N_ROWS + 1];
	/*
	 * Begins with '+' for send, whose arguments after HOST are text even if they start with a
	 * dash, or with '-'. The other commands are parsed without that byte.
	 */
	char shorts[2 * N_ROWS + 4];
};

/* Describes an error, with a reference to the help. Returns PARSE_USAGE. */
__attribute__((format(printf, 2, 3))) static enum parse_outcome usage_error(const struct parser *p,
									    const char *format, ...)
{
	char text[USAGE_TEXT_MAX];
	char escaped[PRINTABLE_SIZE(sizeof(text))];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printable_escape(escaped, sizeof(escaped), text);
	snprintf(p->error, OPTIONS_ERROR_MAX, "ackc: %s\nTry 'ackc --help' for more information.\n",
		 escaped);
	return PARSE_USAGE;
}

static bool in_bounds(const struct row *row, double value)
{
	return value >= row->min && value <= row->max;
}

static void store(const struct row *row, void *field, uint64_t value)
{
	if (row->width == sizeof(bool))
		*(bool *)field = value;
	else if (row->width == sizeof(uint32_t))
		*(uint32_t *)field = (uint32_t)value;
	else
		*(uint64_t *)field = value;
}

static bool is_digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static bool parse_flag(const struct row *row, const char *text, void *field)
{
	store(row, field, (uint64_t)row->min);
	return true;
}

static bool parse_count(const struct row *row, const char *text, void *field)
{
	uint64_t value;

	if (!is_digits(text))
		return false;
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno || !in_bounds(row, (double)value))
		return false;
	store(row, field, value);
	return true;
}

static bool parse_real(const struct row *row, const char *text, void *field)
{
	double value;

	if (!number_parse(text, &value) || !in_bounds(row, value))
		return false;
	*(double *)field = value;
	return true;
}

static bool parse_seconds(const struct row *row, const char *text, void *field)
{
	double us;

	if (!duration_parse_default(text, 1000000, &us) || !in_bounds(row, us / 1e6))
		return false;
	store(row, field, (uint64_t)(us / 1000 + 0.5));
	return true;
}

static bool parse_size(const struct row *row, const char *text, void *field)
{
	uint64_t value;

	if (is_digits(text))
		return parse_count(row, text, field);
	if (!size_parse(text, &value) || !in_bounds(row, (double)value))
		return false;
	store(row, field, value);
	return true;
}

static bool parse_text(const struct row *row, const char *text, void *field)
{
	if ((double)strlen(text) > row->max)
		return false;
	*(const char **)field = text;
	return true;
}

static bool parse_threshold(const struct row *row, const char *text, void *field)
{
	return threshold_parse(text, field);
}

static bool parse_days(const struct row *row, const char *text, void *field)
{
	return days_parse(text, field);
}

static bool parse_proxy(const struct row *row, const char *text, void *field)
{
	return proxy_choice_parse(text, field);
}

static bool parse_frame(const struct row *row, const char *text, void *field)
{
	return frame_parse(text, field) == NULL;
}

static bool parse_alpn(const struct row *row, const char *text, void *field)
{
	*(const char **)field = text;
	return tls_alpn_is_valid(text);
}

/* The operations of each type, and the words for a value that is not accepted. */
static const struct {
	bool (*parse)(const struct row *row, const char *text, void *field);
	const char *noun;    /* NULL: the row's argument */
	const char *details; /* after the bounds, if there is a noun */
} types[] = {
	[TYPE_FLAG] = {parse_flag, NULL, NULL},
	[TYPE_COUNT] = {parse_count, "a number", ""},
	[TYPE_REAL] = {parse_real, "a number", ""},
	[TYPE_SECONDS] = {parse_seconds, "a duration", " seconds; examples: 2, 0.5, 500ms, 2min"},
	[TYPE_SIZE] = {parse_size, "a size", " bytes; examples: 1000, 64KiB, 1MiB"},
	[TYPE_TEXT] = {parse_text, NULL, NULL},
	[TYPE_THRESHOLD] = {parse_threshold, NULL,
			    ", where MS and LOSS are [@][START:][END]; examples: 10, 10,20%, "
			    "5:100,50%"},
	[TYPE_DAYS] = {parse_days, NULL, ", two numbers of days, the second not above the first"},
	[TYPE_FRAME] = {parse_frame, NULL, NULL},
	[TYPE_ALPN] = {parse_alpn, NULL, ", where a NAME has 1 to 255 bytes"},
	[TYPE_PROXY] = {parse_proxy, NULL,
			", where SRC is an IPv4 address, or an IPv6 address in brackets"},
};

static enum parse_outcome set(struct parser *p, const struct row *row, const char *text)
{
	const char *noun = types[row->type].noun;
	const char *details = types[row->type].details;

	p->given |= UINT64_C(1) << (row - rows);
	if (types[row->type].parse(row, text, (char *)p->options + row->offset))
		return PARSE_RUN;
	if (row->type == TYPE_FRAME)
		return usage_error(p, "--%s: '%s': %s", row->name, text,
				   frame_parse(text, &p->options->frame));
	if (noun)
		return usage_error(p, "--%s: '%s' is not %s from %.15g to %.15g%s", row->name, text,
				   noun, row->min, row->max, details);
	if (details)
		return usage_error(p, "--%s: '%s' is not %s%s", row->name, text, row->argument,
				   details);
	return usage_error(p, "--%s: the text has more than %.0f bytes", row->name, row->max);
}

static bool has_command(const struct row *row, const struct parser *p)
{
	return row->commands & 1U << p->options->command;
}

/* Returns the option of the command with this name or one-character letter, or NULL. */
static const struct row *find(const struct parser *p, const char *name)
{
	for (const struct row *row = rows; row < rows + N_ROWS; row++) {
		if (has_command(row, p) && ((row->name && strcmp(row->name, name) == 0) ||
					    (row->letter == name[0] && !name[1])))
			return row;
	}
	return NULL;
}

/* Returns the row of an option that getopt_long() returned. */
static const struct row *row_of(const struct parser *p, int option)
{
	char letter[2] = {(char)option};
	const char *name = option < LONG_OPTION ? letter : rows[option - LONG_OPTION].name;

	for (size_t i = 0; p->options->plugin && i < 3; i++) {
		if (strcmp(plugin_meanings[i].given, name) == 0)
			return find(p, plugin_meanings[i].meant);
	}
	return find(p, name);
}

/* Fills the arrays for getopt_long(), and stores the defaults. */
static void prepare(struct parser *p)
{
	struct option *l = p->longs;
	char *s = p->shorts;

	*s++ = p->options->command == COMMAND_SEND ? '+' : '-';
	*s++ = ':';
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct row *row = &rows[i];

		if (!has_command(row, p))
			continue;
		if (row->letter)
			*s++ = row->letter;
		if (row->letter && row->argument)
			*s++ = ':';
		if (row->name)
			*l++ = (struct option){row->name,
					       row->argument ? required_argument : no_argument,
					       NULL, LONG_OPTION + (int)i};
		if (row->initial)
			set(p, row, row->initial);
	}
	p->given = 0;
}

/* Starts getopt_long(). Setting 0 makes GNU's also reset its position in a cluster of letters. */
static void begin(void)
{
	optind = 0;
	opterr = 0;
}

/*
 * Returns whether an option in any position requests a plugin, which changes the meaning of others
 * and how errors are reported.
 */
static bool asks_for_plugin(struct parser *p)
{
	bool found = false;
	int option;

	begin();
	while ((option = getopt_long(p->argc, p->argv, p->shorts, p->longs, NULL)) != -1) {
		const char *name;

		if (option == ':')
			option = optopt; /* its value is missing */
		if (option < LONG_OPTION)
			continue;
		name = rows[option - LONG_OPTION].name;
		found = found || strcmp(name, "plugin") == 0 || strcmp(name, "warning") == 0 ||
			strcmp(name, "critical") == 0 || strcmp(name, "certificate-days") == 0;
	}
	return found;
}

/* Returns the command of which @host is probably a misspelling, or NULL. */
static const char *command_meant(const struct parser *p, const char *host)
{
	struct nearest n = {.word = host};

	for (size_t i = 0; !p->named && i < N_COMMANDS; i++)
		nearest_offer(&n, command_names[i]);
	return n.name;
}

/* Checks that the texts can be sent as the frame requires. */
static enum parse_outcome check_texts(const struct parser *p)
{
	const struct options *o = p->options;
	char why[FRAME_WORDS_MAX];

	if (o->whole && o->n_texts)
		return usage_error(p, "'--whole' sends standard input; it cannot be combined with "
				      "TEXT");
	for (int i = 0; i < o->n_texts; i++) {
		if (frame_refuses(&o->frame, (const uint8_t *)o->texts[i], strlen(o->texts[i]),
				  why))
			return usage_error(p, "TEXT %d: %s", i + 1, why);
	}
	return PARSE_RUN;
}

static enum parse_outcome parse_target(struct parser *p)
{
	struct target *t = &p->options->target;
	const char *host;
	const char *port = NULL;
	const char *wrong;

	if (optind >= p->argc)
		return usage_error(p, "HOST is missing");
	host = p->argv[optind++];
	if (target_is_unix(host) && t->family != AF_UNSPEC)
		return usage_error(p, "'-%c' cannot be combined with the UNIX socket %s",
				   t->family == AF_INET ? '4' : '6', host);
	if (target_takes_port(host) && optind < p->argc)
		port = p->argv[optind++];
	wrong = target_parse(host, port, t);
	p->options->command_meant = command_meant(p, host);
	if (wrong && port && p->options->command_meant)
		return usage_error(p, "unknown command '%s'; did you mean '%s'?", host,
				   p->options->command_meant);
	if (wrong)
		return usage_error(p, "%s: %s", port ? port : host, wrong);
	p->options->texts = p->argv + optind;
	p->options->n_texts = p->argc - optind;
	if (p->options->command != COMMAND_SEND && p->options->n_texts)
		return usage_error(p, "'%s': too many arguments", p->options->texts[0]);
	return check_texts(p);
}

static bool is_given(const struct parser *p, const char *name)
{
	const struct row *row = find(p, name);

	return row && p->given >> (row - rows) & 1;
}

static enum parse_outcome check_conflicts(const struct parser *p)
{
	for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++) {
		const char *a = conflicts[i][0];
		const char *b = conflicts[i][1];
		const char *c = conflicts[i][2];
		const char *dash = a[1] ? "--" : "-";

		if (!is_given(p, a) || !is_given(p, b) || (c && !is_given(p, c)))
			continue;
		if (c)
			return usage_error(p, "'--%s' cannot be combined with '--%s' and '--%s'", a,
					   b, c);
		return usage_error(p, "'%s%s' cannot be combined with '%s%s'", dash, a, dash, b);
	}
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (is_given(p, needs[i][0]) && !is_given(p, needs[i][1]))
			return usage_error(p, "'--%s' needs '--%s'", needs[i][0], needs[i][1]);
	}
	return PARSE_RUN;
}

/* Sets what a plugin needs and was not given. */
static enum parse_outcome complete_plugin(struct parser *p)
{
	struct options *o = p->options;

	if (range_above(&o->warn.ms, &o->crit.ms) ||
	    range_above(&o->warn.loss_percent, &o->crit.loss_percent))
		return usage_error(p, "--warning is above --critical");
	/* Defaults: any loss is a warning, and the loss of all probes is critical. */
	if (!o->warn.loss_percent.given)
		o->warn.loss_percent = (struct range){.given = true};
	if (!o->crit.loss_percent.given)
		o->crit.loss_percent = (struct range){.given = true, .end = 100};
	if (!o->count)
		o->count = PLUGIN_COUNT;
	if (!o->deadline_ms)
		o->deadline_ms = PLUGIN_DEADLINE_MS;
	if (o->wait_ms)
		o->timeout_ms = o->wait_ms;
	if (!is_given(p, "interval")) {
		/* Half of the time is reserved for the replies. */
		o->interval_ms = o->deadline_ms / 2 / o->count;
		if (o->interval_ms > PLUGIN_INTERVAL_MS)
			o->interval_ms = PLUGIN_INTERVAL_MS;
	}
	if (o->interval_ms && (o->deadline_ms - 1) / o->interval_ms < o->count - 1)
		return usage_error(
			p, "%" PRIu64 " probes every %g s do not fit into the %g s of -t", o->count,
			(double)o->interval_ms / 1e3, (double)o->deadline_ms / 1e3);
	return PARSE_RUN;
}

/* Checks that messages of ping and load fit into their frame, and sets the size of a fixed one. */
static enum parse_outcome complete_frame(struct parser *p)
{
	struct options *o = p->options;
	const struct frame *f = &o->frame;
	bool generates = o->command != COMMAND_SEND && !is_given(p, "file");
	char hex[FRAME_HEX_MAX];

	if (o->whole && f->kind == FRAME_NONE)
		return usage_error(p, "'--whole' needs '--frame'");
	if (o->command != COMMAND_SEND && !frame_permits_words(f))
		return usage_error(p,
				   "--frame: the messages to send consist of letters, digits and "
				   "spaces, and so does END, %s",
				   frame_hex(f->end, f->end_n, hex));
	if (f->kind == FRAME_FIXED && !is_given(p, "size"))
		o->size = f->size;
	if (f->kind == FRAME_FIXED && o->size != f->size)
		return usage_error(p, "--size: a message of %zu bytes is not a frame of %" PRIu32,
				   o->size, f->size);
	if (generates && o->size > frame_text_max(f))
		return usage_error(p,
				   "--size: a message has %zu bytes, but the length can state at "
				   "most %" PRIu64,
				   o->size, frame_text_max(f));
	return PARSE_RUN;
}

/* Checks the options together, and completes those that depend on others. */
static enum parse_outcome complete(struct parser *p)
{
	struct options *o = p->options;
	enum parse_outcome outcome = check_conflicts(p);

	if (outcome == PARSE_RUN && o->plugin)
		outcome = complete_plugin(p);
	if (outcome == PARSE_RUN)
		outcome = complete_frame(p);
	if (!o->wait_ms)
		o->wait_ms = o->timeout_ms;
	if (o->threads > o->connections)
		o->threads = o->connections;
	return outcome;
}

static enum parse_outcome parse_options(struct parser *p)
{
	const char *shorts = p->shorts;
	enum parse_outcome outcome = PARSE_RUN;
	char error[OPTION_ERROR_MAX];

	begin();
	if (p->options->command != COMMAND_SEND)
		shorts++;
	while (outcome == PARSE_RUN) {
		const char *argument = option_argument(p->argc, p->argv);
		int option = getopt_long(p->argc, p->argv, shorts, p->longs, NULL);
		const struct row *row;

		if (option == -1)
			break;
		if (option == '?' || option == ':')
			return usage_error(p, "%s",
					   option_error(option, argument, p->longs, error));
		row = row_of(p, option);
		if (row->type == TYPE_HELP)
			return PARSE_HELP;
		if (row->type == TYPE_VERSION)
			return PARSE_VERSION;
		outcome = set(p, row, optarg);
	}
	return outcome;
}

enum parse_outcome options_parse(int argc, char **argv, char error[OPTIONS_ERROR_MAX],
				 struct options *ret)
{
	struct parser p = {.argc = argc, .argv = argv, .error = error, .options = ret};
	enum parse_outcome outcome;

	error[0] = '\0';
	*ret = (struct options){.command = COMMAND_SEND};
	for (int i = 0; argc > 1 && i < N_COMMANDS; i++) {
		if (strcmp(argv[1], command_names[i]) != 0)
			continue;
		ret->command = (enum command)i;
		p.named = true;
		p.argc--;
		p.argv++;
		break;
	}
	prepare(&p);
	if (ret->command == COMMAND_PING && asks_for_plugin(&p)) {
		ret->plugin = true;
		p.given = UINT64_C(1) << (find(&p, "plugin") - rows);
	}
	outcome = parse_options(&p);
	if (outcome == PARSE_RUN)
		outcome = complete(&p);
	if (outcome == PARSE_RUN)
		outcome = parse_target(&p);
	return outcome;
}

#define HELP_COLUMN 25

static void help_row(FILE *out, const struct row *row)
{
	char left[80];
	char letter[] = {'-', row->letter, '\0'};
	int n = snprintf(left, sizeof(left), "  %s%s%s%s%s%s", row->letter ? letter : "  ",
			 !row->name    ? ""
			 : row->letter ? ", "
				       : "  ",
			 row->name ? "--" : "", row->name ? row->name : "",
			 row->argument ? " " : "", row->argument ? row->argument : "");

	if (n < HELP_COLUMN)
		fprintf(out, "%-*s", HELP_COLUMN, left);
	else
		fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
	for (const char *p = row->help; *p; p++)
		fprintf(out, *p == '\n' ? "%c%*s" : "%c%.*s", *p, HELP_COLUMN, "");
	if (row->initial)
		fprintf(out, " (%s)", row->initial);
	putc('\n', out);
}

void options_help(FILE *out)
{
	static const struct {
		unsigned commands;
		const char *title;
	} sections[] = {
		{ALL, ""},
		{SEND, "send:\n"},
		{PING, "ping:\n"},
		{LOAD, "load:\n"},
		{PING | LOAD, "ping and load:\n"},
	};

	fputs("Usage: ackc [send] [OPTIONS] HOST [PORT] [TEXT]...   send text, print the replies\n"
	      "       ackc ping   [OPTIONS] HOST [PORT]             round-trip times, verified\n"
	      "       ackc load   [OPTIONS] HOST [PORT]             throughput and latencies\n"
	      "HOST is a name, an address or unix:PATH. PORT is 10080 unless given; HOST:PORT and\n"
	      "[ADDRESS]:PORT are accepted. SECONDS and BYTES may have a unit: 500ms, 2min, "
	      "64KiB.\n"
	      "\n"
	      "Each TEXT is sent with a line end; without TEXT standard input is sent unchanged.\n"
	      "With --frame, each TEXT or line of standard input is sent in a frame.\n"
	      "\n",
	      out);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		fputs(sections[i].title, out);
		for (size_t j = 0; j < N_ROWS; j++) {
			if (rows[j].commands == sections[i].commands)
				help_row(out, &rows[j]);
		}
	}
	fputs("\nExit status: 0 success, 1 the network failed, 2 a wrong reply or a NAK, 64 "
	      "usage.\n",
	      out);
}
