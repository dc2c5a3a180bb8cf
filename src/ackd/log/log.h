#pragma once

/*
 * What the daemon says: events on stderr or in the journal. Written by a thread of its own from a
 * bounded ring, so that a reader that stands still never delays a reply; what does not fit is
 * dropped, counted and said. Repeated kinds are rate-limited, with a line that counts what was left
 * out. Notifications to the service manager go through another thread of their own: a journal that
 * stands still must not look like a daemon that misses its watchdog.
 */

#include "ackd/log/level.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_MESSAGE_MAX 511

/* One per kind of event: ACKD_EVENT, each with a MESSAGE_ID, a level and a rate limit
 * (log_kinds.c). */
enum log_event {
	LOG_START,
	LOG_LISTEN,
	LOG_READY,
	LOG_RELOAD,
	LOG_RELOAD_FAILED,
	LOG_CONNECT,
	LOG_DISCONNECT,
	LOG_REFUSE,
	LOG_HEALTH_CHECK,
	LOG_NAK,
	LOG_ACCEPT_ERROR,
	LOG_DRAIN,
	LOG_HANDOVER,
	LOG_RESTORE,
	LOG_STOP,
	LOG_STATS,
	LOG_DROPPED,
	LOG_EVENT_COUNT,
};

/* The fields that an event has, besides its message: those whose bit is in @has. */
enum log_field {
	LOG_HAS_BYTES_IN = 1 << 0,
	LOG_HAS_BYTES_OUT = 1 << 1,
	LOG_HAS_MESSAGES = 1 << 2,
	LOG_HAS_DURATION = 1 << 3,
	LOG_HAS_OFFSET = 1 << 4,
	LOG_HAS_CONNECTION = 1 << 5,
	LOG_HAS_DROPPED = 1 << 6,
};
struct log_fields {
	const char *listener; /* strings: NULL for none; copied by log_post() */
	const char *address;
	const char *peer;
	const char *reason;
	const char *proxy_id;  /* of the PROXY header, as template_name() has it */
	const char *authority; /* the same */
	const char *dropped_event;
	unsigned has; /* set of enum log_field */
	uint64_t connection;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t messages;
	uint64_t duration_us;
	uint64_t offset;
	uint64_t dropped;
};

/*
 * Starts the threads, in which every signal is blocked. Before it is called, and after log_stop(),
 * log_post() and log_notify() do their work at once in the calling thread, and may block; the
 * process must ignore SIGPIPE. With target journal, or auto where stderr is connected to the
 * journal, entries are native journal entries; what the journal does not take goes to stderr.
 * Returns 0 or a negative errno: -EBUSY after a log_stop() that had to give up.
 */
int log_start(enum log_level level, enum log_target target);

/* Puts a reload's level and target into effect. */
void log_configure(enum log_level level, enum log_target target);

/*
 * Writes what is queued, for at most @timeout_ms, and ends the threads. A reader that stands still
 * can make it give up; it never blocks longer. Once it has given up, posts and notifications do
 * nothing. No other thread may post from here on.
 */
void log_stop(unsigned timeout_ms);

/*
 * Asks whether an event of this kind may be posted now, at the level and the rate in force. Comes
 * before each post of a kind whose rate is limited, and saves making the fields of one that is not
 * wanted; one above the rate is counted, and reported later. Any thread.
 */
bool log_admit(enum log_event event);

/*
 * Queues an event: at the level of its kind, or at @level for log_post_at(). Never blocks, never
 * fails: what does not fit is counted. @fields may be NULL. The message (printf, cut off after
 * LOG_MESSAGE_MAX bytes) is one line that means something without the fields. It must not contain
 * bytes of a peer's data; control characters and ill-formed UTF-8 in it are escaped all the same.
 * Any thread.
 */
void log_post(enum log_event event, const struct log_fields *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_post_at(enum log_level level, enum log_event event, const struct log_fields *fields,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Returns how many events were dropped since the start because the ring was full or they could not
 * be written; those above their kind's rate are not among them. Any thread.
 */
uint64_t log_dropped(void);

/*
 * Queues a notification for the service manager (newline-separated assignments as sd_notify(3)
 * takes them). One of a single STATUS=, WATCHDOG= or EXTEND_TIMEOUT_USEC= takes the place of an
 * unsent one of the same name; all others are sent in order, and the latest is never lost. Does
 * nothing without a service manager. Never blocks. Any thread.
 */
void log_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
