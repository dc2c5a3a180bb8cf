/*
 * Finds ${field:S:N} in a message. The message is split where S occurs in its text, which is what
 * the decoder makes of the received bytes. A message can be long, so the search is done in steps.
 * It stores only where a field begins; the text of the field is made when a template is expanded.
 */

#include "core/session/internal.h"

#include <string.h>

/*
 * The number of received bytes that a field's text is made of at most. More could matter only to a
 * handler that replaces characters by nothing.
 */
#define FIELD_WINDOW (4 * TEMPLATE_FIELD_MAX)

/* A character of the message, or an ill-formed subsequence with the text that replaces it. */
struct unit {
	size_t length; /* received bytes */
	bool is_character;
	uint32_t code_point; /* of a character */
	uint8_t text[DECODE_REPLACEMENT_MAX];
	size_t text_length;
};

static struct unit unit_at(const struct transcoder *t, const uint8_t *p, size_t n)
{
	struct unit unit = {0};

	unit.is_character = decode_character(t->from, p, n, &unit.length) == UTF8_COMPLETE;
	if (unit.is_character)
		unit.code_point = decode_code_point(t->from, p);
	else
		unit.text_length = decode_replacement(t->decode_errors, p, unit.length, unit.text);
	return unit;
}

/*
 * Returns the length of the character in the text of @unit after its first @at bytes, and sets
 * *@ret_code_point. An escaped byte is a character that equals no separator.
 */
static size_t text_character(const struct transcoder *t, const struct unit *unit, size_t at,
			     uint32_t *ret_code_point)
{
	size_t length;

	*ret_code_point = 0;
	if (t->decode_errors == DECODE_SURROGATEESCAPE)
		return 1;
	utf8_character(unit->text + at, unit->text_length - at, &length);
	*ret_code_point = utf8_code_point(unit->text + at);
	return length;
}

/* Returns the message from @at on, as far as it is contiguous. */
static const uint8_t *message_at(const struct session_job *job, size_t at, size_t *ret_n)
{
	size_t head = job->head_length;

	*ret_n = at < head ? head - at : job->message_length - (at - head);
	return at < head ? job->head + at : job->message + (at - head);
}

static size_t message_length(const struct session_job *job)
{
	return job->head_length + job->message_length;
}

/* ---- where a field begins ---- */

/*
 * Takes the next unit of the message. Counts the separators in it until the field begins, and sets
 * *@skip to where in the unit's text that is. Returns how many received bytes precede the field or
 * the next unit.
 */
static size_t search_unit(const struct transcoder *t, struct field_search *search,
			  const struct template_field *field, const uint8_t *p, size_t n,
			  size_t *skip)
{
	struct unit unit = unit_at(t, p, n);
	uint32_t c;

	if (unit.is_character)
		search->separators += unit.code_point == field->separator;
	for (size_t at = 0; at < unit.text_length;) {
		at += text_character(t, &unit, at, &c);
		search->separators += c == field->separator;
		if (search->separators == field->number - 1 && c == field->separator) {
			*skip = at;
			return 0;
		}
	}
	return unit.length;
}

/*
 * Takes at most @n bytes at @p up to the next separator, which is ASCII and not in a replacement.
 * An ASCII byte is a character, whatever precedes it. Returns how many bytes it took.
 */
static size_t search_ascii(struct field_search *search, const struct template_field *field,
			   const uint8_t *p, size_t n)
{
	const uint8_t *found = memchr(p, (int)field->separator, n);

	search->separators += found != NULL;
	return found ? (size_t)(found - p) + 1 : n;
}

/*
 * Continues the search for the beginning of @field in at most *@work bytes, and subtracts what it
 * took. Returns whether the search is complete.
 */
static bool search_field(const struct transcoder *t, struct session_job *job,
			 const struct template_field *field, size_t *work)
{
	struct field_search *search = &job->search;
	bool replacements = job->dirty && t->decode_errors == DECODE_BACKSLASHREPLACE;
	bool ascii = field->separator < 0x80 && !replacements;
	size_t skip = 0, used, n;

	while (search->separators < field->number - 1 && search->at < message_length(job)) {
		const uint8_t *p = message_at(job, search->at, &n);

		if (*work == 0)
			return false;
		if (ascii)
			used = search_ascii(search, field, p, n < *work ? n : *work);
		else
			used = search_unit(t, search, field, p, n, &skip);
		search->at += (uint32_t)used;
		*work -= used < *work ? used : *work;
	}
	search->begins[search->n_found++] = (struct field_begin){
		.at = search->at,
		.skip = (uint8_t)skip,
		.exists = search->separators == field->number - 1,
	};
	search->at = search->separators = 0;
	return true;
}

/* Returns the @i-th field of the templates before and after the message, or NULL. */
static const struct template_field *field_of(const struct policy *policy, size_t i)
{
	size_t n_before, n_after;
	const struct template_field *before = template_fields(policy_before(policy), &n_before);
	const struct template_field *after = template_fields(policy_after(policy), &n_after);

	if (i < n_before)
		return &before[i];
	return i < n_before + n_after ? &after[i - n_before] : NULL;
}

bool fields_find(const struct policy *policy, struct session_job *job)
{
	const struct template_field *field;
	size_t work = SESSION_WORK_MAX;

	while ((field = field_of(policy, job->search.n_found)) != NULL) {
		if (!search_field(&policy->transcoder, job, field, &work))
			return false;
	}
	return true;
}

/* ---- its text ---- */

/* A field's text in the making. */
struct field_text {
	uint8_t *bytes;
	size_t length;
};

/* Appends the reply bytes of one character, all or none. Returns false if they do not fit. */
static bool add_bytes(struct field_text *text, const uint8_t *bytes, size_t n)
{
	if (n > TEMPLATE_FIELD_MAX - text->length)
		return false;
	memcpy(text->bytes + text->length, bytes, n);
	text->length += n;
	return true;
}

/* Appends the text of an ill-formed subsequence after @skip bytes. Returns false at the end. */
static bool add_replacement(const struct transcoder *t, struct field_text *text,
			    const struct unit *unit, size_t skip, uint32_t separator)
{
	uint8_t bytes[TRANSCODE_UNIT_MAX];
	size_t length, read, written;
	uint32_t c;

	for (; skip < unit->text_length; skip += length) {
		length = text_character(t, unit, skip, &c);
		if (c == separator)
			return false;
		if (t->decode_errors == DECODE_SURROGATEESCAPE) {
			bytes[0] = unit->text[skip];
			written = 1;
		} else {
			charset_encode(t->to, t->encode_errors, unit->text + skip, length, bytes,
				       sizeof(bytes), &read, &written);
		}
		if (!add_bytes(text, bytes, written))
			return false;
	}
	return true;
}

/* Appends the text of the field that begins at @begin. */
static void add_field(const struct transcoder *t, const struct session_job *job,
		      const struct template_field *field, const struct field_begin *begin,
		      struct field_text *text)
{
	size_t skip = begin->skip, at = begin->at, end = at + FIELD_WINDOW;
	uint8_t bytes[TRANSCODE_UNIT_MAX];
	size_t n, read, written;

	if (end > message_length(job))
		end = message_length(job);
	while (at < end) {
		const uint8_t *p = message_at(job, at, &n);
		struct unit unit = unit_at(t, p, n);

		if (unit.is_character) {
			if (unit.code_point == field->separator)
				return;
			transcode(t, p, unit.length, bytes, sizeof(bytes), &read, &written);
			if (!add_bytes(text, bytes, written))
				return;
		} else if (!add_replacement(t, text, &unit, skip, field->separator)) {
			return;
		}
		skip = 0;
		at += unit.length;
	}
}

void fields_expand(const struct policy *policy, const struct session_job *job,
		   const struct template *template, uint8_t bytes[TEMPLATE_EXPANDED_MAX],
		   struct template_text ret_texts[TEMPLATE_FIELDS_MAX])
{
	size_t first = 0, n;
	const struct template_field *fields;

	if (template != policy_before(policy))
		template_fields(policy_before(policy), &first);
	fields = template_fields(template, &n);
	for (size_t i = 0; i < n; i++) {
		struct field_text text = {.bytes = bytes + i * TEMPLATE_FIELD_MAX};
		const struct field_begin *begin = &job->search.begins[first + i];

		if (begin->exists)
			add_field(&policy->transcoder, job, &fields[i], begin, &text);
		ret_texts[i] = (struct template_text){text.bytes, text.length};
	}
}
