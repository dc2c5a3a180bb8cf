/*
 * utf8 and transcode: every kernel must agree with the scalar reference. The result of a stream
 * must not depend on the cuts. The result of transcoding, between any two charsets with any
 * handlers, must not depend on the size of the output, and must equal that of decoding character by
 * character.
 *
 * The first SETUP_BYTES of the input choose the handlers, the cut and the size of the output.
 */

#include "core/text/transcode.h"
#include "core/utf8/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETUP_BYTES 4
#define INPUT_MAX ((size_t)8 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t expected[INPUT_MAX * TRANSCODE_UNIT_MAX];
static uint8_t made[INPUT_MAX * TRANSCODE_UNIT_MAX];

/* Encodes the character @c alone to @out; returns the length. */
static size_t encode_slowly(const struct transcoder *t, uint32_t c, uint8_t *out)
{
	int length;

	if (t->to == CHARSET_UTF_8) {
		size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

		for (size_t i = n - 1; i > 0; i--, c >>= 6)
			out[i] = (uint8_t)(0x80 | (c & 0x3f));
		out[0] = (uint8_t)(n == 1 ? c : 0xf00u >> n | c);
		return n;
	}
	length = charset_encode_character(t->to, t->encode_errors, c, out);
	return length > 0 ? (size_t)length : 0;
}

/* Writes the reply bytes for an ill-formed subsequence; returns the length. */
static size_t replace_slowly(const struct transcoder *t, const uint8_t *p, size_t n, uint8_t *out,
			     size_t *characters)
{
	uint8_t text[DECODE_REPLACEMENT_MAX];
	size_t length = decode_replacement(t->decode_errors, p, n, text);
	size_t written = 0;

	for (size_t i = 0, step; i < length; i += step, ++*characters) {
		step = 1;
		if (t->decode_errors == DECODE_SURROGATEESCAPE) {
			out[written++] = text[i];
			continue;
		}
		utf8_character(text + i, length - i, &step);
		written += encode_slowly(t, utf8_code_point(text + i), out + written);
	}
	return written;
}

/* Decodes and encodes character by character; returns the length and counts characters. */
static size_t transcode_slowly(const struct transcoder *t, const uint8_t *p, size_t n,
			       size_t *ret_characters)
{
	size_t written = 0;
	size_t characters = 0;

	while (n > 0) {
		size_t length;

		if (t->from == CHARSET_BINARY) {
			length = 1;
			expected[written++] = *p;
			characters++;
		} else if (decode_character(t->from, p, n, &length) == UTF8_COMPLETE) {
			written +=
				encode_slowly(t, decode_code_point(t->from, p), expected + written);
			characters++;
		} else {
			written += replace_slowly(t, p, length, expected + written, &characters);
		}
		p += length;
		n -= length;
	}
	*ret_characters = characters;
	return written;
}

static void check_transcode(const struct transcoder *t, const uint8_t *p, size_t n,
			    size_t output_size, size_t expected_length, size_t characters)
{
	size_t total = 0;
	size_t i = 0;

	while (i < n) {
		uint8_t *piece = malloc(output_size);
		size_t read, written;

		assert(piece);
		transcode(t, p + i, n - i, piece, output_size, &read, &written);
		assert(written <= output_size && (read > 0 || written > 0));
		memcpy(made + total, piece, written);
		free(piece);
		total += written;
		i += read;
	}
	assert(total == expected_length);
	assert(memcmp(made, expected, total) == 0);
	assert(transcode_count(t, p, n) == characters);
	assert(transcode_length(t, p, n) == expected_length);
	assert(!transcoder_keeps_all(t) || (total == n && memcmp(made, p, n) == 0));
}

/* Compares the check of single-byte text with that of its characters one by one. */
static void check_bytes(enum charset charset, const uint8_t *p, size_t n)
{
	struct utf8_checked checked = decode_check(charset, p, n);
	size_t i = 0, length;

	while (i < n && decode_character(charset, p + i, n - i, &length) == UTF8_COMPLETE)
		i += length;
	assert(checked.valid == i && checked.length == (i < n));
	assert(checked.status == (i < n ? UTF8_INVALID_START : UTF8_COMPLETE));
}

/* Checks @n bytes and those after them as one stream; @n + @m bytes are at @p. */
static void check_stream(const uint8_t *p, size_t n, size_t m, struct utf8_checked whole)
{
	struct utf8_carry carry = {0};
	struct utf8_checked part = {0};
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t length, used;

	if (n > 0)
		part = utf8_check_next(&carry, p, n);
	if (part.status > UTF8_PARTIAL) {
		assert(part.valid == whole.valid && part.length == whole.length);
		return;
	}
	if (m == 0) {
		assert(n == 0 || (part.valid == whole.valid && part.length == whole.length &&
				  carry.length == whole.length));
		return;
	}
	part = utf8_check_next(&carry, p + n, m);
	assert(part.status == whole.status);
	if (whole.status <= UTF8_PARTIAL) {
		assert(part.valid + part.length == m && carry.length == whole.length);
		return;
	}
	if (part.valid + part.length > 0) {
		assert(n + part.valid == whole.valid && part.length == whole.length &&
		       carry.length == 0);
		return;
	}
	/* utf8_carry_join() reports a fault in the carried character */
	assert(utf8_carry_join(&carry, p + n, m, head, &length, &used) == whole.status);
	assert(length == whole.length && n + used == whole.valid + whole.length);
}

static void check_kernel(const uint8_t *p, size_t n, size_t cut)
{
	struct utf8_checked reference = utf8_check_scalar(p, n), checked = utf8_check(p, n);
	size_t characters = 0;

	assert(checked.status == reference.status && checked.valid == reference.valid &&
	       checked.length == reference.length);
	check_stream(p, cut, n - cut, reference);
	for (size_t i = 0; i < reference.valid; i++)
		characters += (p[i] & 0xc0) != 0x80;
	assert(utf8_count(p, reference.valid) == characters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct transcoder t;
	size_t n, cut, output_size, characters, length;
	const uint8_t *p;

	if (size < SETUP_BYTES || size - SETUP_BYTES > INPUT_MAX)
		return 0;
	n = size - SETUP_BYTES;
	p = data + SETUP_BYTES;
	t.from = (enum charset)(data[1] / 32 % 5);
	t.decode_errors = (enum decode_errors)(DECODE_REPLACE + data[0] % 4);
	t.to = t.from == CHARSET_BINARY ? t.from : (enum charset)(data[0] / 4 % 4);
	t.encode_errors = (enum encode_errors)(ENCODE_REPLACE + data[0] / 16 % 4);
	cut = ((size_t)data[1] << 8 | data[2]) % (n + 1);
	output_size = TRANSCODE_UNIT_MAX + (size_t)data[3] * data[3] / 4;
	length = transcode_slowly(&t, p, n, &characters);
	if (t.from != CHARSET_UTF_8)
		check_bytes(t.from, p, n);
	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		utf8_kernel_select(*name);
		check_kernel(p, n, cut);
		check_transcode(&t, p, n, output_size, length, characters);
	}
	return 0;
}
