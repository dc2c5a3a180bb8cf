#pragma once

/*
 * The parts of the scout (scout.h): sending and waiting (scout.c), learning from correct replies
 * (scout_learn.c), and explaining wrong ones (scout_fault.c).
 */

#include "ackc/message/scout.h"

/* Four to learn from, and a spare one that shows whether the received bytes are a reply. */
#define N_TEXTS 5
#define SPARE_TEXT 4
#define TEXT_MIN 8
#define TEXT_MAX 1000
/* Room for a greeting and the replies. */
#define RECEIVED_MAX (16 * 1024)

struct scout {
	struct scout_task task;
	scout_cb cb;
	void *data;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct dial *dial;
	struct stream *stream;
	size_t text_n; /* without LF */
	char texts[N_TEXTS][TEXT_MAX + 1];
	int first; /* the texts of this step: first to last */
	int last;
	size_t mark;	   /* where the replies of this step begin in received */
	size_t marks[2];   /* where the replies to probes 1 and 2 end */
	size_t spare_mark; /* start of what arrived after the spare text; 0: not sent */
	bool patient;	   /* the server is slow: the spare text is not sent */
	bool second;	   /* this is the second connection, to compare with first_shape */
	struct shape first_shape;
	uint64_t asked_ms; /* in the loop's clock */
	uint64_t silence_ms;
	const struct sockaddr_storage *peer; /* the address reached */
	size_t n;
	uint8_t received[RECEIVED_MAX];
};

/* Returns the offset of @text in received; SIZE_MAX if it has not arrived. */
size_t scout_find(const struct scout *s, int text);

/* Returns whether the texts of the step arrived, with a line end after the last one. */
bool scout_answered(const struct scout *s);

/* Learns the shape from the replies to all steps, or fills @ret->fault. */
void scout_learn(const struct scout *s, struct scout_result *ret);

/*
 * Returns whether a part of @shape may differ per connection, so that a second connection is
 * needed.
 */
bool scout_wants_second(const struct scout *s, const struct shape *shape);

/* Finds the parts of @ret->shape that differ from the first connection's, or fills @ret->fault. */
void scout_compare(const struct scout *s, struct scout_result *ret);

/* Looks for a NAK, or for a damaged text of the step. Returns false if there is none. */
bool scout_find_fault(const struct scout *s, struct fault *ret);

/* Returns how much of the beginning of an expected text the received bytes end with; 0 if none. */
size_t scout_beginning(const struct scout *s);

/* Describes how the received bytes differ from the expected reply. */
void scout_explain_other(const struct scout *s, struct fault *ret);

/* Describes in @ret (FAULT_WORDS_MAX bytes) what arrived before the failure; empty if nothing. */
void scout_explain_failure(const struct scout *s, char *ret);
