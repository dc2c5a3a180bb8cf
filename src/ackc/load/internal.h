#pragma once

/*
 * The parts of ackc load. The main thread plans, starts the workers and reports. Each worker is a
 * thread with a loop and a share of the connections. They communicate through a few atomics and one
 * uv_async_t in each direction. The main thread reads a worker's counters after its thread has
 * ended.
 */

#include "ackc/cli/options.h"
#include "ackc/load/ticker.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/output/histogram.h"

#include <stdatomic.h>

/* Immutable while workers run. */
struct load_plan {
	const struct options *options;
	struct source source;
	struct shape shape;
	struct addresses addresses;
	double interval_ns; /* between scheduled messages of all connections; 0: no schedule */
	uint64_t start_ns;  /* set before LOAD_GO */
};

struct load_connection;

/* The connections that have sent everything due, ordered by their next slot. */
struct load_schedule {
	struct load_connection **heap;
	unsigned n;
};

/* Returns the time when message @index of connection @id is due. Requires a schedule. */
uint64_t load_due_ns(const struct load_plan *plan, uint32_t id, uint64_t index);

/* Returns the number of messages of connection @id that are due at @now_ns, in constant time. */
uint64_t load_due_count(const struct load_plan *plan, uint32_t id, uint64_t now_ns);

/*
 * Allocates room for @n connections. Returns 0 or -ENOMEM; call load_schedule_finish() in both
 * cases.
 */
int load_schedule_init(struct load_schedule *s, unsigned n);
void load_schedule_finish(struct load_schedule *s);

/* Adds @c unless it is already there. Returns whether it is now the first. */
bool load_schedule_add(struct load_schedule *s, struct load_connection *c);

/* Returns when the first connection is due; UINT64_MAX if there is none. */
uint64_t load_schedule_next_ns(const struct load_schedule *s);

/* Removes and returns a connection that is due at @now_ns; NULL if there is none. */
struct load_connection *load_schedule_take(struct load_schedule *s, uint64_t now_ns);

/* The maximum number of bytes per read. */
#define LOAD_CHUNK (64 * 1024)

/* Errors by kind. When all places are taken, further kinds are counted as "other". */
#define LOAD_ERROR_KINDS 32

struct load_errors {
	unsigned n;
	struct {
		char words[80];
		bool wrong; /* a wrong reply rather than a network failure */
		uint64_t count;
		char first[FAULT_WORDS_MAX]; /* detail of the first error; empty if there is none */
	} kinds[LOAD_ERROR_KINDS];
};

/* Counts one error. @detail is kept for the first of its kind. */
void load_errors_add(struct load_errors *e, bool wrong, const char *words, const char *detail);
void load_errors_merge(struct load_errors *to, const struct load_errors *from);

struct load_worker;

struct load_connection {
	struct load_worker *worker;
	uv_stream_t *stream; /* NULL: not connected */
	struct dial *dial;
	uint32_t id;	 /* number among the connections of all workers */
	uint64_t sent;	 /* messages passed to the kernel or queued; index of the next one */
	uint64_t slot;	 /* while scheduled: slot of the next message */
	uint64_t share;	 /* total number of messages to send */
	uint64_t *times; /* send times of the messages in flight; a ring of worker->mask + 1 */
	struct verifier verifier;
	struct greeting greeting;
	bool scheduled; /* in the worker's schedule */
	bool writing;	/* a partial write is queued */
	bool tried;	/* the first connect has succeeded or failed */
	bool ending;	/* half-closed: waiting for the server to close */
	bool done;
	uint64_t since_ns;    /* time of the connect or half-close */
	uint64_t failing_ns;  /* start of the failures; valid while there is a backoff */
	uint64_t retry_at_ns; /* valid while neither connected nor dialling */
	uint64_t backoff_ns;
};

enum load_command { LOAD_NONE, LOAD_CONNECT, LOAD_GO, LOAD_STOP };
enum load_phase { LOAD_CONNECTING, LOAD_READY, LOAD_RUNNING, LOAD_DRAINING, LOAD_DONE };

struct load_worker {
	const struct load_plan *plan;
	unsigned number;
	uv_thread_t thread;
	uv_loop_t loop;
	uv_async_t wake;   /* signals a new command */
	uv_async_t *news;  /* owned by the main thread; signals a new phase */
	uv_timer_t rounds; /* timer for timeouts, retries and the end */
	struct ticker ticker;
	_Atomic int command;
	_Atomic int phase;
	_Atomic uint64_t completed;
	_Atomic uint64_t failures;

	struct load_connection *connections;
	unsigned n;
	unsigned next_dial; /* the first connects are started in order */
	unsigned dialling;
	unsigned tried;
	unsigned done;
	uint64_t *times;
	struct shape *shapes; /* one per connection; NULL if none differs */
	uint64_t mask;
	uint8_t *scratch; /* messages to write */
	size_t scratch_n;
	char *received;		       /* LOAD_CHUNK bytes, used by each read */
	struct load_schedule schedule; /* only with a rate */
	bool ticking;		       /* the ticker is set after the current callback */

	/* Read by the main thread after the worker has ended. */
	struct histogram *latency; /* from the due time; without a schedule, from sending */
	struct histogram *service; /* from sending; only with a schedule */
	struct histogram *connect;
	struct load_errors errors;
	uint64_t sent;
	uint64_t lost;
	uint64_t unsent; /* due but not sent */
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t end_ns; /* time after which nothing is sent; UINT64_MAX with a count */
	uint64_t last_sent_ns;
	uint64_t last_ns;	    /* time of the last reply */
	_Atomic unsigned connected; /* connects that succeeded */
};

/*
 * Prepares worker @number and starts its thread, which waits for LOAD_CONNECT. @news is signalled
 * when its phase changes. Returns 0 or a negative errno; on an error nothing needs to be finished.
 */
int load_worker_start(struct load_worker *w, const struct load_plan *plan, unsigned number,
		      uv_async_t *news);

/* Sends a command to a worker. Main thread only. */
void load_worker_command(struct load_worker *w, enum load_command command);

/* Waits for the thread of a worker in phase LOAD_DONE. */
void load_worker_join(struct load_worker *w);

/* Frees the counters of a worker and zeroes it. */
void load_worker_finish(struct load_worker *w);

/* The functions below run in a worker's own thread. */

/* Records the outcome of one of the first connects. */
void load_worker_dialled(struct load_worker *w);
/*
 * Moves to @phase, unless the worker is already there or beyond. At LOAD_DONE closes everything
 * open on the loop.
 */
void load_worker_set_phase(struct load_worker *w, enum load_phase phase);
/* Ends the sending phase: sends nothing more and waits for the replies in flight. */
void load_worker_drain(struct load_worker *w);

/*
 * Puts @c, which has sent everything due, into the schedule until its next message is due. Requires
 * a schedule.
 */
void load_worker_schedule(struct load_worker *w, struct load_connection *c);

/* Starts a connect. */
void load_connection_dial(struct load_connection *c);
/* Sends the messages that are due and fit. */
void load_connection_send(struct load_connection *c);
/* Returns the number of messages that were due by @now_ns but not sent; 0 without a schedule. */
uint64_t load_connection_unsent(const struct load_connection *c, uint64_t now_ns);
/* Half-closes if all replies have arrived; abandons a connection that is not connected. */
void load_connection_end(struct load_connection *c);
/* Closes immediately, without counting anything. */
void load_connection_abandon(struct load_connection *c);
/* Handles timeouts and retries; called periodically. */
void load_connection_round(struct load_connection *c, uint64_t now_ns);

/* The sum of the counters of all workers. */
struct load_result {
	const struct load_plan *plan;
	char peer[ADDRESS_TEXT_MAX]; /* empty until the first connect */
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
	uint64_t sending_ns; /* time during which messages were sent */
	uint64_t cpu_ns;
	unsigned opened;    /* connections open when sending began */
	unsigned connected; /* connects that succeeded */
	bool interrupted;
};

/* Allocates the histograms. Returns 0 or -ENOMEM; call load_result_finish() in both cases. */
int load_result_init(struct load_result *result, const struct load_plan *plan);
void load_result_finish(struct load_result *result);

/* Adds the counters of a worker whose thread has ended. */
void load_result_add(struct load_result *result, const struct load_worker *w);

/* Writes the report to standard output, and errors to standard error; returns the exit status. */
int load_report(const struct load_result *result);
