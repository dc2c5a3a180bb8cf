#pragma once

/* One entry, and how it is written: as a native journal entry, or as a line on stderr. */

#include "ackd/log.h"

#include <stddef.h>

#define LOG_TEXT_MAX 127 /* of each string field; longer ones are cut off */

struct log_entry {
	enum log_event event;
	enum log_level level;
	unsigned has; /* set of enum log_field */
	uint64_t connection;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t messages;
	uint64_t duration_us;
	uint64_t offset;
	uint64_t dropped;		 /* of LOG_DROPPED: how many; 0: no such field */
	const char *dropped_event;	 /* of which kind; static; NULL: of any */
	char listener[LOG_TEXT_MAX + 1]; /* strings: empty for none */
	char address[LOG_TEXT_MAX + 1];
	char peer[LOG_TEXT_MAX + 1];
	char reason[LOG_TEXT_MAX + 1];
	char message[LOG_MESSAGE_MAX + 1];
};

/* Where entries go. */
struct log_sink {
	bool journal;	     /* to the journal; to stderr what it does not take */
	bool stderr_journal; /* stderr is a stream to the journal, which takes "<5>" for a level */
};

/* Writes @entry. May block. Returns 0 or a negative errno: it is lost. */
int log_write(const struct log_entry *entry, const struct log_sink *sink);

/*
 * Copies @text to @out (@size > 0 bytes), each byte of a control character and of ill-formed UTF-8
 * as \xNN; what does not fit is cut off, between characters. Returns the length.
 */
size_t log_escape(char *out, size_t size, const char *text);
