#pragma once

/*
 * One connection's protocol, without the connection: received bytes in, spans of reply bytes out.
 * Pure: no I/O, no clock, no logging. The same session fed the same bytes gives the same replies,
 * whatever the reads were (stream framing cuts messages at reads, but says the same).
 *
 * A thread has one struct session_io: the working memory that all its sessions use in turn. What
 * a session keeps between calls is its struct session, plus what it *holds*, charged to the budget:
 * an unfinished line, and input that could not be answered yet.
 *
 * The happy path, once per read:
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
#include "core/session/policy.h"
#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The largest read that session_feed() takes. */
#define SESSION_READ_MAX ((size_t)64 * 1024)

/* The most reply bytes that one call makes, and the most bytes of a message that one call
 * transcodes or counts: when there is more to do, it returns SESSION_FULL. */
#define SESSION_REPLY_MAX ((size_t)256 * 1024)
#define SESSION_WORK_MAX SESSION_READ_MAX

/* So many bytes of replies can be set aside, and then SESSION_REPLY_MAX made. */
#define SESSION_ASIDE_MAX ((size_t)64 * 1024)
#define SESSION_AREA_BYTES (SESSION_ASIDE_MAX + SESSION_REPLY_MAX)

/* The most spans that one call makes. */
#define SESSION_SPANS_MAX 64

/* Why data was refused: the reasons of NAK lines, in the words of nak_reason_name(). */
enum nak_reason {
	NAK_INVALID_START,
	NAK_INVALID_CONTINUATION,
	NAK_UNEXPECTED_END,
	NAK_CANNOT_ENCODE,
	NAK_LINE_TOO_LONG,
	NAK_TOO_MANY_CONNECTIONS,
	NAK_REASON_COUNT,
};

/* A fault in the data. */
struct nak {
	enum nak_reason reason;
	uint32_t code_point; /* NAK_CANNOT_ENCODE */
	uint64_t offset;     /* received bytes before the first byte at fault */
};

/* The longest NAK line, LF included. */
#define NAK_LINE_MAX 64

/* Returns the reason as NAK lines and metrics say it, without the code point: "cannot encode". */
const char *nak_reason_name(enum nak_reason reason);

/* Writes the line "NAK <offset> <reason>\n" to @out (not NUL-terminated); returns its length. */
size_t nak_format(const struct nak *nak, char out[NAK_LINE_MAX]);

enum session_state {
	SESSION_IDLE, /* all input is consumed; its replies are in io->out */
	SESSION_FULL, /* there is more to answer: send io->out, which may be empty, then
		       * session_resume() */
	SESSION_DONE, /* after io->out no reply follows, ever: shut down; further input is dropped
		       */
};

/*
 * What is being answered: the input that is left, and the message before it, of which part may be
 * out already. Belongs to frame.c, which finds the message, and reply.c, which answers it.
 */
struct session_job {
	const uint8_t *input; /* what is left to be looked at */
	size_t input_length;
	size_t checked; /* bytes at input that are known to be complete and well-formed */
	bool end;	/* end of input follows */
	bool close;	/* nothing is answered after this message */

	uint8_t phase; /* enum reply_phase: what of the message comes next */
	bool dirty;    /* it has ill-formed subsequences, which are to be replaced */
	bool nak_due;  /* it is followed, or replaced, by a NAK line */
	uint8_t head_length;
	uint8_t head[UTF8_CHARACTER_MAX]; /* its first character, where a read cut that in two */
	uint8_t terminator_length;	  /* of LF or CRLF, which lies behind the body */
	const uint8_t *body;		  /* what is not out yet of the received bytes after head */
	size_t body_length;
	uint64_t message_bytes;
	uint64_t message_characters;
	size_t counted; /* bytes of body that message_characters includes already */
	struct nak nak;
	struct buf line; /* what body points into, when the line had been held; else empty */
};

/* A job that waits for its replies to be sent, with a copy of its input. */
struct session_held {
	struct session_job job;
	size_t size_bytes; /* of all this, as charged to the budget */
	uint8_t bytes[];
};

/* The working memory of a thread. */
struct session_io {
	/* out: the reply bytes made by the last call, in order */
	struct iovec spans[SESSION_SPANS_MAX];
	unsigned n_spans;
	size_t n_bytes; /* their sum, at most SESSION_REPLY_MAX */

	/* counted since the caller last zeroed it */
	uint64_t n_messages;

	/* called for each fault, whether or not NAK lines are sent; may be NULL */
	void (*on_nak)(void *data, const struct nak *nak);
	void *on_nak_data;

	/* the rest belongs to session.c */
	struct budget *budget;
	struct session *full; /* the session that io->job goes on for after SESSION_FULL, or NULL */
	struct session_job job;
	size_t reply_max; /* SESSION_REPLY_MAX; tests lower it, to no less than a NAK line or a
			   * template takes */
	uint8_t *area;	  /* SESSION_AREA_BYTES, where replies are made */
	size_t area_used;
	size_t n_aside; /* of these, that session_io_clear() must leave alone */
	/* what spans may point into, and nothing else needs any more */
	struct session_held *spent;
	struct buf spent_line;
};

/*
 * How far a session has got: what it remembers beside the bytes that it holds. Plain data without
 * padding, which goes to the next process as it is. The flags are 0 or 1.
 */
struct session_place {
	uint64_t received;   /* bytes consumed so far: the offset of the next one */
	uint64_t line_start; /* offset of the current line's first byte, at most received */
	uint64_t messages;   /* messages so far, NAKed ones too */
	uint8_t skipping;    /* line framing: the rest of the current line is dropped */
	uint8_t sent_anything;
	uint8_t last_byte; /* the last byte sent, if anything was */
	uint8_t done;	   /* no reply follows: SESSION_DONE was returned */
	uint8_t reserved[4];
};

/* One connection's protocol state. */
struct session {
	const struct policy *policy;
	const char *names;   /* for templates: see template_name(); or NULL */
	uint64_t connection; /* for ${connection} */
	struct session_place place;
	struct session_held *held; /* input that waits for its replies to be sent, or NULL */
	struct buf line; /* the unfinished line, unless it is discarded; a last CR may be half
			  * of its terminator */
	struct utf8_carry carry; /* the unfinished character, in line framing the line's last */
	bool line_dirty;	 /* the unfinished line has ill-formed subsequences */
};

/*
 * Allocates the working memory, and releases it. What sessions hold is charged to @budget. Returns
 * 0 or -ENOMEM.
 */
int session_io_init(struct session_io *io, struct budget *budget);
void session_io_finish(struct session_io *io);

/* For session_io_clear(). */
void session_io_free_spent(struct session_io *io);

/*
 * Forgets io->out: everything in it has been sent or copied. Call it after each call below that
 * makes replies, before the next one and before another session uses @io.
 */
static inline void session_io_clear(struct session_io *io)
{
	io->n_spans = 0;
	io->n_bytes = 0;
	io->area_used = io->n_aside;
	if (io->spent_line.data || io->spent)
		session_io_free_spent(io);
}

/*
 * Empties io->out if what is in it can stay where it is while other sessions use @io: at most one
 * span, nothing else that must be kept for it, and not too much before it. Then *@ret_out is that
 * span, or has no bytes; it is good until session_io_take_back(), or where it is the input itself,
 * as long as that. Returns false, having done nothing, when it cannot.
 */
static inline bool session_io_set_aside(struct session_io *io, struct iovec *ret_out)
{
	if (io->n_spans > 1 || io->area_used > SESSION_ASIDE_MAX || io->spent_line.data ||
	    io->spent)
		return false;
	*ret_out = io->spans[0];
	if (io->n_spans == 0)
		ret_out->iov_len = 0;
	io->n_spans = 0;
	io->n_bytes = 0;
	io->n_aside = io->area_used;
	return true;
}

/* Nothing that was set aside is needed any more. */
static inline void session_io_take_back(struct session_io *io)
{
	io->n_aside = 0;
}

/*
 * Begins the protocol of a connection. @policy and @names (see struct session) outlive the session.
 */
void session_init(struct session *session, const struct policy *policy, const char *names,
		  uint64_t connection);

/*
 * Releases all that is held. @io is that of the session's thread; what its out refers to may be
 * released too.
 */
void session_finish(struct session *session, struct session_io *io);

/* Puts the greeting, if there is one, into io->out. Call it once, before any session_feed(). */
void session_greet(struct session *session, struct session_io *io);

/*
 * Answers one read: @n bytes (1 to SESSION_READ_MAX) at @data, which stay valid until the state is
 * not SESSION_FULL or session_hold() returned. Not to be called while the last state was
 * SESSION_FULL. Returns an enum session_state, -ENOBUFS (the budget is exceeded) or -ENOMEM; after
 * an error io->out still holds replies that are due, and only session_finish() may follow.
 */
int session_feed(struct session *session, struct session_io *io, const uint8_t *data, size_t n);

/*
 * Answers @n bytes (any number, also none) at @data, and the end of input after them if @end. For
 * the rest, as session_feed().
 */
int session_feed_all(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		     bool end);

/*
 * Answers the end of input: a cut-off character, a last line without terminator. Returns
 * SESSION_DONE, SESSION_FULL or an error as session_feed() does.
 */
int session_end(struct session *session, struct session_io *io);

/* Goes on after SESSION_FULL, once io->out has been sent. Returns as session_feed() does. */
int session_resume(struct session *session, struct session_io *io);

/*
 * Copies what is left of the input, so that the caller may reuse its read buffer; does nothing
 * unless the last state was SESSION_FULL. To be called after the caller has copied what was not
 * sent of io->out, and before session_io_clear(). Returns 0, -ENOBUFS or -ENOMEM.
 */
int session_hold(struct session *session, struct session_io *io);

/* Whether input is held that session_resume() will answer. */
static inline bool session_is_held(const struct session *session)
{
	return session->held != NULL;
}

/*
 * What another session needs to go on where one stopped: its place, and what was received and not
 * answered, as at most three pieces of bytes in order.
 */
struct session_rest {
	struct session_place place; /* place.received: the offset of the first byte of the input */
	struct iovec input[3];
	unsigned n_input;
	bool ended; /* the end of input was received */
};

/*
 * Stops a session whose input is not in use by a caller (after session_hold(), or at rest): puts
 * what is left of the answer to the current message into io->out. Returns SESSION_FULL when there
 * is more: send or copy io->out, clear it and call again; else SESSION_IDLE, and *@ret_rest is
 * filled, pointing into the session. After that only session_finish() may follow.
 */
int session_suspend(struct session *session, struct session_io *io, struct session_rest *ret_rest);

/*
 * Makes a session that was just initialized go on at @place, under its own policy. What is
 * remembered of a framing that the policy does not use is dropped. The input that belongs to
 * @place is left to session_feed_all() or session_defer().
 */
void session_restore(struct session *session, const struct session_place *place);

/* Returns how many bytes the session holds, as charged to the budget. */
size_t session_held_bytes(const struct session *session);

/*
 * Holds a copy of input that cannot be answered before earlier output is sent; session_resume()
 * will answer it, and the end of input after it if @end. Nothing is held yet. Does nothing when
 * there is neither input nor end. Returns 0, -ENOBUFS or -ENOMEM.
 */
int session_defer(struct session *session, struct session_io *io, const struct iovec *input,
		  unsigned n_input, bool end);
