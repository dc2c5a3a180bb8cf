/*
 * Finds what the error handlers replace or reject in the text of a message. A message arrives in
 * pieces. Each byte is checked once, when its piece arrives, so that a fault is reported as soon as
 * the bytes prove it.
 */

#include "core/session/internal.h"

/* ---- faults ---- */

static enum nak_reason nak_reason_of(enum charset charset, enum utf8_status status)
{
	if (charset != CHARSET_UTF_8)
		return NAK_NOT_IN_CHARSET;
	if (status == UTF8_INVALID_START)
		return NAK_INVALID_START;
	return status == UTF8_PARTIAL ? NAK_UNEXPECTED_END : NAK_INVALID_CONTINUATION;
}

/* Returns whether encoding can reject a character. */
static inline bool encodes_strictly(const struct policy *policy)
{
	return policy->transcoder.to != CHARSET_UTF_8 && policy->transcoder.to != CHARSET_BINARY &&
	       policy->transcoder.encode_errors == ENCODE_STRICT && policy_encodes(policy);
}

/*
 * Searches @n bytes of well-formed text, received at @offset, for a character to reject. Returns
 * the number of bytes up to and including that character, or @n.
 */
static size_t check_encodable(const struct policy *policy, struct session_job *job,
			      const uint8_t *text, size_t n, uint64_t offset)
{
	enum charset charset = policy->transcoder.from;
	size_t length;
	size_t good = transcoder_encodable(&policy->transcoder, text, n);

	if (good == n)
		return n;
	refuse(job, NAK_CANNOT_ENCODE, offset + good, decode_code_point(charset, text + good));
	decode_character(charset, text + good, n - good, &length);
	return good + length;
}

/* Rejects an ill-formed subsequence at @offset, or leaves it to the error handler. */
static void check_fault(const struct policy *policy, struct session_job *job,
			enum utf8_status status, uint64_t offset)
{
	if (policy->transcoder.decode_errors == DECODE_STRICT)
		refuse(job, nak_reason_of(policy->transcoder.from, status), offset, 0);
	else if (policy->transcoder.decode_errors == DECODE_REPLACE && encodes_strictly(policy))
		refuse(job, NAK_CANNOT_ENCODE, offset, 0xfffd);
	else {
		job->dirty = true;
		job->ill_formed++;
	}
}

/* ---- pieces ---- */

size_t check_carry(struct session *session, struct session_job *job, const struct piece *piece)
{
	struct utf8_carry *carry = &session->place.carry;
	uint64_t offset = piece->offset - carry->length;
	enum utf8_status status;
	size_t length, used;

	if (carry->length == 0 || piece->n == 0)
		return 0;
	status = utf8_carry_join(carry, piece->p, piece->n, job->head, &length, &used);
	if (status == UTF8_PARTIAL)
		return used;
	job->head_length = (uint8_t)length;
	if (status != UTF8_COMPLETE)
		check_fault(session->policy, job, status, offset);
	else if (encodes_strictly(session->policy))
		check_encodable(session->policy, job, job->head, length, offset);
	return used;
}

/*
 * Handles the bytes at @at, which are not a whole character within @piece. Returns how many they
 * are.
 */
static size_t check_ill_formed(struct session *session, struct session_job *job,
			       const struct piece *piece, size_t at)
{
	size_t length;
	enum utf8_status status = decode_character(session->policy->transcoder.from, piece->p + at,
						   piece->n - at, &length);

	if (status == UTF8_PARTIAL)
		utf8_carry_set(&session->place.carry, piece->p + at, length);
	else
		check_fault(session->policy, job, status, piece->offset + at);
	return length;
}

size_t check_piece(struct session *session, struct session_job *job, struct piece *piece, size_t at)
{
	const struct policy *policy = session->policy;
	enum charset charset = policy->transcoder.from;
	const uint8_t *p = piece->p;

	while (at < piece->n && !job->nak_due) {
		size_t whole;

		if (at >= piece->checked)
			piece->checked =
				at + decode_check(charset, p + at, piece->ahead - at).valid;
		whole = piece->checked < piece->n ? piece->checked : piece->n;
		/* the end of the piece may split a character that is whole in what was checked */
		while (charset == CHARSET_UTF_8 && whole < piece->checked && whole > at &&
		       (p[whole] & 0xc0) == 0x80)
			whole--;
		if (encodes_strictly(policy))
			whole = at + check_encodable(policy, job, p + at, whole - at,
						     piece->offset + at);
		at = whole;
		if (at < piece->n && !job->nak_due)
			at += check_ill_formed(session, job, piece, at);
	}
	return at;
}

void check_end(struct session *session, struct session_job *job, uint64_t offset)
{
	struct utf8_carry *carry = &session->place.carry;

	if (carry->length == 0)
		return;
	check_fault(session->policy, job, UTF8_PARTIAL, offset - carry->length);
	carry->length = 0;
}
