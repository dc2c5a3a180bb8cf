#include "core/text/transcode.h"

#include "core/text/dense_faults.h"
#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <string.h>

/*
 * The maximum number of bytes checked before they are encoded, so that encoding reads them from the
 * cache.
 */
#define WINDOW ((size_t)16 * 1024)

/*
 * If faults are less than this apart, blocks are repaired one by one, until this many bytes are
 * clean.
 */
#define DENSE (2 * REPAIR_BLOCK)

/*
 * Measures the well-formed text at the start of @raw, looking at no more than about @window bytes.
 * Returns its length. *@ret_bad is the length of the ill-formed subsequence after it, or 0 if the
 * window ended first.
 */
static size_t clean_stretch(const uint8_t *raw, size_t n, size_t window, size_t *ret_bad)
{
	size_t valid, length;

	if (window < UTF8_CHARACTER_MAX)
		window = UTF8_CHARACTER_MAX;
	if (window > n)
		window = n;
	if (utf8_check(raw, window, &valid, &length) == UTF8_PARTIAL && window < n)
		length = 0;
	*ret_bad = length;
	return valid;
}

/* Writes the reply bytes for a maximal subpart; returns their length. */
static size_t write_replacement(const struct transcoder *t, const uint8_t *bad, size_t n,
				uint8_t ret_bytes[TRANSCODE_UNIT_MAX])
{
	uint8_t text[DECODE_REPLACEMENT_MAX];
	size_t length = decode_replacement(t->decode_errors, bad, n, text);
	size_t read, written;

	charset_encode(t->charset, t->encode_errors, text, length, ret_bytes, TRANSCODE_UNIT_MAX,
		       &read, &written);
	return written;
}

/*
 * Transcodes data with frequent faults, block by block, while faults stay frequent and @raw and
 * @out have enough room. Sets *@ret_read and *@ret_written as transcode() does.
 */
static void repair(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out,
		   size_t size, size_t *ret_read, size_t *ret_written)
{
	size_t read = 0;
	size_t written = 0;
	size_t clean = 0;

	while (clean < DENSE && n - read >= REPAIR_READABLE &&
	       size - written >= REPAIR_BLOCK * TRANSCODE_UNIT_MAX) {
		uint8_t text[REPAIR_WRITABLE];
		bool is_text = t->charset == CHARSET_UTF_8;
		uint8_t *repaired = is_text ? out + written : text;
		size_t done, made;

		if (repair_block(t->decode_errors, raw + read, repaired, &done, &made) > 0)
			clean = 0;
		else
			clean += done;
		read += done;
		if (!is_text)
			charset_encode(t->charset, t->encode_errors, repaired, made, out + written,
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
		charset_encode(t->charset, t->encode_errors, raw + read, clean, out + written, room,
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
			repair(t, raw + read, n - read, out + written, size - written, &done,
			       &made);
			read += done;
			written += made;
		}
		before = clean;
	}
	*ret_read = read;
	*ret_written = written;
}

/* Returns the number of characters that a maximal subpart of @n bytes decodes to. */
static size_t replacement_count(enum decode_errors errors, size_t n)
{
	switch (errors) {
	case DECODE_REPLACE:
		return 1;
	case DECODE_BACKSLASHREPLACE:
		return 4 * n;
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
		size_t clean = clean_stretch(raw + i, n - i, WINDOW, &bad);

		count += utf8_count(raw + i, clean);
		if (bad > 0)
			count += replacement_count(t->decode_errors, bad);
		i += clean + bad;
	}
	return count;
}
