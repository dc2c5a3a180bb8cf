#pragma once

/*
 * The parts of ackc load. The main thread (load.c) plans, starts the workers and reports. Each
 * worker (worker.c) is a thread with a loop and a share of the connections (connection.c). They
 * communicate through a few atomics and one uv_async_t in each direction. The main thread reads the
 * other counters of a worker after its thread has ended.
 */

#include "ackc/cli/options.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/output/histogram.h"
#include "base/states.h"
#include "loop/ticker.h"

#include <stdatomic.h>

/* Immutable while workers run. */
struct load_plan {
	const struct options *options;
	struct source source;
	struct shape shape;
	const struct addresses *addresses;
	double interval_ns; /* between scheduled messages of all connections; 0: no schedule */
	uint64_t start_ns;  /* set before LOAD_GO */
};

static inline bool load_is_scheduled(const struct load_plan *plan)
{
	return plan->interval_ns > 0;
}

/* Errors by kind. When all places are taken, further kinds are counted as "other". */
#define LOAD_ERROR_KINDS 32

struct load_errors {
	unsigned n;
	struct {
		char words[200];
		bool wrong; /* a wrong reply rather than a network failure */
		uint64_t count;
		char first[FAULT_WORDS_MAX]; /* detail of the first error; empty if there is none */
	} kinds[LOAD_ERROR_KINDS];
};

/* The counters of a worker, or the sum of all workers. Initially zero. */
struct load_counters {
	struct histogram latency; /* from the due time; without a schedule, from sending */
	struct histogram service; /* from sending; only with a schedule */
	struct histogram connect;
	struct histogram handshake; /* TLS */
	struct load_errors errors;
	/* The main thread reads these three while the worker runs. */
	_Atomic uint64_t completed;
	_Atomic uint64_t failures;
	_Atomic unsigned connected; /* connects that succeeded */
	uint64_t sent;
	uint64_t lost;
	uint64_t unsent; /* due but not sent */
	uint64_t sent_bytes;
	uint64_t received_bytes;
	uint64_t last_sent_ns;
	uint64_t last_ns; /* time of the last reply */
};

/* Counts @count errors of a kind. @first is the detail of the first; kept if the kind is new. */
void load_errors_add(struct load_errors *e, bool wrong, const char *words, const char *first,
		     uint64_t count);

/* Adds @from to @to; the later of the two times remains. */
void load_counters_add(struct load_counters *to, const struct load_counters *from);

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
 * Allocates room for @n connections. Returns 0 or UV_ENOMEM; call load_schedule_finish() in both
 * cases.
 */
int load_schedule_init(struct load_schedule *s, unsigned n);
void load_schedule_finish(struct load_schedule *s);

/* Adds @c, which has sent everything due, unless it is already there. */
void load_schedule_add(struct load_schedule *s, struct load_connection *c);

/* Returns when the first connection is due; UINT64_MAX if there is none. */
uint64_t load_schedule_next_ns(const struct load_schedule *s);

/* Removes and returns a connection that is due at @now_ns; NULL if there is none. */
struct load_connection *load_schedule_take(struct load_schedule *s, uint64_t now_ns);

struct load_worker;

enum load_connection_state {
	LOAD_CLOSED, /* neither connected nor dialling */
	LOAD_DIALLING,
	LOAD_GREETING, /* connected; the greeting is not complete */
	LOAD_OPEN,     /* messages may be sent */
	LOAD_ENDING,   /* half-closed: waits for the server to close */
	LOAD_FINISHED, /* for good */
};

struct load_connection {
	struct load_worker *worker;
	struct dial *dial;
	struct stream *stream;
	struct verifier verifier;
	uint64_t sent;	      /* messages passed to the kernel or queued; index of the next one */
	uint64_t share;	      /* total number of messages to send */
	uint64_t slot;	      /* while scheduled: slot of the next message */
	uint64_t *times;      /* send times of the messages in flight; a ring of worker->mask + 1 */
	uint64_t since_ns;    /* time of the connect or half-close */
	uint64_t failing_ns;  /* start of the failures; valid while there is a backoff */
	uint64_t retry_at_ns; /* valid while closed, after a failure */
	uint64_t backoff_ns;
	uint32_t id; /* number among the connections of all workers */
	uint8_t state;
	bool scheduled; /* in the worker's schedule */
};

/* Starts a connect. */
void load_connection_dial(struct load_connection *c);

/* Sends the messages that are due at @now_ns and fit. */
void load_connection_send(struct load_connection *c, uint64_t now_ns);

/* Returns the number of messages that were due by @now_ns but not sent; 0 without a schedule. */
uint64_t load_connection_unsent(const struct load_connection *c, uint64_t now_ns);

/* Half-closes if all replies have arrived; finishes a connection that is not connected. */
void load_connection_end(struct load_connection *c);

/* Closes immediately, without counting anything. */
void load_connection_abandon(struct load_connection *c);

/* Handles timeouts and retries; called periodically. */
void load_connection_round(struct load_connection *c, uint64_t now_ns);

enum load_command { LOAD_NONE, LOAD_CONNECT, LOAD_GO, LOAD_STOP };

enum load_worker_state {
	LOAD_WORKER_WAITING, /* for LOAD_CONNECT */
	LOAD_WORKER_CONNECTING,
	LOAD_WORKER_READY, /* each connection has connected or failed to */
	LOAD_WORKER_RUNNING,
	LOAD_WORKER_DRAINING, /* nothing more is sent; waits for the replies in flight */
	LOAD_WORKER_DONE,     /* all connections are finished, and all handles are being closed */
};

/* How far the workers are, for the main thread, which is woken by every change. */
struct load_news {
	uv_async_t async;
	_Atomic unsigned ready; /* workers that have reached LOAD_WORKER_READY */
	_Atomic unsigned ended; /* threads that have ended */
};

/* The maximum number of bytes per read. */
#define LOAD_CHUNK (64 * 1024)

struct load_worker {
	const struct load_plan *plan;
	struct load_news *news;
	unsigned number;
	uv_thread_t thread;
	uv_loop_t loop;
	uv_async_t wake;      /* signals a new command */
	uv_timer_t rounds;    /* timer for timeouts, retries and the end */
	uv_prepare_t settle;  /* runs once per turn of the loop */
	struct ticker ticker; /* only with a schedule */
	uint64_t ticker_ns;   /* its setting */
	_Atomic int command;
	uint8_t state;

	struct load_connection *connections;
	unsigned n;
	unsigned next_dial; /* the first connects are started in order */
	unsigned dialling;  /* first connects in progress */
	unsigned finished;  /* connections in LOAD_FINISHED */
	uint64_t *times;
	uint64_t mask;
	struct shape *shapes; /* one per connection; NULL if none differs */
	uint8_t *scratch;     /* messages to write */
	size_t scratch_n;
	char *received; /* LOAD_CHUNK bytes, used by each read */
	struct load_schedule schedule;
	uint64_t end_ns; /* time after which nothing is sent; UINT64_MAX with a count */
	struct load_counters counters;
};

/*
 * Prepares worker @number, which then waits for LOAD_CONNECT. Returns 0 or a negative errno; on an
 * error nothing needs to be finished.
 */
int load_worker_init(struct load_worker *w, const struct load_plan *plan, unsigned number,
		     struct load_news *news);

/* Starts the thread, which runs the loop until LOAD_WORKER_DONE. Returns 0 or a negative errno. */
int load_worker_start(struct load_worker *w);

/* Sends a command to a worker. Main thread only. */
void load_worker_command(struct load_worker *w, enum load_command command);

/*
 * Closes the loop, and frees what a worker has allocated. Its thread has ended or was not started;
 * then it must not have connected. The counters remain, as they are a part of it.
 */
void load_worker_finish(struct load_worker *w);

struct load_result {
	const struct load_plan *plan;
	char peer[PEER_TEXT_MAX]; /* empty until the first connect */
	struct tls_facts tls;	  /* of the scout; without a version: no TLS */
	struct load_counters sum;
	uint64_t elapsed_ns; /* until the last reply, or the end of the duration */
	uint64_t sending_ns; /* time during which messages were sent */
	uint64_t cpu_ns;
	unsigned opened; /* connects that succeeded before the sending began */
	bool interrupted;
};

/* Writes the report to standard output, and errors to standard error; returns the exit status. */
int load_report(const struct load_result *result);
