#pragma once

/*
 * The log: writes events to stderr or the journal. A separate thread writes them from a bounded
 * ring, so a blocked reader never delays a reply. Entries that do not fit are dropped, counted and
 * reported. Repeated kinds are rate-limited; an entry reports how many were suppressed.
 */

#include "ackd/log/level.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_MESSAGE_MAX 1535

/* The maximum length of the field ACKD_TEXT. */
#define LOG_TEXT_MAX 1027

/* The kinds of event, LOG_START and so on: log.def. */
enum log_event {
#define LOG_EVENT(event, ...) LOG_##event,
#include "ackd/log/log.def"
	LOG_EVENT_COUNT,
};

enum log_number {
#define LOG_NUMBER(number, ...) LOG_NUMBER_##number,
#include "ackd/log/log.def"
};

/* LOG_HAS_CONNECTION and so on. */
enum log_has {
#define LOG_NUMBER(number, ...) LOG_HAS_##number = 1 << LOG_NUMBER_##number,
#include "ackd/log/log.def"
};

/* The fields of an event. */
struct log_fields {
	/* strings: NULL for none; copied by log_post() */
#define LOG_TEXT(member, ...) const char *member;
#include "ackd/log/log.def"
	unsigned has; /* the numbers that the event has: set of enum log_has */
#define LOG_NUMBER(number, member, ...) uint64_t member;
#include "ackd/log/log.def"
};

/*
 * Starts the threads of the log and of notifications (notify.h), with every signal blocked. Before
 * this call and after log_stop(), log_post() and log_notify() write immediately in the calling
 * thread and may block. The process must ignore SIGPIPE. With target journal, or auto if stderr is
 * connected to the journal, entries are native journal entries; entries that the journal rejects
 * are written to stderr. Returns 0 or a negative errno: -EBUSY after log_stop() had to give up.
 */
int log_start(void);

/*
 * Changes the settings, before log_start() or after a reload. Without a call they are: info, auto,
 * text without timestamps. Entries that wait to be written are written in the new format.
 */
void log_configure(const struct log_settings *settings);

/*
 * Writes queued entries for at most @timeout_ms, then ends the threads. If a reader blocks, it
 * gives up after that time, and later posts and notifications do nothing. No other thread may post
 * any more.
 */
void log_stop(unsigned timeout_ms);

/*
 * Returns whether an event of this kind may be posted now, according to the present level and rate.
 * Call it before posting a kind with a rate limit, to avoid formatting unwanted events. If the rate
 * limit is the reason, the event is counted as suppressed and reported later. Any thread.
 */
bool log_admit(enum log_event event);

/*
 * Queues an event, at the level of its kind or, with log_post_at(), at @level. Never blocks and
 * never fails: entries that do not fit are counted. @fields may be NULL. The message (printf, cut
 * after LOG_MESSAGE_MAX bytes) is one line that is meaningful without the fields. It must not
 * contain data from a peer, unless they are escaped as ASCII. Control characters and invalid UTF-8
 * in it are escaped in any case. Any thread.
 */
void log_post(enum log_event event, const struct log_fields *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_post_at(enum log_level level, enum log_event event, const struct log_fields *fields,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Returns how many events have been dropped since the start because the ring was full or writing
 * failed. Events suppressed by a rate limit are not included. Any thread.
 */
uint64_t log_dropped(void);
