#pragma once

/*
 * One connection's protocol, without the connection: received bytes in, spans of reply bytes out.
 * It does no I/O, reads no clock and logs nothing. The same bytes give the same replies, wherever
 * the reads end (in stream framing, reads delimit the messages).
 *
 * Each thread has one struct session_io, the working memory that its sessions use in turn. Between
 * calls a session keeps its struct session and what it *holds*: an unfinished message, and input
 * not answered yet. Held memory is charged to the budget.
 *
 * The usual sequence, once per read:
 *
 *	state = session_feed(s, io, data, n);
 *	for (;;) {
 *		send what io->out describes;
 *		if (not all of it was sent, or other sessions must have their turn) {
 *			keep a copy of the unsent bytes (at most SESSION_REPLY_MAX);
 *			session_hold(s, io);     // from here data is not referenced any more
 *			session_io_clear(io);
 *			break;                   // stop reading; once sent: session_resume()
 *		}
 *		session_io_clear(io);
 *		if (state != SESSION_FULL)
 *			break;
 *		state = session_resume(s, io);
 *	}
 */

#include "core/session/buf.h"
#include "core/session/nak.h"
#include "core/session/out.h"
#include "core/session/policy.h"
#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The largest read that session_feed() takes. */
#define SESSION_READ_MAX ((size_t)64 * 1024)

/* The maximum number of bytes of a message that one call transcodes or counts. */
#define SESSION_WORK_MAX SESSION_READ_MAX

enum session_state {
	SESSION_IDLE, /* all input is consumed; its replies are in io->out */
	SESSION_FULL, /* more replies remain: send io->out, which may be empty, then call
			 session_resume() */
	SESSION_DONE, /* io->out is the last reply: shut down after it; further input is dropped */
};

/* Why a session has ended. */
enum session_end {
	SESSION_OPEN,	/* it has not: replies may follow */
	SESSION_ENDED,	/* the end of input was answered */
	SESSION_NAKED,	/* after an error that ends the connection */
	SESSION_QUIT,	/* after the quit message */
	SESSION_CLOSED, /* REPLY_CLOSE: after the greeting */
	SESSION_END_COUNT,
};

struct session_held; /* private to session.c */

/* Where a field begins in a message. */
struct field_begin {
	uint32_t at;  /* received bytes before it */
	uint8_t skip; /* bytes of the text that replaces the bytes at @at, which precede it, too */
	bool exists;
};

/* The search for the fields that the templates around a message use, one after another. */
struct field_search {
	uint32_t at;	     /* bytes of the message searched for the next field */
	uint32_t separators; /* found in them */
	size_t n_found;
	struct field_begin begins[2 * TEMPLATE_FIELDS_MAX];
};

/*
 * The reply in progress: the remaining input, and the message before it, whose reply may be partly
 * sent. framing.c finds the message, and reply.c answers it.
 */
struct session_job {
	const uint8_t *input; /* input not yet framed */
	size_t input_length;
	size_t checked; /* bytes at input known to be complete and well-formed */
	bool end;	/* the input is followed by its end */
	uint8_t close;	/* enum session_end; not SESSION_OPEN: no reply follows the one to this
			   message */

	uint8_t phase; /* enum reply_phase: the next part of the reply */
	bool dirty;    /* the message has ill-formed subsequences that are not rejected */
	bool nak_due;  /* a NAK line follows the message or replaces its reply */
	uint8_t head_length;
	uint8_t head[UTF8_CHARACTER_MAX]; /* its first character, if reads split it */
	uint8_t start_length;		  /* of what precedes the body in its frame */
	uint8_t terminator_length;	  /* of the terminator, which follows the body */
	const uint8_t *message;		  /* received bytes after head */
	size_t message_length;
	const uint8_t *body; /* those whose reply is not made yet, and the terminator */
	size_t body_length;
	uint64_t message_bytes;
	uint64_t message_characters;
	uint64_t message_start; /* offset of the message, with its frame */
	uint32_t ill_formed;	/* subsequences that the last frame_next() left to the handler */
	size_t counted;		/* bytes of message already counted in message_characters */
	uint64_t reply_length;	/* length framing: of the reply to the measured bytes of message */
	size_t measured;
	struct field_search search;
	struct nak nak;
	struct buf partial; /* owns the memory of body if the message was held; else empty */
};

/* Rare things that a session counts, besides NAKs. */
enum session_count {
	SESSION_SKIPPED_BYTES, /* received between frames */
	SESSION_ILL_FORMED,    /* subsequences that were left to the error handler */
};

/* A message, for the log. */
struct session_message {
	uint64_t number;       /* on its connection, from 1 */
	uint64_t length;       /* received bytes, without terminator; if refused, up to the fault */
	bool refused;	       /* it has a fault, which on_nak reports next */
	struct iovec parts[2]; /* its bytes */
};

/* The working memory of a thread. */
struct session_io {
	struct out out; /* the reply bytes that the last call made */

	/* incremented per message; the caller resets it */
	uint64_t n_messages;

	/* called for each fault, even if NAKs are disabled; may be NULL */
	void (*on_nak)(void *data, const struct nak *nak);
	/* called when @n more were counted; may be NULL. A negative number takes back what the next
	   session will count again, after session_suspend() */
	void (*on_count)(void *data, enum session_count what, int64_t n);
	/* called for each message if the policy has log_messages; may be NULL */
	void (*on_message)(void *data, const struct session_message *message);
	void *event_data; /* for all three */

	/* private to the session */
	struct budget *budget;
	struct session *full; /* owner of io->job after SESSION_FULL, or NULL */
	struct session_job job;
	/* memory that only spans still reference; freed by session_io_clear() */
	struct session_held *spent;
	struct buf spent_partial;
};

/*
 * The state of a session apart from the memory it holds. Plain data without padding, so that it can
 * be stored unchanged for the next process. The flags are 0 or 1. In a stored place, @dirty is 0,
 * @carry is empty and @count is not that of a mark: the bytes of an unfinished message or character
 * and of a partial mark are stored as input.
 */
struct session_place {
	uint64_t received;	 /* bytes consumed so far, which is the offset of the next one */
	uint64_t messages;	 /* messages so far, including NAKed ones */
	uint32_t message_length; /* bytes consumed of the current message with its frame; 0
				    while the message is skipped */
	uint32_t count;		 /* length, fixed: bytes of the current message to come;
				    delimited: bytes of frame.start or frame.end matched last */
	uint8_t skipping;	 /* the rest of the current message is dropped */
	uint8_t dirty;		 /* the unfinished message has ill-formed subsequences */
	uint8_t last_byte;	 /* the last byte sent; LF before there was one */
	uint8_t done;		 /* enum session_end; not SESSION_OPEN: SESSION_DONE was returned */
	struct utf8_carry carry; /* the unfinished character or length header, if any */
};

/* One connection's protocol state. */
struct session {
	const struct policy *policy;
	const char *names;   /* see template_name(); or NULL */
	uint64_t connection; /* for ${connection} */
	struct session_place place;
	struct session_held *held; /* input whose earlier replies must be sent first, or NULL */
	struct buf partial; /* the unfinished message, unless it is discarded; a final CR may be
			    the first half of its terminator */
};

/*
 * Allocate and free the working memory. Memory that sessions hold is charged to @budget, which must
 * outlive @io. session_io_init() returns 0 or -ENOMEM.
 */
int session_io_init(struct session_io *io, struct budget *budget);
void session_io_finish(struct session_io *io);

/* For session_io_clear() only. */
void session_io_free_spent(struct session_io *io);

/*
 * Discards io->out, all of which has been sent or copied. Call it after each call below that makes
 * replies, before the next such call and before another session uses @io.
 */
static inline void session_io_clear(struct session_io *io)
{
	out_clear(&io->out);
	if (io->spent_partial.data || io->spent)
		session_io_free_spent(io);
}

/*
 * Empties io->out if its bytes can stay in place while other sessions use @io. This requires at
 * most one span, no other memory that it depends on, and at most SESSION_ASIDE_MAX bytes used in
 * the area. Sets *@ret_out to the span, or to one of length 0. The span is valid until
 * session_io_take_back(), and, if it lies in the input, no longer than the input. Returns false,
 * and does nothing, if a requirement is not met.
 */
static inline bool session_io_set_aside(struct session_io *io, struct iovec *ret_out)
{
	struct out *out = &io->out;

	if (out->n_spans > 1 || out->area_used > SESSION_ASIDE_MAX || io->spent_partial.data ||
	    io->spent)
		return false;
	ret_out->iov_base = out->spans[0].iov_base;
	ret_out->iov_len = out->n_bytes; /* of the only span; 0 without one */
	out->n_aside = out->area_used;
	out->n_spans = 0;
	out->n_bytes = 0;
	return true;
}

/* Ends the validity of all spans that were set aside. */
static inline void session_io_take_back(struct session_io *io)
{
	io->out.n_aside = 0;
}

/*
 * Initializes the protocol state of a connection. @policy and @names (see struct session) must
 * outlive the session.
 */
void session_init(struct session *session, const struct policy *policy, const char *names,
		  uint64_t connection);

/*
 * Frees everything that the session holds. @io is the working memory of its thread. Bytes that
 * io->out refers to may be freed too.
 */
void session_finish(struct session *session, struct session_io *io);

/*
 * Puts @nak into io->out, which must be empty, unless NAKs are disabled. For a client that is
 * refused: the session takes no input.
 */
void session_refuse(const struct session *session, struct session_io *io, const struct nak *nak);

/*
 * Puts the greeting, if any, into io->out. Call it once, before any session_feed(). Returns
 * SESSION_IDLE, or SESSION_DONE for REPLY_CLOSE.
 */
int session_greet(struct session *session, struct session_io *io);

/*
 * Answers one read: @n bytes (1 to SESSION_READ_MAX) at @data. The data must stay valid until a
 * call returns a state other than SESSION_FULL, or session_hold() returns. Must not be called while
 * the last state was SESSION_FULL. Returns an enum session_state, -ENOBUFS (the budget is exceeded)
 * or -ENOMEM. After an error io->out still holds replies to send, and only session_finish() may
 * follow.
 */
int session_feed(struct session *session, struct session_io *io, const uint8_t *data, size_t n);

/*
 * Like session_feed(), for any number of bytes, including 0. If @end, also answers the end of input
 * after them.
 */
int session_feed_all(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		     bool end);

/*
 * Answers the end of input: a cut-off character, a last line without a terminator, or an unfinished
 * frame. Returns SESSION_DONE, SESSION_FULL or an error as session_feed() does.
 */
int session_end(struct session *session, struct session_io *io);

/* Continues after SESSION_FULL, once io->out has been sent. Returns as session_feed() does. */
int session_resume(struct session *session, struct session_io *io);

/*
 * Copies the remaining input, so that the caller may reuse its read buffer. Does nothing unless the
 * last state was SESSION_FULL. Call it after copying the unsent bytes of io->out, and before
 * session_io_clear(). Returns 0, -ENOBUFS or -ENOMEM.
 */
int session_hold(struct session *session, struct session_io *io);

/* Returns whether the session holds input for session_resume() to answer. */
static inline bool session_is_held(const struct session *session)
{
	return session->held != NULL;
}

/*
 * The data with which another session can continue this one: its place, and the input received but
 * not answered, as at most three byte ranges in order.
 */
struct session_rest {
	struct session_place place; /* place.received: the offset of the first byte of the input */
	struct iovec input[3];
	unsigned n_input;
	bool ended; /* the end of input was received */
};

/*
 * Stops a session between calls. The caller no longer uses its input: the last state was not
 * SESSION_FULL, or session_hold() was called. Puts the rest of the reply to the current message
 * into io->out. Returns SESSION_FULL if more remains: send or copy io->out, clear it and call
 * again. Otherwise returns SESSION_IDLE and fills *@ret_rest, which points into the session. After
 * that only session_finish() may follow.
 */
int session_suspend(struct session *session, struct session_io *io, struct session_rest *ret_rest);

/*
 * Sets a session just initialized to @place, under its own policy. State for a framing that the
 * policy does not use is dropped. The caller passes the input that belongs to @place to
 * session_feed_all() or session_defer().
 */
void session_restore(struct session *session, const struct session_place *place);

/* Returns the number of bytes that the session holds, as charged to the budget. */
size_t session_held_bytes(const struct session *session);

/*
 * Holds a copy of input whose earlier output must be sent first. session_resume() answers it, and
 * the end of input after it if @end. The session must not hold input yet. Does nothing if there is
 * neither input nor end. Returns 0, -ENOBUFS or -ENOMEM.
 */
int session_defer(struct session *session, struct session_io *io, const struct iovec *input,
		  unsigned n_input, bool end);
