#pragma once

/* For the files of this folder: entries (entry.c) and rate limits (log.c). */

#include "ackd/log/log.h"
#include "core/session/template.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

/* ---- entries: formatted when the event is posted, written later by the log's thread ---- */

struct log_kind {
	const char *name;
	const char *message_id;
	enum log_level level;
	unsigned burst; /* events in a burst; 0: no rate limit */
	unsigned per_second;
};

extern const struct log_kind log_kinds[LOG_EVENT_COUNT];

enum {
	LOG_ENTRY_FIELDS = 4 /* PRIORITY, MESSAGE_ID, ACKD_EVENT, MESSAGE */
#define LOG_TEXT(...) +1
#define LOG_NUMBER(...) +1
#include "ackd/log/log.def"
	,
	/* The size of an entry in which each byte of the texts is escaped as \xNN. */
	LOG_ENTRY_MAX = 4 * LOG_MESSAGE_MAX + 48 * LOG_ENTRY_FIELDS
#define LOG_TEXT(member, field, max) +4 * (max)
#include "ackd/log/log.def"
	,
	/* The size of its line, in JSON, where each \xNN is \\xNN. */
	LOG_LINE_MAX = LOG_ENTRY_MAX + LOG_ENTRY_MAX / 4 + 8 * LOG_ENTRY_FIELDS + 128
};

struct log_entry {
	enum log_event event;
	enum log_level level;
	uint64_t time_us;	  /* when the event was posted: CLOCK_REALTIME */
	size_t message;		  /* offset in @text of the string "MESSAGE=..." */
	size_t numbers;		  /* offset of the fields whose values are numbers */
	size_t length;		  /* used bytes of @text */
	char text[LOG_ENTRY_MAX]; /* strings "NAME=value", as in the journal */
};

/* Formats an entry. @fields may be NULL; see log_post(). */
void log_entry_format(struct log_entry *ret_entry, enum log_level level, enum log_event event,
		      const struct log_fields *fields, const char *format, va_list ap)
	__attribute__((format(printf, 5, 0)));

/* Copies the used part of @from. */
void log_entry_copy(struct log_entry *to, const struct log_entry *from);

struct log_output {
	bool journal;		/* the journal; stderr if that fails */
	bool stderr_is_journal; /* stderr is a journal stream, which accepts "<5>" as a level */
	enum log_format format; /* of a line on stderr; see struct log_settings */
	bool timestamps;
};

/* Writes @entry to @output. May block. Returns 0, or a negative errno if the entry is lost. */
int log_entry_write(const struct log_entry *entry, const struct log_output *output);

/* ---- rate limits ---- */

/*
 * A rate limit with a burst: the generic cell rate algorithm (ITU-T I.371). Its only state is the
 * time at which the next event would be due if all had kept to the rate. It is equivalent to a
 * token bucket and lock-free.
 */
struct log_limit {
	_Atomic uint64_t due_us; /* zeroed: a full burst is available */
};

/*
 * Returns whether an event is permitted at @now_us, and counts it if so. Permits bursts of @burst
 * (> 0) and @per_second (> 0) in the long term. @now_us never decreases by more than a burst. Any
 * thread.
 */
bool log_limit_take(struct log_limit *limit, unsigned burst, unsigned per_second, uint64_t now_us);
