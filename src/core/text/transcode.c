#include "core/text/transcode.h"

#include "core/text/internal.h"

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

size_t transcoder_encodable(const struct transcoder *t, const uint8_t *text, size_t n)
{
	const uint16_t *table;
	size_t i = 0;

	if (transcoder_keeps_text(t) || t->to == CHARSET_UTF_8)
		return n;
	if (t->from == CHARSET_UTF_8)
		return charset_encodable(t->to, text, n);
	table = decode_table(t->from);
	while (i < n) {
		uint8_t byte[CHARSET_CHARACTER_MAX];

		i += ascii_length(text + i, n - i);
		for (; i < n && text[i] >= 0x80; i++) {
			if (charset_encode_character(t->to, ENCODE_STRICT, table[text[i] - 0x80],
						     byte) < 0)
				return i;
		}
	}
	return n;
}

/*
 * Measures the well-formed text at the start of @raw, looking at no more than about @window bytes.
 * Returns its length. *@ret_bad is the length of the ill-formed subsequence after it, or 0 if the
 * window ended first.
 */
static size_t clean_stretch(enum charset charset, const uint8_t *raw, size_t n, size_t window,
			    size_t *ret_bad)
{
	struct utf8_checked checked;

	if (window < UTF8_CHARACTER_MAX)
		window = UTF8_CHARACTER_MAX;
	if (window > n)
		window = n;
	checked = decode_check(charset, raw, window);
	*ret_bad = checked.status == UTF8_PARTIAL && window < n ? 0 : checked.length;
	return checked.valid;
}

/* Writes the reply bytes for an ill-formed subsequence; returns their length. */
static size_t write_replacement(const struct transcoder *t, const uint8_t *bad, size_t n,
				uint8_t ret_bytes[TRANSCODE_UNIT_MAX])
{
	uint8_t text[DECODE_REPLACEMENT_MAX];
	size_t length, read, written;

	if (t->to == CHARSET_UTF_8 || t->decode_errors == DECODE_SURROGATEESCAPE)
		return decode_replacement(t->decode_errors, bad, n, ret_bytes);
	length = decode_replacement(t->decode_errors, bad, n, text);
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
		} else if (errors != DECODE_IGNORE) {
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

/* transcode() from UTF-8. */
static void transcode_utf_8(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out,
			    size_t size, size_t *ret_read, size_t *ret_written)
{
	bool has_blocks = t->decode_errors != DECODE_SURROGATEESCAPE;
	size_t before = 2 * DENSE;
	size_t read = 0;
	size_t written = 0;

	while (read < n) {
		uint8_t bytes[TRANSCODE_UNIT_MAX];
		size_t room = size - written;
		size_t bad, clean, done, made;

		clean = clean_stretch(CHARSET_UTF_8, raw + read, n - read,
				      room < WINDOW ? room : WINDOW, &bad);
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
		if (has_blocks && clean + before < 2 * DENSE) {
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

/* Writes the reply bytes for a byte from 80 on of a single-byte charset; returns their length. */
static size_t write_high_byte(const struct transcoder *t, const uint16_t *table, uint8_t byte,
			      uint8_t ret_bytes[TRANSCODE_UNIT_MAX])
{
	uint32_t c = table[byte - 0x80];
	int length;

	if (c == 0)
		return write_replacement(t, &byte, 1, ret_bytes);
	if (t->to == CHARSET_UTF_8) {
		/* all of them are below U+FFFF */
		if (c < 0x800) {
			ret_bytes[0] = (uint8_t)(0xc0 | c >> 6);
			ret_bytes[1] = (uint8_t)(0x80 | (c & 0x3f));
			return 2;
		}
		ret_bytes[0] = (uint8_t)(0xe0 | c >> 12);
		ret_bytes[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		ret_bytes[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	length = charset_encode_character(t->to, t->encode_errors, c, ret_bytes);
	return length < 0 ? 0 : (size_t)length;
}

/* transcode() from a single-byte charset. */
static void transcode_bytes(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out,
			    size_t size, size_t *ret_read, size_t *ret_written)
{
	const uint16_t *table = decode_table(t->from);
	size_t read = 0;
	size_t written = 0;
	bool full = false;

	while (read < n && !full) {
		size_t room = size - written;
		size_t done =
			copy_ascii(raw + read, out + written, n - read < room ? n - read : room);

		read += done;
		written += done;
		full = read < n && raw[read] < 0x80;
		for (; read < n && raw[read] >= 0x80 && !full; read += !full) {
			uint8_t bytes[TRANSCODE_UNIT_MAX];
			size_t made;

			if (size - written >= TRANSCODE_UNIT_MAX) {
				written += write_high_byte(t, table, raw[read], out + written);
				continue;
			}
			made = write_high_byte(t, table, raw[read], bytes);
			full = made > size - written;
			if (!full) {
				memcpy(out + written, bytes, made);
				written += made;
			}
		}
	}
	*ret_read = read;
	*ret_written = written;
}

/* transcode() where nothing changes. */
static void keep_all(const uint8_t *raw, size_t n, uint8_t *out, size_t size, size_t *ret_read,
		     size_t *ret_written)
{
	size_t length = n < size ? n : size;

	memcpy(out, raw, length);
	*ret_read = length;
	*ret_written = length;
}

void transcode(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out, size_t size,
	       size_t *ret_read, size_t *ret_written)
{
	if (t->from == CHARSET_UTF_8)
		transcode_utf_8(t, raw, n, out, size, ret_read, ret_written);
	else if (transcoder_keeps_all(t))
		keep_all(raw, n, out, size, ret_read, ret_written);
	else
		transcode_bytes(t, raw, n, out, size, ret_read, ret_written);
}

void transcode_text(const struct transcoder *t, const uint8_t *text, size_t n, uint8_t *out,
		    size_t size, size_t *ret_read, size_t *ret_written)
{
	if (t->from == CHARSET_UTF_8)
		charset_encode(t->to, t->encode_errors, text, n, out, size, ret_read, ret_written);
	else
		transcode(t, text, n, out, size, ret_read, ret_written);
}

/* Returns the number of characters that replace an ill-formed subsequence of @n bytes. */
static size_t count_replacement(enum decode_errors errors, size_t n)
{
	switch (errors) {
	case DECODE_REPLACE:
		return 1;
	case DECODE_BACKSLASHREPLACE:
		return 4 * n;
	case DECODE_SURROGATEESCAPE:
		return n;
	case DECODE_STRICT:
	case DECODE_IGNORE:
		break;
	}
	return 0;
}

size_t transcode_count(const struct transcoder *t, const uint8_t *raw, size_t n)
{
	size_t count = 0;
	size_t i = 0;

	while (i < n) {
		size_t bad;
		size_t clean = clean_stretch(t->from, raw + i, n - i, WINDOW, &bad);

		count += decode_count(t->from, raw + i, clean);
		if (bad > 0)
			count += count_replacement(t->decode_errors, bad);
		i += clean + bad;
	}
	return count;
}

uint64_t transcode_length(const struct transcoder *t, const uint8_t *raw, size_t n)
{
	uint64_t length = 0;
	size_t i = 0;

	if (transcoder_keeps_all(t))
		return n;
	while (i < n) {
		uint8_t out[LENGTH_PIECE];
		size_t read, written;

		transcode(t, raw + i, n - i, out, sizeof(out), &read, &written);
		length += written;
		i += read;
	}
	return length;
}
