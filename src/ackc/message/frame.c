/*
 * START and END are searched for like this: the first byte by memchr(), the others one by one, with
 * their number in `matched`. If the next byte does not match, the longest end of the matched bytes
 * that is a beginning of the sequence remains matched (Knuth, Morris, Pratt). The bytes before that
 * are not part of the sequence; they equal its beginning, so they need not be stored.
 */

#include "ackc/message/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct frame frame_line = {.kind = FRAME_DELIMITED, .end = {'\n'}, .end_n = 1};

/* ---- the option ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Parses @n characters. Returns the number of bytes; 0 if they are not 1 to 8 bytes. */
static uint8_t parse_hex(const char *text, size_t n, uint8_t out[FRAME_SEQUENCE_MAX])
{
	if (n == 0 || n % 2 || n / 2 > FRAME_SEQUENCE_MAX)
		return 0;
	for (size_t i = 0; i < n; i += 2) {
		int high = hex_digit(text[i]);
		int low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return 0;
		out[i / 2] = (uint8_t)(high << 4 | low);
	}
	return (uint8_t)(n / 2);
}

/* Returns the text after "@word:", or NULL if @text does not begin with that. */
static const char *after(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strncmp(text, word, n) == 0 && text[n] == ':' ? text + n + 1 : NULL;
}

static const char *parse_delimited(const char *text, struct frame *f)
{
	size_t n = strcspn(text, ":");

	f->kind = FRAME_DELIMITED;
	f->end_n = parse_hex(text, n, f->end);
	if (!f->end_n)
		return "END is 1 to 8 bytes, two hexadecimal digits each";
	if (text[n])
		f->header_n = parse_hex(text + n + 1, strlen(text + n + 1), f->start);
	return text[n] && !f->header_n ? "START is 1 to 8 bytes, two hexadecimal digits each"
				       : NULL;
}

static const char *parse_length(const char *text, struct frame *f)
{
	f->kind = FRAME_LENGTH;
	f->header_n = (uint8_t)(text[0] - '0');
	if ((f->header_n != 1 && f->header_n != 2 && f->header_n != 4) ||
	    (text[1] && text[1] != ':'))
		return "a length has 1, 2 or 4 bytes";
	for (text++; *text; text += strcspn(text, ":")) {
		size_t n = strcspn(++text, ":");

		if (n == 6 && strncmp(text, "little", n) == 0 && !f->little)
			f->little = true;
		else if (n == 9 && strncmp(text, "inclusive", n) == 0 && !f->inclusive)
			f->inclusive = true;
		else
			return "after length:N only ':little' and ':inclusive' may follow";
	}
	return NULL;
}

static const char *parse_fixed(const char *text, struct frame *f)
{
	size_t n = strlen(text);
	unsigned long size = strtoul(text, NULL, 10);

	if (n == 0 || n > 8 || strspn(text, "0123456789") != n || size < 1 ||
	    size > FRAME_FIXED_MAX)
		return "a fixed size is a number of bytes from 1 to 16777216";
	f->kind = FRAME_FIXED;
	f->size = (uint32_t)size;
	return NULL;
}

const char *frame_parse(const char *text, struct frame *ret)
{
	const char *wrong = "a frame is delimited:END[:START], length:N[:little][:inclusive] or "
			    "fixed:N";
	struct frame f = {0};
	const char *rest;

	if ((rest = after(text, "delimited")))
		wrong = parse_delimited(rest, &f);
	else if ((rest = after(text, "length")))
		wrong = parse_length(rest, &f);
	else if ((rest = after(text, "fixed")))
		wrong = parse_fixed(rest, &f);
	if (!wrong)
		*ret = f;
	return wrong;
}

/* ---- sending ---- */

size_t frame_header(const struct frame *f, uint64_t n, uint8_t out[FRAME_HEADER_MAX])
{
	if (f->kind != FRAME_LENGTH) {
		memcpy(out, f->start, f->header_n);
		return f->header_n;
	}
	if (n > frame_text_max(f))
		n = frame_text_max(f);
	if (f->inclusive)
		n += f->header_n;
	for (unsigned i = 0; i < f->header_n; i++)
		out[f->little ? i : f->header_n - 1U - i] = (uint8_t)(n >> 8 * i);
	return f->header_n;
}

uint64_t frame_stated_length(const struct frame *f, const uint8_t *p)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < f->header_n; i++)
		n = n << 8 | p[f->little ? f->header_n - 1U - i : i];
	return n;
}

uint64_t frame_text_max(const struct frame *f)
{
	if (f->kind == FRAME_FIXED)
		return f->size;
	if (f->kind != FRAME_LENGTH)
		return UINT64_MAX;
	return (UINT64_C(1) << 8 * f->header_n) - 1 - (f->inclusive ? f->header_n : 0U);
}

bool frame_permits_words(const struct frame *f)
{
	/*
	 * The first byte of END that a text cannot contain does not fit to any earlier byte of END,
	 * so the text's last bytes together with END cannot contain it either.
	 */
	for (unsigned i = 0; i < f->end_n; i++) {
		uint8_t c = f->end[i] | 0x20;

		if (f->end[i] != ' ' && !(f->end[i] >= '0' && f->end[i] <= '9') &&
		    !(c >= 'a' && c <= 'z'))
			return true;
	}
	return f->end_n == 0;
}

const char *frame_hex(const uint8_t *bytes, size_t n, char out[FRAME_HEX_MAX])
{
	out[0] = '\0';
	for (size_t i = 0; i < n && i < FRAME_SEQUENCE_MAX; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return out;
}

/* Returns where the first END in the text and the END after it begins; @n if there is no other. */
static size_t find_end(const struct frame *f, const uint8_t *text, size_t n)
{
	const uint8_t *p = n ? memmem(text, n, f->end, f->end_n) : NULL;

	if (p)
		return (size_t)(p - text);
	for (size_t part = f->end_n - 1U; part > 0; part--) {
		if (part <= n && memcmp(text + n - part, f->end, part) == 0 &&
		    memcmp(f->end, f->end + part, f->end_n - part) == 0)
			return n - part;
	}
	return n;
}

bool frame_refuses(const struct frame *f, const uint8_t *text, size_t n,
		   char words[FRAME_WORDS_MAX])
{
	char hex[FRAME_HEX_MAX];
	size_t at;

	if (f->kind == FRAME_FIXED && n != f->size) {
		snprintf(words, FRAME_WORDS_MAX, "the text has %zu bytes, but a frame has %" PRIu32,
			 n, f->size);
		return true;
	}
	if (n > frame_text_max(f)) {
		snprintf(words, FRAME_WORDS_MAX,
			 "the text has %zu bytes, but the length can state at most %" PRIu64, n,
			 frame_text_max(f));
		return true;
	}
	at = f->kind == FRAME_DELIMITED ? find_end(f, text, n) : n;
	if (at < n)
		snprintf(words, FRAME_WORDS_MAX,
			 "the text contains the end of a frame, %s, at byte %zu",
			 frame_hex(f->end, f->end_n, hex), at);
	return at < n;
}

/* ---- receiving ---- */

void frame_splitter_init(struct frame_splitter *s, const struct frame *f)
{
	*s = (struct frame_splitter){.frame = f};
}

/* Returns the length of the longest end of @n matched bytes that is a beginning of @sequence. */
static uint8_t border(const uint8_t *sequence, uint8_t n)
{
	uint8_t k = n;

	do
		k--;
	while (memcmp(sequence, sequence + n - k, k) != 0);
	return k;
}

/*
 * Searches for a sequence. Returns true after its last byte. Otherwise, sets *@ret_piece to bytes
 * that are not a part of it; to none if all bytes were taken.
 */
static bool find(struct frame_splitter *s, const uint8_t *sequence, uint8_t sequence_n,
		 const uint8_t **p, size_t *n, struct frame_piece *ret_piece)
{
	while (*n > 0) {
		if (s->matched == 0) {
			const uint8_t *first = memchr(*p, sequence[0], *n);
			size_t part = first ? (size_t)(first - *p) : *n;

			if (part > 0) {
				*ret_piece = (struct frame_piece){*p, part};
				*p += part;
				*n -= part;
				return false;
			}
		}
		if (**p == sequence[s->matched]) {
			++*p;
			--*n;
			if (++s->matched == sequence_n) {
				s->matched = 0;
				return true;
			}
		} else {
			uint8_t kept = border(sequence, s->matched);

			*ret_piece = (struct frame_piece){sequence, (size_t)(s->matched - kept)};
			s->matched = kept;
			return false;
		}
	}
	*ret_piece = (struct frame_piece){0};
	return false;
}

static void begin_text(struct frame_splitter *s)
{
	s->in_text = true;
	s->matched = 0;
	s->text_n = 0;
}

static enum frame_event next_header(struct frame_splitter *s, const uint8_t **p, size_t *n)
{
	const struct frame *f = s->frame;
	uint64_t stated;

	while (*n > 0 && s->matched < f->header_n) {
		s->header[s->matched++] = *(*p)++;
		--*n;
	}
	if (s->matched < f->header_n)
		return FRAME_MORE;
	stated = frame_stated_length(f, s->header);
	if (f->inclusive && stated < f->header_n)
		return FRAME_INVALID;
	begin_text(s);
	s->left = stated - (f->inclusive ? f->header_n : 0U);
	return FRAME_TEXT;
}

static enum frame_event next_between(struct frame_splitter *s, const uint8_t **p, size_t *n,
				     struct frame_piece *ret_piece)
{
	const struct frame *f = s->frame;

	if (f->kind == FRAME_LENGTH)
		return next_header(s, p, n);
	if (*n == 0)
		return FRAME_MORE;
	if (f->header_n && !find(s, f->start, f->header_n, p, n, ret_piece))
		return ret_piece->n ? FRAME_SKIPPED : FRAME_MORE;
	begin_text(s);
	return FRAME_TEXT;
}

static enum frame_event next_text(struct frame_splitter *s, const uint8_t **p, size_t *n,
				  struct frame_piece *ret_piece)
{
	const struct frame *f = s->frame;
	bool ended = f->kind == FRAME_LENGTH && s->left == 0;

	if (f->kind == FRAME_DELIMITED) {
		ended = find(s, f->end, f->end_n, p, n, ret_piece);
	} else if (!ended) {
		size_t part = f->kind == FRAME_LENGTH && *n > s->left ? (size_t)s->left : *n;

		*ret_piece = (struct frame_piece){*p, part};
		s->left -= part;
		*p += part;
		*n -= part;
	}
	if (ended) {
		s->in_text = false;
		return FRAME_END;
	}
	s->text_n += ret_piece->n;
	return ret_piece->n ? FRAME_TEXT : FRAME_MORE;
}

enum frame_event frame_next(struct frame_splitter *s, const uint8_t **p, size_t *n,
			    struct frame_piece *ret_piece)
{
	enum frame_event event;

	if (!s->in_text) {
		event = next_between(s, p, n, ret_piece);
		if (event != FRAME_TEXT)
			return event;
	}
	return next_text(s, p, n, ret_piece);
}

bool frame_is_begun(const struct frame_splitter *s)
{
	return s->in_text || (s->frame->kind == FRAME_LENGTH && s->matched > 0);
}
