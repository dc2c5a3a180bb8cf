#pragma once

/*
 * How a listener handles the bytes of its connections. The configuration loader makes it; it is
 * immutable afterwards and outlives every session that uses it.
 */

#include "core/session/template.h"
#include "core/text/transcode.h"

#include <stdbool.h>
#include <stdint.h>

enum reply_kind {
	REPLY_ACK,     /* prefix, message, suffix */
	REPLY_ECHO,    /* the message */
	REPLY_DISCARD, /* nothing */
};

enum framing {
	FRAMING_STREAM, /* a message is the complete text in one read */
	FRAMING_LINE,	/* a message is the text up to LF, CRLF or end of input */
};

/*
 * How sessions answer input. The fast paths answer well-formed text, with the same results, and
 * leave the rest to the general path.
 */
enum path {
	PATH_GENERAL, /* framing.c and reply.c for every message */
	PATH_STREAM,  /* session_feed() answers a whole read */
	PATH_LINE,    /* fast_lines() answers whole lines */
};

struct policy {
	enum path path; /* set by policy_prepare() */
	enum reply_kind reply;
	enum framing framing;
	struct transcoder transcoder;
	bool nak;		    /* true: NAK lines are sent */
	uint32_t max_message_bytes; /* line framing: without the terminator */
	const char *listener;	    /* name of the listener, for ${listener} */
	const char *host;	    /* name of this machine, for ${host} */
	struct template *greeting;  /* each of these three may be NULL: empty */
	struct template *ack_prefix;
	struct template *ack_suffix;
};

/*
 * Derives policy->path from the other members. Call it after setting them, and before the first
 * session uses the policy. A policy without it takes the general path, which gives the same
 * replies.
 */
void policy_prepare(struct policy *policy);

/* Returns whether the data show where a message ends. In a stream, reads delimit the messages. */
static inline bool policy_is_framed(const struct policy *policy)
{
	return policy->framing != FRAMING_STREAM;
}
