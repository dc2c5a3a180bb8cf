/* Puts the reply to the message that framing.c found into io->out. */

#include "core/session/internal.h"

#include <assert.h>
#include <string.h>

/* The longest NAK, with what frames it. */
#define NAK_FRAME_MAX (MARK_MAX + TEMPLATE_EXPANDED_MAX + MARK_MAX)
static_assert(1 + NAK_LINE_MAX <= TEMPLATE_EXPANDED_MAX, "a NAK line may be longer");

/*
 * Appends @n bytes of the input or of a held line, by copy or by reference, whichever is cheaper.
 * @stretch is how many bytes from @p on are likely to be contiguous in the output. Returns the
 * number of bytes that fit.
 */
static size_t put_bytes(struct out *out, const uint8_t *p, size_t n, size_t stretch)
{
	bool copy = stretch < OUT_REFERENCE_MIN && out->n_spans > 0 && !out_ends_at(out, p);
	size_t room = copy ? out_area_room(out) : out_room(out, p);

	if (n > room)
		n = room;
	if (n == 0)
		return 0;
	if (copy) {
		memcpy(out_area(out), p, n);
		out_commit(out, n);
	} else {
		out_add(out, p, n);
	}
	return n;
}

/* Returns the last byte sent after io->out is sent, or LF if there is none. */
static uint8_t last_byte(const struct session *session, const struct session_io *io)
{
	if (io->out.n_spans > 0)
		return out_last_byte(&io->out);
	return session->place.last_byte;
}

/* ---- the beginning ---- */

static bool is_quit(const struct policy *policy, const struct session_job *job)
{
	size_t head = job->head_length;

	return policy->quit && policy->quit_length == head + job->message_length &&
	       memcmp(policy->quit, job->head, head) == 0 &&
	       (job->message_length == 0 ||
		memcmp(policy->quit + head, job->message, job->message_length) == 0);
}

void reply_report(const struct session *session, struct session_io *io, uint64_t number,
		  bool refused, struct iovec first, struct iovec second)
{
	const struct session_message message = {
		.number = number,
		.length = first.iov_len + second.iov_len,
		.refused = refused,
		.parts = {first, second},
	};

	if (session->policy->log_messages && io->on_message)
		io->on_message(io->event_data, &message);
}

void reply_begin(struct session *session, struct session_io *io, struct session_job *job,
		 const uint8_t *message, size_t length)
{
	const struct policy *policy = session->policy;

	session->place.messages++;
	io->n_messages++;
	job->message = job->body = message;
	job->message_length = job->body_length = length;
	job->message_bytes = job->head_length + length;
	job->counted = job->measured = 0;
	job->reply_length = 0;
	job->search.at = job->search.separators = 0;
	job->search.n_found = 0;
	if (!job->nak_due)
		reply_report(session, io, session->place.messages, false,
			     bytes(job->head, job->head_length), bytes(message, length));
	if (is_quit(policy, job)) {
		job->close = SESSION_QUIT;
		job->input_length = 0;
	}
	/* a message that was kept without need for a reply has memory to release */
	job->phase = policy->reply == REPLY_DISCARD ? REPLY_NAK : REPLY_MEASURE;
}

/*
 * ---- the parts of a reply ----
 *
 * Each function returns false if io->out is full or SESSION_WORK_MAX is reached.
 */

/*
 * Returns how many of the @n bytes at @text one call processes: at most SESSION_WORK_MAX, up to the
 * end of a character or of an ill-formed subsequence. Only a continuation byte can be inside one,
 * and at most three of them follow its first byte.
 */
static size_t step(const uint8_t *text, size_t n)
{
	if (n <= SESSION_WORK_MAX)
		return n;
	for (size_t i = SESSION_WORK_MAX; i > SESSION_WORK_MAX - UTF8_CHARACTER_MAX; i--) {
		if ((text[i] & 0xc0) != 0x80)
			return i;
	}
	return SESSION_WORK_MAX;
}

static bool count_characters(const struct policy *policy, struct session_job *job)
{
	const uint8_t *text = job->message + job->counted;
	size_t n = step(text, job->message_length - job->counted);

	if (job->counted == 0)
		job->message_characters =
			transcode_count(&policy->transcoder, job->head, job->head_length);
	job->message_characters += transcode_count(&policy->transcoder, text, n);
	job->counted += n;
	return job->counted == job->message_length;
}

/*
 * Expands @template with the values of @job's message (NULL: none) or of @nak. @out has room for
 * template_length_max() bytes. Returns the length.
 */
static size_t expand(const struct session *session, const struct session_job *job,
		     const struct nak *nak, const struct template *template, uint8_t *out)
{
	const struct policy *policy = session->policy;
	uint8_t field_bytes[TEMPLATE_EXPANDED_MAX];
	struct template_text fields[TEMPLATE_FIELDS_MAX];
	char reason[NAK_REASON_MAX];
	const struct template_values values = {
		.names = session->names,
		.host = policy->host,
		.listener = policy->listener,
		.connection = session->connection,
		.message = session->place.messages,
		.bytes = job ? job->message_bytes : 0,
		.characters = job ? job->message_characters : 0,
		.fields = fields,
		.offset = nak ? nak->offset : 0,
		.reason = nak ? nak_reason_format(nak, reason) : "",
	};

	if (template_variables(template) & TEMPLATE_FIELD)
		fields_expand(policy, job, template, field_bytes, fields);
	return template_expand(template, &values, out);
}

static bool put_expanded(const struct session *session, struct session_io *io,
			 const struct session_job *job, const struct template *template)
{
	if (out_area_room(&io->out) < template_length_max(template))
		return false;
	out_commit(&io->out, expand(session, job, NULL, template, out_area(&io->out)));
	return true;
}

static inline bool put_template(const struct session *session, struct session_io *io,
				const struct session_job *job, const struct template *template)
{
	return template_is_empty(template) || put_expanded(session, io, job, template);
}

void reply_greet(const struct session *session, struct session_io *io)
{
	put_template(session, io, NULL, session->policy->greeting);
}

/* Returns whether the reply to the body is the body itself. */
static inline bool is_verbatim(const struct policy *policy, const struct session_job *job)
{
	return job->dirty ? transcoder_keeps_all(&policy->transcoder)
			  : transcoder_keeps_text(&policy->transcoder);
}

/* Determines the length of the reply to the body. */
static bool measure_body(const struct policy *policy, struct session_job *job)
{
	const uint8_t *text = job->message + job->measured;
	size_t left = job->message_length - job->measured;
	bool verbatim = is_verbatim(policy, job);
	size_t n = verbatim ? left : step(text, left);

	job->reply_length += verbatim ? n : transcode_length(&policy->transcoder, text, n);
	job->measured += n;
	return job->measured == job->message_length;
}

/* Adds the length of the expanded @template to that of the reply. */
static void measure_template(const struct session *session, struct session_job *job,
			     const struct template *template)
{
	uint8_t expanded[TEMPLATE_EXPANDED_MAX];

	if (!template_is_empty(template))
		job->reply_length += expand(session, job, NULL, template, expanded);
}

/*
 * Determines what must be known before the first byte of the reply is made. A reply that is too
 * long for its header is replaced by a NAK.
 */
static bool measure(const struct session *session, struct session_job *job)
{
	const struct policy *policy = session->policy;
	const struct template *before = policy_before(policy), *after = policy_after(policy);
	unsigned variables = template_variables(before) | template_variables(after);

	if (variables & TEMPLATE_CHARACTERS && !count_characters(policy, job))
		return false;
	if (variables & TEMPLATE_FIELD && !fields_find(policy, job))
		return false;
	if (policy->framing != FRAMING_LENGTH)
		return true;
	if (policy_repeats(policy) && !measure_body(policy, job))
		return false;
	measure_template(session, job, before);
	measure_template(session, job, after);
	if (job->reply_length > policy_reply_max(policy))
		refuse(job, NAK_REPLY_TOO_LONG, job->message_start, 0);
	return true;
}

static bool put_start(const struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;

	if (job->start_length == 0)
		return true;
	if (policy->reply == REPLY_ECHO && is_verbatim(policy, job)) {
		/* the reply is the message with what frames it */
		job->body -= job->start_length;
		job->body_length += job->start_length;
	} else {
		if (out_area_room(&io->out) < MARK_MAX)
			return false;
		out_commit(&io->out,
			   policy_put_head(policy, job->reply_length, out_area(&io->out)));
	}
	job->start_length = 0;
	return true;
}

static bool put_prefix(const struct session *session, struct session_io *io,
		       struct session_job *job)
{
	const struct policy *policy = session->policy;

	if (!put_template(session, io, job, policy_before(policy)))
		return false;
	if (!policy_repeats(policy)) {
		job->head_length = 0;
		job->body += job->body_length;
		job->body_length = 0;
		if (policy->framing == FRAMING_LINE) /* the text is all that is sent */
			job->terminator_length = 0;
	}
	/* without a suffix between them, the terminator is part of the body from here on */
	if (template_is_empty(policy_after(policy)) && is_verbatim(policy, job)) {
		job->body_length += job->terminator_length;
		job->terminator_length = 0;
	}
	return true;
}

/* Makes the reply bytes of *@text in the area, and advances *@text. */
static bool put_transcoded(struct session_io *io, const struct transcoder *t, bool dirty,
			   const uint8_t **text, size_t *length)
{
	size_t room = out_area_room(&io->out);
	size_t n = step(*text, *length);
	size_t read, written;

	if (room < TRANSCODE_UNIT_MAX)
		return *length == 0;
	if (dirty)
		transcode(t, *text, n, out_area(&io->out), room, &read, &written);
	else
		transcode_text(t, *text, n, out_area(&io->out), room, &read, &written);
	out_commit(&io->out, written);
	*text += read;
	*length -= read;
	return *length == 0;
}

static bool put_head(const struct session *session, struct session_io *io, struct session_job *job)
{
	const uint8_t *head = job->head;
	size_t length = job->head_length;

	if (length == 0)
		return true;
	/* All or nothing, so that no progress needs to be stored. */
	return put_transcoded(io, &session->policy->transcoder, true, &head, &length);
}

static bool put_body(const struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	size_t stretch = job->body_length;
	size_t n;

	if (!is_verbatim(policy, job))
		return put_transcoded(io, &policy->transcoder, job->dirty, &job->body,
				      &job->body_length);
	/* In an echo, the next message is contiguous with this one. */
	if (policy->reply == REPLY_ECHO)
		stretch += job->checked;
	n = put_bytes(&io->out, job->body, job->body_length, stretch);
	job->body += n;
	job->body_length -= n;
	return job->body_length == 0;
}

/* The terminator is sent as it was received, whatever the charset of the reply is. */
static bool put_terminator(const struct session *session, struct session_io *io,
			   struct session_job *job)
{
	size_t n;

	if (job->terminator_length == 0)
		return true;
	n = put_bytes(&io->out, job->body, job->terminator_length, 0);
	job->body += n;
	job->terminator_length -= (uint8_t)n;
	return job->terminator_length == 0;
}

/*
 * Writes the text of a NAK: the operator's, a line, which starts on a new line, or in a frame the
 * same without LF. Returns the length.
 */
static size_t nak_text(const struct session *session, const struct session_io *io,
		       const struct nak *nak, uint8_t out[TEMPLATE_EXPANDED_MAX])
{
	const struct policy *policy = session->policy;
	bool is_framed = (policy_head_length(policy) > 0 || policy->framing == FRAMING_DELIMITED) &&
			 !policy_is_bare(policy);
	char line[NAK_LINE_MAX];
	size_t n = 0, length;

	if (policy->nak_text)
		return expand(session, NULL, nak, policy->nak_text, out);
	length = nak_format(nak, line) - is_framed;
	if (!is_framed && last_byte(session, io) != '\n')
		out[n++] = '\n';
	memcpy(out + n, line, length);
	return n + length;
}

/* Writes a NAK with what frames it. Returns the length. */
static size_t format_nak(const struct session *session, const struct session_io *io,
			 const struct nak *nak, uint8_t out[NAK_FRAME_MAX])
{
	const struct policy *policy = session->policy;
	const struct mark *end = &policy->frame.end;
	uint8_t text[TEMPLATE_EXPANDED_MAX];
	size_t length = nak_text(session, io, nak, text);
	size_t n = policy_is_bare(policy) ? 0 : policy_put_head(policy, length, out);

	memcpy(out + n, text, length);
	n += length;
	if (policy->framing != FRAMING_DELIMITED || policy_is_bare(policy))
		return n;
	memcpy(out + n, end->bytes, end->length);
	return n + end->length;
}

/* Out of line: nearly every message has none. */
__attribute__((noinline)) bool reply_nak(const struct session *session, struct session_io *io,
					 const struct nak *nak)
{
	uint8_t bytes[NAK_FRAME_MAX];
	size_t n = format_nak(session, io, nak, bytes);

	if (out_area_room(&io->out) < n)
		return false;
	memcpy(out_area(&io->out), bytes, n);
	out_commit(&io->out, n);
	return true;
}

static bool put_nak(const struct session *session, struct session_io *io, struct session_job *job)
{
	if (!job->nak_due)
		return true;
	if (session->policy->nak && !reply_nak(session, io, &job->nak))
		return false;
	if (io->on_nak)
		io->on_nak(io->event_data, &job->nak);
	return true;
}

bool reply_put(const struct session *session, struct session_io *io, struct session_job *job)
{
	/* not a table of functions: these calls are inlined */
	switch ((enum reply_phase)job->phase) {
	case REPLY_MEASURE:
		if (!measure(session, job))
			return false;
		job->phase = job->nak_due && job->nak.reason == NAK_REPLY_TOO_LONG ? REPLY_NAK
										   : REPLY_START;
		return reply_put(session, io, job);
	case REPLY_START:
		if (!put_start(session, io, job))
			return false;
		job->phase = REPLY_PREFIX; /* fall through */
	case REPLY_PREFIX:
		if (!put_prefix(session, io, job))
			return false;
		job->phase = REPLY_HEAD; /* fall through */
	case REPLY_HEAD:
		if (!put_head(session, io, job))
			return false;
		job->phase = REPLY_BODY; /* fall through */
	case REPLY_BODY:
		if (!put_body(session, io, job))
			return false;
		job->phase = REPLY_SUFFIX; /* fall through */
	case REPLY_SUFFIX:
		if (!put_template(session, io, job, policy_after(session->policy)))
			return false;
		job->phase = REPLY_TERMINATOR; /* fall through */
	case REPLY_TERMINATOR:
		if (!put_terminator(session, io, job))
			return false;
		job->phase = REPLY_NAK; /* fall through */
	case REPLY_NAK:
		if (!put_nak(session, io, job))
			return false;
		job->phase = REPLY_NOTHING; /* fall through */
	case REPLY_NOTHING:
		break;
	}
	if (job->partial.data) {
		io->spent_partial = job->partial;
		job->partial = (struct buf){0};
	}
	return true;
}
