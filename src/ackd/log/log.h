#pragma once

/*
 * The log: writes events to stderr or the journal. A separate thread writes them from a bounded
 * ring, so a blocked reader never delays a reply. Entries that do not fit are dropped, counted and
 * reported. Repeated kinds are rate-limited; an entry reports how many were suppressed. Another
 * thread sends notifications to the service manager, so a blocked journal does not look like a
 * daemon that misses its watchdog.
 */

#include "ackd/log/level.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_MESSAGE_MAX 511

/* The kinds of event, ACKD_EVENT. Each has a MESSAGE_ID, a level and a rate limit (kinds.c). */
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

/* The numeric fields of an event: those whose bit is set in @has. */
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
	const char *proxy_id;  /* from the PROXY header, see template_name() */
	const char *authority; /* likewise */
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
 * Starts the threads, with every signal blocked. Before this call and after log_stop(), log_post()
 * and log_notify() write immediately in the calling thread and may block. The process must ignore
 * SIGPIPE. With target journal, or auto if stderr is connected to the journal, entries are native
 * journal entries; entries that the journal rejects are written to stderr. Returns 0 or a negative
 * errno: -EBUSY after log_stop() had to give up.
 */
int log_start(enum log_level level, enum log_target target);

/* Changes the level and the target, after a reload. */
void log_configure(enum log_level level, enum log_target target);

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
 * contain data from a peer. Control characters and invalid UTF-8 in it are escaped in any case. Any
 * thread.
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

/*
 * Queues a notification for the service manager (newline-separated assignments, see sd_notify(3)).
 * A single STATUS=, WATCHDOG= or EXTEND_TIMEOUT_USEC= replaces an unsent one of the same name. All
 * others are sent in order, and the latest is never lost. Does nothing without a service manager.
 * Never blocks. Any thread.
 */
void log_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
