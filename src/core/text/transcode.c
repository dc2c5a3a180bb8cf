#include "core/text/transcode.h"

#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <string.h>

/*
 * The maximum number of bytes checked before they are encoded, so that encoding reads them from the
 * cache.
 */
#define WINDOW ((size_t)16 * 1024)

/*
 * If faults are less than this apart, a search for each costs more than decoding. Then whole blocks
 * are decoded, until this many bytes are clean.
 */
#define DENSE (2 * UTF8_BLOCK)

/*
 * The number of bytes that decode_block() needs to read and write, so that it copies without end
 * checks: \xNN for each byte, plus the overshoot of a copy.
 */
#define BLOCK_READABLE (2 * UTF8_BLOCK)
#define BLOCK_WRITABLE (5 * UTF8_BLOCK)

/* The size of the pieces in which transcode_length() transcodes, in bytes. */
#define LENGTH_PIECE ((size_t)4 * 1024)

static const char hex_digits[] = "0123456789abcdef";

size_t decode_replacement(enum decode_errors errors, const uint8_t *bad, size_t n,
			  uint8_t ret_text[DECODE_REPLACEMENT_MAX])
{
	uint8_t *p = ret_text;

	switch (errors) {
	case DECODE_REPLACE:
		memcpy(p, "\xef\xbf\xbd", 3);
		return 3;
	case DECODE_BACKSLASHREPLACE:
		for (size_t i = 0; i < n; i++) {
			*p++ = '\\';
			*p++ = 'x';
			*p++ = (uint8_t)hex_digits[bad[i] >> 4];
			*p++ = (uint8_t)hex_digits[bad[i] & 0xf];
		}
		return (size_t)(p - ret_text);
	case DECODE_STRICT:
	case DECODE_IGNORE:
		break;
	}
	return 0;
}

/*
 * Measures the well-formed text at the start of @raw, looking at no more than about @window bytes.
 * Returns its length. *@ret_bad is the length of the ill-formed subsequence after it, or 0 if the
 * window ended first.
 */
static size_t clean_stretch(const uint8_t *raw, size_t n, size_t window, size_t *ret_bad)
{
	struct utf8_checked checked;

	if (window < UTF8_CHARACTER_MAX)
		window = UTF8_CHARACTER_MAX;
	if (window > n)
		window = n;
	checked = utf8_check(raw, window);
	*ret_bad = checked.status == UTF8_PARTIAL && window < n ? 0 : checked.length;
	return checked.valid;
}

/* Writes the reply bytes for a maximal subpart; returns their length. */
static size_t write_replacement(const struct transcoder *t, const uint8_t *bad, size_t n,
				uint8_t ret_bytes[TRANSCODE_UNIT_MAX])
{
	uint8_t text[DECODE_REPLACEMENT_MAX];
	size_t length = decode_replacement(t->decode_errors, bad, n, text);
	size_t read, written;

	charset_encode(t->to, t->encode_errors, text, length, ret_bytes, TRANSCODE_UNIT_MAX, &read,
		       &written);
	return written;
}

/* Copies @n bytes, at most a block, without a loop. May read and write a whole block. */
static inline void copy_short(uint8_t *out, const uint8_t *p, size_t n)
{
	memcpy(out, p, 16);
	if (n > 16)
		memcpy(out + 16, p + 16, UTF8_BLOCK - 16);
}

/*
 * Decodes a block at @raw (BLOCK_READABLE bytes are readable) to UTF-8 at @out (BLOCK_WRITABLE
 * bytes are writable). @errors is not DECODE_STRICT. Leaves a character unread that may continue
 * after the block. Sets *@ret_read and *@ret_written; returns whether it found a fault.
 */
static bool decode_block(enum decode_errors errors, const uint8_t *raw, uint8_t *out,
			 size_t *ret_read, size_t *ret_written)
{
	struct utf8_faults faults;
	size_t read = 0;
	size_t written = 0;

	utf8_find_faults(raw, &faults);
	for (uint64_t left = faults.first; left; left &= left - 1) {
		size_t at = (size_t)__builtin_ctzll(left);
		/* a fault at the last byte of a block has no further bytes */
		uint64_t after = at < UTF8_BLOCK - 1 ? faults.rest >> (at + 1) : 0;
		size_t length = 1 + (size_t)__builtin_ctzll(~after);

		copy_short(out + written, raw + read, at - read);
		written += at - read;
		if (errors == DECODE_REPLACE) {
			memcpy(out + written, "\xef\xbf\xbd", 4);
			written += 3;
		} else {
			written += decode_replacement(errors, raw + at, length, out + written);
		}
		read = at + length;
	}
	copy_short(out + written, raw + read, faults.whole - read);
	*ret_read = faults.whole;
	*ret_written = written + faults.whole - read;
	return faults.first != 0;
}

/*
 * Transcodes data with frequent faults, block by block, while faults stay frequent and @raw and
 * @out have enough room. Sets *@ret_read and *@ret_written as transcode() does.
 */
static void transcode_blocks(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out,
			     size_t size, size_t *ret_read, size_t *ret_written)
{
	bool is_text = t->to == CHARSET_UTF_8;
	size_t read = 0;
	size_t written = 0;
	size_t clean = 0;

	while (clean < DENSE && n - read >= BLOCK_READABLE &&
	       size - written >= UTF8_BLOCK * TRANSCODE_UNIT_MAX) {
		uint8_t text[BLOCK_WRITABLE];
		uint8_t *decoded = is_text ? out + written : text;
		size_t done, made;
		bool has_faults = decode_block(t->decode_errors, raw + read, decoded, &done, &made);

		clean = has_faults ? 0 : clean + done;
		read += done;
		if (!is_text)
			charset_encode(t->to, t->encode_errors, decoded, made, out + written,
				       size - written, &done, &made);
		written += made;
	}
	*ret_read = read;
	*ret_written = written;
}

void transcode(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out, size_t size,
	       size_t *ret_read, size_t *ret_written)
{
	size_t before = 2 * DENSE;
	size_t read = 0;
	size_t written = 0;

	while (read < n) {
		uint8_t bytes[TRANSCODE_UNIT_MAX];
		size_t room = size - written;
		size_t bad, clean, done, made;

		clean = clean_stretch(raw + read, n - read, room < WINDOW ? room : WINDOW, &bad);
		charset_encode(t->to, t->encode_errors, raw + read, clean, out + written, room,
			       &done, &made);
		read += done;
		written += made;
		if (done < clean)
			break;
		if (bad == 0)
			continue;
		made = write_replacement(t, raw + read, bad, bytes);
		if (made > size - written)
			break;
		memcpy(out + written, bytes, made);
		read += bad;
		written += made;
		if (clean + before < 2 * DENSE) {
			transcode_blocks(t, raw + read, n - read, out + written, size - written,
					 &done, &made);
			read += done;
			written += made;
		}
		before = clean;
	}
	*ret_read = read;
	*ret_written = written;
}

size_t transcode_count(const struct transcoder *t, const uint8_t *raw, size_t n)
{
	size_t count = 0;
	size_t i = 0;

	while (i < n) {
		size_t bad;
		size_t clean = clean_stretch(raw + i, n - i, WINDOW, &bad);

		count += utf8_count(raw + i, clean);
		if (t->decode_errors == DECODE_BACKSLASHREPLACE)
			count += 4 * bad;
		else if (t->decode_errors == DECODE_REPLACE && bad > 0)
			count++;
		i += clean + bad;
	}
	return count;
}

uint64_t transcode_length(const struct transcoder *t, const uint8_t *raw, size_t n)
{
	uint64_t length = 0;
	size_t i = 0;

	while (i < n) {
		uint8_t out[LENGTH_PIECE];
		size_t read, written;

		transcode(t, raw + i, n - i, out, sizeof(out), &read, &written);
		length += written;
		i += read;
	}
	return length;
}
