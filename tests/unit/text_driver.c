/*
 * Answers questions about text on standard input, one a line, for text_oracle.py:
 *
 *	check FROM HEX				-> STATUS VALID LENGTH
 *	transcode FROM DECODE TO ENCODE HEX	-> HEX CHARACTERS
 *	encodable FROM TO HEX			-> BYTES
 *
 * FROM and TO are charsets. HEX may be empty: "-". The driver computes each answer with each
 * kernel, at several output sizes, and for short inputs with the input cut at every place. If the
 * results differ, the answer is "disagree: WHAT".
 */

#include "core/text/transcode.h"
#include "core/utf8/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Inputs up to this long are cut at every two places. */
#define CUT_MAX 40

/* Inputs up to this long go through the smallest output too. */
#define LARGE 10000

struct bytes {
	uint8_t *p;
	size_t n;
};

static const char *const decode_names[] = {"strict",	       "replace",	  "ignore",
					   "backslashreplace", "surrogateescape", NULL};
static const char *const charset_names[] = {"utf-8",	    "ascii",  "iso-8859-1",
					    "windows-1252", "binary", NULL};
static const char *const encode_names[] = {
	"strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace", NULL};

static void die(const char *what)
{
	fprintf(stderr, "text_driver: %s\n", what);
	exit(EXIT_FAILURE);
}

static void *allocate(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (!p)
		die("no memory");
	return p;
}

static int find_name(const char *const *names, const char *name)
{
	for (int i = 0; name && names[i]; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	die("a question that is none");
	return -1;
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The exact allocation size lets the address sanitizer detect every access past the end. */
static struct bytes parse_hex(const char *hex)
{
	struct bytes bytes;

	if (!hex)
		die("a question without bytes");
	bytes.n = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
	bytes.p = allocate(bytes.n);
	for (size_t i = 0; i < bytes.n; i++)
		bytes.p[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
	return bytes;
}

static void print_hex(const uint8_t *p, size_t n)
{
	char *hex = allocate(2 * n + 1);

	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[p[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[p[i] & 0xf];
	}
	fwrite(hex, 1, 2 * n, stdout);
	free(hex);
}

/* ---- check ---- */

/* The result of a stream: its text, with each fault as FF, its kind, and its bytes. */
struct trace {
	uint8_t bytes[8 * CUT_MAX];
	size_t n;
};

static void trace_add(struct trace *trace, const uint8_t *p, size_t n)
{
	memcpy(trace->bytes + trace->n, p, n);
	trace->n += n;
}

static void trace_fault(struct trace *trace, enum utf8_status status, const uint8_t *p, size_t n)
{
	trace_add(trace, (const uint8_t[]){0xff, (uint8_t)status}, 2);
	trace_add(trace, p, n);
}

static void trace_read(struct trace *trace, struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint8_t head[UTF8_CHARACTER_MAX];
		struct utf8_checked checked;
		enum utf8_status status;
		size_t length, used;

		if (carry->length > 0) {
			status = utf8_carry_join(carry, p + i, n - i, head, &length, &used);
			i += used;
			if (status == UTF8_COMPLETE)
				trace_add(trace, head, length);
			else if (status == UTF8_INVALID_CONTINUATION)
				trace_fault(trace, status, head, length);
			continue;
		}
		checked = utf8_check(p + i, n - i);
		trace_add(trace, p + i, checked.valid);
		i += checked.valid;
		if (checked.status == UTF8_PARTIAL)
			utf8_carry_set(carry, p + i, checked.length);
		else if (checked.status != UTF8_COMPLETE)
			trace_fault(trace, checked.status, p + i, checked.length);
		i += checked.length;
	}
}

static bool cuts_agree(const uint8_t *p, size_t n)
{
	struct trace whole = {.n = 0};
	struct utf8_carry carry = {0};

	trace_read(&whole, &carry, p, n);
	trace_fault(&whole, UTF8_PARTIAL, carry.bytes, carry.length);
	for (size_t a = 0; a <= n; a++) {
		for (size_t b = a; b <= n; b++) {
			struct trace cut = {.n = 0};

			carry.length = 0;
			trace_read(&cut, &carry, p, a);
			trace_read(&cut, &carry, p + a, b - a);
			trace_read(&cut, &carry, p + b, n - b);
			trace_fault(&cut, UTF8_PARTIAL, carry.bytes, carry.length);
			if (cut.n != whole.n || memcmp(cut.bytes, whole.bytes, cut.n) != 0)
				return false;
		}
	}
	return true;
}

static const char *const status_names[] = {"complete", "partial", "start", "continuation"};

/* Compares the check of a text with that of its characters one by one. */
static void answer_check_bytes(enum charset charset, const uint8_t *p, size_t n)
{
	struct utf8_checked checked = decode_check(charset, p, n);
	size_t i = 0, length = 0;

	while (i < n && decode_character(charset, p + i, n - i, &length) == UTF8_COMPLETE)
		i += length;
	if (checked.valid != i || checked.length != (i < n ? length : 0))
		printf("disagree: characters\n");
	else
		printf("%s %zu %zu\n", status_names[checked.status], checked.valid,
		       (size_t)checked.length);
}

static void answer_check(const uint8_t *p, size_t n)
{
	struct utf8_checked expected = utf8_check_scalar(p, n);

	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		struct utf8_checked checked;

		utf8_kernel_select(*name);
		checked = utf8_check(p, n);
		if (checked.status != expected.status || checked.valid != expected.valid ||
		    checked.length != expected.length) {
			printf("disagree: kernel %s\n", *name);
			return;
		}
		if (n <= CUT_MAX && !cuts_agree(p, n)) {
			printf("disagree: cut, kernel %s\n", *name);
			return;
		}
	}
	printf("%s %zu %zu\n", status_names[expected.status], expected.valid,
	       (size_t)expected.length);
}

/* ---- transcode ---- */

/* Transcodes into pieces of at most @size bytes. */
static struct bytes transcode_pieces(const struct transcoder *t, struct bytes raw, size_t size)
{
	struct bytes out = {allocate(raw.n * TRANSCODE_UNIT_MAX), 0};
	uint8_t *piece = allocate(size);
	size_t i = 0;

	while (i < raw.n) {
		size_t read, written;

		transcode(t, raw.p + i, raw.n - i, piece, size, &read, &written);
		if (written > size || (read == 0 && written == 0))
			die("transcode makes no progress");
		memcpy(out.p + out.n, piece, written);
		out.n += written;
		i += read;
	}
	free(piece);
	return out;
}

/* Returns whether a cut between any two characters of the input changes nothing. */
static bool pieces_agree(const struct transcoder *t, struct bytes raw, struct bytes expected,
			 size_t count)
{
	size_t length;

	for (size_t cut = 0; cut < raw.n; cut += length) {
		struct bytes first = {raw.p, cut}, second = {raw.p + cut, raw.n - cut};
		struct bytes a = transcode_pieces(t, first, first.n * TRANSCODE_UNIT_MAX + 16);
		struct bytes b = transcode_pieces(t, second, second.n * TRANSCODE_UNIT_MAX + 16);
		bool agree = a.n + b.n == expected.n && memcmp(a.p, expected.p, a.n) == 0 &&
			     memcmp(b.p, expected.p + a.n, b.n) == 0;

		agree = agree && transcode_length(t, first.p, first.n) == a.n &&
			transcode_count(t, first.p, first.n) +
					transcode_count(t, second.p, second.n) ==
				count;
		free(a.p);
		free(b.p);
		if (!agree)
			return false;
		decode_character(t->from, second.p, second.n, &length);
	}
	return true;
}

/* Compares the transcoding of the well-formed text at the start of @raw, without a check. */
static bool text_agrees(const struct transcoder *t, struct bytes raw, struct bytes expected)
{
	size_t n = decode_check(t->from, raw.p, raw.n).valid;
	size_t size = n * TRANSCODE_UNIT_MAX + 16, read, written;
	uint8_t *out = allocate(size);
	bool agree;

	transcode_text(t, raw.p, n, out, size, &read, &written);
	agree = read == n && written <= expected.n && memcmp(out, expected.p, written) == 0;
	if (transcoder_keeps_text(t))
		agree = agree && written == n && memcmp(out, raw.p, n) == 0;
	if (transcoder_keeps_all(t))
		agree = agree && expected.n == raw.n && memcmp(expected.p, raw.p, raw.n) == 0;
	free(out);
	return agree;
}

static bool sizes_agree(const struct transcoder *t, struct bytes raw, struct bytes expected)
{
	size_t size_min = raw.n <= LARGE ? TRANSCODE_UNIT_MAX : 5000;
	size_t size_max = raw.n <= CUT_MAX ? 3 * TRANSCODE_UNIT_MAX : size_min;
	bool agree = true;

	for (size_t size = size_min; size <= size_max && agree; size++) {
		struct bytes out = transcode_pieces(t, raw, size);

		agree = out.n == expected.n && memcmp(out.p, expected.p, out.n) == 0;
		free(out.p);
	}
	return agree;
}

static void answer_transcode(const struct transcoder *t, struct bytes raw)
{
	struct bytes expected = transcode_pieces(t, raw, raw.n * TRANSCODE_UNIT_MAX + 16);
	size_t count = transcode_count(t, raw.p, raw.n);
	const char *disagreement = NULL;

	for (const char *const *name = utf8_kernel_list(); *name && !disagreement; name++) {
		utf8_kernel_select(*name);
		if (!sizes_agree(t, raw, expected) || transcode_count(t, raw.p, raw.n) != count ||
		    transcode_length(t, raw.p, raw.n) != expected.n)
			disagreement = *name;
		if (t->from != CHARSET_UTF_8)
			break;
	}
	if (!text_agrees(t, raw, expected))
		disagreement = "text";
	if (raw.n <= CUT_MAX && !pieces_agree(t, raw, expected, count))
		disagreement = "pieces";
	if (disagreement) {
		printf("disagree: %s", disagreement);
	} else {
		print_hex(expected.p, expected.n);
		printf(" %zu", count);
	}
	putchar('\n');
	free(expected.p);
}

static void answer(char *line)
{
	const char *question = strtok(line, " \n");
	struct transcoder t = {0};
	struct bytes raw;

	if (!question)
		die("an empty question");
	t.from = (enum charset)find_name(charset_names, strtok(NULL, " \n"));
	if (strcmp(question, "check") == 0) {
		raw = parse_hex(strtok(NULL, " \n"));
		if (t.from == CHARSET_UTF_8)
			answer_check(raw.p, raw.n);
		else
			answer_check_bytes(t.from, raw.p, raw.n);
	} else if (strcmp(question, "encodable") == 0) {
		t.to = (enum charset)find_name(charset_names, strtok(NULL, " \n"));
		raw = parse_hex(strtok(NULL, " \n"));
		printf("%zu\n", transcoder_encodable(&t, raw.p, raw.n));
	} else {
		t.decode_errors = (enum decode_errors)find_name(decode_names, strtok(NULL, " \n"));
		t.to = (enum charset)find_name(charset_names, strtok(NULL, " \n"));
		t.encode_errors = (enum encode_errors)find_name(encode_names, strtok(NULL, " \n"));
		raw = parse_hex(strtok(NULL, " \n"));
		answer_transcode(&t, raw);
	}
	free(raw.p);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0)
		answer(line);
	free(line);
	return EXIT_SUCCESS;
}
