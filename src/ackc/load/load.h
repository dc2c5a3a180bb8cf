#pragma once

/*
 * The parts of ackc load. The main thread plans, starts the workers and reports; each worker is a
 * thread with a loop and a share of the connections. They meet in a few atomics and one uv_async_t
 * each way; what a worker has counted is read when its thread has ended.
 */

#include "ackc/cli/options.h"
#include "ackc/load/ticker.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/output/histogram.h"

#include <stdatomic.h>

/* Immutable while workers run. */
struct load_plan {
	const struct load_options *options;
	struct source source;
	struct shape shape;
	struct addresses addresses;
	double interval_ns; /* between scheduled messages of all connections; 0: no schedule */
	uint64_t start_ns;  /* set before LOAD_GO */
};

struct load_connection;

/* The connections that have sent all that is due, by their next slot. */
struct load_schedule {
	struct load_connection **heap;
	unsigned n;
};

/* Returns when message @index of connection @id is due. Only with a schedule. */
uint64_t load_due_ns(const struct load_plan *plan, uint32_t id, uint64_t index);

/* Returns how many messages of connection @id are due at @now_ns, in constant time. */
uint64_t load_due_count(const struct load_plan *plan, uint32_t id, uint64_t now_ns);

/* Makes room for @n connections. Returns 0 or -ENOMEM; load_schedule_finish() is due either way. */
int load_schedule_init(struct load_schedule *s, unsigned n);
void load_schedule_finish(struct load_schedule *s);

/* Adds @c, unless it is there. Returns whether it is now the first. */
bool load_schedule_add(struct load_schedule *s, struct load_connection *c);

/* Returns when the first connection is due; UINT64_MAX: there is none. */
uint64_t load_schedule_next_ns(const struct load_schedule *s);

/* Removes and returns a connection that was due at @now_ns; NULL: there is none. */
struct load_connection *load_schedule_take(struct load_schedule *s, uint64_t now_ns);

/* So much is read at a time. */
#define LOAD_CHUNK (64 * 1024)

/* Errors by kind. A kind too many is counted as "other". */
#define LOAD_ERROR_KINDS 32

struct load_errors {
	unsigned n;
	struct {
		char words[80];
		bool wrong; /* a reply, not the network */
		uint64_t count;
		char first[FAULT_WORDS_MAX]; /* the first one in full; empty: nothing to add */
	} kinds[LOAD_ERROR_KINDS];
};

/* Counts one error; @detail is said of the first of its kind. */
void load_errors_add(struct load_errors *e, bool wrong, const char *words, const char *detail);
void load_errors_merge(struct load_errors *to, const struct load_errors *from);

struct load_worker;

struct load_connection {
	struct load_worker *worker;
	uv_stream_t *stream; /* NULL: not connected */
	struct dial *dial;
	uint32_t id;	 /* among the connections of all workers */
	uint64_t sent;	 /* messages handed to the kernel or queued: the next one's index */
	uint64_t slot;	 /* while it is scheduled: of its next message */
	uint64_t share;	 /* how many are to be sent in all */
	uint64_t *times; /* when each message under way was sent; a ring of worker->mask + 1 */
	struct verifier verifier;
	struct greeting greeting;
	bool scheduled; /* is in the worker's schedule */
	bool writing;	/* what the socket did not take is queued */
	bool tried;	/* the first connect has had its outcome */
	bool ending;	/* half-closed: only its end is awaited */
	bool done;
	uint64_t since_ns;    /* connected, or half-closed */
	uint64_t failing_ns;  /* since when nothing could be sent; while there is a backoff */
	uint64_t retry_at_ns; /* when not connected nor dialling */
	uint64_t backoff_ns;
};

enum load_command { LOAD_NONE, LOAD_CONNECT, LOAD_GO, LOAD_STOP };
enum load_phase { LOAD_CONNECTING, LOAD_READY, LOAD_RUNNING, LOAD_DRAINING, LOAD_DONE };

struct load_worker {
	const struct load_plan *plan;
	unsigned number;
	uv_thread_t thread;
	uv_loop_t loop;
	uv_async_t wake;   /* look at command */
	uv_async_t *news;  /* the main thread's: phase has changed */
	uv_timer_t rounds; /* time-outs, retries and the end */
	struct ticker ticker;
	_Atomic int command;
	_Atomic int phase;
	_Atomic uint64_t completed;
	_Atomic uint64_t failures;

	struct load_connection *connections;
	unsigned n;
	unsigned next_dial; /* the first connects are made in order */
	unsigned dialling;
	unsigned tried;
	unsigned done;
	uint64_t *times;
	struct shape *shapes; /* the connections' own; NULL: there is nothing of their own */
	uint64_t mask;
	uint8_t *scratch; /* messages to write */
	size_t scratch_n;
	char *received;		       /* LOAD_CHUNK bytes, lent to each read */
	struct load_schedule schedule; /* only with a rate */
	bool ticking;		       /* the ticker is set at the end of what is going on */

	/* For the main thread once the worker has ended. */
	struct histogram *latency; /* from when it was due; without a schedule from sending */
	struct histogram *service; /* from sending; only with a schedule */
	struct histogram *connect;
	struct load_errors errors;
	uint64_t sent;
	uint64_t lost;
	uint64_t unsent; /* due and not sent */
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t end_ns; /* when no more is sent; UINT64_MAX with a count */
	uint64_t last_sent_ns;
	uint64_t last_ns;	    /* the last reply's time */
	_Atomic unsigned connected; /* connects that succeeded */
};

/*
 * Prepares worker @number and starts its thread, which waits for LOAD_CONNECT; @news is signalled
 * when its phase changes. Returns 0 or a negative errno; then there is nothing to finish.
 */
int load_worker_start(struct load_worker *w, const struct load_plan *plan, unsigned number,
		      uv_async_t *news);

/* Tells a worker what to do; from the main thread. */
void load_worker_command(struct load_worker *w, enum load_command command);

/* Waits for the thread of a worker that is LOAD_DONE. */
void load_worker_join(struct load_worker *w);

/* Releases what it counted with; zeroed then. */
void load_worker_finish(struct load_worker *w);

/* Of a worker's own thread: */

/* One of the first connects has had its outcome. */
void load_worker_dialled(struct load_worker *w);
/* Goes on to @phase, unless it is there or beyond; at LOAD_DONE closes what is open on the loop. */
void load_worker_set_phase(struct load_worker *w, enum load_phase phase);
/* The time is up: no more is sent, and what is under way is waited for. */
void load_worker_drain(struct load_worker *w);

/* Waits until @c's next message is due, which has sent all that was. Only with a schedule. */
void load_worker_schedule(struct load_worker *w, struct load_connection *c);

/* Starts a connect. */
void load_connection_dial(struct load_connection *c);
/* Sends what is due and has room. */
void load_connection_send(struct load_connection *c);
/* Returns how many messages were due until @now_ns and have not been sent; 0 without a schedule. */
uint64_t load_connection_unsent(const struct load_connection *c, uint64_t now_ns);
/* Half-closes when all replies are in, or gives up what is not connected. */
void load_connection_end(struct load_connection *c);
/* Closes at once; nothing is counted. */
void load_connection_abandon(struct load_connection *c);
/* Looks after time-outs and retries. */
void load_connection_round(struct load_connection *c, uint64_t now_ns);

/* What all workers have counted. */
struct load_result {
	const struct load_plan *plan;
	char peer[ADDRESS_TEXT_MAX]; /* empty until it is reached */
	struct histogram *latency;
	struct histogram *service;
	struct histogram *connect;
	struct load_errors errors;
	uint64_t completed;
	uint64_t sent;
	uint64_t lost;
	uint64_t unsent;
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t elapsed_ns; /* until the last reply, or the end of the duration */
	uint64_t sending_ns; /* the time in which the messages were sent */
	uint64_t cpu_ns;
	unsigned opened;    /* connections that stood when it began to send */
	unsigned connected; /* connects that succeeded */
	bool interrupted;
};

/* Makes room for all that is counted. Returns 0 or -ENOMEM; either way it is to be finished. */
int load_result_init(struct load_result *result, const struct load_plan *plan);
void load_result_finish(struct load_result *result);

/* Adds what a worker has counted, whose thread has ended. */
void load_result_add(struct load_result *result, const struct load_worker *w);

/* Writes the report to standard output, and errors to standard error; returns the exit status. */
int load_report(const struct load_result *result);
