#pragma once

/*
 * Shared by the files of this folder: the daemon as one object, which owns the workers and the
 * listening sockets. Everything here runs in the main thread. server.c contains start and main
 * loop, ending.c the end, change.c the change to another configuration, at start and in a reload,
 * control.c the requests of "ackd --reload", handover.c the hand-over between processes, report.c
 * status, metrics and statistics.
 */

#include "ackd/log/log.h"
#include "ackd/log/notify.h"
#include "ackd/metrics/metrics.h"
#include "ackd/server/control.h"
#include "ackd/server/server.h"
#include "ackd/sockets/candidate.h"
#include "ackd/sockets/socket_set.h"
#include "ackd/worker/worker.h"
#include "base/states.h"

#include <uv.h>

enum { SERVER_N_SIGNALS = 5 };

enum server_state {
	SERVER_STARTING,
	SERVER_RUNNING,
	SERVER_DELAYING,     /* about to drain, which /healthz says; still accepts */
	SERVER_DRAINING,     /* workers drain; ends with the last of them */
	SERVER_HANDING_OVER, /* workers hand over, one after another; ends with the last of them */
	SERVER_STOPPING,     /* workers close everything; ends with the last of them */
};

extern const struct state_row server_states[];

enum change_state {
	CHANGE_NONE,
	CHANGE_READING,	 /* of a reload: a thread reads the configuration and resolves addresses */
	CHANGE_APPLYING, /* in effect, but workers still have to carry out their plans */
	CHANGE_RETIRING, /* the retired sockets complete their handshakes */
	CHANGE_CLOSING,	 /* the workers close the retired sockets */
};

extern const struct state_row change_states[];

struct server;

/* A change to another configuration, by the start or by a reload. At most one is at a time. */
struct change {
	uint8_t state;
	bool again;		   /* a reload was requested during a change or the start */
	struct candidate_job *job; /* while reading */
	void (*done)(struct server *server); /* while applying: called at the end of that */
};

/* Why a start or a reload failed. */
enum failure_kind {
	FAILURE_NONE,
	FAILURE_CONFIG,	  /* error in the configuration */
	FAILURE_ADDRESS,  /* an address could not be resolved or bound */
	FAILURE_OS,	  /* memory, descriptors, threads */
	FAILURE_CANCELED, /* a signal has ended the daemon meanwhile */
};

struct failure {
	enum failure_kind kind;
	int error; /* the negative errno, if any */
};

struct server {
	uint8_t state;
	uv_loop_t loop;
	uv_signal_t signals[SERVER_N_SIGNALS];
	uv_async_t async;    /* sent by workers */
	uv_async_t prepared; /* sent when a candidate has been read, of the start or of a reload */
	uv_timer_t status_timer;
	uv_timer_t watchdog_timer;
	uv_timer_t drain_timer;
	uv_timer_t retired_timer;
	uint64_t drain_deadline_ms; /* of the delay, then of the drain */
	const struct config_source *source;
	struct config *config; /* in effect */
	struct socket_set sockets;
	struct change change;
	struct systemd_fd *passed; /* passed by the service manager, until they are adopted */
	size_t n_passed;
	struct systemd_fd *handed; /* those that belong to a hand-over */
	size_t n_handed;
	struct takeover takeover; /* from the previous process, until restored */
	struct handover handover; /* to the next process */
	unsigned handing_over;	  /* index of the worker that is handing over */
	struct limits limits;
	struct worker *workers;
	unsigned n_workers;
	struct counters **counters; /* per listener of the configuration applied last */
	int end_signal;		    /* arrived during the start; handled when that is complete */
	bool term_follows;	    /* SIGUSR2 arrived; in a restart SIGTERM may follow */
	struct control control;	    /* requests to reload */
	uint64_t reloads_done;
	uint64_t reloads_failed;
	bool has_reloaded; /* the last reload that was not canceled, or the start, has succeeded */
	double reloaded_s; /* when it ended: wall_clock_s() */
	double started_s;  /* when the process began */
	struct metrics *metrics; /* NULL until metrics are configured */
	uint64_t *worker_cpu_ns; /* CPU time of each worker at the last look */
};

/* ---- server.c ---- */

/*
 * Initializes a zeroed @server with a loop but without workers. @source must outlive it. Returns 0
 * or a libuv error, after which server_finish() must not be called.
 */
int server_init(struct server *server, const struct config_source *source);

/* Makes room for @n workers and initializes counting for them. Returns 0 or -ENOMEM. */
int server_reserve_workers(struct server *server, unsigned n);

/* Adds a worker, which has no thread yet. Returns 0 or a libuv error. */
int server_add_worker(struct server *server);

/* Releases everything but @server itself. The loop must have closed all handles. */
void server_finish(struct server *server);

/* Gives @order to all workers. */
void server_order(struct server *server, enum worker_order order);

/* Returns whether all workers have carried out @order. */
bool server_has_done(const struct server *server, enum worker_order order);

/* Returns whether the phase of every worker is one of @phases (STATES_BIT()). */
bool server_workers_are_in(const struct server *server, uint32_t phases);

/* Returns whether the server starts or runs, rather than ends. */
bool server_is_up(const struct server *server);

/* Asserts what holds in each state. */
void server_check_invariant(const struct server *server);

/* Return the failure for the result (0 or a negative errno) of candidate_read(), or of a change. */
struct failure failure_of_preparation(int r);
struct failure failure_of_change(int r);

/* Returns the exit status that the manual promises for @failure. */
enum exit_status exit_status_of(const struct failure *failure);

/* Returns a description of @failure. Static. */
const char *failure_text(const struct failure *failure);

/* ---- change.c ---- */

/*
 * Begins a change: finds or creates the sockets of @candidate, including those of the metrics.
 * Errors are written to @errors as lines. Returns 0, after which change_commit() must follow, or a
 * negative errno with nothing changed.
 */
int change_bind(struct server *server, const struct candidate *candidate, FILE *errors);

/*
 * Puts the configuration of @candidate into effect after change_bind(), at start including the
 * connections that were handed over. @done is called when all workers have applied it. The change
 * may continue afterwards to close its retired sockets. Returns 0, or a negative errno with nothing
 * changed.
 */
int change_commit(struct server *server, const struct candidate *candidate,
		  void (*done)(struct server *server));

/* Undoes change_bind() in place of change_commit(). */
void change_undo(struct server *server);

/* Continues the change if all workers have carried out the present step. */
void change_continue(struct server *server);

/*
 * Drops the counters of listeners that the configuration in effect does not contain, unless
 * connections use them. Called at the end of every change.
 */
void server_drop_counters(const struct server *server);

/*
 * Returns how many descriptors are available for connections. Call it during a change, after
 * change_bind().
 */
uint64_t server_descriptor_room(const struct server *server);

/* Counts and logs that a connection of the previous process is closed for @reason. */
void server_count_lost(const struct state_connection *state, const char *reason);

/*
 * Begins a reload, or records the request until the current change has ended. The server must be
 * up.
 */
void reload_request(struct server *server);

/* Drops a recorded request, because the daemon ends, and logs that. */
void reload_forget(struct server *server);

/* Continues a reload if its configuration has been read. */
void reload_continue(struct server *server);

/* Cancels a reload that is still reading, without waiting, because the loop is about to end. */
void reload_cancel(struct server *server);

/* ---- ending.c ---- */

/*
 * Ends the daemon in response to @signum: SIGUSR2 hands over, other signals drain after
 * drain_delay. A further signal ends the delay, or, while draining, closes everything immediately.
 * The first SIGTERM after SIGUSR2 belongs to a restart and does not count. During a hand-over, and
 * while everything is closed, signals are ignored, which is logged. Before the daemon is ready,
 * SIGUSR2 is ignored. Any other signal then ends the start or, if workers may have connections
 * already, is recorded for server_ready().
 */
void server_end(struct server *server, int signum);

/* Closes everything immediately. Idempotent. */
void server_stop(struct server *server);

/* Logs that @signum has no effect in the present state. */
void server_ignore(const struct server *server, int signum);

/* ---- handover.c ---- */

/*
 * Begins the hand-over to the next process. Returns 0, or a negative errno, which has been logged,
 * with nothing changed.
 */
int server_hand_over(struct server *server);

/*
 * Continues the hand-over with the next worker when one is done, and completes it after the last.
 */
void server_hand_over_next(struct server *server);

/*
 * Takes the descriptors that the service manager passed. Call it before the process opens any
 * descriptor, so that none of its own is mistaken for a passed one, and before other threads exist,
 * because it changes the environment. A failure is written to @errors as a line.
 */
struct failure server_take_passed(struct server *server, FILE *errors);

/* Closes passed descriptors that were neither adopted nor restored. */
void server_close_passed(struct server *server);

/*
 * Adopts the passed descriptors: those that the previous process has stored, and those of socket
 * activation. Returns 0, -EINVAL with lines written to @errors, or another negative errno.
 */
int server_adopt(struct server *server, FILE *errors);

/* Reads the hand-over. Errors are logged and never stop the start. */
void server_take_over(struct server *server);

/* ---- report.c ---- */

/* Allocates memory for reports about the workers. Returns 0 or -ENOMEM. */
int report_init(struct server *server, unsigned n_workers);

/* Starts the timers that report the status to the service manager and feed its watchdog. */
void report_start(struct server *server);

/*
 * Makes the metrics accept also on the sockets that the change to @config gives them. Returns 0, or
 * a negative errno, which has been logged; then, and after the change, report_metrics_unlisten()
 * must follow.
 */
int report_metrics_listen(struct server *server, const struct config *config);

/*
 * Makes the metrics stop accepting on sockets that are not theirs, and with @retired also on
 * retired ones, which may then be closed.
 */
void report_metrics_unlisten(struct server *server, bool retired);

/* Releases the memory for reports and the metrics. The loop must have closed all handles. */
void report_finish(struct server *server);

/* Reports the present status to the service manager. */
void report_status(struct server *server);

/* Returns the seconds since 1970. */
double wall_clock_s(void);

/* Logs the counters of every listener. */
void report_stats(const struct server *server);

/*
 * Logs each line of @lines, which it modifies, as an error. After @max lines it logs how many more
 * there are.
 */
void report_lines(enum log_event event, char *lines, unsigned max);
