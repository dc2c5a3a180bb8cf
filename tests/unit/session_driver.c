/*
 * Runs sessions over cases from standard input and compares their output with the expected one.
 * session_vs_cpython.py writes the cases. Each line is one of
 *
 *	policy REPLY FRAMING FROM DECODE TO ENCODE NAK MAX_MESSAGE GREETING PREFIX SUFFIX
 *	       START END LENGTH_BYTES ORDER INCLUDES_HEADER SIZE BARE TEXT NAK_TEXT QUIT
 *	case READS INPUT OUTPUT FAULTS MESSAGES SKIPPED ILL_FORMED
 *
 * with texts and bytes in hex ("-": none; "unset": NAK_TEXT or QUIT is not set). READS: where the
 *reads are cut, "5,9", or "all": whole, in two at each place, byte by byte. FAULTS: the NAK lines
 *that on_nak would make. MESSAGES: their number, or -1 when the reads decide it. SKIPPED: how many
 *bytes between frames are skipped. ILL_FORMED: how many ill-formed subsequences are left to the
 *error handler, or -1 if the case does not say.
 *
 * A case is run with an output of the usual size and, for some reads, with tiny ones, such that
 * SESSION_FULL comes at each point, with and without session_hold(), with the session handed over
 *to another one there, and with budgets too small.
 */

#include "core/session/session.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX ((size_t)4 * 1024 * 1024)
#define READS_MAX 65536
#define REPORTS_MAX 20

/* The smallest output that holds any NAK line of these cases, and the range of sizes above it. */
#define REPLY_MAX_LEAST ((size_t)64)
#define REPLY_MAX_SPREAD ((size_t)24)

enum hold { HOLD_NEVER, HOLD_ALWAYS, HOLD_IN_TURN, HOLD_COUNT };

struct bytes {
	uint8_t *p;
	size_t n;
};

struct test_case {
	struct bytes input, output, faults;
	long messages, ill_formed;
	uint64_t skipped;
	uint64_t received; /* what the first run consumed: no other reads change that */
};

/* How a case is run. */
struct setting {
	const size_t *cuts; /* ascending offsets, not 0 and not the input's length */
	size_t n_cuts;
	size_t reply_max;
	enum hold hold;
	bool hand_over; /* to another session, whenever only held input is left */
	size_t budget;
};

static struct policy policy;
static struct budget budget;
static struct session_io io;
static struct bytes got_output, got_faults;
static struct bytes quit;
static uint64_t got_received, got_skipped;
static int64_t got_ill_formed;
static size_t cuts[READS_MAX];
static unsigned long n_cases, n_runs, n_full, n_refused, n_handed_over, n_wrong, line_number;

static void die(const char *message)
{
	fprintf(stderr, "line %lu: %s\n", line_number, message);
	exit(2);
}

static void append(struct bytes *bytes, const void *p, size_t n)
{
	if (n > BYTES_MAX - bytes->n)
		die("the output does not end");
	memcpy(bytes->p + bytes->n, p, n);
	bytes->n += n;
}

static void on_nak(void *data, const struct nak *nak)
{
	char line[NAK_LINE_MAX];

	append(&got_faults, line, nak_format(nak, line));
}

static void on_count(void *data, enum session_count what, int64_t n)
{
	if (what == SESSION_SKIPPED_BYTES)
		got_skipped += (uint64_t)n;
	else
		got_ill_formed += n;
}

/* ---- one run ---- */

static void take_output(void)
{
	size_t n = 0;

	for (unsigned i = 0; i < io.out.n_spans; i++) {
		append(&got_output, io.out.spans[i].iov_base, io.out.spans[i].iov_len);
		n += io.out.spans[i].iov_len;
		if (io.out.spans[i].iov_len == 0)
			die("an empty span");
	}
	if (n != io.out.n_bytes || n > io.out.max_bytes || io.out.n_spans > SESSION_SPANS_MAX)
		die("spans and their sum do not agree");
}

/* Continues in another session, as another process does; returns its state. */
static int hand_over(struct session *session)
{
	struct session next;
	struct session_rest rest;
	int r;

	do {
		r = session_suspend(session, &io, &rest);
		take_output();
		session_io_clear(&io);
	} while (r == SESSION_FULL);
	session_init(&next, &policy, "peer\0\0\0local", 1);
	session_restore(&next, &rest.place);
	if (session_defer(&next, &io, rest.input, rest.n_input, rest.ended) < 0)
		die("cannot defer input");
	session_finish(session, &io);
	*session = next;
	n_handed_over++;
	return session_resume(session, &io);
}

/* Does what a connection does after a call; returns the last state. */
static int answer(struct session *session, int state, struct bytes *data,
		  const struct setting *setting)
{
	unsigned turn = 0;

	for (;;) {
		int held = 0;

		take_output();
		n_full += state == SESSION_FULL;
		if (state == SESSION_FULL && io.out.n_bytes == 0)
			die("full of nothing");
		if (state == SESSION_FULL && setting->hold != HOLD_NEVER &&
		    (setting->hold == HOLD_ALWAYS || turn++ % 2)) {
			held = session_hold(session, &io);
			if (held == 0 && data->n > 0)
				memset(data->p, 0xee, data->n);
		}
		session_io_clear(&io);
		if (held < 0)
			return held;
		if (setting->hand_over && (session_is_held(session) || state == SESSION_IDLE))
			state = hand_over(session);
		else if (state == SESSION_FULL)
			state = session_resume(session, &io);
		else
			return state;
		if (state == SESSION_IDLE && io.out.n_bytes == 0) {
			session_io_clear(&io);
			return state;
		}
	}
}

/* Feeds the read from @begin to @end from memory that is freed afterwards. */
static int feed(struct session *session, const struct test_case *c, size_t begin, size_t end,
		const struct setting *setting)
{
	struct bytes data = {.n = end - begin, .p = malloc(end - begin)};
	int state;

	memcpy(data.p, c->input.p + begin, data.n);
	state = answer(session, session_feed(session, &io, data.p, data.n), &data, setting);
	free(data.p);
	return state;
}

/* Returns the last state; fills got_output and got_faults. */
static int run(const struct test_case *c, const struct setting *setting)
{
	struct session session;
	struct bytes none = {0};
	int state = SESSION_IDLE;
	size_t at = 0;
	size_t cut = 0;

	n_runs++;
	got_output.n = 0;
	got_faults.n = 0;
	got_skipped = 0;
	got_ill_formed = 0;
	budget_init(&budget, setting->budget);
	io.out.max_bytes = setting->reply_max;
	io.n_messages = 0;
	session_init(&session, &policy, "peer\0\0\0local", 1);
	session_greet(&session, &io);
	take_output();
	session_io_clear(&io);
	while (at < c->input.n && state >= 0) {
		size_t end = cut < setting->n_cuts ? setting->cuts[cut++] : c->input.n;

		if (end - at > SESSION_READ_MAX)
			end = at + SESSION_READ_MAX;
		state = feed(&session, c, at, end, setting);
		at = end;
	}
	if (state >= 0)
		state = answer(&session, session_end(&session, &io), &none, setting);
	if (io.n_messages != session.place.messages)
		die("the counts of messages do not agree");
	got_received = session.place.received;
	session_finish(&session, &io);
	session_io_clear(&io);
	if (budget_used(&budget) != 0)
		die("memory is still charged");
	return state;
}

static bool equals(const struct bytes *a, const struct bytes *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

static void print(const char *name, const struct bytes *bytes)
{
	fprintf(stderr, "  %s ", name);
	for (size_t i = 0; i < bytes->n && i < 200; i++)
		fprintf(stderr, "%02x", bytes->p[i]);
	fprintf(stderr, " \"%.*s\"\n", (int)(bytes->n < 200 ? bytes->n : 200),
		(const char *)bytes->p);
}

static void report(const struct test_case *c, const struct setting *setting, int state)
{
	if (++n_wrong > REPORTS_MAX)
		return;
	fprintf(stderr,
		"line %lu: state %d, %lu messages, %ld ill-formed (%ld expected), received %lu, "
		"output of %zu, hold %d%s, cuts",
		line_number, state, (unsigned long)io.n_messages, (long)got_ill_formed,
		c->ill_formed, (unsigned long)got_received, setting->reply_max, (int)setting->hold,
		setting->hand_over ? ", handed over" : "");
	for (size_t i = 0; i < setting->n_cuts && i < 20; i++)
		fprintf(stderr, " %zu", setting->cuts[i]);
	fputc('\n', stderr);
	print("input   ", &c->input);
	print("expected", &c->output);
	print("got     ", &got_output);
	print("faults expected", &c->faults);
	print("faults got     ", &got_faults);
}

static void check(struct test_case *c, const struct setting *setting)
{
	int state = run(c, setting);

	if (c->received == UINT64_MAX)
		c->received = got_received;
	if (state != SESSION_DONE || !equals(&got_output, &c->output) ||
	    !equals(&got_faults, &c->faults) || got_received != c->received ||
	    got_skipped != c->skipped || (c->ill_formed >= 0 && got_ill_formed != c->ill_formed) ||
	    (c->messages >= 0 && io.n_messages != (uint64_t)c->messages))
		report(c, setting, state);
}

/* With too little memory the session fails, and the output before that is correct. */
static void check_budget(const struct test_case *c, struct setting setting)
{
	static const size_t sizes[] = {0, 100, 256, 300, 350, 600};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int state;

		setting.budget = sizes[i];
		state = run(c, &setting);
		n_refused += state == -ENOBUFS;
		if (state == SESSION_DONE && equals(&got_output, &c->output))
			continue;
		if (state != -ENOBUFS || got_output.n > c->output.n ||
		    memcmp(got_output.p, c->output.p, got_output.n) != 0)
			report(c, &setting, state);
	}
}

/* ---- the runs of a case ---- */

static void check_reads(struct test_case *c, const size_t *at, size_t n)
{
	const struct setting setting = {
		.cuts = at, .n_cuts = n, .reply_max = SESSION_REPLY_MAX, .budget = SIZE_MAX};

	check(c, &setting);
}

/* The same reads with small outputs, held input, hand-overs and small budgets. */
static void check_trouble(struct test_case *c, const size_t *at, size_t n)
{
	struct setting setting = {.cuts = at, .n_cuts = n, .budget = SIZE_MAX};
	size_t least = template_length_max(policy.greeting);
	size_t step = c->output.n > 4096 ? 15 : 1; /* a long one is full often enough */

	if (template_length_max(policy_before(&policy)) > least)
		least = template_length_max(policy_before(&policy));
	if (template_length_max(policy_after(&policy)) > least)
		least = template_length_max(policy_after(&policy));
	if (template_length_max(policy.nak_text) + 2 * MARK_MAX > least)
		least = template_length_max(policy.nak_text) + 2 * MARK_MAX;
	if (least < REPLY_MAX_LEAST)
		least = REPLY_MAX_LEAST;
	for (size_t i = 0; i < REPLY_MAX_SPREAD && least + i < c->output.n; i += step) {
		setting.reply_max = least + i;
		for (int hold = 0; hold < HOLD_COUNT; hold++) {
			setting.hold = (enum hold)hold;
			setting.hand_over = false;
			check(c, &setting);
			setting.hand_over = hold != HOLD_NEVER;
			if (setting.hand_over)
				check(c, &setting);
		}
	}
	setting.reply_max = SESSION_REPLY_MAX;
	setting.hand_over = true;
	check(c, &setting);
	setting.hand_over = false;
	setting.reply_max = least;
	setting.hold = HOLD_ALWAYS;
	check_budget(c, setting);
}

static void check_all_reads(struct test_case *c)
{
	size_t n = c->input.n;

	check_reads(c, NULL, 0);
	check_trouble(c, NULL, 0);
	for (size_t cut = 1; cut < n; cut++)
		check_reads(c, &cut, 1);
	if (n < 2 || n > READS_MAX)
		return;
	for (size_t i = 1; i < n; i++)
		cuts[i - 1] = i;
	check_reads(c, cuts, n - 1);
	check_trouble(c, cuts, n - 1);
	for (size_t i = 1; i < n; i++)
		cuts[i - 1] = i / 3 * 3 + 3 < n ? i / 3 * 3 + 3 : n;
	check_trouble(c, cuts, n - 1);
}

/* ---- reading cases ---- */

static const char *next_field(void)
{
	const char *field = strtok(NULL, " \n");

	if (!field)
		die("a field is missing");
	return field;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	if (!at)
		die("not hex");
	return (int)(at - digits);
}

/*
 * The caller frees the bytes, which end with a NUL that does not count. For "unset" the pointer is
 * NULL.
 */
static struct bytes next_bytes(void)
{
	const char *field = next_field();
	size_t n = strcmp(field, "-") == 0 ? 0 : strlen(field) / 2;
	struct bytes bytes = {.p = malloc(n + 1), .n = n};

	if (strcmp(field, "unset") == 0) {
		free(bytes.p);
		return (struct bytes){0};
	}
	for (size_t i = 0; i < n; i++)
		bytes.p[i] = (uint8_t)(hex_digit(field[2 * i]) << 4 | hex_digit(field[2 * i + 1]));
	bytes.p[n] = '\0';
	return bytes;
}

static int next_name(const char *const *names)
{
	const char *field = next_field();

	for (int i = 0; names[i]; i++) {
		if (strcmp(names[i], field) == 0)
			return i;
	}
	die("an unknown name");
	return -1;
}

static struct mark next_mark(void)
{
	struct bytes bytes = next_bytes();
	struct mark mark = {.length = (uint8_t)bytes.n};

	if (bytes.n > MARK_MAX)
		die("a mark is too long");
	if (bytes.n > 0)
		memcpy(mark.bytes, bytes.p, bytes.n);
	free(bytes.p);
	return mark;
}

/* "unset" becomes NULL. */
static struct template *next_template(unsigned variables)
{
	struct bytes source = next_bytes();
	struct template_error error;
	struct template *template = NULL;

	if (!source.p)
		return NULL;
	if (template_compile((const char *)source.p, policy.transcoder.to, variables, &template,
			     &error) != TEMPLATE_OK)
		die("a template does not compile");
	free(source.p);
	return template;
}

static void policy_finish(void)
{
	template_destroy(policy.greeting);
	template_destroy(policy.ack_prefix);
	template_destroy(policy.ack_suffix);
	template_destroy(policy.reply_text);
	template_destroy(policy.nak_text);
	free(quit.p);
	quit = (struct bytes){0};
	policy = (struct policy){.listener = "listener", .host = "host"};
}

/* In the order of the enumerations. */
static void read_policy(void)
{
	static const char *const replies[] = {"ack", "echo", "discard", "text", NULL};
	static const char *const framings[] = {"stream", "line",  "delimited",
					       "length", "fixed", NULL};
	static const char *const orders[] = {"big", "little", NULL};
	static const char *const decodings[] = {"strict",	    "replace",	       "ignore",
						"backslashreplace", "surrogateescape", NULL};
	static const char *const charsets[] = {"utf-8",	 "ascii",  "iso-8859-1",
					       "cp1252", "binary", NULL};
	static const char *const encodings[] = {
		"strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace", NULL};
	static const char *const bools[] = {"false", "true", NULL};

	policy_finish();
	policy.reply = (enum reply_kind)next_name(replies);
	policy.framing = (enum framing)next_name(framings);
	policy.transcoder.from = (enum charset)next_name(charsets);
	policy.transcoder.decode_errors = (enum decode_errors)next_name(decodings);
	policy.transcoder.to = (enum charset)next_name(charsets);
	policy.transcoder.encode_errors = (enum encode_errors)next_name(encodings);
	policy.nak = next_name(bools);
	policy.max_message_bytes = (uint32_t)strtoul(next_field(), NULL, 10);
	policy.greeting = next_template(TEMPLATE_IN_GREETING);
	policy.ack_prefix = next_template(TEMPLATE_IN_REPLY);
	policy.ack_suffix = next_template(TEMPLATE_IN_REPLY);
	policy.frame.start = next_mark();
	policy.frame.end = next_mark();
	policy.frame.length_bytes = (uint8_t)strtoul(next_field(), NULL, 10);
	policy.frame.length_order = (enum length_order)next_name(orders);
	policy.frame.length_includes_header = next_name(bools);
	policy.frame.size = (uint32_t)strtoul(next_field(), NULL, 10);
	policy.frame.bare_replies = next_name(bools);
	policy.reply_text = next_template(TEMPLATE_IN_REPLY);
	policy.nak_text = next_template(TEMPLATE_IN_NAK);
	quit = next_bytes();
	policy.quit = quit.p;
	policy.quit_length = quit.n;
	policy_prepare(&policy);
}

static size_t read_cuts(char *field)
{
	size_t n = 0;

	for (char *p = field; *p && *p != '-'; n++) {
		if (n == READS_MAX)
			die("too many reads");
		cuts[n] = strtoul(p, &p, 10);
		p += *p == ',';
	}
	return n;
}

static void read_case(void)
{
	char *reads = strdup(next_field());
	struct test_case c = {
		.input = next_bytes(), .output = next_bytes(), .faults = next_bytes()};
	size_t n;

	c.messages = strtol(next_field(), NULL, 10);
	c.skipped = strtoull(next_field(), NULL, 10);
	c.ill_formed = strtol(next_field(), NULL, 10);
	c.received = UINT64_MAX;
	n_cases++;
	if (strcmp(reads, "all") == 0) {
		check_all_reads(&c);
	} else {
		n = read_cuts(reads);
		check_reads(&c, cuts, n);
		check_trouble(&c, cuts, n);
	}
	free(reads);
	free(c.input.p);
	free(c.output.p);
	free(c.faults.p);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;

	if (utf8_kernel_select(NULL) < 0 || session_io_init(&io, &budget) < 0)
		die("cannot start");
	io.on_nak = on_nak;
	io.on_count = on_count;
	got_output.p = malloc(BYTES_MAX);
	got_faults.p = malloc(BYTES_MAX);
	while (getline(&line, &size, stdin) > 0) {
		const char *verb = strtok(line, " \n");

		line_number++;
		if (verb && strcmp(verb, "policy") == 0)
			read_policy();
		else if (verb && strcmp(verb, "case") == 0)
			read_case();
		else
			die("neither policy nor case");
	}
	printf("%lu cases, %lu runs with the %s kernel, %lu times full, %lu times out of budget, "
	       "%lu times handed over, %lu wrong\n",
	       n_cases, n_runs, utf8_kernel_name(), n_full, n_refused, n_handed_over, n_wrong);
	policy_finish();
	session_io_finish(&io);
	free(got_output.p);
	free(got_faults.p);
	free(line);
	return n_wrong || n_cases == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
