#pragma once

/*
 * The parts of the scout (scout.h): asking and waiting (scout.c), what right replies teach
 * (scout_learn.c), and what is said of wrong ones (scout_fault.c).
 */

#include "ackc/message/scout.h"

/* Four to learn from, and one that tells whether what came is a reply. */
#define N_TEXTS 5
#define SPARE_TEXT 4
#define TEXT_MIN 8
#define TEXT_MAX 1000
/* A greeting, and what the replies can be. */
#define RECEIVED_MAX (16 * 1024)

struct scout {
	struct scout_task task;
	scout_cb cb;
	void *data;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct dial *dial;
	uv_stream_t *stream;
	size_t text_n; /* without LF */
	char texts[N_TEXTS][TEXT_MAX + 1];
	int first; /* the step's texts */
	int last;
	size_t mark;	   /* where the step's replies begin in received */
	size_t marks[2];   /* where the replies to probes 1 and 2 end */
	size_t spare_mark; /* where what came after the spare text begins; 0: it was not sent */
	bool patient;	   /* the server is slow: the spare text is not sent any more */
	bool second;	   /* this is the second connection, to be compared with first_shape */
	struct shape first_shape;
	uint64_t asked_ms; /* of the loop's clock */
	uint64_t silence_ms;
	const struct sockaddr_storage *peer; /* whom it reached */
	size_t n;
	uint8_t received[RECEIVED_MAX];
};

/* Returns where in received @text begins; SIZE_MAX: it did not come. */
size_t scout_find(const struct scout *s, int text);

/* Whether the step's texts came, and a line end after the last one. */
bool scout_answered(const struct scout *s);

/* Learns the shape from the replies to all steps; or fills @ret->fault. */
void scout_learn(const struct scout *s, struct scout_result *ret);

/* Whether something in @shape may be of the connection: another one is to be asked. */
bool scout_wants_second(const struct scout *s, const struct shape *shape);

/* Finds in @ret->shape what differs from the first connection's; or fills @ret->fault. */
void scout_compare(const struct scout *s, struct scout_result *ret);

/* Looks for a NAK, or for something near to a text of the step; false: there is none. */
bool scout_find_fault(const struct scout *s, struct fault *ret);

/* Returns the length of the beginning of an awaited text that came last; 0: something else did. */
size_t scout_beginning(const struct scout *s);

/* Says how what came in reply differs from what was due. */
void scout_explain_other(const struct scout *s, struct fault *ret);

/* Says in @ret (FAULT_WORDS_MAX bytes) what came before it failed; empty: nothing. */
void scout_explain_failure(const struct scout *s, char *ret);
