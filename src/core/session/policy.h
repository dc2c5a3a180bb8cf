#pragma once

/*
 * How a listener handles the bytes of its connections. The configuration loader makes it; it is
 * immutable afterwards and outlives every session that uses it.
 */

#include "core/session/mark.h"
#include "core/session/template.h"
#include "core/text/transcode.h"

#include <stdbool.h>
#include <stdint.h>

enum reply_kind {
	REPLY_ACK,     /* prefix, message, suffix */
	REPLY_ECHO,    /* the message */
	REPLY_DISCARD, /* nothing */
	REPLY_TEXT,    /* a text, without the message */
	REPLY_CLOSE,   /* no messages: the connection ends after the greeting */
};

enum framing {
	FRAMING_STREAM,	   /* a message is the complete text in one read */
	FRAMING_LINE,	   /* a message is the text up to LF, CRLF or end of input */
	FRAMING_DELIMITED, /* a message is what lies between frame.start and frame.end */
	FRAMING_LENGTH,	   /* a message follows a header with its length */
	FRAMING_FIXED,	   /* a message has frame.size bytes */
};

enum length_order { LENGTH_BIG_ENDIAN, LENGTH_LITTLE_ENDIAN };

/* The maximum length of a header with a length. */
#define LENGTH_BYTES_MAX 4

/* The parameters of delimited, length and fixed framing. */
struct frame {
	struct mark start;    /* delimited: may be empty */
	struct mark end;      /* delimited */
	bool bare_replies;    /* delimited: replies have neither */
	uint8_t length_bytes; /* length: 1, 2 or 4 */
	enum length_order length_order;
	bool length_includes_header;
	uint32_t size; /* fixed: 1 to max_message_bytes */
};

/* The highest limit on the length of a message. */
#define MESSAGE_BYTES_MAX ((uint32_t)16 * 1024 * 1024)

/*
 * How sessions answer input. The fast paths answer well-formed text, with the same results, and
 * leave the rest to the general path. A path in bytes is for a charset in which every byte is well
 * formed.
 */
enum path {
	PATH_GENERAL,	   /* framing.c and reply.c for every message */
	PATH_STREAM,	   /* session_feed() answers a whole read */
	PATH_STREAM_BYTES, /* the same without a check */
	PATH_FRAME,	   /* fast_frames() answers whole frames */
	PATH_FRAME_BYTES,
	PATH_LINE, /* fast_lines() answers whole lines; so does the next one, the last */
	PATH_LINE_BYTES,
};

struct policy {
	enum path path; /* set by policy_prepare() */
	enum reply_kind reply;
	enum framing framing;
	struct frame frame;
	struct transcoder transcoder;
	bool nak;		    /* true: NAKs are sent */
	uint32_t max_message_bytes; /* without what frames it; not in stream framing */
	const char *listener;	    /* name of the listener, for ${listener} */
	const char *host;	    /* name of this machine, for ${host} */
	struct template *greeting;  /* NULL: empty; the next three likewise */
	struct template *ack_prefix;
	struct template *ack_suffix;
	struct template *reply_text; /* REPLY_TEXT */
	struct template *nak_text;   /* instead of NAK lines; NULL: none */
	const uint8_t *quit;	     /* received bytes of the message that ends the connection, or
					NULL */
	size_t quit_length;
	bool log_messages; /* session_io.on_message is called */
};

/*
 * Derives policy->path, and what the marks of the frame need, from the other members. Call it after
 * setting them, and before the first session uses the policy.
 */
void policy_prepare(struct policy *policy);

/* Returns the set of enum template_variable that the templates use. */
unsigned policy_variables(const struct policy *policy);

/* Return the template before and the one after the message in a reply, or NULL. */
static inline const struct template *policy_before(const struct policy *policy)
{
	return policy->reply == REPLY_TEXT  ? policy->reply_text
	       : policy->reply == REPLY_ACK ? policy->ack_prefix
					    : NULL;
}

static inline const struct template *policy_after(const struct policy *policy)
{
	return policy->reply == REPLY_ACK ? policy->ack_suffix : NULL;
}

/* Returns whether the message is a part of its reply. */
static inline bool policy_repeats(const struct policy *policy)
{
	return policy->reply == REPLY_ACK || policy->reply == REPLY_ECHO;
}

/* Returns whether the text of a message is encoded, so that it must be encodable. */
static inline bool policy_encodes(const struct policy *policy)
{
	return policy_repeats(policy) ||
	       (template_variables(policy_before(policy)) & TEMPLATE_FIELD) != 0;
}

/* Returns whether the text of a message is needed when the message is complete. */
static inline bool policy_keeps(const struct policy *policy)
{
	return policy->reply != REPLY_DISCARD || policy->quit || policy->log_messages;
}

/* Returns whether the data show where a message ends. In a stream, reads delimit the messages. */
static inline bool policy_is_framed(const struct policy *policy)
{
	return policy->framing != FRAMING_STREAM;
}

/* Returns whether replies are without the frame that messages have. */
static inline bool policy_is_bare(const struct policy *policy)
{
	return policy->framing == FRAMING_DELIMITED && policy->frame.bare_replies;
}

/* Returns the number of bytes of a frame before its message: of its start or header. */
static inline size_t policy_head_length(const struct policy *policy)
{
	switch (policy->framing) {
	case FRAMING_DELIMITED:
		return policy->frame.start.length;
	case FRAMING_LENGTH:
		return policy->frame.length_bytes;
	case FRAMING_STREAM:
	case FRAMING_LINE:
	case FRAMING_FIXED:
		break;
	}
	return 0;
}

/* Returns the maximum length of a message with what frames it. */
size_t policy_frame_max(const struct policy *policy);

/* Returns the greatest length of a reply that its header can state. */
uint64_t policy_reply_max(const struct policy *policy);

/*
 * Writes what precedes a reply of @length bytes, at most policy_reply_max(), to @out. Returns
 * policy_head_length().
 */
size_t policy_put_head(const struct policy *policy, uint64_t length, uint8_t out[MARK_MAX]);

/* Returns the length of the message that the header at @p states. It is negative if the header
 * includes itself and states less than its own length. */
int64_t policy_read_length(const struct policy *policy, const uint8_t *p);
