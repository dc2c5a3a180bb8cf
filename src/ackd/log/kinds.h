#pragma once

/* The kinds of event: name, level, message ID and rate limit of each. */

#include "ackd/log/log.h"

struct log_kind {
	const char *name; /* ACKD_EVENT */
	const char
		*message_id; /* 32 hex digits; packaging/ackd.catalog explains it. Never changes. */
	enum log_level level;
	unsigned burst;	     /* events in a burst; 0: no rate limit */
	unsigned per_second; /* long-term rate */
};

/* Returns the properties of the kind. Static. */
const struct log_kind *log_kind(enum log_event event);

/* Returns the name of the level, such as "error". Static. */
const char *log_level_name(enum log_level level);

/* Returns the level as a syslog(3) and journal priority. */
int log_level_priority(enum log_level level);
